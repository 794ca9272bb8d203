"""What a shim costs its node: processor time, memory, the start, and doing nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import attrs

from benchmarks.cases import VERSION, image_status
from benchmarks.load import Connection, drive
from benchmarks.ways import cpu_seconds, resident_bytes, seconds_to_listening, shim

_SLICE = 1000


@attrs.frozen
class Burden:
    """What one shim cost.

    :ivar cpu: processor seconds for 1,000 ImageStatus calls, by how many there were at once.
    :ivar before: bytes of resident memory after the first 1,000 calls.
    :ivar after: the same after all of them.
    :ivar calls: how many those were.
    :ivar listening: seconds from the start of the process until its socket accepted.
    :ivar idle: the processor time in relation to the time in which nothing was called.
    :ivar idle_seconds: how long that was.
    """

    cpu: Mapping[int, float]
    before: int
    after: int
    calls: int
    listening: list[float]
    idle: float
    idle_seconds: float


def burden(
    directory: Path, runtime: str, loop: str, *, calls: int, starts: int, idle: float
) -> Burden:
    """Measure a shim of its own.

    :param runtime: the socket of a runtime that has every image.
    :param loop: the event loop that it runs on.
    :param calls: how many to make before memory is read.
    :param starts: how often to start it.
    :param idle: seconds without a call, with a client that is connected.
    """
    daemon = shim(directory, runtime, "http://127.0.0.1:9", loop)
    # Once more than is counted: the first one compiles.
    listening = [seconds_to_listening(daemon) for _ in range(starts + 1)][1:]
    with daemon:
        pid = daemon.pid
        if pid is None:
            raise RuntimeError(f"the shim ended:\n{daemon.tail()}")
        cpu = {width: cpu_of_calls(daemon.socket, pid, width, calls // 10) for width in (1, 16)}
        before = resident_bytes(pid)
        with Connection(daemon.socket, image_status("nginx:1.25")) as connection:
            idle_share = cpu_while_idle(pid, idle)
            with Connection(daemon.socket, VERSION) as other:
                for _ in range(calls // (2 * _SLICE)):
                    drive(connection, width=16, count=_SLICE)
                    drive(other, width=16, count=_SLICE)
        after = resident_bytes(pid)
    return Burden(cpu, before, after, calls, listening, idle_share, idle)


def cpu_of_calls(socket: str, pid: int, width: int, calls: int) -> float:
    """Return the processor seconds that a process spends on 1,000 ImageStatus calls."""
    with Connection(socket, image_status("nginx:1.25")) as connection:
        drive(connection, width=width, count=100)
        before = cpu_seconds(pid)
        drive(connection, width=width, count=calls)
        return (cpu_seconds(pid) - before) / calls * 1000


def cpu_while_idle(pid: int, seconds: float) -> float:
    """Return the share of the time in which a process was running while nobody called."""
    # What the last call left to do is not idleness.
    time.sleep(min(seconds, 1))
    before, begin = cpu_seconds(pid), time.perf_counter()
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.perf_counter() - begin)
