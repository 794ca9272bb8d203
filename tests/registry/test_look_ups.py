"""What registries are asked, and what not: cache, sharing, bounds, breakers."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from image_cri_shim.config import CacheConfig
from image_cri_shim.decision import Candidate, LookUp, Outcome, Registry
from image_cri_shim.registry.cache import LookUpCache
from image_cri_shim.registry.health import Health
from image_cri_shim.registry.look_ups import LookUps
from tests.registry.lab import Client
from tests.registry.network import candidate, fired, result_of

ABSENT, PRESENT, UNKNOWN = Outcome.ABSENT, Outcome.PRESENT, Outcome.UNKNOWN
HUB = "sealos.hub:5000"
NGINX = candidate(f"{HUB}/library/nginx:1.25")
BUSYBOX = candidate(f"{HUB}/library/busybox:1")
HARBOR = candidate("harbor.corp/library/nginx:1.25")


class Desk:
    """Look-ups, their clock, and whom they ask."""

    def __init__(self, **cache: Any) -> None:
        self.clock = Clock()
        self.client = Client()
        self.health = Health(self.clock, draw=lambda: 0.0)
        self.cache = LookUpCache(self.clock, CacheConfig(**cache))
        self.look_ups = LookUps(self.clock, self.client, self.health, self.cache)

    def ask(self, about: Candidate = NGINX) -> Deferred[LookUp]:
        return self.look_ups.look_up(about)

    def answered(self, outcome: Outcome, about: Candidate = NGINX, **how: Any) -> LookUp:
        """Ask, let the registry answer, and return what comes."""
        looking = self.ask(about)
        self.client.say(outcome, **how)
        found: LookUp = result_of(looking)
        return found

    def at_once(self, about: Candidate = NGINX) -> LookUp | None:
        """Return the answer if nobody had to be asked for it."""
        before = len(self.client.asked)
        looking = self.ask(about)
        if len(self.client.asked) == before and fired(looking):
            found: LookUp = result_of(looking)
            return found
        give_up(looking)
        return None


def give_up(looking: Deferred[LookUp]) -> None:
    looking.addErrback(lambda failure: failure.trap(CancelledError))
    looking.cancel()


@pytest.fixture
def desk() -> Desk:
    return Desk()


# The cache


def test_what_is_present_is_known_for_half_an_hour(desk: Desk) -> None:
    desk.answered(PRESENT, elapsed=0.25)
    desk.clock.advance(1799)
    found = desk.at_once()
    assert found == LookUp(NGINX, PRESENT, cached=True, elapsed=0.0)
    desk.clock.advance(1)
    assert desk.at_once() is None


def test_what_is_absent_is_asked_for_again_after_half_a_minute(desk: Desk) -> None:
    desk.answered(ABSENT, detail="404")
    desk.clock.advance(29)
    assert desk.at_once() == LookUp(NGINX, ABSENT, "404", cached=True)
    desk.clock.advance(1)
    assert desk.at_once() is None


def test_what_could_not_be_found_out_is_asked_for_again(desk: Desk) -> None:
    desk.answered(UNKNOWN, detail="503")
    assert desk.at_once() is None


def test_what_a_pull_has_proved_wrong_is_asked_for_again(desk: Desk) -> None:
    desk.answered(PRESENT)
    desk.answered(PRESENT, BUSYBOX)
    desk.look_ups.forget(NGINX)
    assert desk.at_once(BUSYBOX) is not None
    assert desk.at_once() is None


def test_what_could_not_be_pulled_to_its_end_stays_behind_the_others_for_ten_minutes(
    desk: Desk,
) -> None:
    desk.answered(PRESENT)
    desk.look_ups.put_behind(NGINX)
    found = desk.at_once()
    assert found is not None
    assert (found.outcome, found.asked, found.timed_out) == (UNKNOWN, False, False)
    assert found.detail == "the last pull from it did not come to an end"
    desk.look_ups.forget(NGINX)
    assert desk.at_once() == found, "every failed pull forgets; this is to be kept in mind"
    desk.clock.advance(600)
    assert desk.at_once() is None


def test_each_registry_and_each_reference_is_known_for_itself(desk: Desk) -> None:
    desk.answered(PRESENT)
    for other in (HARBOR, BUSYBOX, candidate(f"{HUB}/library/nginx:1.26")):
        assert desk.at_once(other) is None
    prefixed = candidate(f"{HUB}/library/nginx:1.25", Registry(HUB, prefix="library"))
    assert desk.at_once(prefixed) is None, "the same name by other settings"


def test_what_must_not_lead_to_the_origin_is_another_question(desk: Desk) -> None:
    desk.answered(PRESENT)
    strict = attrs.evolve(NGINX, forbidden="docker.io")
    assert desk.at_once(strict) is None
    desk.ask()
    desk.answered(ABSENT, strict, detail="leads to docker.io, which is not allowed")
    found = desk.at_once()
    assert found is not None
    assert found.outcome is PRESENT


def test_one_manifest_is_one_answer_however_it_is_named(desk: Desk) -> None:
    desk.answered(PRESENT)
    same = candidate(f"{HUB.upper()}/library/nginx:1.25")
    found = desk.at_once(same)
    assert found is not None
    assert found.candidate is same


def test_what_is_known_serves_although_the_registry_is_failing(desk: Desk) -> None:
    desk.answered(PRESENT)
    desk.answered(UNKNOWN, BUSYBOX, timed_out=True)
    found = desk.at_once()
    assert found is not None
    assert found.outcome is PRESENT


# Sharing


def test_who_asks_the_same_meanwhile_shares_the_look_up(desk: Desk) -> None:
    looking = [desk.ask() for _ in range(5)]
    assert desk.client.names == [NGINX.name]
    desk.client.say(PRESENT)
    assert {result_of(one).outcome for one in looking} == {PRESENT}


def test_who_gives_up_takes_nothing_from_the_others(desk: Desk) -> None:
    first, second = desk.ask(), desk.ask()
    give_up(first)
    desk.client.say(PRESENT)
    assert result_of(second).outcome is PRESENT


def test_a_look_up_goes_on_when_nobody_waits_and_whoever_comes_shares_it(desk: Desk) -> None:
    give_up(desk.ask())
    assert desk.client.cancelled == []
    looking = desk.ask()
    assert desk.client.names == [NGINX.name]
    desk.client.say(ABSENT)
    assert result_of(looking).outcome is ABSENT


def test_what_nobody_waited_for_is_known(desk: Desk) -> None:
    give_up(desk.ask())
    desk.client.say(PRESENT)
    found = desk.at_once()
    assert found is not None
    assert found.outcome is PRESENT


def test_time_passes_while_a_look_up_begins(desk: Desk) -> None:
    # On a real clock no two moments are the same.
    real = desk.clock.seconds
    desk.clock.seconds = lambda: desk.clock.advance(1e-6) or real()  # type: ignore[method-assign]
    desk.answered(UNKNOWN, detail="timed out after 10s", timed_out=True)
    assert desk.health.skip(HUB) is not None


def test_clients_in_a_hurry_open_a_silent_registrys_breaker_too(desk: Desk) -> None:
    give_up(desk.ask())
    desk.client.say(UNKNOWN, "timed out after 10s", timed_out=True)
    found = desk.at_once(BUSYBOX)
    assert found is not None
    assert (found.asked, found.timed_out) == (False, True)


# Bounds


def few(name: str, most: int = 2, **settings: Any) -> Candidate:
    return candidate(f"{HUB}/{name}:1", max_connections=most, **settings)


def test_no_more_look_ups_run_at_once_than_a_registry_may_have(desk: Desk) -> None:
    looking = [desk.ask(few(f"image{n}")) for n in range(5)]
    assert len(desk.client.asked) == 2
    desk.client.say_to(0, ABSENT)
    assert len(desk.client.asked) == 3
    for n in range(1, 5):
        desk.client.say_to(n, ABSENT)
    assert all(fired(one) for one in looking)


def test_each_registry_has_its_own_bound(desk: Desk) -> None:
    desk.ask(few("a", 1))
    desk.ask(candidate("harbor.corp/a:1", max_connections=1))
    assert len(desk.client.asked) == 2


def test_who_gives_up_while_waiting_for_a_turn_is_never_asked_about(desk: Desk) -> None:
    desk.ask(few("a", 1))
    give_up(desk.ask(few("b", 1)))
    waiting = desk.ask(few("c", 1))
    desk.client.say_to(0, ABSENT)
    desk.client.say_to(1, PRESENT)
    assert desk.client.names == [f"{HUB}/a:1", f"{HUB}/c:1"]
    assert result_of(waiting).outcome is PRESENT


def test_the_wait_for_a_turn_has_an_end(desk: Desk) -> None:
    desk.ask(few("a", 1, timeout=4.0))
    waiting = desk.ask(few("b", 1, timeout=4.0))
    desk.clock.advance(3.9)
    assert not fired(waiting)
    desk.clock.advance(0.1)
    found = result_of(waiting)
    assert (found.outcome, found.asked, found.timed_out) == (UNKNOWN, False, False)
    assert found.detail == "busy, no turn within 4s (1 at a time)"
    assert desk.health.skip(HUB) is None, "that it is busy is no failure"


def test_what_was_waited_for_a_turn_is_no_longer_there_for_the_look_up(desk: Desk) -> None:
    desk.ask(few("a", 1))
    waiting = desk.ask(few("b", 1))
    desk.clock.advance(4)
    desk.client.say(ABSENT)
    assert desk.client.waited == [0.0, 4.0]
    desk.client.say(UNKNOWN, "timed out after 10s", timed_out=True)
    assert result_of(waiting).timed_out
    assert desk.health.skip(HUB) is None, "it had less time than others get"


def test_those_who_wait_for_a_turn_learn_at_once_that_the_registry_failed(desk: Desk) -> None:
    first, waiting = desk.ask(few("a", 1)), desk.ask(few("b", 1))
    desk.client.say(UNKNOWN, "timed out after 10s", timed_out=True)
    assert result_of(first).asked
    assert result_of(waiting).detail == "not asked: timed out after 10s, next try in 5s"
    assert len(desk.client.asked) == 1


def test_very_many_who_wait_for_a_turn_learn_it_too(desk: Desk) -> None:
    desk.ask(few("a", 1))
    waiting = [desk.ask(few(f"image{n}", 1)) for n in range(2000)]
    desk.client.say(UNKNOWN, "timed out after 10s", timed_out=True)
    for _ in waiting:
        desk.clock.advance(0)
    assert {result_of(one).asked for one in waiting} == {False}
    assert len(desk.client.asked) == 1
    desk.clock.advance(5)
    assert not result_of(desk.ask(few("b", 1))).asked, "nobody waits for its trial"
    assert len(desk.client.asked) == 2, "the turn was not lost"


def test_no_turn_is_ever_lost(desk: Desk) -> None:
    for n in range(20):
        looking = desk.ask(few(f"image{n}", 1))
        if n % 3 == 0:
            give_up(looking)
        elif n % 3 == 1:
            give_up(desk.ask(few(f"waits{n}", 1)))
        desk.client.say(ABSENT)
    assert len(desk.client.asked) == 20


# Breakers


def test_a_failing_registry_is_not_asked_and_the_reason_is_told(desk: Desk) -> None:
    assert desk.answered(UNKNOWN, detail="timed out after 10s", timed_out=True).asked
    detail = "not asked: timed out after 10s, next try in 5s"
    skipped = LookUp(BUSYBOX, UNKNOWN, detail, timed_out=True, asked=False)
    assert desk.at_once(BUSYBOX) == skipped
    assert desk.at_once(HARBOR) is None


def test_the_trial_of_a_registry_that_refused_is_waited_for(desk: Desk) -> None:
    desk.answered(UNKNOWN, detail="503", retry_after=1.0)
    desk.clock.advance(5)
    assert desk.answered(PRESENT).outcome is PRESENT


def test_nobody_waits_for_the_trial_of_a_registry_that_was_silent(desk: Desk) -> None:
    desk.answered(UNKNOWN, timed_out=True)
    desk.clock.advance(5)
    found = result_of(desk.ask())
    assert (found.outcome, found.asked, found.timed_out) == (UNKNOWN, False, True)
    assert len(desk.client.asked) == 2, "it is tried all the same"
    assert desk.at_once(BUSYBOX) is not None
    desk.client.say(ABSENT)
    assert desk.answered(PRESENT, BUSYBOX).outcome is PRESENT


# The end


def test_closing_lets_look_ups_end(desk: Desk) -> None:
    looking = desk.ask()
    desk.look_ups.close()
    assert desk.client.closed
    assert desk.client.cancelled == []
    desk.client.say(PRESENT)
    assert result_of(looking).outcome is PRESENT


def test_who_cannot_wait_ends_them_also_those_that_nobody_waits_for(desk: Desk) -> None:
    give_up(desk.ask())
    waiting = desk.ask(BUSYBOX)
    desk.look_ups.close(abort=True)
    assert desk.client.cancelled == [NGINX.name, BUSYBOX.name]
    with pytest.raises(CancelledError):
        result_of(waiting)
    assert desk.client.closed
