"""How registries, candidates, look-ups and decisions are shown to the operator."""

from __future__ import annotations

import pytest

from image_cri_shim.decision import Candidate, Decision, LookUp, Outcome, Registry
from image_cri_shim.reference import parse_reference

OFFLINE = Registry("sealos.hub:5000", plain_http=True, priority=1000, offline=True)
HARBOR = Registry("harbor.corp")


def candidate(text: str, registry: Registry | None = None, rewritten: bool = False) -> Candidate:
    return Candidate(text, parse_reference(text), registry, rewritten)


def test_a_registrys_address_begins_with_how_it_is_spoken_to() -> None:
    assert OFFLINE.url == "http://sealos.hub:5000"
    assert HARBOR.url == "https://harbor.corp"
    assert Registry("[::1]:5000").url == "https://[::1]:5000"


@pytest.mark.parametrize(
    ("registry", "rewritten", "label"),
    [
        (OFFLINE, True, "offline"),
        (HARBOR, True, "registry"),
        (None, False, "origin"),
        (OFFLINE, False, "origin"),
    ],
)
def test_the_log_has_a_word_for_each_kind_of_source(
    registry: Registry | None, rewritten: bool, label: str
) -> None:
    assert candidate("nginx", registry, rewritten).label == label


@pytest.mark.parametrize(
    ("registry", "name"),
    [
        (HARBOR, "harbor.corp"),
        (Registry("harbor.corp", prefix="a/b"), "harbor.corp/a/b"),
        (None, "quay.io"),
    ],
)
def test_a_source_is_called_by_its_domain_and_prefix(registry: Registry | None, name: str) -> None:
    assert candidate("quay.io/nginx", registry, registry is not None).source == name


def test_a_candidate_is_shown_as_what_is_pulled() -> None:
    assert str(candidate("nginx")) == "nginx"


@pytest.mark.parametrize(
    ("outcome", "detail", "shown"),
    [
        (Outcome.PRESENT, "", "sealos.hub:5000: present"),
        (Outcome.ABSENT, "404", "sealos.hub:5000: absent (404)"),
        (Outcome.UNKNOWN, "timed out after 10s", "sealos.hub:5000: unknown (timed out after 10s)"),
    ],
)
def test_a_look_up_is_shown_with_registry_outcome_and_reason(
    outcome: Outcome, detail: str, shown: str
) -> None:
    asked = candidate("sealos.hub:5000/library/nginx:1", OFFLINE, True)
    assert str(LookUp(asked, outcome, detail)) == shown


def test_a_decision_knows_what_was_asked_about_a_candidate() -> None:
    first = candidate("sealos.hub:5000/library/nginx:1", OFFLINE, True)
    second = candidate("harbor.corp/library/nginx:1", HARBOR, True)
    origin = candidate("nginx:1")
    answers = (LookUp(first, Outcome.ABSENT, "404"), LookUp(second, Outcome.PRESENT))
    decision = Decision((second, origin), answers)
    assert decision.look_up(first) is answers[0]
    assert decision.look_up(second) is answers[1]
    assert decision.look_up(origin) is None
