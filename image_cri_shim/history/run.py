"""Which run of the daemon wrote something, and whether that one is still alive."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import attrs

_PROC = Path("/proc")
# Of /proc/PID/stat, behind the name (proc(5)): the state, and when it started.
_STATE, _STARTED = 0, 19
_DEAD = ("Z", "X", "x")


@attrs.frozen
class Run:
    """One run of the daemon.

    A process id alone would be somebody else's some day.

    :ivar token: tells it from all others.
    :ivar pid: in its own PID namespace.
    :ivar began: seconds since 1970.
    :ivar ticks: when the process started, as the kernel counts it since it booted; 0 if unknown.
    :ivar boot: the kernel's id of that; empty if unknown.
    :ivar namespace: the number of the PID namespace; 0 if unknown.
    """

    token: str
    pid: int
    began: float
    ticks: int = 0
    boot: str = ""
    namespace: int = 0


def this_run(now: float) -> Run:
    """Return the run that this process is.

    :param now: seconds since 1970.
    """
    pid = os.getpid()
    ticks = _started(pid) or 0
    return Run(secrets.token_hex(8), pid, now, ticks, _boot(), _namespace())


def is_alive(run: Run, *, newest: bool) -> bool:
    """Tell whether a run goes on.

    :param newest: whether no later one is known. Where the process cannot be looked for, as from
        another PID namespace, that one is taken for alive.
    """
    boot = _boot()
    if run.boot and boot and run.boot != boot:
        return False
    if not run.ticks or not run.namespace or run.namespace != _namespace():
        return newest
    started = _started(run.pid)
    return newest if started is None else started == run.ticks


def _started(pid: int) -> int | None:
    """Return when a process started; 0 if there is none, None if that cannot be found out."""
    try:
        text = Path(_PROC, str(pid), "stat").read_bytes()
        # The name in front, in parentheses, may be anything.
        fields = text.rpartition(b")")[2].split()
        return 0 if fields[_STATE].decode() in _DEAD else int(fields[_STARTED])
    except (FileNotFoundError, ProcessLookupError):
        # Without a /proc, nothing is there.
        return 0 if Path(_PROC, "self").exists() else None
    except (OSError, ValueError, IndexError):
        return None


def _boot() -> str:
    try:
        return Path(_PROC, "sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def _namespace() -> int:
    try:
        return Path(_PROC, "self/ns/pid").stat().st_ino
    except OSError:
        return 0
