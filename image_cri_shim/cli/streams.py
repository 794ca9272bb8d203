"""The standard streams as commands use them: each may be closed, full, or have lost its reader."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from collections.abc import Iterator
from typing import TextIO

from image_cri_shim.descriptors import occupy_standard_descriptors

# Of a terminal that does not say how wide it is.
_COLUMNS = 80


class _Output:
    """Whether what is written to standard output goes nowhere."""

    abandoned = False


class OutputError(Exception):
    """Standard output cannot be written to; the message says why, for the operator."""


class NoInputError(Exception):
    """Nothing can be read from standard input; the message says why, for the operator."""


def prepare() -> None:
    """Make the standard streams safe to write to, whatever the program was started with."""
    _Output.abandoned = False
    occupy_standard_descriptors()
    # What cannot be written in the terminal's encoding is no reason to fail.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def write(line: str) -> None:
    """Write a line, or several, to standard output; nowhere if its reader has enough.

    :raises OutputError: it is closed, or takes no more.
    """
    if sys.stdout is None:
        raise OutputError("cannot write to standard output: it is closed")
    with _writing():
        print(line)


def write_now(line: str) -> bool:
    """Write a line that somebody waits for; tell whether they still do.

    :raises OutputError: standard output is closed, or takes no more.
    """
    write(line)
    finish()
    return not reader_has_gone()


def reader_has_gone() -> bool:
    """Tell whether nobody reads what is written to standard output, as far as that can be seen."""
    if sys.stdout is None or _Output.abandoned:
        return True
    try:
        watched = select.poll()
        watched.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in watched.poll(0))
    except (OSError, ValueError):
        # It is no file of the system's.
        return False


def write_error(line: str) -> None:
    """Write a line to standard error if that is possible."""
    # For None, print would take standard output.
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(line, file=sys.stderr)


def rewrite_error(text: str) -> None:
    """Write to standard error without an end of the line, at once, if that is possible."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(text, end="", file=sys.stderr, flush=True)


def columns_of_error() -> int:
    """Return the width of the terminal that standard error is."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS
    except (OSError, ValueError):
        return _COLUMNS


def finish() -> None:
    """Write what was held back; Python must have nothing left to write when it ends.

    :raises OutputError: standard output takes no more.
    """
    if sys.stderr is not None:
        try:
            sys.stderr.flush()
        except OSError:
            _abandon(sys.stderr)
    if sys.stdout is not None:
        with _writing():
            sys.stdout.flush()


def read_input(limit: int) -> bytes:
    """Read standard input to its end, or as many bytes.

    :raises NoInputError: that cannot be done.
    """
    with _reading() as stream:
        return stream.buffer.read(limit)


def read_line() -> str:
    """Read a line of standard input, without its end; empty if there is none.

    :raises NoInputError: that cannot be done.
    """
    with _reading() as stream:
        return stream.readline().rstrip("\n")


@contextlib.contextmanager
def _reading() -> Iterator[TextIO]:
    if sys.stdin is None:
        raise NoInputError("cannot read standard input: it is closed")
    try:
        yield sys.stdin
    except OSError as error:
        raise NoInputError(f"cannot read standard input: {_reason(error)}") from None


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        # A reader that has enough is no failure of what was read.
        _abandon(sys.stdout)
    except OSError as error:
        _abandon(sys.stdout)
        raise OutputError(f"cannot write to standard output: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _abandon(stream: TextIO) -> None:
    """Let everything that is still written to a stream go nowhere."""
    if stream is sys.stdout:
        _Output.abandoned = True
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
