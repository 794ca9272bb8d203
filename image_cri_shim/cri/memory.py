"""The memory of what was pulled as what, kept in the state directory."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict

from image_cri_shim import state_file
from image_cri_shim.originals import Originals, in_full, in_full_or_same
from image_cri_shim.reference import may_be_short_id

_log = logging.getLogger(__name__)

_REMEMBERED = 4096
# Seconds that a pull's answer waits for a slow disk: it is pulled in any case.
_PATIENCE = 2.0


class Memory:
    """What is held under which name, in memory and, given a directory, on disk.

    All of it may be lost at any time: what is asked first only costs one question more, and what
    clients call an image is told by the rules or learned from what they ask for.

    :param directory: the state directory; empty to keep nothing.
    """

    def __init__(self, directory: str = "", limit: int = _REMEMBERED) -> None:
        self.originals = Originals()
        self._directory = directory
        self._limit = limit
        self._last: OrderedDict[str, str] = OrderedDict()
        self._saved = 0
        self._saving: asyncio.Task[None] | None = None
        self._failed = ""

    def load(self) -> None:
        """Read what was known before; a file that cannot be used is a warning."""
        if not self._directory:
            return
        before = self.originals.revision
        try:
            self.originals.restore(state_file.read(self._directory))
        except state_file.StateError as error:
            _log.warning("%s; what images were pulled as is learned anew", error)
        if not before:
            self._saved = self.originals.revision

    def move(self, directory: str) -> None:
        """Keep it in another directory from now on, with what was known there."""
        if directory == self._directory:
            return
        self._directory, self._failed = directory, ""
        self._saved = -1
        self.load()
        self.save()

    def remember(self, image: str, name: str) -> None:
        """Note that ``image``, as a client writes it, is held as ``name``."""
        key = in_full_or_same(image)
        self._last[key] = name
        self._last.move_to_end(key)
        if len(self._last) > self._limit:
            self._last.popitem(last=False)

    def in_order(self, image: str, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names to ask for: the one that was held last, then the others.

        One that is none of ``names`` was pulled under another configuration. What is held as it was
        written tells nothing if it may be an ID by now, for a name goes before that.
        """
        full = in_full(image)
        if full is None:
            return names
        held = self.originals.held(full)
        last = self._last.get(full, held)
        if last is None:
            return names
        spelled = next((name for name in names if _same(name, last)), None)
        if spelled is None and last != held:
            return names
        last = spelled or last
        if last == image and may_be_short_id(image):
            return names
        return (last, *(name for name in names if name != last))

    def save(self) -> asyncio.Task[None] | None:
        """Begin to write what is not written yet; return what is over when it is written."""
        if not self._directory or self._saved == self.originals.revision:
            return self._saving
        if self._saving is None:
            self._saving = asyncio.create_task(self._save())
            self._saving.add_done_callback(self._over)
        return self._saving

    async def saved(self) -> None:
        """Wait until everything is written, but not for ever."""
        saving = self.save()
        if saving is not None:
            await asyncio.wait((saving,), timeout=_PATIENCE)

    async def _save(self) -> None:
        """Write, and again while there are changes: one write at a time, in a thread."""
        while self._saved != self.originals.revision:
            directory, revision = self._directory, self.originals.revision
            records = tuple(self.originals.records())
            try:
                await asyncio.to_thread(state_file.write, directory, records)
            except state_file.StateError as error:
                if directory != self._directory:
                    continue
                if str(error) != self._failed:
                    _log.warning(
                        "%s; what images were pulled as is known until the restart only", error
                    )
                self._failed = str(error)
                # With the next change it is tried again.
                self._saved = self.originals.revision
                return
            # What is in a directory that was left meanwhile is not in the other one.
            if directory == self._directory:
                self._failed, self._saved = "", revision

    def _over(self, task: asyncio.Task[None]) -> None:
        self._saving = None
        if not task.cancelled() and task.exception() is not None:
            _log.error("cannot keep what was pulled", exc_info=task.exception())


def _same(one: str, other: str) -> bool:
    return one == other or in_full_or_same(one) == in_full_or_same(other)
