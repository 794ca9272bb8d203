"""What files say now, and in which directories it shows that they say something else."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import attrs

from image_cri_shim.config.document import SIZE_LIMIT
from image_cri_shim.regular_file import read_regular

# In place of a name: every entry of a directory.
EVERY = "*"
# As the kernel has it (path_resolution(7)).
_LINKS = 40

# Directories, and the names in them that matter.
Places: TypeAlias = Mapping[str, frozenset[str]]


@attrs.frozen
class Files:
    """Files of which it is known which they are, now.

    :ivar paths: returns them, and those that may come to be there.
    """

    paths: Callable[[], Iterable[str]]

    def fingerprint(self) -> bytes:
        """Return what is the same as long as they say the same."""
        return fingerprint(self.paths())

    def places(self) -> Places:
        """Return where it shows that they change."""
        return places(self.paths())


def fingerprint(paths: Iterable[str]) -> bytes:
    """Return what is the same as long as all files exist as they do and say what they say."""
    found = hashlib.sha256()
    for path in paths:
        content = _content(path)
        found.update(f"{len(path)}:{path}:{len(content)}:".encode(errors="surrogateescape"))
        found.update(content)
    return found.digest()


def places(paths: Iterable[str]) -> Places:
    """Return the directories whose entries decide what the paths lead to, and which entries.

    Those are the directory of the file itself and that of every symbolic link on the way: what is
    mounted from a ConfigMap is replaced by another link two directories away. Of a directory that
    is listed itself every entry counts.
    """
    found: dict[str, set[str]] = {}
    for path in paths:
        _trace(_plain(Path(path)), found, _LINKS)
    return {directory: frozenset(names) for directory, names in found.items()}


def _content(path: str) -> bytes:
    try:
        content = read_regular(path, SIZE_LIMIT + 1)
    except OSError as error:
        # A link to nothing is a mistake; nothing is none.
        return b"E%d %d" % (error.errno or 0, os.path.lexists(path))
    return b"no file" if content is None else b"F" + content


def _trace(path: Path, found: dict[str, set[str]], links: int) -> None:
    """Add the directories of an absolute path, following so many links at most."""
    current = Path("/")
    for index, name in enumerate(path.parts[1:], 2):
        here = current / name
        try:
            mode = here.lstat().st_mode
        except OSError:
            # It may come to be there.
            found.setdefault(str(current), set()).add(name)
            return
        if stat.S_ISLNK(mode):
            found.setdefault(str(current), set()).add(name)
            if links:
                target = current.joinpath(here.readlink(), *path.parts[index:])
                _trace(_plain(target), found, links - 1)
            return
        if index == len(path.parts):
            found.setdefault(str(current), set()).add(name)
        current = here
    if current.is_dir():
        found.setdefault(str(current), set()).add(EVERY)


def _plain(path: Path) -> Path:
    # Not resolve(): the links on the way are what matters.
    return Path(os.path.normpath(Path.cwd() / path))
