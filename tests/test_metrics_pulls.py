"""What is counted of pulls, as their book tells it."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from image_cri_shim.call_identity import CallIdentity
from image_cri_shim.decision import Attempt, Candidate, Decision, Pull, Registry
from image_cri_shim.measurements import Measurements
from image_cri_shim.policy import Policy
from image_cri_shim.pull_book import PullBook

HUB, HARBOR = "sealos.hub:5000", "harbor.corp"
POLICY = Policy([Registry(HUB, offline=True, priority=1000), Registry(HARBOR)])
FIRST, SECOND, ORIGIN = POLICY.candidates("nginx:1.25")


class Node:
    """A book of pulls, and what is measured by it."""

    def __init__(self) -> None:
        self.book = PullBook(Clock(), lambda: 0.0)
        self.measured = Measurements(lambda: 0.0)
        self.measured.breakers = lambda: {HUB: "closed", HARBOR: "closed"}
        self.book.watch(self.measured.note_pull)

    def pull(
        self, *tried: Candidate, error: str = "", seconds: float = 1.0, image: str = "nginx:1.25"
    ) -> None:
        """Pull an image; all but the last try fail."""
        pull = self.book.began(image, CallIdentity("1"))
        decision = Decision(tried)
        pull.decided(decision)
        for candidate in tried:
            pull.trying(candidate, decision)
        attempts = [Attempt(one, "UNKNOWN: no", 0.1) for one in tried[:-1]]
        attempts += [Attempt(one, error, 0.1) for one in tried[-1:]]
        pull.ended(Pull(image, tuple(attempts), error, seconds))


@pytest.fixture
def node() -> Node:
    return Node()


def test_a_pull_is_counted_where_it_came_from(node: Node) -> None:
    node.pull(FIRST, seconds=2.0)
    node.pull(ORIGIN)
    pulls = node.measured.pulls
    assert pulls.ended == {("offline", HUB, "pulled"): 1, ("origin", "origin", "pulled"): 1}
    assert pulls.times["pulled"].total == 3.0
    assert pulls.rewritten == {(HUB, "pulled"): 1}, "the origin's name is not rewritten"
    assert pulls.failed_over == {}


def test_a_fail_over_is_counted_from_where_to_where(node: Node) -> None:
    node.pull(FIRST, SECOND, ORIGIN)
    pulls = node.measured.pulls
    assert pulls.failed_over == {(HUB, HARBOR): 1, (HARBOR, "origin"): 1}
    assert pulls.rewritten == {(HUB, "failed"): 1, (HARBOR, "failed"): 1}
    assert pulls.ended == {("origin", "origin", "pulled"): 1}


def test_a_pull_that_failed_is_counted_where_it_was_tried_last(node: Node) -> None:
    node.pull(FIRST, SECOND, error="UNKNOWN: no")
    pulls = node.measured.pulls
    assert pulls.ended == {("registry", HARBOR, "failed"): 1}
    assert pulls.rewritten == {(HUB, "failed"): 1, (HARBOR, "failed"): 1}


def test_a_client_that_gives_up_is_no_failure_of_the_registry(node: Node) -> None:
    node.pull(FIRST, error="cancelled")
    pulls = node.measured.pulls
    assert pulls.ended == {("offline", HUB, "cancelled"): 1}
    assert pulls.rewritten == {(HUB, "cancelled"): 1}
    assert sum(pulls.times["cancelled"].counts) == 1


def test_a_configured_registrys_own_name_is_that_registrys(node: Node) -> None:
    (own,) = POLICY.candidates(f"{HARBOR}/a/b:1")
    node.pull(own)
    assert node.measured.pulls.ended == {("origin", HARBOR, "pulled"): 1}


def test_what_was_never_tried_has_no_source(node: Node) -> None:
    node.pull(error="image-cri-shim: origin not allowed by rule 1")
    node.pull(image="sha256:" + "0" * 64)
    assert node.measured.pulls.ended == {
        ("none", "none", "failed"): 1,
        ("none", "none", "pulled"): 1,
    }


def test_pulls_that_run_are_in_progress(node: Node) -> None:
    pull = node.book.began("nginx:1.25", CallIdentity("1"))
    pull.trying(FIRST, Decision((FIRST,)))
    node.book.began("redis:7", CallIdentity("2"))
    assert node.measured.pulls.in_progress == 2
    pull.ended(Pull("nginx:1.25", (), "", 1.0))
    assert node.measured.pulls.in_progress == 1


def test_a_registry_that_a_reload_has_removed_keeps_its_name(node: Node) -> None:
    pull = node.book.began("nginx:1.25", CallIdentity("1"))
    node.measured.breakers = dict
    pull.trying(FIRST, Decision((FIRST,)))
    pull.ended(Pull("nginx:1.25", (Attempt(FIRST, "", 1.0),), "", 1.0))
    assert node.measured.pulls.ended == {("offline", HUB, "pulled"): 1}
