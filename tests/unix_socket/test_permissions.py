"""Who may use a socket, from its first moment on."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from image_cri_shim.unix_socket import listen
from tests.unix_socket.sockets import (
    child,
    leave_stale,
    mode,
    names,
    umask,
)


@pytest.mark.parametrize("mask", [0, 0o022, 0o077, 0o777])
def test_without_a_runtime_owner_and_group_may_use_it_whatever_the_umask(
    tmp_path: Path, mask: int
) -> None:
    with umask(mask):
        listener = listen(str(tmp_path / "s"), like=str(tmp_path / "absent"))
        assert os.umask(mask) == mask
    assert mode(tmp_path / "s") == 0o660
    assert mode(tmp_path / "s.lock") & 0o177 == 0
    listener.remove()


@pytest.mark.parametrize("permissions", [0o600, 0o660, 0o666, 0o700, 0o777])
def test_whoever_may_use_the_runtime_may_use_the_shim(
    tmp_path: Path, stack: ExitStack, permissions: int
) -> None:
    like = tmp_path / "runtime"
    leave_stale(like)
    like.chmod(permissions)
    if os.geteuid() == 0:
        os.chown(like, 12345, 54321)
    listener = listen(str(tmp_path / "s"), like=str(like))
    stack.callback(listener.remove)
    ours, theirs = (tmp_path / "s").stat(), like.stat()
    assert (ours.st_mode, ours.st_uid, ours.st_gid) == (
        theirs.st_mode,
        theirs.st_uid,
        theirs.st_gid,
    )


def test_a_link_to_the_runtimes_socket_counts_as_the_socket(
    tmp_path: Path, stack: ExitStack
) -> None:
    leave_stale(tmp_path / "runtime")
    (tmp_path / "runtime").chmod(0o606)
    (tmp_path / "link").symlink_to("runtime")
    stack.callback(listen(str(tmp_path / "s"), like=str(tmp_path / "link")).remove)
    assert mode(tmp_path / "s") == 0o606


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_permissions_are_not_taken_from_what_is_no_socket(
    tmp_path: Path, stack: ExitStack, make: object
) -> None:
    make(tmp_path / "runtime")  # type: ignore[operator]
    (tmp_path / "runtime").chmod(0o777)
    stack.callback(listen(str(tmp_path / "s"), like=str(tmp_path / "runtime")).remove)
    assert mode(tmp_path / "s") == 0o660


WATCHED = """
import json, os, socket, stat, sys
from image_cri_shim.unix_socket import listen

directory, like = sys.argv[1:]
seen = []
watching = False

def watch(event, arguments):
    # Before each change that Python makes to a file: which sockets are there, for whom?
    global watching
    if watching or event not in ("os.chmod", "os.chown", "os.rename", "os.remove"):
        return
    watching = True
    state = {}
    for name in os.listdir(directory):
        status = os.lstat(os.path.join(directory, name))
        if stat.S_ISSOCK(status.st_mode):
            with socket.socket(socket.AF_UNIX) as client:
                listening = client.connect_ex(os.path.join(directory, name)) == 0
            state[name] = [stat.S_IMODE(status.st_mode), status.st_uid, listening]
    seen.append([event, state])
    watching = False

os.umask(0)
sys.addaudithook(watch)
listen(os.path.join(directory, "s"), like)
print(json.dumps(seen))
"""


def test_there_is_no_moment_with_wrong_permissions_and_none_without_a_listener(
    tmp_path: Path,
) -> None:
    like = tmp_path / "runtime"
    leave_stale(like)
    like.chmod(0o640)
    owner = 12345 if os.geteuid() == 0 else os.geteuid()
    os.chown(like, owner, -1)
    directory = tmp_path / "shim"
    directory.mkdir()
    leave_stale(directory / "s")
    (directory / "s").chmod(0o600)
    seen = json.loads(child(WATCHED, directory, like))
    events = [event for event, _ in seen]
    assert "os.chmod" in events
    assert events[-1] == "os.rename"
    stale = [0o600, os.geteuid(), False]
    for event, state in seen:
        # The name itself leads to the old socket until the new one takes its place.
        assert state["s"] == stale
        new = state.get(".s.new")
        if event == "os.rename":
            assert new == [0o640, owner, True]
        elif new is not None:
            # As yet nobody listens, and nobody has more than in the end.
            assert (new[0] & ~0o640, new[2]) == (0, False)
    assert mode(directory / "s") == 0o640


INTERRUPTED = """
import os, sys
from image_cri_shim.unix_socket import SocketError, listen

def interrupt(event, arguments):
    if event == "os.rename":
        raise OSError(28, "No space left on device")

path = sys.argv[1]
sys.addaudithook(interrupt)
descriptors = os.listdir("/proc/self/fd")
try:
    listen(path)
except SocketError as error:
    print(error)
assert os.listdir("/proc/self/fd") == descriptors
"""


def test_a_failure_at_the_last_moment_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert child(INTERRUPTED, path) == f"cannot serve {path}: No space left on device\n"
    assert names(tmp_path) == []
