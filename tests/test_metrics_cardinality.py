"""Whatever pods and clients ask for, there are no more time series than before."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from image_cri_shim.call_identity import CallIdentity
from image_cri_shim.config import CacheConfig
from image_cri_shim.cri.account import account
from image_cri_shim.cri.versions import parse_method
from image_cri_shim.decision import Attempt, Candidate, Outcome, Pull, Registry
from image_cri_shim.measurements import Measurements, Reloads, RuntimeState
from image_cri_shim.policy import Policy
from image_cri_shim.pull_book import PullBook
from image_cri_shim.redaction import Redactor
from image_cri_shim.registry.answer import Answer
from image_cri_shim.registry.cache import LookUpCache
from image_cri_shim.registry.health import Health
from image_cri_shim.registry.look_ups import LookUps
from image_cri_shim.resolver import Resolver
from tests.registry.lab import answer_of
from tests.support.metrics import series

MANY = 1000
HUB, HARBOR = "sealos.hub:5000", "harbor.corp"


class Registries:
    """One after the other, they have an image, do not have it, and fail."""

    def __init__(self) -> None:
        self._asked = 0

    def ask(self, candidate: Candidate, waited: float = 0.0) -> Deferred[Answer]:
        self._asked += 1
        outcome = tuple(Outcome)[self._asked % 3]
        return succeed(answer_of(candidate, outcome, elapsed=0.01))

    def close(self) -> Deferred[None]:
        return succeed(None)


class Node:
    """All parts that measure, as they are put together in the daemon."""

    def __init__(self) -> None:
        clock = Clock()
        self.clock = clock
        self.measured = Measurements(clock.seconds)
        cache = LookUpCache(clock, CacheConfig(image_cache_size=16))
        self.measured.cache.follow(cache)
        self.measured.breakers = lambda: {HUB: "closed", HARBOR: "open"}
        self.measured.reloads = lambda: Reloads(1, 0, 0.0, True)
        self.measured.runtime = lambda: RuntimeState(True, "containerd", "1.7.2", "v1")
        self.look_ups = LookUps(
            clock, Registries(), Health(clock), cache, self.measured.note_look_up
        )
        self.policy = Policy([Registry(HUB, offline=True, priority=1000), Registry(HARBOR)])
        self.resolver = Resolver(self.policy, self.look_ups, clock)
        self.book = PullBook(clock, clock.seconds)
        self.book.watch(self.measured.note_pull)

    def pull(self, image: str, number: int) -> None:
        """Pull an image; what becomes of it depends on the number."""
        pull = self.book.began(image, CallIdentity(str(number)))
        (decision,) = _results(self.resolver.resolve(image))
        pull.decided(decision)
        error = ("", "UNKNOWN: no", "cancelled")[number % 3]
        tried = decision.attempts[: 1 + number % len(decision.attempts)]
        for one in tried:
            pull.trying(one, decision)
        pull.ended(Pull(image, tuple(Attempt(one, error, 0.1) for one in tried), error, 0.2))
        self.clock.advance(7.0)

    def call(self, path: bytes, number: int) -> None:
        """Let a client's call of a method end; how it ends depends on the number."""
        status = b"%d" % (number % 40)
        stream = SimpleNamespace(outcome=[(b"grpc-status", status)], in_runtime=0.001)
        account(self.measured.calls, cast("Any", stream), [], parse_method(path), 0.0, Redactor)


def _results(found: Deferred[Any]) -> list[Any]:
    results: list[Any] = []
    found.addCallback(results.append)
    return results


@pytest.fixture
def node() -> Node:
    """A node on which everything has happened with one image, and with one unknown method."""
    node = Node()
    for number in range(60):
        node.pull("docker.io/library/nginx:1.25", number)
        node.pull("quay.io/a/b:1", number)
        node.look_ups.look_up(attrs.evolve(_named("ghcr.io/a:1"), registry=None))
    return node


def _named(image: str) -> Candidate:
    return Policy([]).candidates(image)[0]


def test_images_make_no_time_series(node: Node) -> None:
    before = series(node.measured)
    for number in range(MANY):
        node.pull(f"team{number}/app{number}:{number}", number)
    assert series(node.measured) == before


def test_hosts_in_image_names_make_no_time_series(node: Node) -> None:
    before = series(node.measured)
    for number in range(MANY):
        image = f"registry{number}.example:5000/app:1"
        node.pull(image, number)
        node.look_ups.look_up(attrs.evolve(_named(image), registry=None))
    assert series(node.measured) == before
    assert node.measured.registries.keys() == {HUB, HARBOR}


def test_methods_that_clients_make_up_make_no_time_series(node: Node) -> None:
    async def call() -> None:
        for number in range(120):
            node.call(b"/runtime.v1.RuntimeService/MadeUp", number)
            node.call(b"/made.up/Service", number)
        before = series(node.measured)
        for number in range(MANY):
            node.call(b"/runtime.v1.RuntimeService/MadeUp%d" % number, number)
            node.call(b"/runtime.v1.Service%d/Status" % number, number)
            node.call(b"/runtime.v%d.RuntimeService/Status" % (number + 2), number)
            node.call(b"/%d/" % number * 100, number)
            node.call(b"no slash %d" % number, number)
        assert series(node.measured) == before

    asyncio.run(call())
    assert len(node.measured.calls.methods) == 2


def test_status_codes_that_runtimes_make_up_make_no_time_series(node: Node) -> None:
    async def call() -> None:
        for code in range(MANY):
            stream = SimpleNamespace(outcome=[(b"grpc-status", b"%d" % code)], in_runtime=0.0)
            path = parse_method(b"/runtime.v1.RuntimeService/Status")
            account(node.measured.calls, cast("Any", stream), [], path, 0.0, Redactor)

    asyncio.run(call())
    counted = node.measured.calls.ended
    assert len(counted) == 17
    assert counted["v1", "Status", 2] == MANY - 16, "what is no code is UNKNOWN"
