"""The history of pulls as the daemon keeps it, without ever waiting for a disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from image_cri_shim.clock import Clock, DelayedCall
from image_cri_shim.config import Config
from image_cri_shim.history import row
from image_cri_shim.history.backlog import Backlog, Load
from image_cri_shim.history.keeper import Job, Keeper, Outcome
from image_cri_shim.history.patience import Patience
from image_cri_shim.history.run import this_run
from image_cri_shim.history.worker import Work, Worker
from image_cri_shim.pull_book import Event
from image_cri_shim.pull_record import PullRecord

# Seconds that a pull's answer waits for the disk, at most.
PATIENCE = 0.25
# Seconds until it is said that the disk does not answer.
SILENCE = 5.0
# Seconds between two tries where the file cannot be written.
RETRY = 30.0
# Seconds between two looks for what is too old, where nothing is pulled.
TICK = 3600.0
# Seconds that the end of the daemon waits.
STOPPING = 2.0
# Pulls that wait to be written, at most.
WAITING = 1000


class Reactor(Clock, Protocol):
    """What of the reactor is used."""

    def callFromThread(  # noqa: N802 - Twisted's name
        self,
        callable: Callable[[], object],  # noqa: A002 - Twisted's name
    ) -> object:
        """Call something in the reactor's thread."""


class Hands(Protocol):
    """Who does the work; see Worker."""

    def do(self, work: Work) -> None:
        """Do something as soon as all before it is done."""

    def end(self) -> None:
        """End when all is done."""


class History:
    """Keeps pulls in the state directory, for ``image-cri-shim history``.

    All of it is called in the reactor's thread, and nothing in it waits: one job at a time is done
    by a thread of its own, and what is told meanwhile is the next one.

    :param hands: does the work, in place of that thread.
    :param now: returns the seconds since 1970.
    :param monotonic: returns seconds from any beginning, whatever becomes of the clock; the
        reactor's follow it.
    """

    def __init__(
        self,
        config: Config,
        reactor: Reactor,
        log: Logger,
        *,
        hands: Hands | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._clock: Clock = reactor
        self._log = log
        self._hands: Hands = hands or Worker(reactor.callFromThread)
        self._now = now
        self._monotonic = monotonic
        self._keeper: Keeper | None = None
        self._backlog = Backlog(WAITING)
        self._waiters = Patience(reactor, PATIENCE, self._is_late)
        self._written = 0
        # Whether the thread is to look at the file though nothing is to be written.
        self._due = False
        self._used = self._busy = self._slow = False
        self._trouble = self._said = ""
        self._next: DelayedCall | None = None
        self._silence: DelayedCall | None = None
        self._closing: Patience | None = None
        self._closed = False

    @property
    def path(self) -> str:
        """The file that the configuration names."""
        return str(Path(self._config.image, row.NAME))

    @property
    def dropped(self) -> int:
        """The pulls that found no place while nothing could be written."""
        return self._backlog.dropped

    @property
    def state(self) -> str:
        """How it is: ``ok``, ``off``, or a sentence that says what is wrong."""
        if not self._config.history_size:
            return "off"
        if not self._trouble:
            return "ok"
        return f"{self._trouble}; {self._missing()}" if self.dropped else self._trouble

    def start(self) -> None:
        """Open the file; until then nothing is written."""
        if self._keeper is None:
            self._keeper = Keeper(this_run(self._now()), self._now, self._monotonic)
            self._due = bool(self._config.history_size)
            self._go_on()

    def note(self, event: Event, record: PullRecord) -> None:
        """Take note of what has happened to a pull; see ``PullBook.watch``."""
        # What was decided is tried at once.
        if event is Event.DECIDED or not self._config.history_size or self._closing is not None:
            self._backlog.watch(record)
            return
        self._backlog.add(record)
        if not self._trouble:
            self._go_on()

    def recorded(self) -> Deferred[None]:
        """Wait until all that was told is written: what happens to the process cannot undo it.

        :returns: fires after 0.25 s in any case, and at once if nothing can be written. It may be
            cancelled.
        """
        told = self._backlog.told
        if self._written >= told or self._trouble or self._slow or self._keeper is None:
            return succeed(None)
        return self._waiters.wait(told)

    def apply(self, config: Config) -> None:
        """Keep it as another configuration says from now on."""
        before, self._config = self._config, config
        if _of_history(config) == _of_history(before):
            return
        if not config.history_size:
            self._trouble = self._said = ""
            self._backlog.clear()
            self._wrote(self._backlog.told)
        self._due = True
        self._go_on()

    def stop(self) -> Deferred[None]:
        """Write what was told, and close the file.

        :returns: fires when that is done, or after 2 s.
        """
        if self._closing is None:
            self._closing = Patience(self._clock, STOPPING, self._end)
            if not self._used:
                self._end()
            elif not self._busy:
                self._give()
        return succeed(None) if self._closed else self._closing.wait(0)

    def _go_on(self) -> None:
        """Give the thread what there is to do, unless it does something already."""
        if self._keeper is not None and not self._busy and (self._due or self._backlog):
            self._give()

    def _give(self) -> None:
        config, load = self._config, self._backlog.take()
        job = Job(
            directory=config.image if config.history_size else "",
            size=config.history_size,
            age=config.history_age,
            records=load.records,
            running=load.running,
            last=self._closing is not None,
        )
        self._used = self._busy = True
        self._due = False
        _cancel(self._next)
        self._silence = self._clock.callLater(SILENCE, self._is_silent)
        self._hands.do(lambda: self._work(job, load))

    def _work(self, job: Job, load: Load) -> Callable[[], object]:
        """Do a job, in the thread; return what is done in the reactor's."""
        if self._keeper is None:
            raise AssertionError("nothing is written before start()")
        try:
            outcome = self._keeper.do(job)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the daemon
            outcome = Outcome(f"cannot keep the history: {type(error).__name__}: {error}")
        return lambda: self._did(job, load, outcome)

    def _did(self, job: Job, load: Load, outcome: Outcome) -> None:
        self._busy = self._slow = False
        _cancel(self._silence)
        if outcome.news:
            self._log.warn("history: {news}", news=outcome.news)
        if not self._config.history_size:
            # It was turned off meanwhile.
            outcome = Outcome()
        elif outcome.trouble:
            self._backlog.give_back(load)
        elif outcome.anew:
            self._backlog.add_running()
        # What went wrong before the configuration changed may be right by now.
        self._say("" if self._due else outcome.trouble)
        self._due |= outcome.more
        if outcome.trouble:
            self._waiters.give_up()
        else:
            self._wrote(load.told)
        if self._closing is not None:
            self._end() if job.last else self._give()
        elif self._trouble:
            self._next = self._clock.callLater(RETRY, self._look)
        else:
            self._go_on()
            if not self._busy and self._config.history_size:
                self._next = self._clock.callLater(TICK, self._look)

    def _look(self) -> None:
        self._due = True
        self._go_on()

    def _wrote(self, told: int) -> None:
        self._written = max(self._written, told)
        self._waiters.written(self._written)

    def _is_late(self) -> None:
        # The next ones need not find that out as well.
        self._slow = True

    def _is_silent(self) -> None:
        self._say(f"cannot write {self.path}: the disk has not answered for {SILENCE:.0f} s")
        self._waiters.give_up()

    def _say(self, trouble: str) -> None:
        """Take note of how it is, and log what is new of that."""
        self._trouble = trouble
        if trouble and trouble != self._said:
            self._log.warn("history: {trouble}; pulls are not recorded", trouble=trouble)
        elif not trouble and self._said:
            after = f"; {self._missing()}" if self.dropped else ""
            self._log.info("history: pulls are recorded again{after}", after=after)
        self._said = trouble

    def _missing(self) -> str:
        return f"{self.dropped} pull{'s' * (self.dropped != 1)} of this run not recorded"

    def _end(self) -> None:
        self._closed = True
        _cancel(self._next)
        _cancel(self._silence)
        self._waiters.give_up()
        if self._closing is not None:
            self._closing.give_up()
        self._hands.end()


def _of_history(config: Config) -> tuple[str, int, float]:
    return config.image, config.history_size, config.history_age


def _cancel(call: DelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()
