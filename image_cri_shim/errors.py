"""What stops the program and is told to the operator."""

from __future__ import annotations

from collections.abc import Iterable

import attrs


@attrs.frozen
class Problem:
    """One thing that is wrong with the configuration.

    :ivar file: the file's name; empty if no file is at fault.
    :ivar line: counted from 1; 0 if the problem is with the whole file or with no file.
    :ivar column: counted from 1; 0 like ``line``.
    :ivar path: the key from the top (``registries[1].priority``) or the command line's option;
        empty if the problem is with no key.
    :ivar message: what was expected and what was found; never a secret, never a line break.
    """

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        """Write ``FILE:LINE:COLUMN: PATH: MESSAGE`` without the parts that are not known."""
        place = self.file
        if self.line:
            place += f":{self.line}:{self.column}"
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(Exception):
    """The configuration is refused as a whole; here is everything that is wrong with it.

    :ivar problems: at least one, in the order of the file.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        """Write one line for each problem."""
        return "\n".join(str(problem) for problem in self.problems)


class SocketError(Exception):
    """A socket cannot be served as configured; the message says why and what to do."""
