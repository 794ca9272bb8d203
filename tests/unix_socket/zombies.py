"""Everything that may stand where a socket is expected."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.unix_socket.sockets import bind, leave_stale, serve

Make = Callable[[Path, ExitStack], object]


def other(path: Path) -> Path:
    """Return where a symbolic link at a path leads."""
    return path.with_name("other")


def _device(path: Path, _: ExitStack) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root may make devices")


def _link(make: Make) -> Make:
    def made(path: Path, stack: ExitStack) -> None:
        make(other(path), stack)
        path.symlink_to("other")

    return made


STALE: dict[str, Make] = {
    "stale": lambda path, _: leave_stale(path),
    "link to stale": _link(lambda path, _: leave_stale(path)),
}
LIVE: dict[str, Make] = {
    "live": serve,
    "live datagram": lambda path, stack: serve(path, stack, socket.SOCK_DGRAM),
    "live seqpacket": lambda path, stack: serve(path, stack, socket.SOCK_SEQPACKET),
    "link to live": _link(serve),
}
BOUND: dict[str, Make] = {
    "bound": bind,
    "link to bound": _link(bind),
}
DIRECTORIES: dict[str, Make] = {
    "directory": lambda path, _: path.mkdir(),
    "link to directory": _link(lambda path, _: path.mkdir()),
}
FILES: dict[str, Make] = {
    "file": lambda path, _: path.write_text("precious"),
    "link to file": _link(lambda path, _: path.write_text("precious")),
    "fifo": lambda path, _: os.mkfifo(path),
    "device": _device,
}
DANGLING: dict[str, Make] = {
    "dangling link": lambda path, _: path.symlink_to("other"),
    "link into a directory that is not there": lambda path, _: path.symlink_to("no/where"),
}
LOOP: dict[str, Make] = {
    "link to itself": lambda path, _: path.symlink_to(path.name),
}
FOREIGN = DIRECTORIES | FILES


def each(*kinds: dict[str, Make]) -> pytest.MarkDecorator:
    """Run a test with each of them, as ``make``."""
    makers = {name: make for kind in kinds for name, make in kind.items()}
    return pytest.mark.parametrize("make", makers.values(), ids=makers.keys())


def scene(directory: Path) -> dict[str, tuple[int, int, int]]:
    """Return what is in a directory: each name with what it is."""
    found = {}
    for entry in directory.iterdir():
        status = entry.lstat()
        found[entry.name] = (status.st_ino, status.st_mode, status.st_size)
    return found
