"""A log that nobody takes stops nothing: the daemon serves, and ends when it is told to."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import termios
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.cri_client import CRI
from tests.support.daemon import CONSOLE, Daemon
from tests.support.processes import accepts, wait_until
from tests.support.standin_runtime import StandinRuntime

CONFIG = 'address: ""\ndebug: true'


class Unheard:
    """Runs the daemon with the standard error of one's choice; it must be ready without a word."""

    def __init__(self, directory: Path, runtime: str) -> None:
        self.daemon = Daemon(directory, cri=runtime, config=CONFIG, program=CONSOLE)
        self.child: subprocess.Popen[bytes] | None = None

    def start(self, error: int, *, wrapper: tuple[str, ...] = ()) -> str:
        """Start it and return its socket."""
        self.child = subprocess.Popen(
            (*wrapper, *self.daemon.command()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=error,
            env=self.daemon.environment(),
            start_new_session=True,
        )
        child = self.child
        socket = self.daemon.socket
        assert wait_until(lambda: child.poll() is not None or accepts(socket), 20)
        assert child.poll() is None
        return socket

    def end(self) -> int:
        assert self.child is not None
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(20)

    def kill(self) -> None:
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
            self.child.wait()


@pytest.fixture
def unheard(tmp_path: Path, standin: StandinRuntime) -> Iterator[Unheard]:
    made = Unheard(tmp_path, standin.socket)
    yield made
    made.kill()


def use(client: CRI) -> None:
    for number in range(40):
        assert client.version(timeout=10).runtime_name
        assert client.image_status(f"origin.test/unheard/{number}:1", timeout=10) is None


def test_a_pipe_that_nobody_reads_stops_nothing_and_has_all_when_it_is_read(
    unheard: Unheard, connect: Callable[..., CRI], stack: ExitStack
) -> None:
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    # Another one has filled it before.
    os.write(writing, b"!" * 4096)
    socket = unheard.start(writing)
    os.close(writing)
    client = connect(socket)
    use(client)
    assert os.read(reading, 4096) == b"!" * 4096
    # Now it is read: all is there, from the first line on, at the next look.
    os.set_blocking(reading, False)
    text = b""

    def whole() -> bool:
        nonlocal text
        with contextlib.suppress(BlockingIOError):
            text += os.read(reading, 4096)
        return text.count(b"/Version took") == 40

    assert wait_until(whole, 20), text
    assert b"starting up" in text.splitlines()[0]
    use(client)
    # Again nobody does, and it ends all the same.
    assert unheard.end() == 0


def test_who_reads_at_last_has_the_last_words_too(
    unheard: Unheard, connect: Callable[..., CRI], stack: ExitStack
) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    file = stack.enter_context(os.fdopen(reading, "rb"))
    socket = unheard.start(writing)
    os.close(writing)
    client = connect(socket)
    for _ in range(10):
        use(client)
    client.close()
    assert unheard.child is not None
    unheard.child.send_signal(signal.SIGTERM)
    lines = file.read().splitlines()
    assert sum(b"/Version took" in line for line in lines) == 400
    assert lines[-1].endswith(b"Server Shut Down.")
    assert unheard.child.wait(20) == 0


@pytest.mark.parametrize(
    "kind", ["a full disk", "a terminal that is stopped", "a reader that went"]
)
def test_a_log_that_cannot_be_written_stops_nothing(
    kind: str, unheard: Unheard, connect: Callable[..., CRI], stack: ExitStack
) -> None:
    if kind == "a full disk":
        error = os.open("/dev/full", os.O_WRONLY)
    elif kind == "a reader that went":
        reading, error = os.pipe()
        os.close(reading)
    else:
        master, error = pty.openpty()
        stack.callback(os.close, master)
        termios.tcflow(error, termios.TCOOFF)
    stack.callback(os.close, error)
    use(connect(unheard.start(error)))
    assert unheard.end() == 0


def test_a_closed_standard_error_stops_nothing_and_nothing_else_gets_the_log(
    unheard: Unheard, connect: Callable[..., CRI]
) -> None:
    closing = ("/bin/sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh")
    socket = unheard.start(subprocess.DEVNULL, wrapper=closing)
    use(connect(socket))
    assert unheard.child is not None
    places = [os.readlink(f"/proc/{unheard.child.pid}/fd/{number}") for number in range(3)]
    assert places == ["/dev/null"] * 3
    assert unheard.end() == 0
