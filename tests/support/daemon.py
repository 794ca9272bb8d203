"""Run the daemon as a process of its own, the way an operator does."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.support.processes import (
    Process,
    accepts,
    environment_without_proxies,
    wait_until,
)

ROOT = Path(__file__).resolve().parents[2]
# What the console scripts do; the scripts themselves may be anywhere.
TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
CONSOLE = (sys.executable, "-c", "from image_cri_shim.cli.main import main; main()")

# What the log says at the end of a reload.
OUTCOMES = ("the new configuration runs\n", "refused;", "failed;")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a program of this source tree."""
    tree = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return environment_without_proxies({**tree, **(extra or {})})


def run_program(
    program: Sequence[str],
    *arguments: str,
    text: str | None = None,
    seconds: float = 20,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program of this source tree to its end; `text` is its standard input."""
    return subprocess.run(
        [*program, *arguments],
        capture_output=True,
        text=True,
        input=text if text is not None else "",
        timeout=seconds,
        env=environment(),
        cwd=cwd,
    )


class Daemon(Process):
    """Run ``twistd -n image-cri-shim`` with a configuration file in its directory.

    `config` is the YAML; the keys ``shim``, ``cri``, ``image`` and ``adminSocket`` are written for it. `cri` of None leaves the
    key out. `program` replaces the beginning of the command line, `option` the name of the option
    that names the file.
    """

    stop_seconds = 40.0

    def __init__(
        self,
        directory: Path | str,
        *,
        cri: str | None,
        config: str = "",
        program: Sequence[str] | None = None,
        option: str = "--config",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__("shim", directory)
        self.socket = str(self.directory / "shim.sock")
        self.lock = f"{self.socket}.lock"
        self.admin = str(self.directory / "admin.sock")
        self.cri = cri
        self.file = self.directory / "image-cri-shim.yaml"
        pidfile = f"--pidfile={self.directory / 'twistd.pid'}"
        self.program = program or (*TWISTD, "--nodaemon", pidfile, "image-cri-shim")
        self.option = option
        self._extra = environment or {}
        self._begin = 0
        self.configure(config)

    def configure(self, config: str) -> None:
        """Write the configuration file."""
        lines = [f"shim: {self.socket}"]
        if self.cri is not None:
            lines.append(f"cri: {self.cri}")
        # Behind what a test has written, or the lines of its mistakes would be others.
        behind = [] if "image:" in config else [f"image: {self.directory / 'state'}"]
        if "adminSocket:" not in config:
            behind.append(f"adminSocket: {self.admin}")
        self.file.write_text("\n".join([*lines, config, *behind]) + "\n")

    def command(self) -> Sequence[str]:
        return (*self.program, self.option, str(self.file))

    def environment(self) -> Mapping[str, str]:
        return environment(self._extra)

    def start(self) -> Self:
        self._begin = self.log.stat().st_size if self.log.exists() else 0
        return super().start()

    def ready(self) -> bool:
        # A listening socket accepts before anybody serves it; the log says when that is.
        return accepts(self.socket) and "serving on" in self.text()[self._begin :]

    def text(self) -> str:
        """Return everything that it has written."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def forget_log(self) -> None:
        """Empty the log, to wait for what comes next."""
        os.truncate(self.log, 0)
        self._begin = 0

    def wait_for(self, text: str, seconds: float = 10) -> str:
        """Return the log when it contains `text`; raise AssertionError if that does not happen."""
        if not wait_until(lambda: text in self.text(), seconds):
            raise AssertionError(f"{text!r} not in the log after {seconds} s:\n{self.text()}")
        return self.text()

    def lines(self, text: str) -> list[str]:
        """Return the lines of the log that contain `text`."""
        return [line for line in self.text().splitlines() if text in line]

    def send(self, number: int) -> None:
        """Send a signal."""
        if self.pid is None:
            raise RuntimeError(f"the daemon does not run:\n{self.tail()}")
        os.kill(self.pid, number)

    def hang_up(self) -> None:
        """Send SIGHUP."""
        self.send(signal.SIGHUP)

    def reload(self, config: str | None = None) -> str:
        """Write the configuration file if one is given, send SIGHUP, wait; return the new log."""
        if config is not None:
            self.configure(config)
        seen = len(self.text())

        def over() -> bool:
            new = self.text()[seen:]
            return any(f"reload: {end}" in new for end in OUTCOMES)

        self.hang_up()
        if not wait_until(over, 10):
            raise AssertionError(f"no reload was logged:\n{self.text()[seen:]}")
        return self.text()[seen:]

    def end(self, number: int = signal.SIGTERM, seconds: float = 40) -> int:
        """Send a signal, wait for the end and return the exit status (negative: by a signal)."""
        self.send(number)
        return self.wait(seconds)

    def wait(self, seconds: float = 40) -> int:
        """Wait for the end and return the exit status."""
        if self._child is None:
            raise RuntimeError("the daemon was not started")
        status = self._child.wait(seconds)
        self.stop()
        return status

    def mode(self) -> int:
        """Return the permissions of the socket."""
        return stat.S_IMODE(os.stat(self.socket).st_mode)

    def run_once(self, seconds: float = 20) -> subprocess.CompletedProcess[str]:
        """Run it and wait for its end: for a daemon that is expected not to start."""
        return subprocess.run(
            self.command(),
            capture_output=True,
            text=True,
            timeout=seconds,
            env=self.environment(),
            cwd=self.directory,
        )
