"""Which look-ups are counted, and how often."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from image_cri_shim.config import CacheConfig, Config
from image_cri_shim.decision import Candidate, LookUp, Outcome, Registry
from image_cri_shim.measurements import AskedRegistry, Measurements
from image_cri_shim.registry.cache import LookUpCache
from image_cri_shim.registry.health import Health, Leave
from image_cri_shim.registry.look_ups import LookUps
from image_cri_shim.resolution import Resolution
from tests.registry.lab import Client, answer_of
from tests.registry.network import candidate

PRESENT, UNKNOWN = Outcome.PRESENT, Outcome.UNKNOWN
HUB = Registry("sealos.hub:5000", timeout=5.0, max_connections=1)
NGINX = candidate("sealos.hub:5000/library/nginx:1.25", HUB)
BUSYBOX = candidate("sealos.hub:5000/library/busybox:1", HUB)


class Desk:
    """Look-ups that are measured, and whom they ask."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.client = Client()
        self.health = Health(self.clock, draw=lambda: 0.0)
        self.measured = Measurements(lambda: 1000.0)
        cache = LookUpCache(self.clock, CacheConfig())
        self.look_ups = LookUps(
            self.clock, self.client, self.health, cache, self.measured.note_look_up
        )

    def ask(self, about: Candidate = NGINX) -> Deferred[LookUp]:
        return self.look_ups.look_up(about)

    @property
    def hub(self) -> AskedRegistry:
        return self.measured.registries[HUB.name]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_an_answer_is_counted_once_and_then_comes_from_the_cache(desk: Desk) -> None:
    desk.ask()
    desk.ask()
    desk.client.say(PRESENT, elapsed=0.25)
    desk.ask()
    assert desk.hub.outcomes == {"present": 1}
    assert desk.hub.times["present"].total == 0.25
    assert desk.hub.last == LookUp(NGINX, PRESENT, elapsed=0.25)


def test_a_registry_that_is_left_alone_is_not_asked(desk: Desk) -> None:
    desk.ask()
    desk.client.say(UNKNOWN, "timed out after 5s", timed_out=True, elapsed=5.0)
    desk.ask()
    desk.ask(BUSYBOX)
    assert desk.hub.outcomes == {"unknown": 1, "not_asked": 2}
    assert desk.hub.times["unknown"].total == 5.0
    assert desk.hub.last is not None
    assert desk.hub.last.detail == "timed out after 5s"


def test_a_registry_that_failed_before_it_was_a_look_ups_turn_is_not_asked(desk: Desk) -> None:
    desk.ask()
    desk.ask(BUSYBOX)
    desk.client.say(UNKNOWN, "timed out after 5s", timed_out=True)
    assert desk.hub.outcomes == {"unknown": 1, "not_asked": 1}


def test_a_registry_that_has_too_many_questions_is_not_asked(desk: Desk) -> None:
    desk.ask()
    desk.ask(BUSYBOX)
    desk.clock.advance(5.0)
    assert desk.hub.outcomes == {"not_asked": 1}


def test_the_trial_of_a_failing_registry_counts_when_it_has_answered(desk: Desk) -> None:
    desk.ask()
    desk.client.say(UNKNOWN, "timed out after 5s", timed_out=True)
    desk.clock.advance(60.0)
    desk.ask()
    assert desk.hub.outcomes == {"unknown": 1}
    desk.client.say(PRESENT)
    assert desk.hub.outcomes == {"unknown": 1, "present": 1}


def test_a_look_up_that_the_daemons_end_has_ended_is_not_counted(desk: Desk) -> None:
    looking = desk.ask()
    looking.addErrback(lambda failure: failure.trap(CancelledError))
    desk.look_ups.close(abort=True)
    assert desk.measured.registries == {}


def test_a_configurations_look_ups_are_told_to_whom_it_says() -> None:
    told: list[LookUp] = []
    clock = Clock()
    resolution = Resolution(Config(), clock, note=told.append)
    leave = resolution.health.admit("sealos.hub:5000")
    assert isinstance(leave, Leave)
    resolution.health.record(leave, answer_of(NGINX, UNKNOWN, "503", retry_after=60.0))
    resolution.resolver.resolve("nginx:1.25")
    assert [(one.candidate.source, one.asked) for one in told] == [("sealos.hub:5000", False)]
