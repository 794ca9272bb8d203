"""Boot a copy of a Debian with its own systemd, in a container (systemd-nspawn)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.deb.support.command import run
from tests.deb.support.layer import Layer
from tests.support.processes import Process, wait_until

UNIT = "image-cri-shim.service"
SOCKET_UNIT = "image-cri-shim.socket"
SOCKET = "/run/image-cri-shim.sock"
# All of them, the cgroup, and root and working directory.
NAMESPACES = ("-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w")


class Machine(Process):
    """Boot the root directory of a layer; `stop` powers it off, `start` boots it again.

    It has the network of this machine. `shared` is a directory of this machine that is /run/lab
    inside.
    """

    ready_seconds = 60.0
    stop_seconds = 20.0

    def __init__(self, layer: Layer, shared: Path) -> None:
        super().__init__("machine", layer.directory)
        self.layer = layer
        self.shared = shared
        shared.mkdir(parents=True, exist_ok=True)

    def command(self) -> Sequence[str]:
        return (
            "systemd-nspawn",
            "--quiet",
            f"--directory={self.layer.root}",
            "--boot",
            "--register=no",
            "--keep-unit",
            "--resolv-conf=off",
            "--link-journal=no",
            "--console=pipe",
            f"--bind={self.shared}:/run/lab",
        )

    @property
    def leader(self) -> int | None:
        """The process id of the machine's systemd, seen from here."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    return int(child)
        return None

    def ready(self) -> bool:
        if self.leader is None:
            return False
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def stop(self) -> None:
        """Power off as an operator would, and end by force what then is left."""
        if self.leader is not None and self._child is not None:
            self.run("systemctl", "poweroff", check=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(self.stop_seconds)
        super().stop()

    def cut_power(self) -> None:
        """End everything at once, as a power cut does; `start` boots what was written."""
        if self.leader is not None:
            os.kill(self.leader, signal.SIGKILL)
        super().stop()

    def run(
        self, *command: str, check: bool = True, seconds: float = 120, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside, as root, to its end."""
        prefix = ("nsenter", f"--target={self.leader}", *NAMESPACES)
        return run(prefix, command, check=check, seconds=seconds, text=text)

    def path(self, inside: str) -> Path:
        """Return where a path inside is outside, /run included; while the machine runs."""
        return Path(f"/proc/{self.leader}/root") / inside.lstrip("/")

    @property
    def socket(self) -> str:
        """The path by which a client out here reaches the shim's socket."""
        return str(self.path(SOCKET))

    def show(self, key: str, unit: str = UNIT) -> str:
        """Return one property of a unit (systemctl show)."""
        return self.run("systemctl", "show", "--value", f"--property={key}", unit).stdout.strip()

    def active(self, unit: str = UNIT) -> str:
        """Return `active`, `inactive`, `failed`, `activating` ..."""
        return self.run("systemctl", "is-active", unit, check=False).stdout.strip()

    def status(self, unit: str = UNIT) -> str:
        """Return what `systemctl status` shows."""
        return self.run("systemctl", "status", "--no-pager", "--full", unit, check=False).stdout

    def journal(self, unit: str = UNIT) -> str:
        """Return the messages of a unit since boot."""
        options = ("--no-pager", "--output=cat", "--boot", f"--unit={unit}")
        return self.run("journalctl", *options, check=False).stdout

    def wait_for(self, text: str, *, count: int = 1, seconds: float = 15) -> None:
        """Return when the unit's messages contain `text` that often."""
        if not wait_until(lambda: self.journal().count(text) >= count, seconds, 0.1):
            raise AssertionError(f"{text!r} not in the journal:\n{self.journal()[-4000:]}")

    def wait_active(self, unit: str = UNIT, seconds: float = 15) -> None:
        """Return when the unit is active."""
        if not wait_until(lambda: self.active(unit) == "active", seconds, 0.1):
            raise AssertionError(self.status(unit))

    @property
    def main(self) -> int:
        """The daemon's process id as it is inside; 0 for none."""
        return int(self.show("MainPID"))

    def send(self, number: int) -> None:
        """Send the daemon a signal, past systemd."""
        self.run("kill", f"-{number}", str(self.main))

    def inode(self, inside: str = SOCKET) -> tuple[int, int]:
        """Return what tells a file from one that took its place."""
        found = os.stat(self.path(inside))
        return found.st_dev, found.st_ino

    def write(self, inside: str, text: str, mode: int = 0o644) -> None:
        """Write a file inside, with the directories that it needs."""
        self.run("mkdir", "-p", str(Path(inside).parent))
        self.run("tee", inside, text=text)
        self.run("chmod", f"{mode:o}", inside)

    def kill_daemon(self) -> None:
        """End the daemon as a crash would."""
        self.send(signal.SIGKILL)
