"""What files say now, and in which directories it shows that they say something else."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

import attrs

# More than any configuration file may have, so that one that grows is always noticed.
_LIMIT = (1 << 20) + 1
# As the kernel has it (path_resolution(7)).
_LINKS = 40


@attrs.frozen
class Files:
    """Files of which it is known which they are, now.

    :ivar paths: returns them, and those that may come to be there.
    """

    paths: Callable[[], Iterable[str]]

    def fingerprint(self) -> bytes:
        """Return what is the same as long as they say the same."""
        return fingerprint(self.paths())

    def directories(self) -> frozenset[str]:
        """Return the directories in which it shows that they change."""
        return directories(self.paths())


def fingerprint(paths: Iterable[str]) -> bytes:
    """Return what is the same as long as all files exist as they do and say what they say."""
    found = hashlib.sha256()
    for path in paths:
        content = _content(path)
        found.update(f"{len(path)}:{path}:{len(content)}:".encode(errors="surrogateescape"))
        found.update(content)
    return found.digest()


def directories(paths: Iterable[str]) -> frozenset[str]:
    """Return the directories whose entries decide what the paths lead to, as far as they exist.

    Those are the directory of the file itself and that of every symbolic link on the way: what is
    mounted from a ConfigMap is replaced by another link two directories away.
    """
    found: set[str] = set()
    for path in paths:
        _trace(_plain(Path(path)), found, _LINKS)
    return frozenset(found)


def _content(path: str) -> bytes:
    try:
        # A FIFO has no writer, and nobody waits for one.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return b"E%d" % (error.errno or 0)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return b"no file"
        parts = []
        left = _LIMIT
        while left and (part := os.read(handle, left)):
            parts.append(part)
            left -= len(part)
        return b"F" + b"".join(parts)
    except OSError as error:
        return b"E%d" % (error.errno or 0)
    finally:
        os.close(handle)


def _trace(path: Path, found: set[str], links: int) -> int:
    """Add the directories of an absolute path; return how many links are left."""
    current = Path("/")
    for index, name in enumerate(path.parts[1:], 2):
        here = current / name
        try:
            mode = here.lstat().st_mode
        except OSError:
            # It may come to be there.
            found.add(str(current))
            return links
        if stat.S_ISLNK(mode):
            found.add(str(current))
            if not links:
                return 0
            target = current.joinpath(here.readlink(), *path.parts[index:])
            return _trace(_plain(target), found, links - 1)
        current = here
    found.add(str(current if current.is_dir() else current.parent))
    return links


def _plain(path: Path) -> Path:
    # Not resolve(): the links on the way are what matters.
    return Path(os.path.normpath(Path.cwd() / path))
