"""Telling the service manager how the daemon is (sd_notify(3), sd_watchdog_enabled(3))."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import MutableMapping

import attrs

# Seconds beyond the pulls' grace that an orderly end may take.
_MARGIN = 15.0
# Seconds that a manager gets to make room for what it must not miss.
_PATIENCE = 1.0
# Of a number of microseconds: more than a thousand years.
_DIGITS = 16


@attrs.frozen
class Notifier:
    """Sends messages to the service manager; without one, to nobody.

    :ivar address: its datagram socket, a path or an abstract name that begins with ``@``; empty if
        nobody is to be told.
    :ivar watchdog: seconds within which the manager wants a sign of life; 0 if it wants none.
    """

    address: str = ""
    watchdog: float = 0.0

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str], pid: int) -> Notifier:
        """Return the one that the environment describes, and remove that from it.

        What runs on behalf of the daemon, such as a credential helper, is not the daemon.
        """
        address = environ.pop("NOTIFY_SOCKET", "")
        wanted = environ.pop("WATCHDOG_USEC", "")
        whose = environ.pop("WATCHDOG_PID", "")
        if address[:1] not in ("/", "@"):
            return cls()
        mine = whose in ("", str(pid))
        number = wanted.isascii() and wanted.isdigit() and len(wanted) <= _DIGITS
        return cls(address, int(wanted) / 1e6 if mine and number else 0.0)

    def ready(self, status: str) -> None:
        """Say that the daemon serves, or that a reload is over."""
        self._send("READY=1", _status(status), patience=_PATIENCE)

    def reloading(self) -> None:
        """Say that a reload has begun; ``ready`` must follow."""
        # CLOCK_MONOTONIC tells the manager which of its reloads this answers.
        since = f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"
        self._send("RELOADING=1", since, patience=_PATIENCE)

    def status(self, text: str) -> None:
        """Say in one line how the daemon is."""
        self._send(_status(text))

    def alive(self) -> None:
        """Give the sign of life that the watchdog waits for."""
        self._send("WATCHDOG=1")

    def stopping(self, grace: float) -> None:
        """Say that the daemon ends, and how long that may take.

        :param grace: seconds that calls get which run.
        """
        microseconds = int((grace + _MARGIN) * 1e6)
        self._send(
            "STOPPING=1",
            f"EXTEND_TIMEOUT_USEC={microseconds}",
            _status(f"stopping: calls that run get {grace:g} s"),
            patience=_PATIENCE,
        )

    def _send(self, *assignments: str, patience: float = 0.0) -> None:
        if not self.address:
            return
        address = f"\0{self.address[1:]}" if self.address[0] == "@" else self.address
        # A manager that does not listen is no reason to stop serving.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.settimeout(patience)
            # Connected, the system knows for whose room it waits; else that would keep us busy.
            sender.connect(address)
            sender.send("\n".join(assignments).encode(errors="replace"))


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"
