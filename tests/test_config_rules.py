"""What a file may say in rules."""

from __future__ import annotations

import pytest

from image_cri_shim.config import parse
from image_cri_shim.pattern import Pattern, parse_pattern, parse_tagged_pattern
from image_cri_shim.rules import Rewrite, Rule

HEAD = """\
registries:
  - {address: https://Harbor.corp, prefix: dockerhub}
  - {address: https://Harbor.corp, prefix: quay}
  - address: mirror.corp
rules:
"""


def rules(text: str, head: str = HEAD) -> tuple[Rule, ...]:
    return parse(head + text, "f").rules


def rule(text: str) -> Rule:
    """Return the rule with more than its pattern, ``docker.io``."""
    (only,) = rules(f"  - match: docker.io\n    {text}\n")
    return only


def test_a_rule_means_all_registries_and_the_origin_unless_it_says_so() -> None:
    (only,) = rules("  - match: docker.io\n")
    assert only == Rule(1, (parse_pattern("docker.io"),), registries=None, origin_allowed=True)


def test_rules_are_numbered_in_their_order() -> None:
    found = rules("  - match: a.io\n  - match: [b.io, 'c.io/x/*']\n  - {match: '*'}\n")
    assert [one.label for one in found] == [
        "rule 1 (a.io)",
        "rule 2 (b.io, c.io/x/*)",
        "rule 3 (*)",
    ]


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("tags: latest", ("latest",)),
        ("tags: [latest, v1.*]", ("latest", "v1.*")),
        ("tags: '*'", ("*",)),
        # Tags, not numbers, dates or booleans.
        ("tags: [1.20, 2024-01-01, 1e3, 0x10, on, 010]", None),
        ("tags: 1.20", ("1.20",)),
        ("tags: []", ()),
        ("tags:", ()),
    ],
)
def test_tags_are_texts_as_written(text: str, tags: tuple[str, ...] | None) -> None:
    if tags is None:
        tags = ("1.20", "2024-01-01", "1e3", "0x10", "on", "010")
    assert rule(text).tags == tags


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("registries: []", ()),
        ("registries:", None),
        ("registries: [mirror.corp]", ("mirror.corp",)),
        (
            "registries: [harbor.corp/quay, sealos.hub:5000, HARBOR.corp/dockerhub/]",
            ("Harbor.corp/quay", "sealos.hub:5000", "Harbor.corp/dockerhub"),
        ),
    ],
)
def test_registries_are_named_in_their_order_whatever_the_case(
    text: str, names: tuple[str, ...] | None
) -> None:
    assert rule(text).registries == names


def test_the_offline_registry_is_named_with_its_prefix() -> None:
    head = "offline: {prefix: a}\nrules:\n"
    (only,) = rules("  - {match: b.io, registries: ['sealos.hub:5000/a']}\n", head)
    assert only.registries == ("sealos.hub:5000/a",)


def test_docker_hub_can_be_named_where_it_is_listed() -> None:
    head = "registries: [{address: docker.io}]\nrules:\n"
    (only,) = rules("  - {match: mirror.gcr.io, registries: [docker.io]}\n", head)
    assert only.registries == ("docker.io",)


@pytest.mark.parametrize(
    "text", ["exclude: '*:latest'", "exclude: ['*:latest']", "exclude:\n      - '*:latest'"]
)
def test_one_exclusion_needs_no_list(text: str) -> None:
    assert rule(text).exclude == (parse_tagged_pattern("*:latest"),)


def test_exclusions_are_patterns_with_or_without_a_tag() -> None:
    texts = ("*:latest", "docker.io/library/*", "docker.io/a/b:v1.*", "*.io/x")
    assert rule(f"exclude: {list(texts)}").exclude == tuple(map(parse_tagged_pattern, texts))


@pytest.mark.parametrize(
    ("origin", "to", "path"),
    [
        ("docker.io", "google_containers/*", "google_containers"),
        ("docker.io", "google_containers", "google_containers"),
        ("docker.io/*", "/a/b/", "a/b"),
        ("docker.io/*", "'*'", ""),
        ("docker.io/*", "''", ""),
        ("docker.io", "'*'", ""),
        ("docker.io/a/*", "'*'", ""),
        ("docker.io/a/*", "/*", ""),
        ("docker.io/a/*", "b/*", "b"),
        ("docker.io/a/b", "c/d", "c/d"),
        ("docker.io/a/b", "c/d/*", "c/d"),
        ("'*.io/a/*'", "b/*", "b"),
        ("'*'", "b/*", "b"),
    ],
)
def test_a_rewrite_has_the_rest_of_the_path_behind_it(origin: str, to: str, path: str) -> None:
    expected = Rewrite(parse_pattern(origin.strip("'")), path)
    assert rule(f"rewrite: [{{from: {origin}, to: {to}}}]").rewrite == (expected,)


def test_a_thousand_rules_are_read() -> None:
    text = "".join(
        f"  - match: [docker.io/team{n}/*, quay.io/team{n}]\n"
        "    registries: [harbor.corp/dockerhub, sealos.hub:5000]\n"
        f"    exclude: ['*:latest', docker.io/team{n}/x]\n"
        f"    rewrite: [{{from: quay.io/team{n}/*, to: t{n}/*}}]\n"
        for n in range(1000)
    )
    found = rules(text)
    assert len(found) == 1000
    assert found[999].match[0] == Pattern("docker.io/team999/*", "docker.io", "team999/*")
