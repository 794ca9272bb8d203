"""Whose a socket is, what may be replaced, and who may use it from when on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from image_cri_shim import unix_socket
from image_cri_shim.unix_socket import SocketError, SocketState, check, listen, probe

ROOT = Path(__file__).parent.parent
NOBODY = 65534


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what a test opens."""
    with ExitStack() as stack:
        yield stack


def serve(path: Path, stack: ExitStack, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Be another program that serves a socket."""
    server = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
    server.bind(str(path))
    if kind == socket.SOCK_STREAM:
        server.listen()
    return server


def leave_stale(path: Path) -> None:
    """Be another program that died."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()


def accepts(path: Path | str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
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


def child(script: str, *arguments: Path) -> str:
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


# What stands at a path


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


# What is replaced and what is left alone


def test_a_socket_is_served_where_there_was_none(tmp_path: Path, stack: ExitStack) -> None:
    is_free(tmp_path / "s", stack)
    assert names(tmp_path) == ["s", "s.lock"]


def test_a_stale_socket_is_replaced(tmp_path: Path, stack: ExitStack) -> None:
    leave_stale(tmp_path / "s")
    is_free(tmp_path / "s", stack)


def test_a_live_socket_of_another_program_is_never_stolen(tmp_path: Path, stack: ExitStack) -> None:
    path = tmp_path / "s"
    serve(path, stack)
    inode = path.stat().st_ino
    assert refusal(path) == (
        f"cannot serve {path}: another program serves it already; stop that first, "
        "or set `shim` to another path"
    )
    assert path.stat().st_ino == inode
    assert accepts(path)
    assert names(tmp_path) == ["s"]


def test_a_live_datagram_socket_is_never_stolen(tmp_path: Path, stack: ExitStack) -> None:
    serve(tmp_path / "s", stack, socket.SOCK_DGRAM)
    assert "another program serves it already" in refusal(tmp_path / "s")


def test_a_directory_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.mkdir()
    assert refusal(path) == (
        f"cannot serve {path}: there is a directory, which is left alone; "
        "move it away or set `shim` to another path"
    )
    assert names(tmp_path) == ["s"]


def test_a_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    assert "there is a file that is no socket, which is left alone" in refusal(path)
    assert path.read_text() == "precious"
    assert names(tmp_path) == ["s"]


def test_a_link_to_a_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "s").symlink_to("file")
    assert "there is a file that is no socket" in refusal(tmp_path / "s")
    assert (tmp_path / "s").is_symlink()
    assert (tmp_path / "file").read_text() == "precious"


def test_a_link_to_nothing_is_replaced(tmp_path: Path, stack: ExitStack) -> None:
    (tmp_path / "s").symlink_to("nowhere")
    is_free(tmp_path / "s", stack)
    assert names(tmp_path) == ["s", "s.lock"]


def test_a_link_to_a_stale_socket_is_replaced_and_the_socket_stays(
    tmp_path: Path, stack: ExitStack
) -> None:
    leave_stale(tmp_path / "other")
    (tmp_path / "s").symlink_to("other")
    is_free(tmp_path / "s", stack)
    assert probe(str(tmp_path / "other")) is SocketState.STALE


def test_a_link_to_a_live_socket_is_left_alone(tmp_path: Path, stack: ExitStack) -> None:
    serve(tmp_path / "other", stack)
    (tmp_path / "s").symlink_to("other")
    assert "another program serves it already" in refusal(tmp_path / "s")
    assert (tmp_path / "s").is_symlink()


@pytest.mark.parametrize("leave", [leave_stale, Path.touch])
def test_what_a_crash_left_under_the_private_name_is_replaced(
    tmp_path: Path, stack: ExitStack, leave: object
) -> None:
    leave(tmp_path / ".s.new")  # type: ignore[operator]
    is_free(tmp_path / "s", stack)
    assert names(tmp_path) == ["s", "s.lock"]


def test_a_failure_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / ".s.new").mkdir()
    with umask(0o027):
        with pytest.raises(SocketError, match=r"cannot serve .*/s: Is a directory"):
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


# Directories and paths


@pytest.mark.parametrize("mask", [0o077, 0o022, 0])
def test_a_missing_directory_is_made_and_everybody_may_pass_through(
    tmp_path: Path, mask: int
) -> None:
    path = tmp_path / "one" / "two" / "s"
    with umask(mask):
        check(str(path))
        assert names(tmp_path) == []
        listener = listen(str(path))
        assert os.umask(mask) == mask
    assert accepts(path)
    assert (mode(path.parent), mode(path.parent.parent)) == (0o755, 0o755)
    listener.remove()
    assert names(path.parent) == []


def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SocketError, match=r"cannot serve .*/file/s: "):
        listen(str(tmp_path / "file" / "s"))


def test_a_directory_that_may_not_be_written_is_refused(stack: ExitStack) -> None:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    directory.chmod(0o555)
    stack.callback(directory.chmod, 0o700)
    message = r"cannot serve .*/s: Permission denied \(.*/s\.lock\)"
    with without_privileges(), pytest.raises(SocketError, match=message):
        listen(str(directory / "s"))
    assert names(directory) == []


def test_the_longest_path_that_a_client_can_use_is_served(tmp_path: Path) -> None:
    padding = unix_socket.PATH_LIMIT - len(str(tmp_path)) - len("//s.sock")
    path = tmp_path / ("d" * padding) / "s.sock"
    assert len(str(path)) == 107
    listener = listen(str(path))
    assert accepts(path)
    assert mode(path) == 0o660
    listener.remove()
    assert names(path.parent) == []


@pytest.mark.parametrize("path", ["s", "./s", "below/s"])
def test_a_relative_path_is_that_from_where_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    listener = listen(path)
    assert accepts(path)
    monkeypatch.chdir("/")
    assert accepts(tmp_path / path)
    listener.remove()
    assert not (tmp_path / path).exists()
    assert not (tmp_path / f"{path}.lock").exists()


@pytest.mark.parametrize("padding", [0, 107])
def test_asyncio_can_serve_it_whatever_is_opened_in_between(
    tmp_path: Path, stack: ExitStack, padding: int
) -> None:
    # Python 3.13 looks at the file behind the address that was bound.
    fill = max(0, padding - len(str(tmp_path)) - len("//s.sock"))
    path = tmp_path / ("d" * fill) / "s.sock"
    listener = listen(str(path))
    stack.callback(listener.remove)
    for _ in range(8):
        stack.enter_context(open(os.devnull))

    async def exchange() -> bytes:
        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello")
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_unix_server(greet, sock=listener.sock)
        reader, writer = await asyncio.open_unix_connection(str(path))
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return answer

    assert asyncio.run(exchange()) == b"hello"


def test_it_does_not_block_asyncios_loop(tmp_path: Path, stack: ExitStack) -> None:
    listener = listen(str(tmp_path / "s"))
    stack.callback(listener.remove)
    assert listener.sock.getblocking() is False


# Who may use it


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
            # As yet nobody but its owner, and nobody at all listens.
            assert (new[0], new[2]) == (0o600, False)
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


# The lock


OVERTAKEN = """
import os, sys
from image_cri_shim.unix_socket import SocketError, listen

path = sys.argv[1]
times = 0

def overtake(event, arguments):
    # Between our opening and locking the file, whoever holds the lock ends and removes the file.
    global times
    if event == "fcntl.flock" and times < 2:
        times += 1
        os.unlink(path + ".lock")

sys.addaudithook(overtake)
listener = listen(path)
assert times == 2
try:
    listen(path)
except SocketError as error:
    print(error)
listener.remove()
"""


def test_a_lock_on_a_file_that_was_just_removed_does_not_count(tmp_path: Path) -> None:
    assert "serves it already" in child(OVERTAKEN, tmp_path / "s")
    assert names(tmp_path) == []


def test_a_second_one_is_refused_and_told_which_process_serves(
    tmp_path: Path, stack: ExitStack
) -> None:
    path = tmp_path / "s"
    is_free(path, stack)
    assert f"process {os.getpid()} serves it already" in refusal(path)
    assert accepts(path)
    assert names(tmp_path) == ["s", "s.lock"]


def test_a_second_one_is_refused_even_if_the_socket_is_gone(
    tmp_path: Path, stack: ExitStack
) -> None:
    path = tmp_path / "s"
    is_free(path, stack)
    path.unlink()
    assert f"process {os.getpid()} serves it already" in refusal(path)
    assert names(tmp_path) == ["s.lock"]


SERVE = """
import sys, time
from image_cri_shim.unix_socket import listen
listener = listen(sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_left_is_free(tmp_path: Path, stack: ExitStack) -> None:
    path = tmp_path / "s"
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "ready\n"
        assert f"process {killed.pid} serves it already" in refusal(path)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert names(tmp_path) == ["s", "s.lock"]
    is_free(path, stack)
    assert (tmp_path / "s.lock").read_text() == f"{os.getpid()}\n"


def test_a_long_text_in_a_lock_that_is_free_does_not_stay(tmp_path: Path, stack: ExitStack) -> None:
    (tmp_path / "s.lock").write_text("4294967296 and more\n")
    is_free(tmp_path / "s", stack)
    assert (tmp_path / "s.lock").read_text() == f"{os.getpid()}\n"


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "s.lock").symlink_to("file")
    assert "s.lock" in refusal(tmp_path / "s")
    assert (tmp_path / "file").read_text() == "precious"
    assert names(tmp_path) == ["file", "s.lock"]


def test_a_child_of_the_process_does_not_keep_the_lock(tmp_path: Path, stack: ExitStack) -> None:
    listener = listen(str(tmp_path / "s"))
    started = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    stack.enter_context(started)
    assert started.stdin is not None
    stack.callback(started.stdin.close)
    listener.remove()
    is_free(tmp_path / "s", stack)


RACE = """
import sys
from image_cri_shim.unix_socket import SocketError, check, listen
for line in sys.stdin:
    listener = None
    try:
        if line.startswith("listen"):
            check(sys.argv[1])
            listener = listen(sys.argv[1])
        print("won", flush=True)
    except SocketError as error:
        print("lost:", error, flush=True)
    sys.stdin.readline()
    if listener is not None:
        listener.remove()
    print("removed", flush=True)
"""


def test_of_two_that_start_at_once_exactly_one_serves(tmp_path: Path, stack: ExitStack) -> None:
    path = tmp_path / "s"
    racers = [
        stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", RACE, str(path)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
            )
        )
        for _ in range(2)
    ]

    def say(word: str) -> list[str]:
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write(f"{word}\n")
        return [racer.stdout.readline() for racer in racers if racer.stdout is not None]

    assert say("warm up") == ["won\n", "won\n"]
    assert say("over") == ["removed\n", "removed\n"]
    for turn in range(20):
        if turn % 2:
            leave_stale(path)
        winner, loser = sorted(say("listen"), reverse=True)
        assert winner == "won\n"
        assert "serves it already" in loser
        assert accepts(path)
        assert say("over") == ["removed\n", "removed\n"]
        assert names(tmp_path) == []
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.close()


# The end


def test_after_the_end_nothing_is_left(tmp_path: Path) -> None:
    listener = listen(str(tmp_path / "s"))
    listener.remove()
    assert names(tmp_path) == []
    assert listener.sock.fileno() == -1


def test_a_socket_that_another_program_put_there_stays(tmp_path: Path, stack: ExitStack) -> None:
    path = tmp_path / "s"
    listener = listen(str(path))
    path.unlink()
    serve(path, stack)
    listener.remove()
    assert names(tmp_path) == ["s"]
    assert accepts(path)


def test_a_socket_that_is_gone_already_is_no_error(tmp_path: Path) -> None:
    listener = listen(str(tmp_path / "s"))
    (tmp_path / "s").unlink()
    (tmp_path / "s.lock").unlink()
    listener.remove()
    assert names(tmp_path) == []


def test_a_lock_that_another_process_took_meanwhile_stays(tmp_path: Path, stack: ExitStack) -> None:
    path = tmp_path / "s"
    first = listen(str(path))
    for left in (path, tmp_path / "s.lock"):
        left.unlink()
    is_free(path, stack)
    first.remove()
    assert names(tmp_path) == ["s", "s.lock"]
    assert "serves it already" in refusal(path)


def test_it_can_be_served_again_at_once(tmp_path: Path) -> None:
    for _ in range(3):
        listener = listen(str(tmp_path / "s"))
        assert accepts(tmp_path / "s")
        listener.remove()
