"""What a start makes of everything that may stand at the path of the socket to serve."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest

from image_cri_shim.unix_socket import PATH_LIMIT, SocketState, listen, probe
from tests.unix_socket.sockets import (
    accepts,
    bind,
    child,
    is_free,
    leave_stale,
    names,
    refusal,
    serve,
    without_privileges,
)
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
    scene,
)


def left_alone(directory: Path, stack: ExitStack, make: Make, why: str) -> None:
    """Make something where the socket is to be: it must be refused with a reason, and stay."""
    path = directory / "s"
    make(path, stack)
    before = scene(directory)
    assert refusal(path) == f"cannot serve {path}: {why}"
    assert scene(directory) == before


@each(STALE, DANGLING)
def test_what_nobody_serves_is_replaced(tmp_path: Path, stack: ExitStack, make: Make) -> None:
    path = tmp_path / "s"
    make(path, stack)
    before = scene(tmp_path)
    is_free(path, stack)
    # Of a link only the link itself.
    left = {name: what for name, what in scene(tmp_path).items() if name not in ("s", "s.lock")}
    del before["s"]
    assert left == before


@each(LIVE)
def test_what_another_program_serves_is_left_alone(
    tmp_path: Path, stack: ExitStack, make: Make
) -> None:
    left_alone(
        tmp_path,
        stack,
        make,
        "another program serves it already; stop that first, or set `shim` to another path",
    )


@each(BOUND)
def test_what_another_program_is_about_to_serve_is_left_alone(
    tmp_path: Path, stack: ExitStack, make: Make
) -> None:
    left_alone(
        tmp_path,
        stack,
        make,
        "another program is about to serve it; stop that first, or set `shim` to another path",
    )


@each(DIRECTORIES)
def test_a_directory_is_left_alone(tmp_path: Path, stack: ExitStack, make: Make) -> None:
    left_alone(
        tmp_path,
        stack,
        make,
        "there is a directory, which is left alone; move it away or set `shim` to another path",
    )


@each(FILES)
def test_what_is_no_socket_is_left_alone(tmp_path: Path, stack: ExitStack, make: Make) -> None:
    left_alone(
        tmp_path,
        stack,
        make,
        "there is a file that is no socket, which is left alone; "
        "move it away or set `shim` to another path",
    )


@each(LOOP)
def test_a_link_that_leads_in_a_circle_is_left_alone(
    tmp_path: Path, stack: ExitStack, make: Make
) -> None:
    path = tmp_path / "s"
    make(path, stack)
    assert refusal(path).startswith(f"cannot serve {path}: Too many levels of symbolic links")
    assert path.is_symlink()


def test_our_own_live_instance_is_named(tmp_path: Path, stack: ExitStack) -> None:
    path = tmp_path / "s"
    is_free(path, stack)
    before = scene(tmp_path)
    assert f"process {os.getpid()} serves it already" in refusal(path)
    assert scene(tmp_path) == before


def test_our_own_live_instance_is_never_replaced_even_if_its_lock_was_removed(
    tmp_path: Path, stack: ExitStack
) -> None:
    path = tmp_path / "s"
    is_free(path, stack)
    inode = path.stat().st_ino
    (tmp_path / "s.lock").unlink()
    assert "another program serves it already" in refusal(path)
    (tmp_path / "s.lock").write_text("somebody else's\n")
    assert "another program serves it already" in refusal(path)
    assert path.stat().st_ino == inode
    assert accepts(path)


def test_a_path_that_no_client_could_use_is_refused_with_the_reason(tmp_path: Path) -> None:
    padding = PATH_LIMIT + 1 - len(str(tmp_path)) - len("//s.sock")
    path = tmp_path / ("d" * padding) / "s.sock"
    assert refusal(path) == (
        f"cannot serve {path}: its path has 108 bytes and a socket's at most 107 (unix(7)); "
        "set `shim` to a shorter one"
    )
    assert names(tmp_path) == []


def test_a_directory_that_is_absent_several_levels_up_is_made(
    tmp_path: Path, stack: ExitStack
) -> None:
    path = tmp_path / "a" / "b" / "c" / "d" / "s"
    stack.callback(listen(str(path)).remove)
    assert accepts(path)


def test_a_connection_that_outlives_its_server_does_not_make_a_socket_live(
    tmp_path: Path, stack: ExitStack
) -> None:
    # It has the server's path in the system's table.
    path = tmp_path / "s"
    server = serve(path, stack)
    client = stack.enter_context(socket.socket(socket.AF_UNIX))
    client.connect(str(path))
    accepted, _ = server.accept()
    stack.enter_context(accepted)
    server.close()
    assert str(path) in Path("/proc/net/unix").read_text()
    assert probe(str(path)) is SocketState.STALE
    client.close()
    assert probe(str(path)) is SocketState.STALE


def test_a_socket_is_not_taken_for_another_of_the_same_name(
    tmp_path: Path, stack: ExitStack
) -> None:
    (tmp_path / "other").mkdir()
    bind(tmp_path / "other" / "s", stack)
    leave_stale(tmp_path / "s")
    assert probe(str(tmp_path / "s")) is SocketState.STALE
    assert probe(str(tmp_path / "other" / "s")) is SocketState.BOUND


def test_a_bound_socket_is_known_by_whichever_path_it_was_bound(
    tmp_path: Path, stack: ExitStack
) -> None:
    directory = tmp_path / "one"
    directory.mkdir()
    (tmp_path / "two").symlink_to("one")
    bind(tmp_path / "two" / "s", stack)
    assert probe(str(directory / "s")) is SocketState.BOUND
    # A program in another root directory has a path that leads nowhere here.
    (tmp_path / "two").unlink()
    assert probe(str(directory / "s")) is SocketState.BOUND
    here = Path.cwd()
    stack.callback(os.chdir, here)
    os.chdir(directory)
    bind(Path("relative"), stack)
    os.chdir(here)
    assert probe(str(directory / "relative")) is SocketState.BOUND


def test_the_socket_is_made_in_its_own_directory(tmp_path: Path, stack: ExitStack) -> None:
    # SELinux: there it gets the directory's type, which a rename does not change.
    path = tmp_path / "run" / "s"
    listener = listen(str(path))
    stack.callback(listener.remove)
    assert listener.sock.getsockname() == str(tmp_path / "run" / ".s.new")
    assert stat.S_ISSOCK(path.lstat().st_mode)
    assert other(path).name not in names(path.parent)


@pytest.mark.skipif(os.geteuid() != 0, reason="root makes the socket of another user")
def test_a_socket_that_may_not_be_asked_is_left_alone(everybodys: Path) -> None:
    path = everybodys / "s"
    leave_stale(path)
    with without_privileges():
        assert refusal(path) == (
            f"cannot serve {path}: it cannot be found out whether another program serves it "
            "(permission denied); start as root, or set `shim` to another path"
        )
    assert names(everybodys) == ["s"]


def test_a_server_whose_file_was_replaced_does_not_make_the_new_one_live(
    tmp_path: Path, stack: ExitStack
) -> None:
    # It listens on, by the same path in the system's table, and nobody reaches it.
    path = tmp_path / "s"
    serve(path, stack)
    path.unlink()
    leave_stale(path)
    assert probe(str(path)) is SocketState.STALE


BEGINS = """
import socket, sys
from image_cri_shim.unix_socket import probe

server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])

def begin(event, arguments):
    # Between the first question and the look at the system's table.
    if event == "open" and str(arguments[0]) == "/proc/net/unix":
        server.listen()

sys.addaudithook(begin)
print(probe(sys.argv[1]).name)
"""


def test_a_server_that_begins_to_listen_while_it_is_asked_is_live(tmp_path: Path) -> None:
    assert child(BEGINS, tmp_path / "s") == "LIVE\n"
