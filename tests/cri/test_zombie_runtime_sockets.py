"""Whatever stands where the runtime's socket should be: calls say so, and the runtime is found."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from image_cri_shim.cri.connector import Connector
from tests.cri.background import PATIENCE, Background
from tests.cri.scripted import ScriptedUpstream, reply
from tests.cri.shim import IMAGES, Shim
from tests.support.processes import wait_until
from tests.unix_socket.zombies import (
    BOUND,
    DANGLING,
    DIRECTORIES,
    FILES,
    LIVE,
    LOOP,
    STALE,
    Make,
    each,
    other,
)

FS_INFO = f"{IMAGES}ImageFsInfo"
STATUS = f"{IMAGES}ImageStatus"
NGINX = b"\x0a\x07\x0a\x05nginx"
NOBODY_LISTENS = "nobody listens on the runtime's socket {} (the runtime is down)"
ABSENT = "the runtime's socket {} does not exist (is the runtime running?)"
UNREACHABLE = "the runtime's socket {} cannot be reached: "

OTHER_PROTOCOLS = {name: LIVE[name] for name in ("live datagram", "live seqpacket")}


@pytest.fixture
def runtime(background: Background, tmp_path: Path) -> ScriptedUpstream:
    """The runtime, which has not started yet."""
    return ScriptedUpstream(background, str(tmp_path / "up.sock"))


def start(runtime: ScriptedUpstream, stack: ExitStack) -> None:
    runtime.scripts["ImageFsInfo"] = reply(b"here")
    runtime.scripts["Version"] = reply(b"")
    runtime.start()
    stack.callback(runtime.stop)


def clear(path: Path) -> None:
    """Take away what stands at the path, as the runtime or an operator does."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def comes_and_goes(runtime: ScriptedUpstream, shim: Shim, stack: ExitStack, expected: str) -> None:
    """Assert what calls are told, that the shim lives, and that it finds the runtime."""
    client = shim.client()
    for method in (FS_INFO, STATUS, f"{IMAGES}PullImage", f"{IMAGES}RemoveImage"):
        answer = client.raw(method, NGINX, timeout=PATIENCE)
        assert answer.code is grpc.StatusCode.UNAVAILABLE
        assert answer.details == f"image-cri-shim: {expected}"
    clear(Path(runtime.path))
    start(runtime, stack)
    # The first call after that finds it, though it comes in the middle of a pause.
    answer = client.raw(FS_INFO, timeout=PATIENCE)
    assert (answer.code, answer.body) == (grpc.StatusCode.OK, b"here")


@pytest.mark.parametrize("version", ["v1", "auto"])
@each(STALE, BOUND)
def test_a_socket_on_which_nobody_listens(
    runtime: ScriptedUpstream,
    make_shim: Callable[..., Shim],
    stack: ExitStack,
    make: Make,
    version: str,
) -> None:
    path = Path(runtime.path)
    make(path, stack)
    shim = make_shim(runtime.path, version=version)
    expected = NOBODY_LISTENS.format(path)
    comes_and_goes(runtime, shim, stack, expected)


@each(DANGLING)
def test_a_link_to_nothing(
    runtime: ScriptedUpstream, make_shim: Callable[..., Shim], stack: ExitStack, make: Make
) -> None:
    path = Path(runtime.path)
    make(path, stack)
    expected = ABSENT.format(path)
    comes_and_goes(runtime, make_shim(runtime.path), stack, expected)


@each(DIRECTORIES, FILES)
def test_what_is_no_socket(
    runtime: ScriptedUpstream, make_shim: Callable[..., Shim], stack: ExitStack, make: Make
) -> None:
    path = Path(runtime.path)
    make(path, stack)
    # The system does not tell these from a socket on which nobody listens.
    expected = NOBODY_LISTENS.format(path)
    comes_and_goes(runtime, make_shim(runtime.path), stack, expected)


@each(LOOP)
def test_a_link_that_leads_in_a_circle(
    runtime: ScriptedUpstream, make_shim: Callable[..., Shim], stack: ExitStack, make: Make
) -> None:
    path = Path(runtime.path)
    make(path, stack)
    expected = UNREACHABLE.format(path) + "Too many levels of symbolic links"
    comes_and_goes(runtime, make_shim(runtime.path), stack, expected)


@each(OTHER_PROTOCOLS)
def test_a_live_socket_of_a_program_that_is_no_runtime(
    runtime: ScriptedUpstream, make_shim: Callable[..., Shim], stack: ExitStack, make: Make
) -> None:
    path = Path(runtime.path)
    make(path, stack)
    expected = UNREACHABLE.format(path) + "Protocol wrong type for socket"
    comes_and_goes(runtime, make_shim(runtime.path), stack, expected)


def test_a_directory_that_is_not_there_yet(
    background: Background, make_shim: Callable[..., Shim], tmp_path: Path, stack: ExitStack
) -> None:
    # A runtime that has never run since the node was started.
    path = tmp_path / "run" / "containerd" / "containerd.sock"
    client = make_shim(str(path)).client()
    answer = client.raw(FS_INFO)
    assert answer.details == f"image-cri-shim: {ABSENT.format(path)}"
    path.parent.mkdir(parents=True)
    start(ScriptedUpstream(background, str(path)), stack)
    assert client.raw(FS_INFO, timeout=PATIENCE).body == b"here"


def test_a_link_whose_runtime_comes_later(
    background: Background, make_shim: Callable[..., Shim], tmp_path: Path, stack: ExitStack
) -> None:
    # dockershim.sock, as a link to the socket of the program that has taken its place.
    link = tmp_path / "dockershim.sock"
    link.symlink_to("cri-dockerd.sock")
    client = make_shim(str(link)).client()
    assert client.raw(FS_INFO).details == f"image-cri-shim: {ABSENT.format(link)}"
    start(ScriptedUpstream(background, str(tmp_path / "cri-dockerd.sock")), stack)
    assert client.raw(FS_INFO, timeout=PATIENCE).body == b"here"


def test_a_runtime_that_has_bound_its_socket_is_found_when_it_listens(
    make_shim: Callable[..., Shim], tmp_path: Path, stack: ExitStack
) -> None:
    # The file stays the same one: only asking again can tell.
    path = tmp_path / "up.sock"
    starting = stack.enter_context(socket.socket(socket.AF_UNIX))
    starting.bind(str(path))
    shim = make_shim(str(path))
    shim.background.call(shim.upstream.start)
    assert shim.client().raw(FS_INFO).details.endswith(NOBODY_LISTENS.format(path))
    starting.listen()
    starting.settimeout(PATIENCE)
    stack.enter_context(starting.accept()[0])


@each(STALE, BOUND, DIRECTORIES, FILES, DANGLING, LOOP, OTHER_PROTOCOLS)
def test_the_shim_finds_the_runtime_without_a_call(
    runtime: ScriptedUpstream, make_shim: Callable[..., Shim], stack: ExitStack, make: Make
) -> None:
    path = Path(runtime.path)
    make(path, stack)
    shim = make_shim(runtime.path)
    connector: Connector = shim.upstream._connector
    shim.background.call(shim.upstream.start)
    assert wait_until(lambda: connector._failure is not None, PATIENCE)
    clear(path)
    if other(path).exists() and not other(path).is_dir():
        other(path).unlink()
    start(runtime, stack)
    assert wait_until(lambda: shim.background.call(lambda: shim.upstream.connected), PATIENCE)
