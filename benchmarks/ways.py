"""The ways to a runtime that are compared, and what their processes cost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.daemon import Daemon, environment
from tests.support.processes import Process, accepts, memory

_TICKS = os.sysconf("SC_CLK_TCK")


class Program(Process):
    """A program of this package that serves on ``socket``.

    :param name: the module's, too.
    :param arguments: what follows the socket on its command line.
    """

    def __init__(self, name: str, directory: Path, *arguments: str) -> None:
        super().__init__(name, directory)
        self.socket = str(self.directory / f"{name}.sock")
        self.arguments = arguments

    def command(self) -> Sequence[str]:
        """Return the program and its arguments."""
        module = f"benchmarks.{self.name}"
        return (sys.executable, "-m", module, self.socket, *self.arguments)

    def environment(self) -> dict[str, str]:
        """Return the environment of a program of this source tree."""
        return environment()

    def ready(self) -> bool:
        """Tell whether it accepts."""
        return accepts(self.socket)

    def stop(self) -> None:
        """End it; it leaves its socket behind."""
        super().stop()
        Path(self.socket).unlink(missing_ok=True)


def null_runtime(directory: Path, images: int, events: int) -> Program:
    """Return a null runtime, not started."""
    return Program("null_runtime", directory, str(images), str(events))


def bare_proxy(directory: Path, runtime: str) -> Program:
    """Return a bare proxy before a runtime's socket, not started."""
    return Program("bare_proxy", directory, runtime)


def shim(directory: Path, runtime: str, registry: str, loop: str = "asyncio") -> Daemon:
    """Return a shim before a runtime's socket, not started.

    :param registry: the URL of its offline registry.
    :param loop: whose event loop it runs on, ``asyncio`` or ``uvloop``.
    """
    variables = {
        "IMAGE_CRI_SHIM_LOOP": loop,
        # As an installed package has it: compiled once.
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(directory.parent / "compiled"),
    }
    return Daemon(directory, cri=runtime, config=f"address: {registry}", environment=variables)


def seconds_to_listening(daemon: Daemon) -> float:
    """Start a shim, end it, and return how many seconds it took until its socket accepted."""
    with daemon.log.open("ab") as log:
        begin = time.perf_counter()
        child = subprocess.Popen(
            daemon.command(), stdout=log, stderr=subprocess.STDOUT, env=daemon.environment()
        )
        try:
            while not accepts(daemon.socket):
                if child.poll() is not None:
                    raise RuntimeError(f"the shim ended:\n{daemon.tail()}")
                time.sleep(0.001)
            return time.perf_counter() - begin
        finally:
            child.terminate()
            child.wait(60)


def cpu_seconds(pid: int) -> float:
    """Return how much processor time a process has had, in steps of 10 ms mostly (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_bytes(pid: int) -> int:
    """Return a process's resident memory (proc(5))."""
    return memory(pid) * 1024
