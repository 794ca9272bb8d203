"""Files that a registry's settings name: read when they are needed, and again once changed."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import attrs

from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.regular_file import read_regular

T = TypeVar("T")

# More than all of a system's certificates have.
SIZE_LIMIT = 4 << 20

_State: TypeAlias = tuple[int, int, int, int, int]


def cannot_use(path: str, why: str) -> Unanswered:
    """Return what says that a file is of no use."""
    return Unanswered(f"cannot use {path}: {why}")


def read_file(path: str) -> bytes:
    """Return a file's content, without waiting for a FIFO's writer.

    :raises Unanswered: it cannot be read, or has more than SIZE_LIMIT bytes.
    """
    try:
        content = read_regular(path, SIZE_LIMIT + 1)
    except (OSError, ValueError) as problem:
        raise cannot_use(path, _why(problem)) from None
    if content is None:
        raise cannot_use(path, "not a regular file")
    if len(content) > SIZE_LIMIT:
        raise cannot_use(path, f"larger than {SIZE_LIMIT >> 20} MiB")
    return content


@attrs.define(eq=False)
class Reread(Generic[T]):
    """Something made of files, made again when one of them is another than before.

    :ivar paths: the files.
    :ivar make: reads them; may raise Unanswered, which is not remembered.
    """

    paths: Sequence[str]
    make: Callable[[], T] = attrs.field(repr=False)
    _made: tuple[tuple[_State, ...], T] | None = attrs.field(default=None, init=False, repr=False)

    def get(self) -> T:
        """Return it as the files are now.

        :raises Unanswered: a file cannot be used; and it says which, and why.
        """
        # Looked at before they are read: what changes in between is seen the next time.
        states = tuple(_state(path) for path in self.paths)
        if self._made is None or self._made[0] != states:
            self._made = (states, self.make())
        return self._made[1]


def _state(path: str) -> _State:
    """Return what differs once a file has been written or replaced."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError) as problem:
        raise cannot_use(path, _why(problem)) from None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _why(problem: OSError | ValueError) -> str:
    if isinstance(problem, FileNotFoundError):
        return "no such file"
    if isinstance(problem, ValueError):
        return "this cannot be the name of a file"
    if problem.errno == errno.ENXIO:
        # What opening a socket's file ends in.
        return "not a regular file"
    return (problem.strerror or type(problem).__name__).lower()
