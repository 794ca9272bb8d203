"""Programs that a test plays: they are asked for, get input, and end when the test says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure


class Program:
    """A program that was started."""

    # Twisted's name for a program that is there no more; it keeps others from being ended.
    pid = None

    def __init__(self, protocol: Any, arguments: list[str], environment: Any) -> None:
        self.protocol = protocol
        self.arguments = arguments
        self.environment = environment
        self.input = b""
        self.input_closed = False
        self.killed = False
        self.ended = False
        self.let_go = False
        # Its output that Twisted reads; and what it has written that has not been read yet.
        self.pipes: dict[int, Any] = {1: self}
        self.unread = b""

    def doRead(self) -> None:
        """Read once, as Twisted's reader of a pipe does: no more than a piece."""
        piece, self.unread = self.unread[:8192], self.unread[8192:]
        if piece:
            self.protocol.childDataReceived(1, piece)

    def write(self, data: bytes) -> None:
        self.input += data

    def closeStdin(self) -> None:
        self.input_closed = True

    def signalProcess(self, signal: str) -> None:
        assert signal == "KILL"
        if self.ended:
            raise ProcessExitedAlready
        self.killed = True

    def loseConnection(self) -> None:
        self.let_go = True

    def says(self, data: bytes, descriptor: int = 1) -> Program:
        self.protocol.childDataReceived(descriptor, data)
        return self

    def exits(self, status: int = 0, signal: int | None = None) -> Any:
        """End, while others that it has started can still write."""
        self.ended = True
        good = status == 0 and signal is None
        reason = ProcessDone(0) if good else ProcessTerminated(status or None, signal, 0)
        self.protocol.processExited(Failure(reason))
        return reason

    def ends(self, status: int = 0, signal: int | None = None) -> None:
        self.protocol.processEnded(Failure(self.exits(status, signal)))

    def answers(self, username: str, secret: str) -> None:
        self.says(self.answer(username, secret)).ends()

    def answer(self, username: str, secret: str) -> bytes:
        answer = {"ServerURL": self.input.decode(), "Username": username, "Secret": secret}
        return json.dumps(answer).encode()


class Machine(Clock):
    """A clock, and the programs that were started on it."""

    def __init__(self) -> None:
        super().__init__()
        self.programs: list[Program] = []
        self.error: OSError | None = None

    def spawnProcess(
        self, processProtocol: Any, executable: str, args: Any = (), env: Any = None
    ) -> Program:
        if self.error is not None:
            raise self.error
        program = Program(processProtocol, list(args), env)
        self.programs.append(program)
        processProtocol.makeConnection(program)
        return program

    @property
    def program(self) -> Program:
        """The one that was started last."""
        return self.programs[-1]


def install(directory: Path, name: str, text: str = "#!/bin/false\n") -> Path:
    """Write a credential helper that can be found."""
    directory.mkdir(exist_ok=True)
    path = directory / f"docker-credential-{name}"
    path.write_text(text)
    path.chmod(0o755)
    return path
