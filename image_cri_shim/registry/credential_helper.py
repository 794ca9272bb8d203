"""Credential helpers: programs that are asked for a registry's credentials.

Source: the README of docker-credential-helpers, section "Development": ``docker-credential-NAME
get`` reads the server from its standard input and writes a JSON object to its standard output, or
an explanation if it fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from image_cri_shim.clock import Clock
from image_cri_shim.credentials import IDENTITY_USERNAME, Credentials, identity, is_sendable
from image_cri_shim.registry.docker_config import Helper
from image_cri_shim.registry.failure import Unanswered

# Seconds that a helper has.
PATIENCE = 10.0
# Bytes that it may write, to its standard output as to its standard error.
OUTPUT_LIMIT = 64 * 1024
# How an explanation begins that is no failure: it knows no credentials for the server.
_NOT_FOUND = b"credentials not found"
# A helper is often a shell script. In a session of its own it can be ended with all it started;
# Twisted has no way to ask for one, so Python makes it and then becomes the helper.
_IN_OWN_SESSION = "import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])"


class Processes(Clock, Protocol):
    """What of Twisted's IReactorTime and IReactorProcess is used."""

    def spawnProcess(  # noqa: N802 - Twisted's name
        self,
        processProtocol: Any,  # noqa: N803 - Twisted's name
        executable: str,
        args: tuple[str, ...] | list[str] = (),
        env: Any = None,
    ) -> Any:
        """Start a program; ``env`` is its environment, None for one like ours."""


def ask_helper(reactor: Processes, helper: Helper) -> Deferred[Credentials | None]:
    """Ask a helper that is found in ``PATH``; it gets this process' environment, and no shell.

    :returns: a Deferred with what it has, None if it has nothing for the server. Cancelling it
        ends the program.
    :raises Unanswered: it is not there, fails, takes longer than PATIENCE or answers nonsense; in
        words that repeat nothing of what it wrote.
    """
    program = helper.program
    path = shutil.which(program)
    if path is None:
        return fail(_unanswered(program, "not found in PATH"))
    run = _Run(reactor, helper)
    arguments = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        _IN_OWN_SESSION,
        str(Path(path).absolute()),
        "get",
    ]
    try:
        reactor.spawnProcess(run, sys.executable, arguments, env=None)
    except OSError as problem:
        run.over(Failure(_unanswered(program, f"cannot be started: {problem.strerror}")))
    return run.done


def no_answer(helper: Helper, seconds: float) -> Unanswered:
    """Return what says that a helper has not answered in a time."""
    return _unanswered(helper.program, f"no answer within {seconds:.3g}s", timed_out=True)


def _unanswered(program: str, why: str, *, timed_out: bool = False) -> Unanswered:
    return Unanswered(f"credential helper {program}: {why}", timed_out=timed_out)


class _Run(ProcessProtocol):
    """A helper while it runs, and what it has written.

    It is over when the program has ended and its answer is complete, whatever else it has started
    and left behind; or when nobody can write any more.
    """

    def __init__(self, clock: Clock, helper: Helper) -> None:
        self._helper = helper
        self._written = {1: b"", 2: b""}
        self._timer = clock.callLater(PATIENCE, self._expire)
        # Its own process and session, also when it has ended but others in it have not.
        self._pid: int | None = None
        self._status: Any = None
        self.done: Deferred[Credentials | None] = Deferred(lambda _: self._end())

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        transport: Any = self.transport
        self._pid = transport.pid
        transport.write(self._helper.server.encode())
        transport.closeStdin()

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N802, N803
        if self.done.called:
            return
        self._written[childFD] += data
        if len(self._written[childFD]) > OUTPUT_LIMIT:
            self._give_up("wrote far more than credentials")
        elif self._status is not None:
            self._judge(whole=False)

    def processExited(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        if self.done.called:
            return
        self._read_rest()
        self._status = reason.value
        self._judge(whole=False)

    def processEnded(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        self._status = reason.value
        self._judge(whole=True)

    def over(self, outcome: Credentials | Failure | None) -> None:
        """Let it be over, whatever the program still does."""
        self._settle()
        self.done.callback(outcome)

    def _read_rest(self) -> None:
        """Read what the program has left in its pipe when it ended."""
        transport: Any = self.transport
        reader = transport.pipes.get(1)
        before = -1
        while reader is not None and not self.done.called and len(self._written[1]) > before:
            before = len(self._written[1])
            # Twisted waits for the end of the output, which may never come; this does not wait.
            reader.doRead()

    def _judge(self, *, whole: bool) -> None:
        """Say what the program that has ended has answered.

        :param whole: whether nothing can follow; if not, what is no answer yet may become one.
        """
        if self.done.called:
            return
        try:
            outcome: Credentials | Failure | None = _answer(self._status, self._written[1])
        except ValueError as problem:
            if not whole and self._status.exitCode == 0:
                return
            outcome = Failure(_unanswered(self._helper.program, str(problem)))
        self._end()
        self.over(outcome)

    def _expire(self) -> None:
        self._end()
        self.over(Failure(no_answer(self._helper, PATIENCE)))

    def _give_up(self, why: str) -> None:
        self._end()
        self.over(Failure(_unanswered(self._helper.program, why)))

    def _settle(self) -> None:
        if self._timer.active():
            self._timer.cancel()
        self._written = {1: b"", 2: b""}

    def _end(self) -> None:
        """End the program, what it has started, and our interest in what they write."""
        self._settle()
        transport: Any = self.transport
        if transport is None:
            return
        if self._pid is not None:
            # The session is missing until Python has made it. Nobody else gets its number as long
            # as someone is in it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
        with contextlib.suppress(ProcessExitedAlready):
            transport.signalProcess("KILL")
        transport.loseConnection()


def _answer(status: Any, written: bytes) -> Credentials | None:
    """Return what a helper that has ended has answered.

    :param status: how it ended, as Twisted says it.
    :raises ValueError: it has not answered; the message repeats nothing of what it wrote.
    """
    if status.exitCode == 0:
        return _read(written)
    if written.strip().lower().startswith(_NOT_FOUND):
        return None
    if status.signal is not None:
        raise ValueError(f"ended by signal {status.signal}")
    raise ValueError(f"failed with exit status {status.exitCode}")


def _read(written: bytes) -> Credentials | None:
    """Read what a helper has written.

    :raises ValueError: it is no answer; the message repeats nothing of it.
    """
    try:
        found = json.loads(written)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError("answered with something that is no credentials")  # noqa: TRY004
    username, secret = found.get("Username"), found.get("Secret")
    if not isinstance(username, str) or not isinstance(secret, str):
        raise ValueError("answered with something that is no credentials")  # noqa: TRY004
    if not is_sendable(username + secret):
        raise ValueError("answered with characters that UTF-8 cannot hold")
    if not secret:
        return None
    return identity(secret) if username == IDENTITY_USERNAME else Credentials(username, secret)
