"""What `resolve` writes: for eyes and for machines, and nothing that a terminal would obey."""

from __future__ import annotations

import json

import attrs
import pytest

from image_cri_shim.cli.explanation import Asked, Explanation, Unusable
from image_cri_shim.cli.explanation_json import as_objects
from image_cri_shim.cli.explanation_text import as_text
from image_cri_shim.cli.terminal import as_json
from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Candidate, Decision, LookUp, Outcome, Registry
from image_cri_shim.pattern import parse_pattern, parse_tagged_pattern
from image_cri_shim.policy import Plan, Policy
from image_cri_shim.rules import Rule

ABSENT, PRESENT, UNKNOWN = Outcome.ABSENT, Outcome.PRESENT, Outcome.UNKNOWN
HUB = Registry("sealos.hub:5000", plain_http=True, priority=1000, offline=True)
HARBOR = Registry("harbor.corp", prefix="hub", credentials=Credentials("robot", "geheim"))
DIGEST = f"sha256:{'0' * 64}"
STRICT = Rule(1, (parse_pattern("quay.io"), parse_pattern("ghcr.io/*")), origin_allowed=False)
LEAVES = Rule(2, (parse_pattern("docker.io"),), exclude=(parse_tagged_pattern("*:latest"),))


def explanation(image: str, *look_ups: tuple[Outcome, str, float]) -> Explanation:
    """Make one in which these were the answers, and decide as a pull would that asks for all."""
    plan = Policy([HUB, HARBOR], [STRICT, LEAVES]).plan(image)
    found = [
        LookUp(one, outcome, detail, elapsed, DIGEST if outcome is PRESENT else None)
        for one, (outcome, detail, elapsed) in zip(plan.candidates, look_ups, strict=True)
    ]
    attempts = [one.candidate for one in found if one.outcome is PRESENT]
    return Explanation(
        image,
        plan,
        tuple(Asked(one, one.candidate.registry is HARBOR) for one in found),
        None,
        decision(plan, attempts, found),
    )


def decision(plan: Plan, attempts: list[Candidate], found: list[LookUp]) -> Decision:
    allowed = (plan.as_written,) if plan.origin_allowed else ()
    rule = plan.rule.label if plan.rule is not None else ""
    return Decision(
        (*attempts, *allowed), tuple(found), 0.012, rule, plan.excluded, plan.origin_allowed
    )


def test_everything_is_told_in_columns() -> None:
    shown = explanation("nginx:1.25", (ABSENT, "404", 0.003), (PRESENT, "", 1.25))
    assert (
        as_text(shown)
        == f"""\
nginx:1.25
  registry     docker.io
  repository   library/nginx
  tag          1.25
  digest       none
  rule         rule 2 (docker.io)
  excluded     no
  candidates   1  sealos.hub:5000/library/nginx:1.25  absent (404)  3 ms   without credentials
               2  harbor.corp/hub/library/nginx:1.25  present       1.2 s  with credentials
                  {DIGEST}
  origin       docker.io, allowed; never asked
  found        yes
  decision     harbor.corp/hub/library/nginx:1.25 (registry, present, sealos.hub:5000: absent (404), 12 ms, by rule 2 (docker.io))
  if it fails  nginx:1.25"""
    )


def line(text: str, label: str) -> str:
    (found,) = [one for one in text.splitlines() if one.startswith(f"  {label} ")]
    return found.removeprefix(f"  {label}").strip()


@pytest.mark.parametrize(
    ("image", "label", "expected"),
    [
        ("quay.io/a", "tag", "none, which means latest"),
        (f"quay.io/a@{DIGEST}", "tag", "none"),
        (f"quay.io/a:1@{DIGEST}", "tag", "1, but the digest counts"),
        (f"quay.io/a:1@{DIGEST}", "digest", DIGEST),
        ("lscr.io/a:1", "rule", "none matches: the default order"),
        ("quay.io/a:1", "rule", "rule 1 (quay.io, ghcr.io/*)"),
        ("quay.io/a:1", "origin", "quay.io, not allowed"),
        ("quay.io/a:1", "found", "no; the origin is not allowed"),
        ("lscr.io/a:1", "found", "no; the origin may have it"),
    ],
)
def test_a_line_says(image: str, label: str, expected: str) -> None:
    shown = explanation(image, (ABSENT, "404", 0.0), (ABSENT, "404", 0.0))
    assert line(as_text(shown), label) == expected


def test_what_a_pull_would_find_out_after_a_failure_is_told_too() -> None:
    shown = explanation("nginx:1.25", (PRESENT, "", 0.1), (PRESENT, "", 0.1))
    # A pull decides before the second one has answered.
    hub, _, origin = shown.decision.attempts
    shown = attrs.evolve(shown, decision=attrs.evolve(shown.decision, attempts=(hub, origin)))
    text = as_text(shown)
    assert text.endswith(
        "if it fails  harbor.corp/hub/library/nginx:1.25\n               nginx:1.25"
    )
    (told,) = json.loads(as_json(as_objects([shown])))
    assert [one["source"] for one in told["decision"]["attempts"]] == [
        "offline",
        "registry",
        "origin",
    ]


def test_registries_that_are_not_asked_are_named_with_the_reason() -> None:
    mirror = Registry("mirror.corp", trust_for="digest")
    plan = Policy([mirror]).plan("nginx:1.25")
    shown = Explanation("nginx:1.25", plan, (), None, Decision((plan.as_written,)))
    why = "trusted for references with a digest only"
    assert line(as_text(shown), "not asked") == f"mirror.corp: {why}"
    (told,) = json.loads(as_json(as_objects([shown])))
    assert told["left_out"] == [{"registry": "mirror.corp", "why": why}]


def test_no_rule_is_missed_for_a_configured_registrys_own_name() -> None:
    plan = Policy([HUB], [Rule(1, (parse_pattern("*"),))]).plan("sealos.hub:5000/a:1")
    own = Asked(LookUp(plan.as_written, PRESENT))
    shown = as_text(Explanation("a", plan, (), own, Decision((plan.as_written,))))
    assert line(shown, "rule") == "none names this host: a configured registry's own name"


def test_what_could_not_be_found_out_is_not_called_absent() -> None:
    shown = as_text(explanation("lscr.io/a:1", (ABSENT, "404", 0.0), (UNKNOWN, "503", 0.0)))
    assert line(shown, "found") == "not known; the origin may have it"


def test_strict_mode_that_finds_nothing_says_so_in_the_words_of_the_log() -> None:
    shown = as_text(explanation("quay.io/a:1", (ABSENT, "404", 0.0), (UNKNOWN, "503", 0.0)))
    assert line(shown, "decision") == (
        "nothing (sealos.hub:5000: absent (404), harbor.corp/hub: unknown (503), 12 ms; "
        "origin not allowed by rule 1 (quay.io, ghcr.io/*))"
    )


def test_what_is_left_alone_says_by_what() -> None:
    shown = as_text(explanation("nginx"))
    assert line(shown, "excluded") == "by *:latest: left alone"
    assert line(shown, "candidates") == "none"
    assert line(shown, "decision").startswith("nginx (origin, left alone by *:latest of rule 2")


def own_name(outcome: Outcome) -> Explanation:
    plan = Policy([HUB]).plan("sealos.hub:5000/a:1")
    asked = Asked(LookUp(plan.as_written, outcome, elapsed=0.5), None)
    return Explanation("sealos.hub:5000/a:1", plan, (), asked, decision(plan, [], []))


def test_a_registrys_own_name_shows_what_the_registry_says() -> None:
    shown = as_text(own_name(PRESENT))
    expected = "a configured registry: present, 500 ms, credentials cannot be had"
    assert line(shown, "origin") == f"sealos.hub:5000, allowed; {expected}"
    assert line(shown, "found") == "yes"
    assert line(as_text(own_name(ABSENT)), "found") == "no"


def test_an_answer_says_whether_it_is_one_from_before_or_none_at_all() -> None:
    shown = explanation("lscr.io/a:1", (ABSENT, "404", 0.0), (UNKNOWN, "not asked: 503", 0.0))
    known, skipped = shown.candidates
    known = attrs.evolve(known, look_up=attrs.evolve(known.look_up, cached=True))
    skipped = attrs.evolve(skipped, look_up=attrs.evolve(skipped.look_up, asked=False))
    first, second = as_text(attrs.evolve(shown, candidates=(known, skipped))).splitlines()[7:9]
    assert first.split("  ")[-2:] == ["cached", "without credentials"]
    assert second.endswith("-       with credentials")
    (told,) = as_objects([attrs.evolve(shown, candidates=(known, skipped))])
    answers = told["candidates"]
    assert isinstance(answers, list)
    # Nobody was asked, so nothing took any time.
    assert [(one["seconds"], one["asked"], one["cached"]) for one in answers] == [
        (None, True, True),
        (None, False, False),
    ]


def test_nothing_reaches_the_terminal_but_text() -> None:
    hostile = "\x1b]0;owned\x07\r\n\x9b31m\u202e\udc80"
    shown = explanation("lscr.io/a:1", (ABSENT, hostile, 0.0), (PRESENT, hostile, 0.0))
    shown = attrs.evolve(shown, image=f"lscr.io/a:1{hostile}")
    text = as_text(shown)
    assert all(one.isprintable() for one in text.split("\n"))
    assert len(text.splitlines()) == 14
    own = own_name(PRESENT)
    assert own.own is not None
    own = attrs.evolve(own, own=Asked(attrs.evolve(own.own.look_up, detail=hostile)))
    assert all(one.isprintable() for one in as_text(own).split("\n"))
    written = as_json(as_objects([shown, Unusable(f"\x7f{hostile}", hostile)]))
    assert all(one.isprintable() and one.isascii() for one in written.split("\n"))
    first, second = json.loads(written)
    assert first["image"] == shown.image
    assert second == {"image": f"\x7f{hostile}", "found": False, "error": hostile}


def test_machines_get_every_field() -> None:
    shown = explanation("nginx:1.25", (ABSENT, "404", 0.003), (PRESENT, "", 1.25))
    (told,) = json.loads(as_json(as_objects([shown])))
    reason = told["decision"].pop("reason")
    assert reason.startswith("registry, present, ")
    assert told == {
        "image": "nginx:1.25",
        "found": True,
        "reference": {
            "registry": "docker.io",
            "repository": "library/nginx",
            "tag": "1.25",
            "digest": None,
        },
        "rule": {"number": 2, "match": ["docker.io"]},
        "excluded": None,
        "candidates": [
            {
                "name": "sealos.hub:5000/library/nginx:1.25",
                "registry": "sealos.hub:5000",
                "outcome": "absent",
                "detail": "404",
                "digest": None,
                "seconds": 0.003,
                "asked": True,
                "cached": False,
                "credentials": False,
            },
            {
                "name": "harbor.corp/hub/library/nginx:1.25",
                "registry": "harbor.corp/hub",
                "outcome": "present",
                "detail": None,
                "digest": DIGEST,
                "seconds": 1.25,
                "asked": True,
                "cached": False,
                "credentials": True,
            },
        ],
        "left_out": [],
        "origin": {"registry": "docker.io", "allowed": True, "answered": None},
        "decision": {
            "attempts": [
                {
                    "name": "harbor.corp/hub/library/nginx:1.25",
                    "registry": "harbor.corp/hub",
                    "source": "registry",
                },
                {"name": "nginx:1.25", "registry": "docker.io", "source": "origin"},
            ],
            "seconds": 0.012,
        },
    }


def test_machines_learn_what_a_registry_says_of_its_own_name() -> None:
    (told,) = as_objects([own_name(PRESENT)])
    origin = told["origin"]
    assert isinstance(origin, dict)
    answered = origin["answered"]
    assert (answered["outcome"], answered["credentials"]) == ("present", None)
    assert (told["rule"], told["excluded"], told["found"]) == (None, None, True)
