"""When a failing registry is left alone, for how long, and who finds out that it is back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher

from image_cri_shim.decision import Outcome
from image_cri_shim.registry.health import BackOff, Condition, Health, Leave, Skip, State
from tests.registry.lab import answer_of
from tests.registry.network import candidate

HUB, HARBOR = "sealos.hub:5000", "harbor.corp"
NGINX = candidate(f"{HUB}/library/nginx:1.25")
SILENT: dict[str, Any] = {"detail": "timed out after 10s", "timed_out": True}
REFUSING: dict[str, Any] = {"detail": "connection refused"}


class Ward:
    """Health, a clock, and short words for what happens to a registry."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.chance = 0.0
        self.health = Health(self.clock, draw=lambda: self.chance)

    def leave(self, name: str = HUB) -> Leave:
        leave = self.health.admit(name)
        assert isinstance(leave, Leave)
        return leave

    def answers(self, outcome: Outcome = Outcome.PRESENT, leave: Leave | None = None) -> None:
        self.health.record(leave or self.leave(), answer_of(NGINX, outcome))

    def fails(self, leave: Leave | None = None, **how: Any) -> None:
        answer = answer_of(NGINX, Outcome.UNKNOWN, **(how or SILENT))
        self.health.record(leave or self.leave(), answer)

    def skip(self, name: str = HUB) -> Skip | None:
        """Return why it is not asked; asking ends without an answer if it may be."""
        leave = self.health.admit(name)
        if isinstance(leave, Skip):
            assert self.health.skip(name) == leave
            return leave
        self.health.withdraw(leave)
        return None

    def wait(self) -> float:
        """Return for how long it is left alone."""
        return self.health.condition(HUB).wait


@pytest.fixture
def ward() -> Ward:
    return Ward()


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []

    def observe(event: Any) -> None:
        lines.append(f"{event['log_level'].name}: {formatEvent(event)}")

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def test_a_registry_that_answers_is_asked(ward: Ward) -> None:
    ward.answers(Outcome.PRESENT)
    ward.answers(Outcome.ABSENT)
    assert ward.skip() is None
    assert ward.health.condition(HUB) == Condition(HUB, State.CLOSED)


def test_one_time_out_is_enough_and_the_reason_is_told(ward: Ward) -> None:
    ward.fails()
    ward.clock.advance(1.5)
    assert ward.skip() == Skip("not asked: timed out after 10s, next try in 4s", timed_out=True)


def test_failures_that_cost_little_must_be_three_in_a_row(ward: Ward) -> None:
    ward.fails(**REFUSING)
    ward.fails(**REFUSING)
    assert ward.skip() is None
    ward.fails(**REFUSING)
    assert ward.skip() == Skip("not asked: connection refused, next try in 5s", timed_out=False)


def test_an_answer_in_between_makes_the_count_begin_anew(ward: Ward) -> None:
    for _ in range(5):
        ward.fails(**REFUSING)
        ward.fails(**REFUSING)
        ward.answers(Outcome.ABSENT)
    assert ward.skip() is None


def test_a_registry_that_asks_to_be_left_alone_is_so_for_as_long_as_it_says(ward: Ward) -> None:
    ward.fails(detail="429", retry_after=60.0)
    assert ward.skip() == Skip("not asked: 429, next try in 60s", timed_out=False)


def test_a_registry_that_asks_for_less_than_it_gets_anyway_gets_it(ward: Ward) -> None:
    ward.fails(detail="503", retry_after=1.0)
    assert ward.wait() == 5.0


def test_other_registries_are_asked_meanwhile(ward: Ward) -> None:
    ward.fails()
    assert ward.skip(HARBOR) is None


def test_wrong_credentials_are_three_failures_in_a_row_too(ward: Ward) -> None:
    for _ in range(3):
        ward.fails(detail="401 wrong credentials")
    assert ward.skip() is not None, "before the account is locked"


def test_the_time_without_it_doubles_up_to_five_minutes(ward: Ward) -> None:
    for wait in (5, 10, 20, 40, 80, 160, 300, 300, 300):
        ward.fails()
        assert ward.wait() == wait
        ward.clock.advance(wait - 0.5)
        assert ward.skip() is not None
        ward.clock.advance(0.5)
        assert ward.skip() is None


def test_nodes_do_not_come_back_all_at_once(ward: Ward) -> None:
    ward.chance = 0.5
    ward.fails()
    assert ward.wait() == pytest.approx(5.5)


def test_nobody_can_ask_to_be_left_alone_for_more_than_an_hour() -> None:
    for asked_for in (3500.0, 86400.0):
        assert BackOff().delay(1, asked_for, 1.0) == 3600.0
    assert BackOff().delay(1, 100.0, 0.5) == pytest.approx(110.0), (
        "nodes do not come back all at once"
    )


def test_a_registry_that_is_gone_for_months_does_not_end_in_an_overflow() -> None:
    assert BackOff().delay(10**6, None, 0.0) == 300.0


@pytest.mark.parametrize("outcome", [Outcome.PRESENT, Outcome.ABSENT])
def test_any_answer_makes_it_healthy_again(ward: Ward, outcome: Outcome) -> None:
    ward.fails()
    ward.clock.advance(5)
    ward.fails()
    ward.clock.advance(10)
    ward.answers(outcome)
    assert ward.skip() is None
    ward.fails()
    assert ward.wait() == 5, "the back-off begins anew"


def test_a_single_failed_trial_leaves_it_alone_again(ward: Ward) -> None:
    for _ in range(3):
        ward.fails(**REFUSING)
    ward.clock.advance(5)
    ward.fails(**REFUSING)
    assert ward.wait() == 10


def test_one_tries_it_again_and_the_others_go_without(ward: Ward) -> None:
    ward.fails()
    ward.clock.advance(5)
    trying = ward.leave()
    assert trying.meanwhile is not None
    assert trying.meanwhile.timed_out
    now = Skip("not asked: timed out after 10s, being tried again right now", timed_out=True)
    assert ward.skip() == now
    ward.answers(leave=trying)
    assert ward.skip() is None


def test_a_trial_that_is_given_up_leaves_it_to_the_next(ward: Ward) -> None:
    ward.fails()
    ward.clock.advance(5)
    ward.health.withdraw(ward.leave())
    assert ward.skip() is None


def test_look_ups_that_time_out_together_are_one_failure(ward: Ward) -> None:
    asked = [ward.leave() for _ in range(6)]
    for leave in asked:
        ward.fails(leave)
    assert ward.wait() == 5


def test_a_late_answer_from_before_makes_it_healthy(ward: Ward) -> None:
    late = ward.leave()
    ward.fails()
    ward.answers(leave=late)
    assert ward.skip() is None


def test_a_late_failure_does_not_end_the_trial_that_runs(ward: Ward) -> None:
    late = ward.leave()
    ward.fails()
    ward.clock.advance(5)
    trying = ward.leave()
    ward.fails(late)
    ward.health.withdraw(late)
    assert ward.skip() is not None
    ward.answers(leave=trying)
    assert ward.skip() is None


def test_its_state_can_be_seen(ward: Ward) -> None:
    ward.fails(**REFUSING)
    assert ward.health.condition(HUB) == Condition(HUB, State.CLOSED, 1, "connection refused")
    ward.clock.advance(60)
    ward.fails()
    ward.clock.advance(2)
    opened = Condition(HUB, State.OPEN, 2, "timed out after 10s", 3.0, lasting=62.0)
    assert ward.health.condition(HUB) == opened
    ward.clock.advance(3)
    assert ward.health.condition(HUB).state is State.HALF_OPEN
    ward.leave()
    assert ward.health.condition(HUB).state is State.HALF_OPEN
    assert ward.health.condition(HARBOR) == Condition(HARBOR, State.CLOSED)


def test_the_log_says_when_it_is_left_alone_and_when_it_is_back(ward: Ward, log: list[str]) -> None:
    ward.fails(**REFUSING)
    ward.answers()
    assert log == []
    ward.fails()
    ward.clock.advance(5)
    ward.answers()
    assert log == [
        f"warn: registry {HUB} is not asked for 5 s: timed out after 10s",
        f"info: registry {HUB} answers again",
    ]
