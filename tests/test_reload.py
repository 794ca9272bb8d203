"""What SIGHUP does: the configuration is read again, as a whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogLevel, eventAsText

from image_cri_shim.config import Config
from image_cri_shim.errors import ConfigError, Problem
from image_cri_shim.reload import SECOND_LOOK, ReloadService

ROOT = Path(__file__).parent.parent
BAD = ConfigError([Problem("/etc/x.yaml", 2, 8, "force", "expected true or false, found 1")])
MOMENT = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(1_700_000_000.0))
FIRST, SECOND = Config(debug=True), Config(force=True)


class Reactor(Clock):
    """Keeps what it is told to call until the test calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.due: list[Callable[[], None]] = []

    def callFromThread(self, callable: Callable[[], None]) -> None:
        self.due.append(callable)

    def turn(self) -> None:
        due, self.due = self.due, []
        for call in due:
            call()


class Stage:
    """A running service that reads what the test puts into ``file``."""

    def __init__(self) -> None:
        self.file: Config | Exception = FIRST
        self.applied: list[Config] = []
        self.anew: list[bool] = []
        self.objection: ConfigError | None = None
        self.turns: list[str] = []
        self.events: list[LogEvent] = []
        self.reads = 0
        self.now = 1_700_000_000.0
        self.while_reading: Callable[[], None] = lambda: None
        self.reactor = Reactor()
        log = Logger(namespace="test", observer=self.events.append)
        self.service = ReloadService(
            self._read,
            self._apply,
            self.reactor,
            log,
            fingerprint=self.fingerprint,
            now=lambda: self.now,
        )
        self.service.before = lambda: self.turns.append("before")
        self.service.after = lambda: self.turns.append("after")
        self.said = b""
        self.service.startService()

    def write(self, file: Config | Exception, said: bytes) -> None:
        """Let the files say something else."""
        self.file, self.said = file, said

    def fingerprint(self) -> bytes:
        return self.said

    def _apply(self, config: Config, anew: bool) -> None:
        if self.objection is not None:
            raise self.objection
        self.applied.append(config)
        self.anew.append(anew)

    def _read(self) -> Config:
        self.reads += 1
        self.while_reading()
        if isinstance(self.file, Exception):
            raise self.file
        return self.file

    @property
    def lines(self) -> list[str]:
        return [eventAsText(event, includeTimestamp=False) for event in self.events]


@pytest.fixture
def stage() -> Iterator[Stage]:
    before = signal.getsignal(signal.SIGHUP)
    yield Stage()
    signal.signal(signal.SIGHUP, before)


def test_a_good_file_is_applied(stage: Stage) -> None:
    stage.service.reload()
    stage.file = SECOND
    stage.service.reload()
    assert stage.applied == [FIRST, SECOND]
    assert stage.lines == ["[test#info] reload: the new configuration runs"] * 2


def test_a_bad_file_changes_nothing_and_every_problem_is_in_the_log(stage: Stage) -> None:
    stage.file = ConfigError(
        [
            Problem("/etc/x.yaml", 2, 8, "force", "expected true or false, found {1}"),
            Problem("/etc/x.yaml", 3, 1, "shimm", "unknown key"),
        ]
    )
    stage.service.reload()
    assert stage.applied == []
    assert stage.lines == [
        "[test#error] reload: /etc/x.yaml:2:8: force: expected true or false, found {1}",
        "[test#error] reload: /etc/x.yaml:3:1: shimm: unknown key",
        "[test#error] reload: refused; the configuration that was read before runs on "
        f"(the files have been wrong since {MOMENT})",
    ]


@pytest.mark.parametrize(
    "error", [OSError(5, "input/output error"), MemoryError(), RuntimeError("bug")], ids=repr
)
def test_whatever_goes_wrong_while_reading_the_next_reload_works(
    stage: Stage, error: Exception
) -> None:
    stage.file = error
    stage.service.reload()
    assert stage.applied == []
    (event,) = stage.events
    assert event["log_level"] == LogLevel.critical
    assert "reload: failed; the configuration that runs stays as it is" in stage.lines[0]
    assert type(error).__name__ in stage.lines[0]
    stage.file = SECOND
    stage.service.reload()
    assert stage.applied == [SECOND]


def test_sighup_is_answered_in_the_reactors_turn_and_not_in_the_handler(stage: Stage) -> None:
    stage.service.listen_for_signal()
    os.kill(os.getpid(), signal.SIGHUP)
    assert len(stage.reactor.due) == 1
    assert stage.reads == 0
    stage.reactor.turn()
    assert stage.applied == [FIRST]


def test_every_sighup_reloads(stage: Stage) -> None:
    stage.service.listen_for_signal()
    for config in (FIRST, SECOND, FIRST):
        stage.file = config
        os.kill(os.getpid(), signal.SIGHUP)
        stage.reactor.turn()
    assert stage.applied == [FIRST, SECOND, FIRST]


def test_many_sighups_at_once_are_one_reload(stage: Stage) -> None:
    stage.service.listen_for_signal()
    for _ in range(10):
        os.kill(os.getpid(), signal.SIGHUP)
    stage.reactor.turn()
    assert stage.reads == 1


@pytest.mark.parametrize("error", [None, RuntimeError("bug"), ConfigError([])])
def test_a_sighup_while_a_reload_runs_is_not_lost(stage: Stage, error: Exception | None) -> None:
    stage.service.listen_for_signal()
    stage.file = error or FIRST
    stage.while_reading = lambda: os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGHUP)
    stage.reactor.turn()
    stage.while_reading = lambda: None
    stage.file = SECOND
    stage.reactor.turn()
    assert stage.applied[-1] == SECOND
    assert stage.reads == 2


def test_a_sighup_that_comes_too_early_kills_nobody_and_is_answered_later() -> None:
    script = """
import os, signal
from image_cri_shim.reload import ReloadService, hold_hangups

class Reactor:
    def callFromThread(self, call):
        print("reload", call.__self__ is service)

hold_hangups()
os.kill(os.getpid(), signal.SIGHUP)
print("alive")
service = ReloadService(None, None, Reactor(), None, fingerprint=None)
service.listen_for_signal()
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "alive\nreload True\n", "")


def test_sighup_before_the_start_or_after_the_end_does_nothing_and_kills_nobody() -> None:
    before = signal.getsignal(signal.SIGHUP)
    try:
        stage = Stage()
        stage.service.stopService()
        stage.service.listen_for_signal()
        os.kill(os.getpid(), signal.SIGHUP)
        stage.reactor.turn()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (stage.reads, stage.applied, stage.lines) == (0, [], [])


def test_files_that_say_something_else_are_read_without_being_asked(stage: Stage) -> None:
    stage.service.look()
    assert stage.reads == 0
    stage.write(SECOND, b"2")
    stage.service.look()
    stage.service.look()
    assert stage.applied == [SECOND]
    assert stage.anew == [False]
    assert stage.turns == ["before", "after"]


def test_who_asks_also_gets_everything_anew_where_nothing_has_changed(stage: Stage) -> None:
    stage.service.reload()
    assert stage.anew == [True]
    # What was read when it was asked for is not read again by itself.
    stage.write(SECOND, b"2")
    stage.service.reload()
    stage.service.look()
    assert stage.reads == 2


def test_a_change_while_files_are_read_is_another_change(stage: Stage) -> None:
    stage.while_reading = lambda: stage.write(SECOND, b"2")
    stage.service.reload()
    stage.while_reading = lambda: None
    stage.service.look()
    assert stage.applied[-1] == SECOND
    assert stage.reads == 2


def test_a_file_found_half_written_gets_its_time_before_anything_is_said(stage: Stage) -> None:
    stage.write(BAD, b"half")
    stage.service.look()
    assert stage.lines == []
    assert stage.service.refusal is None
    stage.write(SECOND, b"whole")
    # Signs of the writing do not hurry it.
    stage.service.look()
    assert stage.reads == 1
    stage.reactor.advance(SECOND_LOOK)
    assert stage.applied == [SECOND]
    assert stage.lines == ["[test#info] reload: the new configuration runs"]


def test_a_file_that_stays_bad_is_said_to_be_once_with_the_time(stage: Stage) -> None:
    stage.write(BAD, b"bad")
    stage.service.look()
    stage.reactor.advance(SECOND_LOOK)
    lines = [
        "[test#error] reload: /etc/x.yaml:2:8: force: expected true or false, found 1",
        "[test#error] reload: refused; the configuration that was read before runs on "
        f"(the files have been wrong since {MOMENT})",
    ]
    assert stage.lines == lines
    for _ in range(3):
        stage.now += 100
        stage.service.look()
        stage.reactor.advance(100)
    assert stage.lines == lines
    # And when somebody asks, it is since the same moment.
    stage.service.reload()
    assert stage.lines == lines * 2
    refusal = stage.service.refusal
    assert refusal is not None
    assert str(refusal) == (
        f"the configuration is refused since {MOMENT}, the one before runs: "
        "/etc/x.yaml:2:8: force: expected true or false, found 1"
    )


def test_a_mended_file_ends_the_trouble(stage: Stage) -> None:
    stage.file = BAD
    stage.service.reload()
    stage.write(SECOND, b"2")
    stage.service.look()
    assert stage.service.refusal is None
    # The next trouble has its own time.
    stage.now += 60
    stage.file = BAD
    stage.service.reload()
    assert stage.service.refusal is not None
    assert stage.service.refusal.since == stage.now


def test_a_configuration_that_cannot_be_put_to_work_is_refused(stage: Stage) -> None:
    stage.objection = ConfigError([Problem("", 0, 0, "shim", "another program serves it")])
    stage.file = SECOND
    stage.service.reload()
    assert stage.applied == []
    assert stage.lines == [
        "[test#error] reload: shim: another program serves it",
        "[test#error] reload: refused; the configuration that was read before runs on "
        f"(the files ask for what cannot be had since {MOMENT})",
    ]
    assert stage.service.refusal is not None


def test_a_failure_that_nobody_thought_of_shows_in_the_status(stage: Stage) -> None:
    stage.file = RuntimeError("bug")
    stage.service.reload()
    assert stage.service.refusal is not None
    assert stage.service.refusal.why == "internal error: RuntimeError"
    assert stage.turns == ["before", "after"]


def test_who_asks_need_not_wait_for_the_second_look(stage: Stage) -> None:
    stage.write(BAD, b"bad")
    stage.service.look()
    stage.service.reload()
    assert len(stage.lines) == 2
    stage.reactor.advance(SECOND_LOOK)
    assert stage.reads == 2


def test_the_end_ends_the_second_look(stage: Stage) -> None:
    stage.write(BAD, b"bad")
    stage.service.look()
    stage.service.stopService()
    assert stage.reactor.getDelayedCalls() == []
    stage.write(SECOND, b"2")
    stage.service.look()
    assert stage.reads == 1


def test_what_could_not_be_had_is_tried_again_and_said_once(stage: Stage) -> None:
    stage.objection = ConfigError([Problem("", 0, 0, "shim", "another program serves it")])
    stage.write(SECOND, b"2")
    stage.service.look()
    stage.reactor.advance(SECOND_LOOK)
    assert len(stage.lines) == 2
    turns = len(stage.turns)
    for _ in range(3):
        stage.service.try_again()
    assert len(stage.lines) == 2
    assert len(stage.turns) == turns, "the service manager need not hear of it"
    stage.objection = None
    stage.service.try_again()
    assert stage.applied == [SECOND]
    assert stage.service.refusal is None
    assert stage.turns[-1] == "after"
    stage.service.try_again()
    assert stage.applied == [SECOND]


def test_a_file_with_a_mistake_is_not_read_again_and_again(stage: Stage) -> None:
    stage.file = BAD
    stage.service.reload()
    reads = stage.reads
    stage.service.try_again()
    assert stage.reads == reads


def test_who_asks_is_told_again_what_cannot_be_had(stage: Stage) -> None:
    stage.objection = ConfigError([Problem("", 0, 0, "shim", "another program serves it")])
    stage.service.reload()
    stage.service.reload()
    assert len(stage.lines) == 4
