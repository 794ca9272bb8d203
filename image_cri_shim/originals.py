"""What was pulled as what: under which names the runtime holds images, and what clients call them.

Pure: a memory that others fill, read and keep on disk. Names in it are references in full, as
runtimes show them: with a tag, or with a digest alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import lru_cache

import attrs

from image_cri_shim.reference import (
    TEXT_LIMIT,
    ImageReference,
    InvalidReferenceError,
    parse_reference,
)

# Held names, at most; a node has a few hundred images with a tag and a digest each.
_LIMIT = 8192
_SHA256 = "sha256:"


@attrs.frozen
class Record:
    """One name that the runtime holds an image under.

    :ivar held: that name.
    :ivar image_id: the image's ID, or empty if it is not known.
    :ivar originals: what clients call it; empty if they call something else so by now.
    """

    held: str
    image_id: str
    originals: tuple[str, ...]


@attrs.define
class _Entry:
    image_id: str
    originals: list[str]
    noted: int
    # Those whose tag is elsewhere by now.
    moved: list[str] = attrs.field(factory=list)


def in_full(text: str) -> str | None:
    """Write a reference as runtimes show it, or return None if it is none.

    ``nginx`` is ``docker.io/library/nginx:latest``; beside a digest no tag is shown.
    """
    # Nonsense may be as long as a message; it must not stay in memory.
    return _in_full(text) if len(text) <= TEXT_LIMIT else None


def in_full_or_same(text: str) -> str:
    """Write a reference as runtimes show it; what is none stays as it is."""
    return in_full(text) or text


@lru_cache(maxsize=4096)
def _in_full(text: str) -> str | None:
    reference = _parsed(text)
    return None if reference is None else str(reference.pinned())


def _parsed(text: str) -> ImageReference | None:
    try:
        return parse_reference(text)
    except InvalidReferenceError:
        return None


class Originals:
    """Remembers for each held name what clients call it, and for each of those where it is held.

    A tag that is pulled again under another name moves there, as it moves in a runtime. A digest is
    the same everywhere and may be held more than once.

    :ivar revision: grows with every change.
    :ivar moment: grows with everything that is told, also if it was known.
    """

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        # Where each is held, the last one last.
        self._held: dict[str, dict[str, None]] = {}
        # What names that are gone were called.
        self._former: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self.revision = 0
        self.moment = 0

    def note(self, original: str, held: str, image_id: str = "") -> None:
        """Take note that a reference was pulled, or found, as ``held``; both in full."""
        entry = self._entries.get(held)
        before = self.held(original)
        self.moment += 1
        if entry is not None and before == held and (not image_id or image_id == entry.image_id):
            entry.noted = self.moment
            self._entries.move_to_end(held)
            return
        self.revision += 1
        if before is not None and before != held and "@" not in original:
            self._entries[before].originals.remove(original)
            self._entries[before].moved.append(original)
            del self._held[original]
        if entry is None:
            entry = self._entries[held] = _Entry(image_id, [], self.moment)
            self._former.pop(held, None)
        entry.image_id = image_id or entry.image_id
        entry.noted = self.moment
        if original not in entry.originals:
            entry.originals.append(original)
        if original in entry.moved:
            entry.moved.remove(original)
        places = self._held.setdefault(original, {})
        places.pop(held, None)
        places[held] = None
        self._entries.move_to_end(held)
        self._bound()

    def note_pull(
        self, original: str, held: str, image_id: str = "", digests: Iterable[str] = ()
    ) -> None:
        """Take note of a pull, and of the digests that the image got by it.

        :param digests: the image's ``repo_digests``; those of the pulled repository count.
        """
        self.note(original, held, image_id)
        repository, name = repository_of(held), repository_of(original)
        for one in digests:
            if one != held and repository_of(one) == repository:
                self.note(f"{name}@{one.partition('@')[2]}", one, image_id)

    def held(self, original: str) -> str | None:
        """Return the name under which the runtime last held a reference, both in full."""
        places = self._held.get(original)
        return None if places is None else next(reversed(places))

    def of(self, held: str) -> tuple[str, ...] | None:
        """Return what clients call a held name; None if nothing is known of it."""
        entry = self._entries.get(held)
        return None if entry is None else tuple(entry.originals)

    def ever_of(self, held: str) -> tuple[str, ...]:
        """Return what clients call a held name or, since the start, called it.

        Its image is theirs, whatever became of their tag: this tells the image's digests. And its
        containers may outlive it.
        """
        entry = self._entries.get(held)
        if entry is None:
            return self._former.get(held, ())
        return (*entry.originals, *entry.moved)

    def image_of(self, held: str) -> str:
        """Return the ID of the image that a name was last held by, or nothing."""
        entry = self._entries.get(held)
        return "" if entry is None else entry.image_id

    def forget(self, held: str, since: int | None = None) -> None:
        """Forget a held name.

        :param since: the ``moment`` at which it was found to be gone: later news of it stay.
        """
        entry = self._entries.get(held)
        if entry is not None and (since is None or entry.noted <= since):
            self.revision += 1
            self._drop(held)

    def forget_image(self, image_id: str) -> None:
        """Forget all names of an image; some runtimes write its ID without ``sha256:``."""
        bare = image_id.removeprefix(_SHA256)
        for held, one in tuple(self._entries.items()):
            if one.image_id and one.image_id.removeprefix(_SHA256) == bare:
                self.forget(held)

    def forget_others(self, held: Iterable[str], since: int) -> None:
        """Forget all names but these: the runtime has told all that it holds.

        :param since: the ``moment`` when it was asked.
        """
        for gone in self._entries.keys() - set(held):
            self.forget(gone, since)

    def records(self) -> Iterator[Record]:
        """Yield everything that is known, the oldest first."""
        for held, entry in self._entries.items():
            yield Record(held, entry.image_id, tuple(entry.originals))

    def restore(self, records: Iterable[Record]) -> None:
        """Take in what was known before; what has been learned since goes before it."""
        newer = list(self.records())
        self._entries.clear()
        self._held.clear()
        for record in (*records, *newer):
            for original in record.originals:
                self.note(original, record.held, record.image_id)
            if not record.originals and record.held not in self._entries:
                self._entries[record.held] = _Entry(record.image_id, [], self.moment)
                self._bound()

    def _bound(self) -> None:
        while len(self._entries) > self._limit:
            self._drop(next(iter(self._entries)))

    def _drop(self, held: str) -> None:
        self._former[held] = self.ever_of(held)
        if len(self._former) > self._limit:
            self._former.popitem(last=False)
        for original in self._entries.pop(held).originals:
            places = self._held[original]
            del places[held]
            if not places:
                del self._held[original]


def repository_of(name: str) -> str:
    """Return a reference in full without its tag or digest: domain and repository."""
    name = name.partition("@")[0]
    path, colon, tag = name.rpartition(":")
    return path if colon and "/" not in tag else name
