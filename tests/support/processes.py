"""Own a child process: start it, wait until it is ready, end it by its own process id."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class NotReadyError(RuntimeError):
    """Say that a child process did not come up, with the end of what it wrote."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody holds right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(address: tuple[str, int] | str) -> bool:
    """Tell whether somebody accepts connections at a TCP address or a unix socket path."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(2)
        try:
            probe.connect(address)
        except OSError:
            return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float, interval: float = 0.02) -> bool:
    """Poll `condition` until it is true or `seconds` have passed; return its last answer."""
    end = time.monotonic() + seconds
    while True:
        if condition():
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(interval)


def environment_without_proxies(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without proxy variables, with the sbin directories."""
    kept = {k: v for k, v in os.environ.items() if k.lower() not in PROXY_VARIABLES}
    kept["PATH"] = kept.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"
    return {**kept, **(extra or {})}


def memory(pid: int | str, key: str = "VmRSS") -> int:
    """Return one of a process's numbers of memory in KiB (proc_pid_status(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


class Process:
    """Run one program as a child process whose output goes to `log`.

    A subclass calls `__init__` with what is fixed and overrides `command` and `ready`; the same
    object can be started again after `stop` or `kill`. The log is appended to.
    """

    ready_seconds = 30.0
    stop_seconds = 10.0
    # Descriptors that the child has as well.
    pass_fds: Sequence[int] = ()

    def __init__(self, name: str, directory: Path | str) -> None:
        self.name = name
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log = self.directory / f"{name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """Return the program and its arguments."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """Return the child's whole environment."""
        return environment_without_proxies()

    def ready(self) -> bool:
        """Tell whether the child serves."""
        raise NotImplementedError

    @property
    def pid(self) -> int | None:
        """The running child's process id, or None."""
        return self._child.pid if self._child and self._child.poll() is None else None

    def start(self) -> Self:
        """Start the child and return when it is ready; raise NotReadyError if it is not."""
        if self.pid is not None:
            raise RuntimeError(f"{self.name} runs already (process {self.pid})")
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment(),
                start_new_session=True,
                pass_fds=self.pass_fds,
            )
        atexit.register(self.stop)  # for who forgets it; `stop` takes it back
        child = self._child
        try:
            wait_until(lambda: child.poll() is not None or self.ready(), self.ready_seconds)
            if child.poll() is not None:
                raise NotReadyError(f"{self.name} ended with {child.returncode}:\n{self.tail()}")
            if not self.ready():
                raise NotReadyError(
                    f"{self.name} not ready after {self.ready_seconds} s:\n{self.tail()}"
                )
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the child with SIGTERM, and with SIGKILL where that does not help; idempotent."""
        atexit.unregister(self.stop)
        child, self._child = self._child, None
        if child is None:
            return
        child.terminate()
        try:
            child.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def kill(self) -> None:
        """End the child with SIGKILL, as a crash would; what it left behind stays."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def tail(self, size: int = 4000) -> str:
        """Return the end of the log."""
        return self.log.read_bytes()[-size:].decode(errors="replace") if self.log.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
