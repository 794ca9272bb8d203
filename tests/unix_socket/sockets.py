"""Other programs' sockets, and what is asserted about ours."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from image_cri_shim.unix_socket import SocketError, check, listen

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root may give a file to another user"
)


def serve(path: Path, stack: ExitStack, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Be another program that serves a socket."""
    server = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
    server.bind(str(path))
    if kind != socket.SOCK_DGRAM:
        server.listen()
    return server


def bind(path: Path, stack: ExitStack) -> socket.socket:
    """Be another program that has bound a socket and does not listen on it yet."""
    server = stack.enter_context(socket.socket(socket.AF_UNIX))
    server.bind(str(path))
    return server


def leave_stale(path: Path) -> None:
    """Be another program that died."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()


def ask(path: Path | str) -> None:
    """Connect."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def accepts(path: Path | str) -> bool:
    try:
        ask(path)
    except OSError:
        return False
    return True


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def refusal(path: Path | str) -> str:
    """Return why a socket cannot be served; check() must say the same in advance."""
    with pytest.raises(SocketError) as caught:
        listen(str(path))
    with pytest.raises(SocketError) as foretold:
        check(str(path))
    assert str(foretold.value) == str(caught.value)
    return str(caught.value)


def is_free(path: Path, stack: ExitStack) -> None:
    """Assert that a socket can be served, and that check() says so without a trace."""
    before = names(path.parent)
    check(str(path))
    assert names(path.parent) == before
    listener = listen(str(path))
    stack.callback(listener.remove)
    assert accepts(path)
    assert stat.S_ISSOCK(path.lstat().st_mode)


def child(script: str, *arguments: Path | str) -> str:
    """Run a script in a process of its own, where it may watch what Python does to files."""
    ended = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stderr == ""
    return ended.stdout


REFUSED = """
import sys
from image_cri_shim.unix_socket import SocketError, check, listen

said = []
for serve in (check, listen):
    try:
        serve(sys.argv[1])
    except SocketError as error:
        said.append(str(error))
first, second = said
assert first == second, said
print(first)
"""


def refusal_in_time(path: Path) -> str:
    """Return why a socket cannot be served; a child that waits for something is ended."""
    return child(REFUSED, path).removesuffix("\n")


@contextmanager
def without_privileges() -> Iterator[None]:
    """Be somebody who is not root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)
