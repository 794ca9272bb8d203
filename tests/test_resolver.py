"""What is pulled, given what the registries answer and when."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from image_cri_shim.decision import Candidate, Decision, LookUp, Outcome, Registry
from image_cri_shim.pattern import parse_pattern, parse_tagged_pattern
from image_cri_shim.policy import Policy
from image_cri_shim.reference import InvalidReferenceError
from image_cri_shim.resolver import Resolver, attempts
from image_cri_shim.rules import Rule

ABSENT, PRESENT, UNKNOWN = Outcome.ABSENT, Outcome.PRESENT, Outcome.UNKNOWN
A, B, C = "a.example/library/nginx:1", "b.example/library/nginx:1", "c.example/library/nginx:1"
REGISTRIES = (Registry("a.example"), Registry("b.example"), Registry("c.example"))


class FakeRegistries:
    """Answers when the test says so.

    :param deaf: whether a look-up that is cancelled goes on, to answer nobody.
    """

    def __init__(self, deaf: bool = False) -> None:
        self._deaf = deaf
        self.asked: dict[str, tuple[Candidate, Deferred[LookUp]]] = {}
        self.cancelled: list[str] = []

    def look_up(self, candidate: Candidate) -> Deferred[LookUp]:
        deferred: Deferred[LookUp] = Deferred(
            None if self._deaf else lambda _: self.cancelled.append(candidate.name)
        )
        assert candidate.name not in self.asked
        self.asked[candidate.name] = (candidate, deferred)
        return deferred

    def answer(self, name: str, outcome: Outcome, **more: object) -> None:
        candidate, deferred = self.asked[name]
        deferred.callback(LookUp(candidate, outcome, **more))  # type: ignore[arg-type]


class Pending:
    """A resolution under way."""

    def __init__(
        self,
        text: str = "nginx:1",
        registries: tuple[Registry, ...] = REGISTRIES,
        deaf: bool = False,
        grace: float = 1.0,
        rules: tuple[Rule, ...] = (),
        earlier: Decision | None = None,
        failed: tuple[Candidate, ...] = (),
    ) -> None:
        self.clock = Clock()
        self.registries = FakeRegistries(deaf)
        resolver = Resolver(Policy(registries, rules), self.registries, self.clock, grace)
        self.deferred: Deferred[Decision] = resolver.resolve(text, earlier, failed)
        self.results: list[Decision] = []
        self.failures: list[Failure] = []
        self.deferred.addCallbacks(self.results.append, self.failures.append)

    @property
    def decision(self) -> Decision:
        (decision,) = self.results
        return decision

    @property
    def order(self) -> list[str]:
        return [candidate.name for candidate in self.decision.attempts]


@pytest.fixture(autouse=True)
def _no_unhandled_errors() -> Iterator[None]:
    """Whatever is cancelled or late: nothing of it is an unhandled error in the log."""
    critical: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            critical.append(event)

    gc.collect()
    globalLogPublisher.addObserver(observe)
    yield
    gc.collect()
    globalLogPublisher.removeObserver(observe)
    assert critical == []


def test_all_registries_are_asked_at_the_same_time_and_the_origin_is_not() -> None:
    pending = Pending()
    assert list(pending.registries.asked) == [A, B, C]
    assert pending.results == []


def test_the_first_in_order_wins_without_waiting_for_those_behind() -> None:
    pending = Pending()
    pending.registries.answer(A, PRESENT)
    assert pending.order == [A, "nginx:1"]
    assert pending.registries.cancelled == [B, C]


def test_a_faster_one_behind_does_not_win() -> None:
    pending = Pending()
    pending.registries.answer(C, PRESENT)
    pending.registries.answer(B, PRESENT)
    assert pending.results == []
    pending.registries.answer(A, PRESENT)
    assert pending.order == [A, "nginx:1"]


def test_the_next_in_order_wins_as_soon_as_those_in_front_have_said_no() -> None:
    pending = Pending()
    pending.registries.answer(B, PRESENT)
    pending.registries.answer(A, ABSENT, detail="404")
    assert pending.order == [B, "nginx:1"]
    assert pending.registries.cancelled == [C]
    assert [str(answer) for answer in pending.decision.look_ups] == [
        "a.example: absent (404)",
        "b.example: present",
    ]


def test_the_origin_is_pulled_when_nobody_has_the_image() -> None:
    pending = Pending()
    for name in (C, A, B):
        pending.registries.answer(name, ABSENT)
    assert pending.order == ["nginx:1"]
    assert [answer.candidate.name for answer in pending.decision.look_ups] == [A, B, C]


def test_a_registry_that_failed_is_tried_before_the_origin() -> None:
    pending = Pending()
    pending.registries.answer(A, UNKNOWN, detail="connection refused")
    pending.registries.answer(B, ABSENT)
    pending.registries.answer(C, UNKNOWN, detail="503")
    assert pending.order == [A, C, "nginx:1"]


def test_a_registry_that_failed_is_tried_after_one_that_has_the_image() -> None:
    pending = Pending()
    pending.registries.answer(A, UNKNOWN, detail="429")
    pending.registries.answer(B, PRESENT)
    assert pending.order == [B, A, "nginx:1"]


def test_a_registry_that_hung_once_does_not_hang_the_pull_again() -> None:
    pending = Pending()
    pending.registries.answer(A, UNKNOWN, detail="timed out after 10s", timed_out=True)
    pending.registries.answer(B, ABSENT)
    pending.registries.answer(C, ABSENT)
    assert pending.order == ["nginx:1"]


def test_a_registry_that_was_not_asked_costs_a_pull_nothing_but_is_the_last_resort() -> None:
    pending = Pending()
    pending.registries.answer(A, UNKNOWN, detail="failing", asked=False)
    pending.registries.answer(B, UNKNOWN, detail="500")
    pending.registries.answer(C, ABSENT)
    assert pending.order == [B, "nginx:1", A]


def test_the_order_of_attempts_in_one_table() -> None:
    plan = Policy([Registry(f"{letter}.example") for letter in "abcdefg"]).plan("x:1")
    rewritten = plan.candidates
    says = [
        LookUp(rewritten[0], UNKNOWN, asked=False),
        LookUp(rewritten[1], UNKNOWN, timed_out=True),
        LookUp(rewritten[2], UNKNOWN, timed_out=True, asked=False),
        LookUp(rewritten[3], UNKNOWN),
        LookUp(rewritten[4], ABSENT),
        LookUp(rewritten[5], UNKNOWN, slow=True),
        LookUp(rewritten[6], PRESENT),
    ]
    order = [candidate.name[0] for candidate in attempts(iter(says), plan)]
    assert order == ["g", "d", "f", "x", "a"]
    assert attempts([], plan) == (plan.as_written,)


def test_a_configured_registrys_own_name_is_pulled_without_asking() -> None:
    pending = Pending("b.example/app:1")
    assert pending.registries.asked == {}
    assert pending.order == ["b.example/app:1"]
    assert pending.decision.attempts[0].registry == REGISTRIES[1]
    assert pending.decision.look_ups == ()


def test_without_registries_the_origin_is_pulled_at_once() -> None:
    assert Pending(registries=()).order == ["nginx:1"]


def test_the_decision_says_how_long_it_took() -> None:
    pending = Pending()
    pending.clock.advance(2.5)
    pending.registries.answer(A, PRESENT)
    assert pending.decision.elapsed == 2.5


def test_what_is_no_reference_fails_and_nobody_is_asked() -> None:
    pending = Pending("No Reference")
    assert [type(failure.value) for failure in pending.failures] == [InvalidReferenceError]
    assert pending.registries.asked == {}


@pytest.mark.parametrize("answered", [0, 1, 2])
def test_giving_up_ends_all_look_ups(answered: int) -> None:
    pending = Pending()
    for name in (A, B)[:answered]:
        pending.registries.answer(name, ABSENT)
    pending.deferred.cancel()
    assert pending.registries.cancelled == [A, B, C][answered:]
    assert [type(failure.value) for failure in pending.failures] == [CancelledError]
    assert pending.results == []


def test_giving_up_while_a_later_one_has_answered_already_is_quiet() -> None:
    pending = Pending()
    pending.registries.answer(B, PRESENT)
    pending.deferred.cancel()
    assert pending.registries.cancelled == [A, C]


def test_giving_up_after_the_decision_changes_nothing() -> None:
    pending = Pending()
    pending.registries.answer(A, PRESENT)
    pending.deferred.cancel()
    assert pending.order == [A, "nginx:1"]
    assert pending.failures == []


def test_a_slower_one_that_answers_or_fails_afterwards_is_harmless() -> None:
    pending = Pending(deaf=True)
    pending.registries.answer(A, PRESENT)
    pending.registries.answer(B, PRESENT)
    pending.registries.asked[C][1].errback(Failure(ConnectionError("late")))
    assert pending.order == [A, "nginx:1"]


def test_a_slower_one_that_failed_before_is_harmless() -> None:
    pending = Pending()
    pending.registries.asked[C][1].errback(Failure(CancelledError()))
    pending.registries.answer(A, PRESENT)
    assert pending.order == [A, "nginx:1"]


# A slow registry


def test_a_slow_one_is_waited_for_no_longer_than_the_grace_once_another_has_the_image() -> None:
    pending = Pending()
    pending.clock.advance(3)
    pending.registries.answer(B, PRESENT)
    pending.clock.advance(0.9)
    assert pending.results == []
    pending.clock.advance(0.1)
    assert pending.order == [B, A, "nginx:1"]
    slow, winner = pending.decision.look_ups
    assert str(slow) == "a.example: unknown (slow, no answer after 4.0s)"
    assert (slow.slow, slow.timed_out, slow.elapsed) == (True, False, 4.0)
    assert winner.outcome is PRESENT


def test_within_the_grace_the_one_in_front_still_wins() -> None:
    pending = Pending()
    pending.registries.answer(B, PRESENT)
    pending.clock.advance(0.9)
    pending.registries.answer(A, PRESENT)
    assert pending.order == [A, "nginx:1"]
    pending.clock.advance(10)
    assert len(pending.results) == 1


def test_the_grace_begins_with_the_first_that_has_the_image() -> None:
    pending = Pending()
    pending.registries.answer(C, PRESENT)
    pending.clock.advance(0.8)
    pending.registries.answer(B, PRESENT)
    pending.clock.advance(0.2)
    assert pending.order == [B, A, "nginx:1"]


def test_one_that_only_said_no_is_no_reason_to_wait_no_longer() -> None:
    pending = Pending()
    pending.registries.answer(B, ABSENT)
    pending.registries.answer(C, UNKNOWN)
    pending.clock.advance(9)
    assert pending.results == []
    pending.registries.answer(A, ABSENT)
    assert pending.order == [C, "nginx:1"]


def test_the_origin_never_cuts_a_wait_short() -> None:
    pending = Pending(registries=REGISTRIES[:1])
    pending.clock.advance(9)
    assert pending.results == []
    pending.registries.answer(A, UNKNOWN, timed_out=True)
    assert pending.order == ["nginx:1"]


def test_without_a_grace_the_order_is_strict() -> None:
    pending = Pending(grace=0.0)
    pending.registries.answer(B, PRESENT)
    pending.clock.advance(9)
    assert pending.results == []
    pending.registries.answer(A, UNKNOWN, timed_out=True)
    assert pending.order == [B, "nginx:1"]


def test_nobody_waits_on_after_the_grace() -> None:
    pending = Pending()
    pending.registries.answer(B, PRESENT)
    pending.clock.advance(1)
    assert pending.registries.cancelled == [A, C]
    assert pending.clock.getDelayedCalls() == []


@pytest.mark.parametrize("how", ["answer", "cancel"])
def test_no_timer_is_left_behind(how: str) -> None:
    pending = Pending()
    pending.registries.answer(B, PRESENT)
    if how == "answer":
        pending.registries.answer(A, ABSENT)
    else:
        pending.deferred.cancel()
    assert pending.clock.getDelayedCalls() == []


# After a pull that failed


def after_failure(decision: Decision, *failed: int, **settings: object) -> Pending:
    """Decide again after attempts of a decision, by their places, have failed."""
    again = tuple(decision.attempts[n] for n in failed)
    return Pending(earlier=decision, failed=again, **settings)  # type: ignore[arg-type]


def test_the_next_that_has_the_image_is_found_although_it_was_not_waited_for() -> None:
    first = Pending()
    first.registries.answer(A, PRESENT)
    second = after_failure(first.decision, 0)
    assert list(second.registries.asked) == [B, C]
    second.registries.answer(B, ABSENT)
    second.registries.answer(C, PRESENT)
    assert second.order == [C, "nginx:1"]
    assert [one.candidate.name for one in second.decision.look_ups] == [A, B, C]


def test_what_was_answered_before_is_not_asked_again() -> None:
    first = Pending()
    first.registries.answer(A, UNKNOWN, detail="503")
    first.registries.answer(B, UNKNOWN, detail="timed out after 10s", timed_out=True)
    first.registries.answer(C, PRESENT)
    assert first.order == [C, A, "nginx:1"]
    second = after_failure(first.decision, 0)
    assert second.registries.asked == {}
    assert second.order == [A, "nginx:1"]
    third = after_failure(first.decision, 0, 1)
    assert third.order == ["nginx:1"]
    last = after_failure(first.decision, 0, 1, 2)
    assert last.order == []
    assert {one.candidate.name for one in last.decision.look_ups} == {A, B, C}


def test_one_that_was_slow_is_asked_again() -> None:
    first = Pending()
    first.registries.answer(B, PRESENT)
    first.clock.advance(1)
    second = after_failure(first.decision, 0)
    assert list(second.registries.asked) == [A, C]
    second.registries.answer(C, ABSENT)
    second.registries.answer(A, PRESENT)
    assert second.order == [A, "nginx:1"]


# Rules


def rule(**settings: object) -> Rule:
    return Rule(1, (parse_pattern("docker.io"),), **settings)  # type: ignore[arg-type]


def test_a_strict_rule_leaves_nothing_when_no_registry_has_the_image() -> None:
    pending = Pending(rules=(rule(origin_allowed=False),))
    for name in (A, B, C):
        pending.registries.answer(name, ABSENT, detail="404")
    assert pending.order == []
    decision = pending.decision
    assert (decision.rule, decision.origin_allowed) == ("rule 1 (docker.io)", False)
    assert len(decision.look_ups) == 3


def test_a_strict_rule_still_tries_what_failed_at_once() -> None:
    pending = Pending(rules=(rule(origin_allowed=False),))
    pending.registries.answer(A, UNKNOWN, asked=False)
    pending.registries.answer(B, UNKNOWN)
    pending.registries.answer(C, UNKNOWN, timed_out=True)
    assert pending.order == [B, A]


def test_a_rule_says_who_is_asked_and_in_what_order() -> None:
    pending = Pending(rules=(rule(registries=("c.example", "a.example")),))
    assert list(pending.registries.asked) == [C, A]
    assert pending.registries.asked[C][1] is not None
    pending.registries.answer(A, PRESENT)
    pending.registries.answer(C, PRESENT)
    assert pending.order == [C, "nginx:1"]


def test_what_a_rule_excludes_is_left_alone() -> None:
    pending = Pending("nginx", rules=(rule(exclude=(parse_tagged_pattern("*:latest"),)),))
    assert pending.registries.asked == {}
    assert pending.order == ["nginx"]
    assert pending.decision.excluded == "*:latest"


def test_look_ups_that_end_from_below_are_as_good_as_unknown() -> None:
    pending = Pending()
    pending.registries.asked[A][1].cancel()
    pending.registries.answer(B, PRESENT)
    assert pending.order == [B, A, "nginx:1"]


def test_what_nobody_had_thought_of_is_an_error_and_ends_the_others() -> None:
    pending = Pending()
    pending.registries.asked[B][1].errback(Failure(ZeroDivisionError()))
    assert [type(failure.value) for failure in pending.failures] == [ZeroDivisionError]
    assert pending.registries.cancelled == [A, C]
