from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from image_cri_shim.decision import Candidate, LookUp, Outcome
from image_cri_shim.registry.answer import Answer
from image_cri_shim.registry.guard import GuardedClient
from image_cri_shim.registry.health import BackOff, Health
from tests.registry.network import candidate, result_of

HUB = "sealos.hub:5000"
NGINX = candidate(f"{HUB}/library/nginx:1.25")
BUSYBOX = candidate(f"{HUB}/library/busybox:1")
HARBOR = candidate("harbor.corp/library/nginx:1.25")


class Client:
    """A registry client whose answers come when a test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[Candidate, Deferred[Answer]]] = []
        self.closed = False

    def ask(self, candidate: Candidate) -> Deferred[Answer]:
        answer: Deferred[Answer] = Deferred()
        self.asked.append((candidate, answer))
        return answer

    def close(self) -> Deferred[None]:
        self.closed = True
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def say(self, outcome: Outcome, detail: str = "", **settings: object) -> None:
        """Answer the latest question."""
        self.say_to(-1, outcome, detail, **settings)

    def say_to(self, which: int, outcome: Outcome, detail: str = "", **settings: object) -> None:
        asked, answer = self.asked[which]
        timed_out = bool(settings.pop("timed_out", False))
        failing = bool(settings.pop("failing", outcome is Outcome.UNKNOWN))
        answer.callback(Answer(LookUp(asked, outcome, detail, timed_out=timed_out), failing))


class Guarded:
    """A guarded client, its clock, and what it asks."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.inner = Client()
        self.health = Health(self.clock)
        self.client = GuardedClient(self.inner, self.health)

    def fails(self, asked: Candidate = NGINX, **settings: object) -> LookUp:
        looking = self.client.look_up(asked)
        self.inner.say(Outcome.UNKNOWN, "timed out after 10s", **{"timed_out": True, **settings})
        found: LookUp = result_of(looking)
        return found

    def skips(self, asked: Candidate = NGINX) -> LookUp | None:
        """Return the answer if nobody was asked for it."""
        before = len(self.inner.asked)
        looking = self.client.look_up(asked)
        if len(self.inner.asked) == before:
            found: LookUp = result_of(looking)
            return found
        looking.addErrback(lambda failure: failure.trap(CancelledError)).cancel()
        return None


@pytest.fixture
def guarded() -> Guarded:
    return Guarded()


def test_a_healthy_registry_is_asked(guarded: Guarded) -> None:
    looking = guarded.client.look_up(NGINX)
    guarded.inner.say(Outcome.PRESENT)
    assert result_of(looking) == LookUp(NGINX, Outcome.PRESENT)
    looking = guarded.client.look_up(NGINX)
    guarded.inner.say(Outcome.ABSENT, "404")
    assert result_of(looking) == LookUp(NGINX, Outcome.ABSENT, "404")
    assert guarded.skips() is None


def test_a_failing_registry_is_not_asked_and_the_reason_is_told(guarded: Guarded) -> None:
    assert guarded.fails().asked
    guarded.clock.advance(1.5)
    assert guarded.skips(BUSYBOX) == LookUp(
        BUSYBOX,
        Outcome.UNKNOWN,
        "not asked: timed out after 10s, next try in 4s",
        timed_out=True,
        asked=False,
    )


def test_what_is_told_of_a_refusing_registry_is_not_that_it_timed_out(guarded: Guarded) -> None:
    guarded.fails(timed_out=False)
    found = guarded.skips()
    assert found is not None
    assert not found.timed_out


def test_other_registries_are_asked_meanwhile(guarded: Guarded) -> None:
    guarded.fails()
    assert guarded.skips(HARBOR) is None


def test_failed_authentication_is_no_failing_registry(guarded: Guarded) -> None:
    guarded.fails(failing=False)
    assert guarded.skips() is None


def test_the_time_without_it_doubles_up_to_five_minutes(guarded: Guarded) -> None:
    for wait in (5, 10, 20, 40, 80, 160, 300, 300, 300):
        guarded.fails()
        guarded.clock.advance(wait - 0.5)
        assert guarded.skips() is not None
        guarded.clock.advance(0.5)
        assert guarded.skips() is None


def test_a_registry_that_is_gone_for_months_does_not_end_in_an_overflow() -> None:
    assert BackOff().delay(10**6, None) == 300.0


@pytest.mark.parametrize("outcome", [Outcome.PRESENT, Outcome.ABSENT])
def test_any_answer_makes_it_healthy_again(guarded: Guarded, outcome: Outcome) -> None:
    guarded.fails()
    guarded.clock.advance(5)
    guarded.fails()
    guarded.clock.advance(10)
    guarded.client.look_up(NGINX)
    guarded.inner.say(outcome)
    assert guarded.skips() is None
    guarded.fails()
    found = guarded.skips()
    assert found is not None
    assert found.detail.endswith("next try in 5s"), "the back-off begins anew"


def test_one_look_up_tries_it_again_and_the_others_go_without(guarded: Guarded) -> None:
    guarded.fails(timed_out=False)
    guarded.clock.advance(5)
    trying = guarded.client.look_up(NGINX)
    assert not trying.called
    found = guarded.skips(BUSYBOX)
    assert found is not None
    assert found.detail == "not asked: timed out after 10s, being tried again right now"
    guarded.inner.say(Outcome.PRESENT)
    assert result_of(trying).outcome is Outcome.PRESENT
    assert guarded.skips(BUSYBOX) is None


def test_nobody_waits_for_the_try_of_a_registry_that_was_silent(guarded: Guarded) -> None:
    guarded.fails()
    guarded.clock.advance(5)
    before = len(guarded.inner.asked)
    found = result_of(guarded.client.look_up(NGINX))
    assert (found.outcome, found.asked, found.timed_out) == (Outcome.UNKNOWN, False, True)
    assert len(guarded.inner.asked) == before + 1, "it is tried all the same"
    assert guarded.skips(BUSYBOX) is not None
    guarded.inner.say(Outcome.ABSENT)
    asked = guarded.client.look_up(BUSYBOX)
    guarded.inner.say(Outcome.PRESENT)
    assert result_of(asked).outcome is Outcome.PRESENT


def test_a_try_that_is_cancelled_leaves_it_to_the_next(guarded: Guarded) -> None:
    guarded.fails(timed_out=False)
    guarded.clock.advance(5)
    trying = guarded.client.look_up(NGINX)
    trying.addErrback(lambda failure: failure.trap(CancelledError)).cancel()
    assert guarded.skips() is None


def test_a_cancelled_look_up_fails_as_such(guarded: Guarded) -> None:
    looking = guarded.client.look_up(NGINX)
    looking.cancel()
    with pytest.raises(CancelledError):
        result_of(looking)


def test_look_ups_that_fail_together_are_one_failure(guarded: Guarded) -> None:
    looking = [guarded.client.look_up(NGINX) for _ in range(6)]
    for which in range(6):
        guarded.inner.say_to(which, Outcome.UNKNOWN, "timed out after 10s")
        result_of(looking[which])
    found = guarded.skips()
    assert found is not None
    assert found.detail.endswith("next try in 5s")


def test_a_late_answer_from_before_makes_it_healthy(guarded: Guarded) -> None:
    slow, _ = guarded.client.look_up(NGINX), guarded.client.look_up(BUSYBOX)
    guarded.inner.say_to(1, Outcome.UNKNOWN, "503")
    assert guarded.skips() is not None
    guarded.inner.say_to(0, Outcome.PRESENT)
    assert result_of(slow).outcome is Outcome.PRESENT
    assert guarded.skips() is None


def test_a_late_failure_does_not_end_the_try_that_runs(guarded: Guarded) -> None:
    late = guarded.client.look_up(NGINX)
    guarded.fails(BUSYBOX, timed_out=False)
    guarded.clock.advance(5)
    trying = guarded.client.look_up(NGINX)
    guarded.inner.say_to(0, Outcome.UNKNOWN, "timed out after 10s")
    result_of(late)
    assert guarded.skips() is not None
    guarded.inner.say(Outcome.PRESENT)
    assert result_of(trying).outcome is Outcome.PRESENT


def test_health_outlives_a_client(guarded: Guarded) -> None:
    guarded.fails()
    other = GuardedClient(Client(), guarded.health)
    assert not result_of(other.look_up(NGINX)).asked


def test_closing_closes_the_client(guarded: Guarded) -> None:
    result_of(guarded.client.close())
    assert guarded.inner.closed
