"""Which of two programs serves a socket, and what is left at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from image_cri_shim.unix_socket import listen
from tests.unix_socket.sockets import (
    ROOT,
    accepts,
    child,
    is_free,
    leave_stale,
    names,
    refusal,
    refusal_in_time,
    serve,
)

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
    assert f"its lock {tmp_path}/s.lock is no regular file" in refusal(tmp_path / "s")
    assert (tmp_path / "file").read_text() == "precious"
    assert names(tmp_path) == ["file", "s.lock"]


def test_a_lock_that_is_a_fifo_is_refused_without_waiting_for_anybody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "s.lock")
    assert refusal_in_time(tmp_path / "s") == (
        f"cannot serve {tmp_path}/s: its lock {tmp_path}/s.lock is no regular file; move it away"
    )
    assert names(tmp_path) == ["s.lock"]


@pytest.mark.parametrize("make", [Path.mkdir, leave_stale])
def test_a_lock_that_is_no_file_is_refused_and_stays(tmp_path: Path, make: object) -> None:
    make(tmp_path / "s.lock")  # type: ignore[operator]
    assert f"its lock {tmp_path}/s.lock is no regular file; move it away" in refusal(tmp_path / "s")
    assert names(tmp_path) == ["s.lock"]


def test_a_lock_that_is_no_file_leaks_no_descriptor(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "s.lock")
    # A writer, so that nothing would wait even if it could: what counts here is what stays open.
    writer = os.open(tmp_path / "s.lock", os.O_RDWR)
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        assert "is no regular file" in refusal(tmp_path / "s")
    assert os.listdir("/proc/self/fd") == before
    os.close(writer)


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


SLOW = r"""
import fcntl, os, sys, time
from image_cri_shim.unix_socket import SocketError, listen

path = sys.argv[1]
holder = os.open(path + ".lock", os.O_RDWR | os.O_CREAT)
fcntl.flock(holder, fcntl.LOCK_EX)
# Its last holder is dead.
os.pwrite(holder, b"999999999\n", 0)

def sign(_):
    # While somebody waits for it, the holder writes down who it is.
    os.ftruncate(holder, 0)
    os.pwrite(holder, f"{os.getpid()}\n".encode(), 0)

time.sleep = sign
try:
    listen(path)
except SocketError as error:
    print(str(error).replace(str(os.getpid()), "PID"))
"""


def test_a_holder_that_has_not_yet_said_who_it_is_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert child(SLOW, path).startswith(f"cannot serve {path}: process PID serves it already")


HELD = """
import fcntl, os, sys
from image_cri_shim.unix_socket import SocketError, listen

path = sys.argv[1]
holder = os.open(path + ".lock", os.O_RDWR | os.O_CREAT)
fcntl.flock(holder, fcntl.LOCK_EX)
try:
    listen(path)
except SocketError as error:
    print(error)
"""


def test_a_holder_that_never_says_who_it_is_is_no_reason_to_wait_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert child(HELD, path).startswith(f"cannot serve {path}: another program serves it already")
