"""What the service manager hears."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from image_cri_shim.sd_notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(5)
        yield receiver


def heard(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().split("\n")


def test_ready_comes_with_a_line_for_people(manager: socket.socket) -> None:
    Notifier(manager.getsockname()).ready("serving on /run/x.sock")
    assert heard(manager) == ["READY=1", "STATUS=serving on /run/x.sock"]


def test_a_status_of_two_lines_cannot_smuggle_in_a_message(manager: socket.socket) -> None:
    Notifier(manager.getsockname()).status("one\nSTOPPING=1\r\n two")
    assert heard(manager) == ["STATUS=one STOPPING=1 two"]


def test_a_reload_says_when_it_began(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname())
    times = []
    for _ in range(2):
        notifier.reloading()
        first, second = heard(manager)
        assert first == "RELOADING=1"
        name, _, value = second.partition("=")
        assert name == "MONOTONIC_USEC"
        times.append(int(value))
    assert times == sorted(times)


def test_a_stop_asks_for_the_time_that_pulls_get(manager: socket.socket) -> None:
    Notifier(manager.getsockname()).stopping(30.0)
    assert heard(manager) == [
        "STOPPING=1",
        "EXTEND_TIMEOUT_USEC=45000000",
        "STATUS=stopping: calls that run get 30 s",
    ]


def test_the_watchdog_is_fed(manager: socket.socket) -> None:
    Notifier(manager.getsockname()).alive()
    assert heard(manager) == ["WATCHDOG=1"]


def test_an_abstract_address_is_one() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("")
        receiver.settimeout(5)
        name = receiver.getsockname()[1:].decode()
        Notifier(f"@{name}").alive()
        assert heard(receiver) == ["WATCHDOG=1"]


def fill(manager: socket.socket) -> None:
    """Send what nobody reads until there is no room for more."""
    with contextlib.suppress(BlockingIOError):
        while True:
            # A new socket each time, as the notifier has it: each has room of its own as well.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(b"X", manager.getsockname())


def drained(manager: socket.socket) -> set[bytes]:
    """Return all that has been said and not been read."""
    found = set()
    manager.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            found.add(manager.recv(100))
    return found


def test_a_manager_that_is_busy_is_waited_for_when_it_matters(manager: socket.socket) -> None:
    fill(manager)
    ready = threading.Thread(target=Notifier(manager.getsockname()).ready, args=("serving",))
    ready.start()
    ready.join(0.1)
    assert ready.is_alive(), "it has not waited"
    assert manager.recv(100) == b"X"
    ready.join()
    assert drained(manager) == {b"X", b"READY=1\nSTATUS=serving"}


def test_a_manager_that_is_gone_or_does_not_read_harms_nobody(manager: socket.socket) -> None:
    Notifier("/nonexistent/notify").ready("x")
    Notifier("@nobody-listens-here").ready("x")
    Notifier().ready("x")
    fill(manager)
    before = time.thread_time()
    Notifier(manager.getsockname()).ready("x")
    assert time.thread_time() - before < 0.2, "it has been busy waiting"
    assert drained(manager) == {b"X"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Notifier()),
        ({"NOTIFY_SOCKET": "/run/n"}, Notifier("/run/n")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "30000000"}, Notifier("@n", 30.0)),
        (
            {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "500000", "WATCHDOG_PID": "7"},
            Notifier("/n", 0.5),
        ),
        # It is for another process, or nonsense, or nobody could be told.
        (
            {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "500000", "WATCHDOG_PID": "8"},
            Notifier("/n"),
        ),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "soon"}, Notifier("/n")),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "²"}, Notifier("/n")),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "1" * 5000}, Notifier("/n")),
        ({"NOTIFY_SOCKET": "vsock:2:1", "WATCHDOG_USEC": "500000"}, Notifier()),
        ({"WATCHDOG_USEC": "500000"}, Notifier()),
    ],
)
def test_the_environment_says_whom_to_tell(environ: dict[str, str], expected: Notifier) -> None:
    assert Notifier.from_environment(environ, 7) == expected


def test_children_are_not_mistaken_for_the_daemon() -> None:
    environ = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "7", "HOME": "/"}
    Notifier.from_environment(environ, 7)
    assert environ == {"HOME": "/"}
