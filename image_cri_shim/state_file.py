"""The file in the state directory that keeps what was pulled as what across restarts.

One of the two pure modules with I/O: synchronous calls of the operating system, for whoever runs
them where waiting for a disk does no harm.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from image_cri_shim.originals import Record, in_full

NAME = "pulled.json"
_FORMAT = 1
# What a full memory takes several times over.
_SIZE_LIMIT = 64 << 20
# Names of one image that others are to be found by, at most.
_ORIGINALS_LIMIT = 64


class StateError(Exception):
    """The state directory cannot be read or written; the message says why, for the operator."""


def read(directory: str) -> tuple[Record, ...]:
    """Read what was known; nothing if there is no file yet.

    A file that makes no sense is set aside as ``pulled.json.bad``, to be looked at.

    :raises StateError: it cannot be read, or made no sense.
    """
    path = Path(directory, NAME)
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            content = file.read(_SIZE_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (OSError, ValueError) as error:
        raise StateError(f"cannot read {path}: {_why(error)}") from error
    try:
        return tuple(_record(entry) for entry in _entries(json.loads(content)))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        aside = f"{path}.bad"
        with contextlib.suppress(OSError):
            path.replace(aside)
        raise StateError(
            f"{path} is no file of image-cri-shim's, or damaged; it is set aside as {aside}"
        ) from error


def write(directory: str, records: Iterable[Record]) -> None:
    """Write what is known, at once or not at all: a crash leaves the file before or this one.

    :raises StateError: it cannot be written.
    """
    entries = [
        {"held": one.held, "image": one.image_id, "originals": one.originals} for one in records
    ]
    path = Path(directory, NAME)
    new = Path(directory, f".{NAME}.new")
    try:
        Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        # One process owns the directory; what another one left there is nobody's any more.
        new.unlink(missing_ok=True)
        with open(new, "w", encoding="utf-8", opener=_open_private) as file:
            json.dump({"format": _FORMAT, "images": entries}, file, indent=0)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        _sync(directory)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):
            new.unlink()
        raise StateError(f"cannot write {path}: {_why(error)}") from error


def _open_private(path: str, flags: int) -> int:
    # A new file: whatever somebody puts in its place leads nowhere.
    return os.open(path, flags | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _open_at_once(path: str, flags: int) -> int:
    # A pipe in its place has nothing to say; nobody waits for who might write into it.
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _sync(directory: str) -> None:
    """Have the directory itself, with the file's name in it, on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _entries(document: object) -> list[object]:
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise ValueError("another format")
    entries = document["images"]
    if not isinstance(entries, list):
        raise TypeError("no list")
    return entries


def _record(entry: object) -> Record:
    if not isinstance(entry, dict):
        raise TypeError("no mapping")
    originals = entry["originals"]
    texts = (entry["held"], entry["image"], *originals)
    if not isinstance(originals, list) or not all(isinstance(text, str) for text in texts):
        raise TypeError("no text")
    # No name is anything else, and half a character would be in every answer's way.
    if not all(text.isascii() for text in texts):
        raise ValueError("no name")
    # Of what is no name there is nothing to know, and clients must not see it.
    names = [text for text in originals[:_ORIGINALS_LIMIT] if in_full(text) == text]
    return Record(entry["held"], entry["image"], tuple(names))


def _why(error: OSError | ValueError) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
