"""What the history's thread does: writes to its file, and mends it or begins a new one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from image_cri_shim.history import row
from image_cri_shim.history.run import Run
from image_cri_shim.pull_record import PullRecord

if TYPE_CHECKING:
    from image_cri_shim.history.store import Store


# Seconds for which the daemon has run before it removes what is too old.
SETTLED = 3600.0


@attrs.frozen
class Job:
    """What is to be done in one go.

    :ivar directory: the state directory; empty if no history is kept.
    :ivar size: pulls that are kept, at most.
    :ivar age: seconds that they are kept; 0 for no limit.
    :ivar records: what is known of pulls.
    :ivar running: the numbers of all that run, if the ends of some that do not were not recorded.
    :ivar last: whether the file is closed afterwards.
    """

    directory: str
    size: int
    age: float
    records: tuple[PullRecord, ...] = ()
    running: frozenset[int] | None = None
    last: bool = False


@attrs.frozen
class Outcome:
    """What came of a job.

    :ivar trouble: why it was not done, for the operator; empty if it was.
    :ivar news: what else the operator should know; empty for nothing.
    :ivar anew: whether the file is a new one for this run, so that it knows nothing of the pulls
        that run.
    :ivar more: whether there is more to remove.
    """

    trouble: str = ""
    news: str = ""
    anew: bool = False
    more: bool = False


class Keeper:
    """Does jobs, one after the other, in whichever thread that is.

    :param run: whose pulls they are.
    :param now: returns the seconds since 1970.
    :param monotonic: returns seconds from any beginning, whatever becomes of the clock.
    """

    def __init__(
        self,
        run: Run,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._now = now
        self._monotonic = monotonic
        self._began = monotonic()
        self._store: Store | None = None

    def do(self, job: Job) -> Outcome:
        """Do a job; what keeps it from being done is in the outcome."""
        if not job.directory and self._store is None:
            return Outcome()
        try:
            # Imported here: it is not needed where no history is kept, and Python may lack SQLite.
            from image_cri_shim.history import store  # noqa: PLC0415
        except ImportError as error:
            return Outcome(
                f"this Python cannot use SQLite ({error}): install its sqlite3 module, or set "
                "historySize: 0"
            )
        news = ""
        try:
            try:
                return self._write(job)
            except store.DamagedError as error:
                self._close()
                aside = store.set_aside(Path(job.directory, row.NAME))
                news = f"{error}; it is set aside as {aside}, and a new one begins"
                return attrs.evolve(self._write(job), news=news)
        except store.StoreError as error:
            self._close()
            return Outcome(str(error), news)
        except Exception:
            # Whatever it is, what was begun in the file is not left open.
            self._close()
            raise
        finally:
            if job.last:
                self._close()

    def _write(self, job: Job) -> Outcome:
        from image_cri_shim.history.store import Bounds, Store  # noqa: PLC0415

        self._leave(job.directory)
        anew = self._store is None
        if not job.directory:
            return Outcome()
        if self._store is None:
            self._store = Store(job.directory, self._run)
        bounds = Bounds(job.size, self._oldest(job.age, self._store.last_before))
        more = self._store.write(job.records, bounds, job.running)
        return Outcome(anew=anew, more=more)

    def _oldest(self, age: float, last_before: float | None) -> float:
        """Return since when pulls are kept; seconds since 1970.

        A clock may be wrong, above all soon after the machine's start, and one that is ahead would
        make all pulls too old at once. So it has an hour to be set right, and it counts for no
        later than the time that has passed in this run since the last pull of those before. If
        that was long ago, pulls are kept so much longer, until the next run.

        :param last_before: when that pull began.
        """
        ran = self._monotonic() - self._began
        if not age or ran < SETTLED:
            return 0.0
        before = self._run.began if last_before is None else last_before
        return min(self._now(), before + ran) - age

    def _leave(self, directory: str) -> None:
        """Close the file if it is not the one to write to any more."""
        from image_cri_shim.history.store import StoreError  # noqa: PLC0415

        store = self._store
        if store is None or (directory == store.directory and store.is_in_place):
            return
        if directory != store.directory:
            # How the pulls that run end is written elsewhere, or nowhere. What cannot be removed
            # is shown as interrupted some day.
            with contextlib.suppress(StoreError):
                store.forget()
        self._close()

    def _close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()
