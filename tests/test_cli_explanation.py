"""What `resolve` finds out about an image: the pull's own decision, and what a pull leaves open."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred, FirstError, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from image_cri_shim.cli.explanation import (
    Explainer,
    Explanation,
    FindCredentials,
    Unusable,
    explain_all,
)
from image_cri_shim.cli.leniency import Lenient
from image_cri_shim.config import CacheConfig, Config
from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Outcome, Registry
from image_cri_shim.pattern import parse_pattern, parse_tagged_pattern
from image_cri_shim.policy import Policy
from image_cri_shim.reference import InvalidReferenceError
from image_cri_shim.registry.cache import LookUpCache
from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.health import Health
from image_cri_shim.registry.look_ups import LookUps
from image_cri_shim.resolver import Resolver
from image_cri_shim.rules import Rule
from tests.registry.lab import Client
from tests.registry.network import Network

ABSENT, PRESENT, UNKNOWN = Outcome.ABSENT, Outcome.PRESENT, Outcome.UNKNOWN
HUB = Registry("sealos.hub:5000", plain_http=True, priority=1000, offline=True)
HARBOR = Registry("harbor.corp", credentials=Credentials("robot", "geheim"))
DIGEST = f"sha256:{'0' * 64}"


class Desk:
    """An explainer on real parts, and the registries' answers."""

    def __init__(
        self,
        *registries: Registry,
        rules: tuple[Rule, ...] = (),
        search: FindCredentials | None = None,
        **cache: object,
    ) -> None:
        self.clock = Clock()
        self.client = Client()
        policy = Policy(registries, rules)
        health = Health(self.clock, draw=lambda: 0.0)
        kept = LookUpCache(self.clock, CacheConfig(**cache))  # type: ignore[arg-type]
        look_ups = LookUps(self.clock, self.client, health, kept)
        self.finding: list[Registry] = []
        resolver = Resolver(policy, look_ups, self.clock)
        self.explainer = Explainer(policy, resolver, look_ups, search or self.find_credentials)
        self.result: Any = None

    def find_credentials(self, registry: Registry) -> Deferred[Credentials | None]:
        self.finding.append(registry)
        if registry.auth_file is not None:
            return fail(Unanswered(f"cannot use {registry.auth_file}: no such file"))
        return succeed(registry.credentials)

    def explain(self, image: str) -> Deferred[Explanation]:
        def keep(result: object) -> None:
            self.result = result

        self.result = None
        return self.explainer.explain(image).addBoth(keep)

    def explained(self, image: str, *answers: tuple[Outcome, str]) -> Explanation:
        """Explain, with an answer for each that is asked, in order."""
        before = len(self.client.asked)
        self.explain(image)
        for number, (outcome, detail) in enumerate(answers, before):
            self.client.say_to(number, outcome, detail)
        assert isinstance(self.result, Explanation), self.result
        return self.result


def rule(match: str, **settings: Any) -> Rule:
    return Rule(1, (parse_pattern(match),), **settings)


def outcomes(explanation: Explanation) -> list[tuple[str, Outcome]]:
    return [(one.candidate.source, one.look_up.outcome) for one in explanation.candidates]


def names(explanation: Explanation) -> list[str]:
    return [one.name for one in explanation.decision.attempts]


def test_each_candidate_comes_with_its_answer_and_the_decision_is_the_pulls() -> None:
    found = Desk(HARBOR, HUB).explained("nginx:1.25", (ABSENT, "404"), (PRESENT, ""))
    assert outcomes(found) == [("sealos.hub:5000", ABSENT), ("harbor.corp", PRESENT)]
    assert names(found) == ["harbor.corp/library/nginx:1.25", "nginx:1.25"]
    assert [one.outcome for one in found.decision.look_ups] == [ABSENT, PRESENT]
    assert found.found


def test_no_registry_is_asked_twice() -> None:
    # Nothing is remembered, so only sharing keeps the second question away.
    desk = Desk(HUB, HARBOR, image_cache_size=0)
    desk.explained("nginx:1.25", (UNKNOWN, "503"), (PRESENT, ""))
    assert desk.client.names == [
        "sealos.hub:5000/library/nginx:1.25",
        "harbor.corp/library/nginx:1.25",
    ]


def test_it_waits_for_those_behind_the_winner() -> None:
    desk = Desk(HUB, HARBOR)
    desk.explain("nginx:1.25")
    desk.client.say_to(0, PRESENT)
    assert desk.result is None
    desk.client.say_to(1, ABSENT, "404")
    assert outcomes(desk.result) == [("sealos.hub:5000", PRESENT), ("harbor.corp", ABSENT)]
    # But a pull would not have.
    assert [one.candidate.source for one in desk.result.decision.look_ups] == ["sealos.hub:5000"]
    assert desk.result.decision.elapsed == 0


def test_it_waits_for_a_slow_one_in_front_although_the_decision_does_not() -> None:
    desk = Desk(HUB, HARBOR)
    desk.explain("nginx:1.25")
    desk.client.say_to(1, PRESENT)
    desk.clock.advance(1)
    desk.clock.advance(4)
    assert desk.result is None
    desk.client.say_to(0, PRESENT, elapsed=5.0)
    assert outcomes(desk.result) == [("sealos.hub:5000", PRESENT), ("harbor.corp", PRESENT)]
    (slow, _) = desk.result.decision.look_ups
    assert slow.slow
    assert names(desk.result)[0] == "harbor.corp/library/nginx:1.25"
    assert desk.result.decision.elapsed == 1


def test_the_origin_is_not_asked() -> None:
    desk = Desk(HUB)
    found = desk.explained("quay.io/a/b:1", (ABSENT, "404"))
    assert desk.client.names == ["sealos.hub:5000/a/b:1"]
    assert found.own is None
    assert not found.found
    assert names(found) == ["quay.io/a/b:1"]


def test_a_configured_registrys_own_name_is_looked_up_too() -> None:
    for outcome in (PRESENT, ABSENT):
        found = Desk(HUB, HARBOR).explained("harbor.corp/a/b:1", (outcome, ""))
        assert found.candidates == ()
        assert found.own is not None
        assert (found.own.look_up.outcome, found.own.credentials) == (outcome, True)
        assert found.found is (outcome is PRESENT)
        # A pull decides without asking.
        assert found.decision.look_ups == ()
        assert names(found) == ["harbor.corp/a/b:1"]


def test_docker_hub_that_is_listed_is_looked_up_as_its_images_origin() -> None:
    listed = Registry("docker.io", credentials=Credentials("me", "geheim"))
    found = Desk(HUB, listed).explained("nginx:1", (ABSENT, "404"), (PRESENT, ""))
    assert outcomes(found) == [("sealos.hub:5000", ABSENT)]
    assert found.own is not None
    assert found.found


def test_what_may_not_be_pulled_from_its_origin_is_not_looked_up_there() -> None:
    strict = rule("harbor.corp", origin_allowed=False, registries=())
    desk = Desk(HUB, HARBOR, rules=(strict,))
    found = desk.explained("harbor.corp/a/b:1")
    assert desk.client.asked == []
    assert (found.own, found.found, names(found)) == (None, False, [])


def test_what_a_rule_leaves_alone_is_asked_for_nowhere() -> None:
    rules = (rule("docker.io", exclude=(parse_tagged_pattern("*:latest"),)),)
    desk = Desk(HUB, rules=rules)
    found = desk.explained("nginx")
    assert desk.client.asked == []
    assert (found.plan.excluded, found.found, names(found)) == ("*:latest", False, ["nginx"])


@pytest.mark.parametrize("image", ["", "NGINX", "a b", DIGEST, "0" * 64, "nginx:\x1b[31m"])
def test_what_is_no_reference_is_an_error(image: str) -> None:
    desk = Desk(HUB)
    desk.explain(image)
    assert desk.result.check(InvalidReferenceError)
    assert desk.client.asked == []


def test_it_says_whether_there_are_credentials_and_not_which() -> None:
    lost = Registry("lost.corp", priority=1, auth_file="/none")
    found = Desk(HUB, HARBOR, lost).explained("a:1", (ABSENT, ""), (ABSENT, ""), (ABSENT, ""))
    assert [one.credentials for one in found.candidates] == [False, True, None]
    assert "geheim" not in repr([one.look_up for one in found.candidates])


def test_credentials_that_cannot_be_had_are_looked_for_once() -> None:
    lost = Registry("lost.corp", auth_file="/none")
    desk = Desk(lost)
    desk.explained("a:1", (ABSENT, ""))
    desk.explained("b:1", (ABSENT, ""))
    assert desk.finding == [lost]


@pytest.mark.parametrize("trouble", [KeyError("geheim"), UnicodeError("geheim")])
def test_credentials_that_break_the_search_for_them_leave_all_else_as_it_is(
    trouble: Exception,
) -> None:
    def search(registry: Registry) -> Deferred[Credentials | None]:
        if registry == HUB:
            raise trouble
        return fail(trouble) if registry == HARBOR else succeed(None)

    third = Registry("third.corp", priority=1)
    desk = Desk(HUB, HARBOR, third, search=search)
    found = desk.explained("a:1", (UNKNOWN, ""), (ABSENT, ""), (PRESENT, ""))
    assert [one.credentials for one in found.candidates] == [None, None, False]
    assert found.found


def test_what_a_registry_says_is_one_line_everywhere() -> None:
    found = Desk(HUB, HARBOR).explained("a:1", (ABSENT, "404"), (UNKNOWN, "x\x1b[2J\n"))
    for look_up in (found.candidates[1].look_up, found.decision.look_ups[1]):
        assert look_up.detail == "x [2J "


def test_a_registry_that_has_been_failing_is_shown_as_not_asked() -> None:
    desk = Desk(HUB)
    desk.explain("a:1")
    desk.client.say_to(0, UNKNOWN, "timed out after 10s", timed_out=True)
    found = desk.explained("b:1")
    (asked,) = found.candidates
    assert not asked.look_up.asked
    assert asked.look_up.detail.startswith("not asked: timed out after 10s")


def test_when_nobody_waits_any_more_everything_ends() -> None:
    ended: list[str] = []

    def search(registry: Registry) -> Deferred[Credentials | None]:
        return Deferred(lambda _: ended.append(registry.name))

    desk = Desk(HUB, HARBOR, search=search)
    explaining = desk.explain("a:1")
    explaining.cancel()
    assert desk.result.check(FirstError, CancelledError)
    assert ended == ["sealos.hub:5000", "harbor.corp"]


def test_whoever_is_not_held_against_registries_has_all_of_them_asked() -> None:
    clock = Clock()
    client = Client()
    look_ups = LookUps(clock, client, Lenient(clock), LookUpCache(clock, CacheConfig()))
    policy = Policy([HUB])
    for number in range(10):
        look_ups.look_up(policy.plan(f"a:{number}").candidates[0])
        client.say(UNKNOWN, "timed out after 10s", timed_out=True, retry_after=60)
    assert len(client.asked) == 10


def test_it_says_when_only_those_are_awaited_that_have_been_silent() -> None:
    desk = Desk(HUB, HARBOR)
    told: list[str] = []
    desk.explainer.explain("a:1", lambda: told.append("a"))
    desk.explainer.explain("b:1", lambda: told.append("b"))
    desk.client.say_to(1, ABSENT)
    assert told == []
    desk.client.say_to(0, UNKNOWN, "timed out after 10s", timed_out=True)
    assert told == ["a"]
    # The other one of b's registries could still be quick.
    desk.client.say_to(3, ABSENT)
    assert told == ["a", "b"]


IMAGES = [f"a/b:{number}" for number in range(600)]


@pytest.mark.parametrize("images", [IMAGES, ["NONE"] * 600, ["a/b:1"] * 600])
def test_hundreds_of_images_are_explained_though_each_takes_no_time(images: list[str]) -> None:
    reactor = MemoryReactorClock()
    results: list[list[Explanation | Unusable]] = []
    explain_all(Config(offline=None), images, reactor).addCallback(results.append)
    for _ in range(600):
        reactor.advance(0)
    (explained,) = results
    assert [one.image for one in explained] == images


def test_giving_up_ends_hundreds_of_images() -> None:
    network = Network()
    network.swallow("sealos.hub")
    failures: list[Any] = []
    explaining = explain_all(Config(offline=HUB), IMAGES, network.reactor)
    explaining.addErrback(failures.append)
    network.reactor.advance(0)
    begun = len(network.reactor.tcpClients)
    assert 0 < begun < len(IMAGES)
    explaining.cancel()
    network.reactor.advance(0)
    assert failures[0].check(CancelledError)
    assert len(network.reactor.tcpClients) == begun


def test_a_silent_registry_is_asked_for_everything_and_does_not_hold_the_others_up() -> None:
    network = Network()
    for host in ("sealos.hub", "quiet.corp"):
        network.swallow(host)
    limited = attrs.evolve(HUB, max_connections=3)
    other = Registry("quiet.corp:80", plain_http=True)
    results: list[list[Explanation | Unusable]] = []
    config = Config(offline=limited, registries=(other,))
    explain_all(config, IMAGES[:100], network.reactor).addCallback(results.append)
    network.reactor.advance(0)
    # As many as the one that wants the fewest gets at once.
    assert len(network.reactor.tcpClients) == 6
    network.reactor.pump([1] * 12)
    assert len(network.reactor.tcpClients) == 200
    network.reactor.pump([1] * 12)
    (explained,) = results
    details = {
        asked.look_up.detail
        for one in explained
        if isinstance(one, Explanation)
        for asked in one.candidates
    }
    assert details == {"connecting timed out after 3s"}
