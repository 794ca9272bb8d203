"""When the service manager is told what."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, eventAsText

from image_cri_shim.sd_notify import Notifier
from image_cri_shim.supervision import Supervision


class Heard(Notifier):
    """Keeps what it would send."""

    messages: list[str]

    def _send(self, *assignments: str, patience: float = 0.0) -> None:
        self.messages.extend(assignments)


class Stage:
    """A supervised daemon."""

    def __init__(self, watchdog: float = 0.0) -> None:
        self.clock = Clock()
        self.state = "fine"
        self.checks: list[tuple[float, Deferred[str]]] = []
        self.events: list[LogEvent] = []
        self.messages: list[str] = []
        notifier = Heard("/n", watchdog)
        object.__setattr__(notifier, "messages", self.messages)
        log = Logger(namespace="test", observer=self.events.append)
        self.supervision = Supervision(notifier, lambda: self.state, self._check, self.clock, log)
        self.supervision.startService()

    def _check(self, patience: float) -> Deferred[str]:
        check: Deferred[str] = Deferred()
        self.checks.append((patience, check))
        return check

    def heard(self) -> list[str]:
        heard = list(self.messages)
        self.messages.clear()
        return heard

    @property
    def lines(self) -> list[str]:
        return [eventAsText(event, includeTimestamp=False) for event in self.events]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_nothing_is_said_before_the_daemon_serves(stage: Stage) -> None:
    stage.state = "starting"
    stage.supervision.changed()
    stage.supervision.reloading()
    stage.supervision.reloaded()
    assert stage.heard() == []
    stage.state = "fine"
    stage.supervision.ready()
    assert stage.heard() == ["READY=1", "STATUS=fine"]


def test_a_status_is_said_when_it_changes_and_only_then(stage: Stage) -> None:
    stage.supervision.ready()
    stage.heard()
    stage.supervision.changed()
    assert stage.heard() == []
    stage.state = "no runtime"
    stage.supervision.changed()
    stage.supervision.changed()
    assert stage.heard() == ["STATUS=no runtime"]


def test_a_reload_ends_with_ready_and_the_new_status(stage: Stage) -> None:
    stage.supervision.ready()
    stage.heard()
    stage.supervision.reloading()
    assert stage.heard()[0] == "RELOADING=1"
    stage.state = "the configuration is refused"
    stage.supervision.reloaded()
    assert stage.heard() == ["READY=1", "STATUS=the configuration is refused"]


def test_after_the_stop_nothing_else_is_said(stage: Stage) -> None:
    stage.supervision.ready()
    stage.heard()
    stage.supervision.stopping(5.0)
    assert stage.heard()[0] == "STOPPING=1"
    stage.state = "no runtime"
    stage.supervision.changed()
    stage.supervision.reloading()
    stage.supervision.reloaded()
    assert stage.heard() == []


def test_without_a_watchdog_nothing_is_checked(stage: Stage) -> None:
    stage.supervision.ready()
    stage.clock.advance(1000)
    assert stage.checks == []


def test_the_watchdog_is_fed_by_checks_that_succeed() -> None:
    stage = Stage(watchdog=30.0)
    assert stage.checks == []
    stage.supervision.ready()
    stage.heard()
    for _ in range(3):
        patience, check = stage.checks.pop()
        assert patience == 10.0
        assert stage.heard() == []
        check.callback("")
        assert stage.heard() == ["WATCHDOG=1"]
        stage.clock.advance(9.9)
        assert stage.checks == []
        stage.clock.advance(0.1)


@pytest.mark.parametrize("answer", ["no answer within 10 s", RuntimeError("bug")], ids=str)
def test_a_check_that_fails_feeds_nothing_and_is_logged(answer: str | Exception) -> None:
    stage = Stage(watchdog=30.0)
    stage.supervision.ready()
    stage.heard()
    _, check = stage.checks.pop()
    if isinstance(answer, str):
        check.callback(answer)
    else:
        check.errback(answer)
    assert stage.heard() == []
    (line,) = stage.lines
    assert str(answer) in line
    # The next one may succeed.
    stage.clock.advance(10)
    stage.checks.pop()[1].callback("")
    assert stage.heard() == ["WATCHDOG=1"]


def test_a_trouble_that_lasts_is_logged_once() -> None:
    stage = Stage(watchdog=30.0)
    stage.supervision.ready()
    for _ in range(5):
        stage.checks.pop()[1].callback("no answer")
        stage.clock.advance(10)
    assert stage.lines == [
        "[test#error] the shim does not answer on its own socket: no answer",
    ]


def test_a_check_that_hangs_does_not_keep_the_next_from_coming() -> None:
    stage = Stage(watchdog=30.0)
    stage.supervision.ready()
    stage.clock.pump([10, 10])
    assert len(stage.checks) == 3


def test_a_manager_in_a_hurry_does_not_keep_it_busy() -> None:
    stage = Stage(watchdog=1e-6)
    stage.supervision.ready()
    stage.clock.pump([0.05] * 20)
    assert 9 <= len(stage.checks) <= 11


def test_nothing_is_checked_after_the_stop() -> None:
    stage = Stage(watchdog=30.0)
    stage.supervision.ready()
    stage.checks.clear()
    stage.supervision.stopService()
    stage.clock.advance(100)
    assert stage.checks == []
    assert stage.clock.getDelayedCalls() == []
