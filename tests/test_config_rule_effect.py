"""Parts of a rule that can have no effect are refused, and only those."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from image_cri_shim.config import parse
from image_cri_shim.config.coverage import covers, may_overlap
from image_cri_shim.errors import ConfigError
from image_cri_shim.pattern import Pattern, parse_pattern, parse_tagged_pattern
from image_cri_shim.policy import Policy
from image_cri_shim.reference import parse_reference
from image_cri_shim.rules import Rewrite, Rule

MEANT = "no image of this rule is meant"


def problems(rule: str, head: str = "") -> list[str]:
    """Return the problems with the one rule of a file."""
    try:
        parse(f"{head}rules: [{{{rule}}}]", "f")
    except ConfigError as error:
        return [f"{one.path.removeprefix('rules[0].')}: {one.message}" for one in error.problems]
    return []


def images(pattern: str) -> str:
    return f"expected images that the rule's `match` means, found {pattern}: {MEANT}"


@pytest.mark.parametrize(
    ("match", "pattern"),
    [
        ("docker.io/library/*", "docker.io/foo/*"),
        ("docker.io/library/*", "docker.io/foo/bar"),
        ("quay.io/library", "quay.io/lib"),
        ("quay.io/lib", "quay.io/library/*"),
        ("quay.io/team", "quay.io/teamwork/*"),
        ("quay.io/team/a", "quay.io/team/b"),
        ("quay.io/library", "quay.io/nginx"),
        ("[quay.io/a, quay.io/b/*]", "quay.io/c"),
        ("'*.io/team'", "quay.io/other/*"),
        ("quay.io/team", "'*.io/other'"),
    ],
)
def test_what_the_rules_paths_do_not_mean_is_refused(match: str, pattern: str) -> None:
    text = images(pattern.strip("'"))
    assert problems(f"match: {match}, exclude: {pattern}") == [f"exclude: {text}"]
    rewrite = f"rewrite: [{{from: {pattern}, to: x}}]"
    assert problems(f"match: {match}, {rewrite}") == [f"rewrite[0].from: {text}"]


@pytest.mark.parametrize(
    ("match", "exclude"),
    [
        ("docker.io/library/*", "docker.io/nginx"),
        ("docker.io/library", "docker.io/lib"),
        ("quay.io/team/*", "quay.io/team"),
        ("docker.io/nginx", "docker.io/library/nginx"),
        ("docker.io/nginx", "docker.io/library/*"),
        ("docker.io/nginx", "docker.io/library"),
        ("docker.io/nginx", "docker.io/lib*"),
        ("docker.io/nginx*", "docker.io/library/nginx-unit"),
        ("'*/nginx'", "docker.io/library/nginx"),
        ("quay.io/team", "quay.io/team/a:1"),
        ("quay.io/team/*", "quay.io/team/*"),
        ("quay.io/team/a", "quay.io/team"),
        ("quay.io/team", "quay.io/te*"),
        ("quay.io/te*", "quay.io/team"),
        ("quay.io/a*", "quay.io/ab*"),
        ("quay.io/*/b", "quay.io/a"),
        ("quay.io/*", "quay.io/a"),
        ("[quay.io/a, quay.io/b/*]", "quay.io/b/c"),
        ("quay.io/team", "'*:latest'"),
        # Those of another tag are told by no pattern of the list, but it is the same in all rules.
        ("{match}, tags: v1.*", "'*:latest'"),
    ],
)
def test_what_they_may_mean_is_taken(match: str, exclude: str) -> None:
    match = match.replace("{match}", "quay.io")
    assert problems(f"match: {match}, exclude: {exclude}") == []


def test_a_registrys_own_images_are_meant_by_its_host_alone() -> None:
    head = "registries: [{address: a.corp}, {address: docker.io, auth: 'a:b'}]\n"
    own = (
        "expected a host that the rule's `match` has, found a.corp: its images are a configured "
        "registry's own, and only a rule whose `match` has this host in full is about them"
    )
    for match in ("'*'", "'*.corp'", "['*', b.corp]"):
        assert problems(f"match: {match}, exclude: A.corp/x", head) == [f"exclude: {own}"]
        rewrite = "rewrite: [{from: a.corp, to: x}]"
        assert problems(f"match: {match}, {rewrite}", head) == [f"rewrite[0].from: {own}"]
    for rule in (
        "match: ['*', a.corp], exclude: a.corp/x",
        "match: '*', exclude: b.corp/x",
        "match: '*', exclude: '*.corp/x'",
        "match: '*', exclude: docker.io/x",
        # That is the same server, but images of this name are no registry's.
        "match: '*', exclude: 'a.corp:443/x'",
    ):
        assert problems(rule, head) == []
    assert problems("match: ['*', a.corp/y], exclude: a.corp/x", head) == [f"exclude: {own}"]
    # Of this host, only the images that are called with the port are.
    other = "registries: [{address: 'a.corp:443'}]\n"
    assert problems("match: '*', exclude: a.corp/x", other) == []
    # It may be another registry that was meant.
    wrong = "registries: [{address: a.corp}, {address: x y}]\n"
    assert not any("exclude" in one for one in problems("match: '*', exclude: a.corp/x", wrong))


def test_nothing_is_excluded_or_rewritten_where_nobody_is_asked() -> None:
    alone = (
        "expected registries that are asked for this, found `registries: []` (line 1), which "
        "leaves every image of the rule alone: leave one out"
    )
    rewrite = "rewrite: [{from: a.io, to: x}]"
    for more in ("", ", originAllowed: false"):
        assert problems(f"match: a.io, registries: [], exclude: '*:x', {rewrite}{more}") == [
            f"exclude: {alone}",
            f"rewrite: {alone}",
        ]
    assert problems("match: a.io, registries: [], exclude: [], rewrite: []") == []
    assert problems(f"match: a.io, registries: , exclude: '*:x', {rewrite}") == []
    for wrong in ("b.io", "b io"):
        (found,) = problems(f"match: a.io, registries: [{wrong}], {rewrite}")
        assert found.startswith("registries[0]: ")


@pytest.mark.parametrize(
    ("rule", "place", "found", "first"),
    [
        ("match: [a.io, b.io, a.io]", "match[2]", "a.io", "match[0]"),
        ("match: [docker.io/a, Index.docker.io/a]", "match[1]", "Index.docker.io/a", "match[0]"),
        ("match: a.io, tags: [x, v*, v*]", "tags[2]", "v*", "tags[1]"),
        ("match: a.io, exclude: ['*:x', a.io/y, '*:x']", "exclude[2]", "*:x", "exclude[0]"),
    ],
)
def test_a_pattern_is_in_a_list_once(rule: str, place: str, found: str, first: str) -> None:
    assert problems(rule) == [
        f"{place}: expected each pattern once, found {found} also as `rules[0].{first}` (line 1): "
        "leave one out"
    ]


def test_patterns_that_are_not_the_same_are_taken() -> None:
    assert problems("match: [a.io, a.io/*], tags: [a, A], exclude: ['*:x', '*', a.io/x]") == []


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ("a.io", "a.io"),
        ("a.io", "a.io/x"),
        ("a.io/x", "a.io/x/*"),
        ("a.io/x/*", "a.io/x/y"),
        ("'*.io/x'", "a.io/x/y"),
        ("'*'", "a.io"),
        ("docker.io/a", "index.docker.io/a"),
    ],
)
def test_a_rewriting_behind_one_that_has_its_images_is_refused(first: str, later: str) -> None:
    pair = f"{{from: {first}, to: x}}, {{from: b.io, to: z}}, {{from: {later}, to: y}}"
    found = problems(f"match: '*', rewrite: [{pair}]")
    assert found[-1] == (
        "rewrite[2].from: expected images that no `from` before this one means, found those of "
        "`rules[0].rewrite[0].from` (line 1): put this one in front, or leave it out"
    )


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ("a.io/x", "a.io"),
        ("a.io/x/*", "a.io/x"),
        ("a.io/x", "a.io/xy"),
        ("a.io", "'*.io'"),
        ("docker.io/library/*", "docker.io/nginx"),
    ],
)
def test_one_that_has_images_left_is_taken(first: str, later: str) -> None:
    pair = f"{{from: {first}, to: x}}, {{from: {later}, to: y}}"
    assert problems(f"match: '*', rewrite: [{pair}]") == []


def test_a_huge_rule_is_not_compared_without_an_end() -> None:
    hosts = ", ".join(f"'h{n}*.x'" for n in range(9_000))
    others = ", ".join(f"g{n}.x" for n in range(9_000))
    origins = ", ".join(f"{{from: g{n}.x/*, to: a}}" for n in range(9_000))
    assert problems(f"match: [{hosts}], exclude: [{others}], rewrite: [{origins}]") == []
    # What is seen in a small one.
    assert problems("match: ['h*.x'], exclude: [g.x]")


HOSTS = [
    "*",
    "*.corp",
    "a.c*",
    "a.corp",
    "a.corp:443",
    "docker.io",
    "docker.*",
    "own.corp",
    "*:443",
]
FIXED = ["", "/*", "/a", "/a/*", "/a/b", "/library", "/library/*", "/library/nginx", "/nginx"]
LOOSE = ["/a*", "/n*", "/*/b", "/*x", "/l*/n*", "/*a*"]
REFERENCES = [
    parse_reference(f"{host}/{path}:x")
    for host in ("a.corp", "a.corp:443", "b.corp", "docker.io", "own.corp", "own.corp:443")
    for path in (
        "a",
        "a/b",
        "a/b/c",
        "ab",
        "b",
        "x",
        "library/nginx",
        "nginx",
        "nginx/x",
        "library/a",
    )
]
ALL = [host + path for host, path in itertools.product(HOSTS, FIXED + LOOSE)]
FULL = st.sampled_from(ALL)
ORIGINS = st.sampled_from([host + path for host, path in itertools.product(HOSTS, FIXED)])
BOUNDED = settings(
    derandomize=True, max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_covering_and_having_nothing_in_common_are_told_rightly() -> None:
    patterns: list[Pattern] = [parse_pattern(text) for text in ALL]
    meant = {one: frozenset(text for text in REFERENCES if one.matches(text)) for one in patterns}
    told = 0
    for one, other in itertools.product(patterns, repeat=2):
        if covers(one, other):
            told += 1
            assert meant[one] >= meant[other], (one, other)
        if not may_overlap(one, other):
            told += 1
            assert meant[one].isdisjoint(meant[other]), (one, other)
        assert may_overlap(one, other) == may_overlap(other, one)
    assert told > 1_000


@BOUNDED
@given(
    st.lists(FULL, min_size=1, max_size=2, unique=True),
    st.lists(st.tuples(FULL, st.sampled_from(["", ":x", ":v*"])).map("".join), max_size=3),
    st.lists(ORIGINS, max_size=3),
    st.lists(st.sampled_from(["own.corp", "b.corp", "docker.io"]), unique=True),
)
def test_nothing_is_refused_that_has_an_effect_on_some_image(
    match: list[str], exclude: list[str], origins: list[str], listed: list[str]
) -> None:
    head = f"registries: [{', '.join(f'{{address: {host}}}' for host in listed)}]\n"
    written = [{"from": origin, "to": f"p{n}"} for n, origin in enumerate(origins)]
    # Only what is there for the first time is asked about.
    exclude = list(dict.fromkeys(exclude))
    refused = {
        one.partition(": ")[0]
        for one in problems(f"match: {match}, exclude: {exclude}, rewrite: {written}", head)
        if "each pattern once" not in one
    }
    rule = Rule(
        1,
        tuple(map(parse_pattern, match)),
        exclude=tuple(map(parse_tagged_pattern, exclude)),
        rewrite=tuple(Rewrite(parse_pattern(one["from"]), one["to"]) for one in written),
    )
    policy = Policy(parse(head, "f").all_registries, [rule])
    for reference in REFERENCES:
        # An image by the name of a registry with this port is not told from that registry's own.
        if policy.plan(str(reference)).rule is None or reference.domain == "own.corp:443":
            continue
        for number, one in enumerate(rule.exclude):
            assert not one.matches(reference) or f"exclude[{number}]" not in refused
        path = rule.path(reference)
        if path is not None:
            assert f"rewrite[{path[1]}].from" not in refused
