"""What stands at a path, and what of it may be replaced."""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from image_cri_shim.unix_socket import SocketError, SocketState, listen, probe
from tests.unix_socket.sockets import (
    is_free,
    leave_stale,
    names,
    serve,
    umask,
    without_privileges,
)


def test_nothing_is_absent(tmp_path: Path) -> None:
    assert probe(str(tmp_path / "s")) is SocketState.ABSENT


def test_a_socket_that_somebody_serves_is_live(tmp_path: Path, stack: ExitStack) -> None:
    serve(tmp_path / "s", stack)
    assert probe(str(tmp_path / "s")) is SocketState.LIVE


def test_a_socket_that_nobody_serves_any_more_is_stale(tmp_path: Path) -> None:
    leave_stale(tmp_path / "s")
    assert probe(str(tmp_path / "s")) is SocketState.STALE


def test_a_socket_whose_server_is_too_busy_to_accept_is_live(
    tmp_path: Path, stack: ExitStack
) -> None:
    server = stack.enter_context(socket.socket(socket.AF_UNIX))
    server.bind(str(tmp_path / "s"))
    server.listen(0)
    for _ in range(8):
        client = stack.enter_context(socket.socket(socket.AF_UNIX))
        client.setblocking(False)
        try:
            client.connect(str(tmp_path / "s"))
        except BlockingIOError:
            break
    else:
        pytest.fail("the queue is never full")
    assert probe(str(tmp_path / "s")) is SocketState.LIVE


def test_a_socket_that_somebody_serves_with_datagrams_is_live(
    tmp_path: Path, stack: ExitStack
) -> None:
    serve(tmp_path / "s", stack, socket.SOCK_DGRAM)
    assert probe(str(tmp_path / "s")) is SocketState.LIVE


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, os.mkfifo])
def test_anything_else_is_no_socket(tmp_path: Path, make: object) -> None:
    make(tmp_path / "s")  # type: ignore[operator]
    assert probe(str(tmp_path / "s")) is SocketState.FOREIGN


def test_a_link_is_what_it_leads_to(tmp_path: Path, stack: ExitStack) -> None:
    link = tmp_path / "link"
    link.symlink_to("s")
    assert probe(str(link)) is SocketState.ABSENT
    leave_stale(tmp_path / "s")
    assert probe(str(link)) is SocketState.STALE
    (tmp_path / "s").unlink()
    serve(tmp_path / "s", stack)
    assert probe(str(link)) is SocketState.LIVE
    (tmp_path / "s").unlink()
    (tmp_path / "s").touch()
    assert probe(str(link)) is SocketState.FOREIGN


def test_what_may_not_be_looked_at_is_an_error(stack: ExitStack) -> None:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    leave_stale(directory / "s")
    directory.chmod(0)
    stack.callback(directory.chmod, 0o700)
    with without_privileges(), pytest.raises(PermissionError):
        probe(str(directory / "s"))


def test_a_socket_is_served_where_there_was_none(tmp_path: Path, stack: ExitStack) -> None:
    is_free(tmp_path / "s", stack)
    assert names(tmp_path) == ["s", "s.lock"]


def test_what_a_crash_left_under_the_private_name_is_replaced(
    tmp_path: Path, stack: ExitStack
) -> None:
    leave_stale(tmp_path / ".s.new")
    is_free(tmp_path / "s", stack)
    assert names(tmp_path) == ["s", "s.lock"]


def link_to_a_stale_socket(path: Path) -> None:
    leave_stale(path.with_name("other"))
    path.symlink_to("other")


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, os.mkfifo, link_to_a_stale_socket])
def test_what_is_no_socket_under_the_private_name_is_in_the_way_and_stays(
    tmp_path: Path, make: object
) -> None:
    path, private = tmp_path / "s", tmp_path / ".s.new"
    leave_stale(path)
    make(private)  # type: ignore[operator]
    before, left = private.lstat(), names(tmp_path)
    with pytest.raises(SocketError) as caught:
        listen(str(path))
    assert str(caught.value) == f"cannot serve {path}: {private} is in the way; move it away"
    assert names(tmp_path) == left
    assert private.lstat().st_ino == before.st_ino
    assert probe(str(path)) is SocketState.STALE


def test_a_failure_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / ".s.new").mkdir()
    with umask(0o027):
        with pytest.raises(SocketError, match=r"\.s\.new is in the way"):
            listen(str(tmp_path / "s"))
        assert os.umask(0o027) == 0o027
    assert names(tmp_path) == [".s.new"]
    # And the lock is free again.
    (tmp_path / ".s.new").rmdir()
    listen(str(tmp_path / "s")).remove()


def test_a_failure_half_way_leaks_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / ".s.new").mkdir()
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with pytest.raises(SocketError):
            listen(str(tmp_path / "s"))
    assert os.listdir("/proc/self/fd") == before
    (tmp_path / ".s.new").rmdir()
    listen(str(tmp_path / "s")).remove()
    assert os.listdir("/proc/self/fd") == before
