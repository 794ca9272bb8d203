"""A log that nobody takes never stops the program, and what was lost is said."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
import termios
import tty
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from image_cri_shim.logs import outlet
from image_cri_shim.logs.outlet import Outlet

LINE = b"x" * 99 + b"\n"


def lost(count: int) -> bytes:
    # As long as the others: a shorter one might find room where none of them does.
    return f"{count} lost".ljust(99).encode() + b"\n"


def descriptor(stack: ExitStack, number: int) -> int:
    stack.callback(os.close, number)
    return number


def pipe(stack: ExitStack) -> tuple[int, int]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    return descriptor(stack, reading), descriptor(stack, writing)


def made(stack: ExitStack, number: int, limit: int = outlet.LIMIT) -> Outlet:
    return stack.enter_context(closing(Outlet(number, lost, limit)))


def read(number: int) -> bytes:
    """Return everything that can be read now."""
    found = []
    while True:
        try:
            data = os.read(number, 1 << 16)
        except BlockingIOError:
            break
        if not data:
            break
        found.append(data)
    return b"".join(found)


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [b"%06d " % number + LINE[7:] for number in range(start, start + count)]


# A socket, a pipe and a terminal that nobody reads; the last is as a service manager may pass it,
# somebody else's, which cannot be opened once more.
@pytest.fixture(params=["pipe", "socket", "terminal", "somebody else's pipe"])
def ends(
    request: pytest.FixtureRequest, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, int]:
    if request.param == "socket":
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        stack.enter_context(reader)
        stack.enter_context(writer)
        return reader.fileno(), writer.fileno()
    if request.param == "terminal":
        master, slave = pty.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        return descriptor(stack, master), descriptor(stack, slave)
    if request.param == "somebody else's pipe":
        opened = os.open

        def refuse(path: str, flags: int) -> int:
            if path.startswith("/proc/self/fd/"):
                raise PermissionError(13, "not yours", path)
            return opened(path, flags)

        monkeypatch.setattr(os, "open", refuse)
    return pipe(stack)


def test_lines_come_out_as_they_went_in(ends: tuple[int, int], stack: ExitStack) -> None:
    reading, writing = ends
    log = made(stack, writing)
    for line in (b"one\n", b"two\n"):
        log.write(line)
    assert log.flush()
    assert read(reading) == b"one\ntwo\n"


def test_what_nobody_takes_waits_and_comes_in_order(
    ends: tuple[int, int], stack: ExitStack
) -> None:
    reading, writing = ends
    log = made(stack, writing)
    lines = numbered(8000)
    for line in lines:
        log.write(line)
    assert not log.flush()
    found = b""
    while True:
        piece = read(reading)
        found += piece
        if log.flush() and not piece:
            break
    assert found == b"".join(lines)


def test_the_oldest_of_too_much_is_dropped_and_that_is_said(
    ends: tuple[int, int], stack: ExitStack
) -> None:
    reading, writing = ends
    log = made(stack, writing, limit=2000)
    lines = numbered(20_000)
    for line in lines:
        log.write(line)
    found = b""
    for _ in range(1000):
        found += read(reading)
        if log.flush():
            break
    found += read(reading)
    come = found.splitlines(keepends=True)
    notices = [place for place, line in enumerate(come) if b" lost " in line]
    # A terminal may take something meanwhile.
    assert notices
    missing = sum(int(come[place].split()[0]) for place in notices)
    assert log.dropped == missing
    # Nothing is torn, nothing is missing but what is said to be, and the last lines are there.
    number = 0
    for place, line in enumerate(come):
        if place in notices:
            number += int(line.split()[0])
        else:
            assert line == lines[number]
            number += 1
    assert number == len(lines)
    assert 10 <= len(come) - notices[-1] - 1 <= 20
    log.write(b"after\n")
    assert read(reading) == b"after\n"
    assert log.dropped == missing


def test_a_descriptor_is_not_made_non_blocking_for_those_who_share_it(
    ends: tuple[int, int], stack: ExitStack
) -> None:
    _, writing = ends
    made(stack, writing).write(LINE)
    assert os.get_blocking(writing)


def test_a_stopped_terminal_stops_nothing(stack: ExitStack) -> None:
    master, slave = pty.openpty()
    stack.callback(os.close, master)
    stack.callback(os.close, slave)
    os.set_blocking(master, False)
    termios.tcflow(slave, termios.TCOOFF)
    log = made(stack, slave)
    for line in numbered(10):
        log.write(line)
    assert not log.flush()
    termios.tcflow(slave, termios.TCOON)
    assert log.flush()
    assert read(master).replace(b"\r\n", b"\n") == b"".join(numbered(10))


def test_a_full_disk_is_waited_out(stack: ExitStack, tmp_path: Path) -> None:
    full = descriptor(stack, os.open("/dev/full", os.O_WRONLY))
    free = descriptor(stack, os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    disk = descriptor(stack, os.dup(full))
    log = made(stack, disk)
    log.write(b"one\n")
    assert not log.flush()
    os.dup2(free, disk)
    log.write(b"two\n")
    assert log.flush()
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


def test_a_reader_that_is_gone_ends_nothing(stack: ExitStack) -> None:
    reading, writing = os.pipe()
    log = made(stack, descriptor(stack, writing), limit=1000)
    os.close(reading)
    for line in numbered(100):
        log.write(line)
    assert not log.flush()
    naps: list[float] = []
    log.finish(clock=lambda: 0.0, sleep=naps.append)
    # There is nothing to hope for.
    assert naps == []


def test_at_the_end_what_is_left_gets_a_second(stack: ExitStack) -> None:
    reading, writing = pipe(stack)
    log = made(stack, writing)
    while log.flush():
        log.write(LINE)
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    log.finish(clock=lambda: now, sleep=sleep)
    assert 1.0 <= now < 1.1
    late = 0.0

    def read_meanwhile(seconds: float) -> None:
        nonlocal late
        late += seconds
        read(reading)

    log.finish(clock=lambda: late, sleep=read_meanwhile)
    assert 0.0 < late < 0.1
    assert log.flush()


def test_a_single_line_that_is_too_long_is_not_dropped_by_halves(stack: ExitStack) -> None:
    reading, writing = pipe(stack)
    log = made(stack, writing, limit=1000)
    long = b"y" * 200_000 + b"\n"
    log.write(long)
    found = b""
    for _ in range(100):
        found += read(reading)
        if log.flush():
            break
    assert found + read(reading) == long


def test_a_closed_standard_error_is_not_the_next_file_that_is_opened(tmp_path: Path) -> None:
    program = (
        "import os, sys; from image_cri_shim.descriptors import occupy_standard_descriptors as occupy;"
        "os.close(0); os.close(2); occupy(); opened = os.open(sys.argv[1], os.O_RDONLY);"
        "print(opened, os.readlink('/proc/self/fd/2'), os.readlink('/proc/self/fd/0'))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent,
    )
    number, *places = ended.stdout.split()
    assert int(number) > 2
    assert places == ["/dev/null", "/dev/null"]


def test_what_is_logged_in_the_middle_of_writing_comes_after_it(stack: ExitStack) -> None:
    reading, writing = pipe(stack)
    nested: list[bytes] = []

    def lost_and_more(count: int) -> bytes:
        # As what is collected as garbage just then.
        while nested:
            log.write(nested.pop())
        return lost(count)

    log = stack.enter_context(closing(Outlet(writing, lost_and_more, 4 * len(LINE))))
    while log.flush():
        log.write(LINE)
    for _ in range(9):
        log.write(LINE)
    assert log.dropped
    nested.append(b"nested\n")
    read(reading)
    while not log.flush():
        read(reading)
    found = read(reading)
    assert found.count(b"nested\n") == 1
    assert found.endswith(b"nested\n")
