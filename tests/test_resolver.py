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
from image_cri_shim.policy import Policy
from image_cri_shim.reference import InvalidReferenceError
from image_cri_shim.resolver import Resolver, attempts

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
    ) -> None:
        self.clock = Clock()
        self.registries = FakeRegistries(deaf)
        resolver = Resolver(Policy(registries), self.registries, self.clock)
        self.deferred: Deferred[Decision] = resolver.resolve(text)
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
    policy = Policy([Registry(f"{letter}.example") for letter in "abcdef"])
    *rewritten, origin = policy.candidates("x:1")
    says = [
        LookUp(rewritten[0], UNKNOWN, asked=False),
        LookUp(rewritten[1], UNKNOWN, timed_out=True),
        LookUp(rewritten[2], UNKNOWN, timed_out=True, asked=False),
        LookUp(rewritten[3], UNKNOWN),
        LookUp(rewritten[4], ABSENT),
        LookUp(rewritten[5], PRESENT),
    ]
    order = [candidate.name[0] for candidate in attempts(iter(says), origin)]
    assert order == ["f", "d", "x", "a"]
    assert attempts([], origin) == (origin,)


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


class Shared:
    """One resolver with one registry, asked several times."""

    def __init__(self) -> None:
        self.registries = FakeRegistries()
        self._resolver = Resolver(Policy(REGISTRIES[:1]), self.registries, Clock())
        self.decisions: list[Decision] = []
        self.failures: list[Failure] = []

    def resolve(self, text: str) -> Deferred[Decision]:
        deferred = self._resolver.resolve(text)
        deferred.addCallbacks(self.decisions.append, self.failures.append)
        return deferred


def test_who_asks_for_the_same_reference_meanwhile_shares_the_look_ups() -> None:
    shared = Shared()
    shared.resolve("nginx:1")
    shared.resolve("nginx:1")
    shared.registries.answer(A, PRESENT)
    first, second = shared.decisions
    assert first == second


def test_one_who_gives_up_does_not_take_the_answer_from_the_others() -> None:
    shared = Shared()
    shared.resolve("nginx:1").cancel()
    assert shared.registries.cancelled == [A]
    shared.registries.asked.clear()
    gives_up = shared.resolve("nginx:1")
    shared.resolve("nginx:1")
    gives_up.cancel()
    assert [type(failure.value) for failure in shared.failures] == [CancelledError] * 2
    assert shared.registries.cancelled == [A]
    shared.registries.answer(A, PRESENT)
    assert len(shared.decisions) == 1


def test_each_reference_is_decided_for_itself() -> None:
    shared = Shared()
    shared.resolve("nginx:1")
    shared.resolve("nginx:2").cancel()
    assert shared.registries.cancelled == ["a.example/library/nginx:2"]
    shared.registries.answer(A, PRESENT)
    (decision,) = shared.decisions
    assert [candidate.name for candidate in decision.attempts] == [A, "nginx:1"]
