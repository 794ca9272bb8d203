"""A runtime that is connected and hangs is found out, and forgiven when it answers."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, Logger, eventAsText

from image_cri_shim.runtime_check import RuntimeCheck


class Stage:
    """A check whose questions the test answers."""

    def __init__(self) -> None:
        self.questions: list[Deferred[bool | None]] = []
        self.changes = 0
        self.now = 1000.0
        self.events: list[LogEvent] = []
        log = Logger(namespace="runtime", observer=self.events.append)
        self.check = RuntimeCheck(self._ask, self._changed, log, lambda: self.now)

    def _ask(self) -> Deferred[bool | None]:
        self.questions.append(Deferred())
        return self.questions[-1]

    def _changed(self) -> None:
        self.changes += 1

    def look(self, times: int = 5) -> None:
        for _ in range(times):
            self.check.look()

    def ask(self, answer: bool | None) -> None:
        self.look()
        self.questions[-1].callback(answer)

    @property
    def said(self) -> list[str]:
        return [
            eventAsText(one, includeTimestamp=False, includeSystem=False) for one in self.events
        ]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_it_is_asked_at_every_fifth_look_and_not_while_a_question_is_open(stage: Stage) -> None:
    stage.look(4)
    assert stage.questions == []
    stage.look(11)
    assert len(stage.questions) == 1
    stage.questions[0].callback(True)
    stage.look(5)
    assert len(stage.questions) == 2


def test_one_that_hangs_is_silent_since_it_was_asked_first(stage: Stage) -> None:
    stage.look()
    stage.now = 1005.0
    stage.questions[-1].callback(False)
    stage.ask(False)
    assert stage.check.silent_since == 1000.0
    assert stage.changes == 1
    assert stage.said == ["the runtime is connected, but it does not answer; does it hang?"]


def test_one_that_answers_again_is_forgiven(stage: Stage) -> None:
    stage.ask(False)
    stage.ask(True)
    assert stage.check.silent_since is None
    assert stage.changes == 2
    assert stage.said[1:] == ["the runtime answers again"]


def test_one_that_is_gone_is_no_longer_said_to_hang(stage: Stage) -> None:
    stage.ask(False)
    stage.ask(None)
    assert stage.check.silent_since is None
    assert len(stage.said) == 1, "that it is gone is said elsewhere"


def test_a_question_that_goes_wrong_says_nothing_of_the_runtime(stage: Stage) -> None:
    stage.look()
    stage.questions[-1].errback(ZeroDivisionError("a defect"))
    assert stage.check.silent_since is None
    stage.ask(False)
    assert stage.check.silent_since is not None


def test_another_runtime_is_not_said_to_hang_for_the_one_before(stage: Stage) -> None:
    stage.ask(False)
    stage.look()
    stage.check.forget()
    assert stage.check.silent_since is None
    stage.look()
    assert len(stage.questions) == 3, "the question that was open is given up"


def test_nobody_waits_for_an_answer_after_the_end(stage: Stage) -> None:
    stage.look()
    stage.check.stop()
    assert stage.check.silent_since is None
    stage.check.stop()
