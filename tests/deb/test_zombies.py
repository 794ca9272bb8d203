"""Sockets that nobody serves, and other things at their paths, on both sides of the shim."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.deb.support.chroot import PROGRAM, Chroot, Runtime, Shim
from tests.support.cri_client import CRI
from tests.support.processes import accepts

PLACE = "/run/lab"
NAMES = ("dockershim.sock", "cri-dockerd.sock", "crio/crio.sock", "image-cri-shim.sock")

# What may be at a path, and why the daemon does not take it for its own socket; None: it does.
KINDS = {
    "stale": None,
    "live": "another program serves it already",
    "link-to-stale": None,
    "link-to-live": "another program serves it already",
    "dangling-link": None,
    "directory": "there is a directory, which is left alone",
    "file": "there is a file that is no socket, which is left alone",
}


@pytest.fixture
def directory(chroot: Chroot) -> Iterator[Path]:
    """A directory with one of each kind, each with what it leads to in a directory of its own."""
    path = chroot.path(PLACE)
    with contextlib.ExitStack() as ends:
        for kind in KINDS:
            place(path / kind, kind, ends)
        yield path


def place(directory: Path, kind: str, ends: contextlib.ExitStack) -> None:
    directory.mkdir(parents=True)
    path, other = directory / "s", directory / "other"
    is_link = kind.startswith("link-to-")
    if kind.endswith(("stale", "live")):
        server = ends.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(str(other if is_link else path))
        server.listen()
        if kind.endswith("stale"):
            server.close()
    if is_link:
        path.symlink_to("other")
    elif kind == "dangling-link":
        path.symlink_to("nowhere")
    elif kind == "directory":
        path.mkdir()
    elif kind == "file":
        path.write_text("precious")


def look(directory: Path) -> dict[str, tuple[int, int]]:
    """Return what is there: `kind/name`, inode and mode."""
    there = {f"{p.parent.name}/{p.name}": p.lstat() for p in directory.glob("*/*")}
    return {name: (status.st_ino, status.st_mode) for name, status in there.items()}


def test_cleanup_sockets_removes_stale_sockets_and_nothing_else(
    chroot: Chroot, directory: Path
) -> None:
    before = look(directory)
    paths = [f"{PLACE}/{kind}/s" for kind in KINDS]
    done = chroot.run(PROGRAM, "cleanup-sockets", *paths)
    print(done.stdout)
    assert before.keys() - look(directory).keys() == {"stale/s", "link-to-stale/other"}
    assert look(directory).items() <= before.items()
    assert len(done.stdout.splitlines()) == len(KINDS)
    # It is safe to run at any time.
    assert chroot.run(PROGRAM, "cleanup-sockets", *paths).returncode == 0
    assert look(directory).items() <= before.items()


def test_cleanup_sockets_knows_where_runtimes_leave_theirs(chroot: Chroot) -> None:
    places = [chroot.path(f"/run/{name}") for name in NAMES]
    for path in places:
        path.parent.mkdir(exist_ok=True)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()
    with Runtime(chroot) as runtime:
        chroot.run(PROGRAM, "cleanup-sockets")
        assert accepts(runtime.socket)
    assert [path for path in places if os.path.lexists(path)] == []


def test_the_daemon_starts_on_what_is_stale_and_refuses_what_is_not(
    chroot: Chroot, directory: Path
) -> None:
    for kind, reason in KINDS.items():
        path = f"{PLACE}/{kind}/s"
        before = look(directory)
        if reason is None:
            with Shim(chroot, "--shim", path, socket=path) as shim:
                assert accepts(shim.socket), kind
            assert not os.path.lexists(directory / kind / "s"), kind
        else:
            ended = chroot.run(PROGRAM, "--shim", path, check=False, seconds=20)
            assert ended.returncode == 1, kind
            assert reason in ended.stdout, kind
            assert "Traceback" not in ended.stdout
            assert look(directory) == before, kind


def test_whatever_is_at_the_runtimes_place_calls_end_at_once_and_say_why(
    chroot: Chroot, directory: Path
) -> None:
    for kind in KINDS:
        if kind.endswith("live"):
            continue
        path = f"{PLACE}/{kind}/s"
        before = look(directory)
        with Shim(chroot, "--cri", path) as shim, CRI(shim.socket) as client:
            with pytest.raises(grpc.RpcError) as caught:
                client.version(timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE, kind
        assert path in caught.value.details(), kind
        assert look(directory) == before, kind


def test_kill_9_leaves_nothing_that_the_next_start_does_not_clean_up(chroot: Chroot) -> None:
    before = {p.name for p in chroot.path("/run").iterdir()}
    for _ in range(2):
        with Shim(chroot) as shim:
            shim.kill()
            assert not accepts(shim.socket)
    with Shim(chroot) as shim:
        assert accepts(shim.socket)
    # The directory of the admin socket stays, with nothing in it; systemd removes its own.
    directory = chroot.path("/run/image-cri-shim")
    assert list(directory.iterdir()) == []
    after = {p.name for p in chroot.path("/run").iterdir()}
    assert after - {directory.name} == before - {directory.name}


def test_a_directory_that_is_not_there_is_made(chroot: Chroot) -> None:
    path = "/run/lab/not/there/yet/s"
    with Shim(chroot, "--shim", path, socket=path) as shim:
        assert accepts(shim.socket)
