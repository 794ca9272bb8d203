"""What SIGHUP does: the configuration is read again, as a whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.logger import LogEvent, Logger, LogLevel, eventAsText

from image_cri_shim.config import Config
from image_cri_shim.errors import ConfigError, Problem
from image_cri_shim.reload import ReloadService

ROOT = Path(__file__).parent.parent
FIRST, SECOND = Config(debug=True), Config(force=True)


class Reactor:
    """Keeps what it is told to call until the test calls it."""

    def __init__(self) -> None:
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
        self.events: list[LogEvent] = []
        self.reads = 0
        self.while_reading: Callable[[], None] = lambda: None
        self.reactor = Reactor()
        log = Logger(namespace="test", observer=self.events.append)
        self.service = ReloadService(self._read, self.applied.append, self.reactor, log)
        self.service.startService()

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
        "[test#error] reload: refused; the configuration that runs stays as it is",
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
service = ReloadService(None, None, Reactor(), None)
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
