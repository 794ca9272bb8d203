"""What the history was told and has not written yet."""

from __future__ import annotations

import attrs

from image_cri_shim.pull_record import PullRecord


@attrs.frozen
class Load:
    """What is taken from a backlog to be written.

    :ivar records: in the order of their numbers.
    :ivar running: the numbers of all pulls that run, if something of others was dropped.
    :ivar told: how much was told until then.
    """

    records: tuple[PullRecord, ...]
    running: frozenset[int] | None
    told: int


class Backlog:
    """Gathers what is told of pulls; of each, only what was told last.

    :param limit: pulls that find a place.
    :ivar told: how much was told.
    :ivar dropped: the pulls that found no place.
    """

    def __init__(self, limit: int) -> None:
        self.told = 0
        self.dropped = 0
        self._limit = limit
        self._waiting: dict[int, PullRecord] = {}
        # What runs, to be told once more if all that was written is gone.
        self._running: dict[int, PullRecord] = {}
        self._is_short = False

    def __bool__(self) -> bool:
        """Tell whether something waits to be written."""
        return bool(self._waiting)

    def watch(self, record: PullRecord) -> None:
        """Take note of whether a pull runs, though nothing of it is to be written."""
        if record.over:
            self._running.pop(record.number, None)
        else:
            self._running[record.number] = record

    def add(self, record: PullRecord) -> None:
        """Take what is known of a pull now."""
        self.watch(record)
        self._put(record)
        self.told += 1

    def add_running(self) -> None:
        """Take all pulls that run once more."""
        for record in self._running.values():
            self._put(record)

    def take(self) -> Load:
        """Return all that waits; it does so no longer."""
        waiting, self._waiting = self._waiting, {}
        short, self._is_short = self._is_short, False
        records = tuple(waiting[number] for number in sorted(waiting))
        return Load(records, frozenset(self._running) if short else None, self.told)

    def give_back(self, load: Load) -> None:
        """Take back what could not be written, where nothing newer is known."""
        self._is_short |= load.running is not None
        newer, self._waiting = self._waiting, {}
        for record in (*load.records, *newer.values()):
            self._put(record)

    def clear(self) -> None:
        """Forget what waits: it is not to be written."""
        self._waiting.clear()
        self._is_short = False

    def _put(self, record: PullRecord) -> None:
        if record.number in self._waiting or len(self._waiting) < self._limit:
            self._waiting[record.number] = record
        else:
            self.dropped += 1
            self._is_short = True
