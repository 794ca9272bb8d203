"""Rules that say something wrong: place, what was expected, what was found, what to do."""

from __future__ import annotations

import pytest

from image_cri_shim.config import parse
from image_cri_shim.errors import ConfigError

HEAD = """\
registries:
  - {address: https://Harbor.corp, prefix: dockerhub}
  - {address: https://Harbor.corp, prefix: quay}
  - address: mirror.corp
rules:
"""
PATTERN = "expected a pattern such as docker.io/library/*,"
NAME = "expected the name of a registry, host[:port] or host[:port]/prefix,"
UNKNOWN = "expected the name of a configured registry, found"
ADD = "correct it, or list it under `registries`"
HOST = "expected a host that the rule's `match` has, found"
MEANT = "no image of this rule is meant"
FROM = "expected host, host/path or host/path/*,"
TO = "expected a path such as google_containers/*,"
ADDRESS = (
    "found a registry's address in it: write the path alone, and the registry's name under the "
    "rule's `registries`"
)
KNOWN = "known: sealos.hub:5000, harbor.corp/dockerhub, harbor.corp/quay, mirror.corp"


def problems(text: str, head: str = HEAD) -> list[str]:
    """Return the problems; the rules begin on line 1."""
    with pytest.raises(ConfigError) as caught:
        parse(head + text, "f")
    above = head.count("\n")
    return [
        f"{one.line - above}:{one.column}: {one.path}: {one.message}"
        for one in caught.value.problems
    ]


def problem(text: str) -> str:
    """Return the one problem with what a rule says besides ``match: docker.io``."""
    (only,) = problems(f"  - match: docker.io\n    {text}\n")
    assert only.startswith("2:")
    return only.partition(" ")[2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "tags: a:b",
            "rules[0].tags: expected a pattern of tags such as v1.*, found a tag that",
        ),
        ("tags: ['']", "rules[0].tags[0]: expected a pattern of tags such as v1.*, found an empty"),
        ("tags: [~]", "rules[0].tags[0]: expected a pattern of tags such as v1.*, found nothing"),
        (
            "tags: {a: b}",
            "rules[0].tags: expected a pattern of tags such as v1.*, or a list of such, found a "
            "mapping",
        ),
        (
            "tags: *a",
            "rules[0].tags: expected a pattern of tags such as v1.*, or a list of such, found an "
            "alias (*name): write the value itself, in quotes if it begins like that",
        ),
        (
            "registries: mirror.corp",
            "rules[0].registries: expected a list, found a text (put it in brackets)",
        ),
        ("registries: {a: b}", "rules[0].registries: expected a list, found a mapping"),
        (
            "registries: [https://mirror.corp/]",
            f"rules[0].registries[0]: {NAME} found a scheme in it: write mirror.corp",
        ),
        (
            "registries: ['https://a:hunter2@mirror.corp']",
            f"rules[0].registries[0]: {NAME} found a user or a password in it: leave them out",
        ),
        (
            "registries: ['https://admin:hunter2']",
            f"rules[0].registries[0]: {NAME} found a scheme in it: leave it out",
        ),
        (
            "registries: [admin:hunter2]",
            f"rules[0].registries[0]: {NAME} found a port that is not from 1 to 65535",
        ),
        ("registries: ['']", f"rules[0].registries[0]: {NAME} found no host"),
        ("registries: [a b]", f"rules[0].registries[0]: {NAME} found white space in it"),
        (
            "registries: [mirror.corp/A]",
            f"rules[0].registries[0]: {NAME} found a capital letter: paths are lower case",
        ),
        (
            "registries: [miror.corp]",
            (f"rules[0].registries[0]: {UNKNOWN} miror.corp (did you mean `mirror.corp`?): {ADD}"),
        ),
        (
            "registries: [Harbor.corp/quayy]",
            (
                f"rules[0].registries[0]: {UNKNOWN} harbor.corp/quayy "
                f"(did you mean `harbor.corp/quay`?): {ADD}"
            ),
        ),
        (
            "registries: [harbor.corp]",
            f"rules[0].registries[0]: {UNKNOWN} harbor.corp (did you mean `harbor.corp/quay`?): {ADD}",
        ),
        (
            "registries: [q.example]",
            f"rules[0].registries[0]: {UNKNOWN} q.example ({KNOWN}): {ADD}",
        ),
        (
            "registries: [docker.io]",
            f"rules[0].registries[0]: {UNKNOWN} docker.io ({KNOWN}): {ADD}",
        ),
        (
            "registries: [mirror.corp, Mirror.corp]",
            (
                "rules[0].registries[1]: expected each registry once, found mirror.corp also as "
                "`rules[0].registries[0]` (line 7): leave one out"
            ),
        ),
        ("exclude: [a:b:c]", "rules[0].exclude[0]: expected a pattern such as *:latest or"),
        (
            f"exclude: docker.io/a@sha256:{'0' * 64}",
            (
                "rules[0].exclude: expected a pattern such as *:latest or docker.io/library/*, "
                "found a digest in it: what a digest names never changes"
            ),
        ),
        ("exclude: quay.io/a/*", f"rules[0].exclude: {HOST} quay.io: {MEANT}"),
        ("exclude: ['*:latest', v1.2]", f"rules[0].exclude[1]: {HOST} v1.2: {MEANT}"),
        ("originAllowed: never", "rules[0].originAllowed: expected true or false, found never"),
        ("rewrite: docker.io", "rules[0].rewrite: expected a list, found a text"),
        (
            "rewrite: [docker.io]",
            "rules[0].rewrite[0]: expected a mapping of from, to; found a text",
        ),
        ("rewrite: [{to: a}]", "rules[0].rewrite[0]: expected the key `from`, found none"),
        (
            "rewrite: [{from: docker.io, to: }]",
            "rules[0].rewrite[0]: expected the key `to`, found none",
        ),
        (
            "rewrite: [{from: docker.io/a*, to: b}]",
            f"rules[0].rewrite[0].from: {FROM} found a * in its path that is not the whole last",
        ),
        (
            "rewrite: [{from: docker.io/a/*/b, to: b}]",
            f"rules[0].rewrite[0].from: {FROM} found a * in its path that is not the whole last",
        ),
        (
            "rewrite: [{from: docker.io/a/b_-c, to: b}]",
            f"rules[0].rewrite[0].from: {FROM} found 'b_-c' in its path, which no image's name",
        ),
        (
            "rewrite: [{from: docker.io/a:1, to: b}]",
            f"rules[0].rewrite[0].from: {FROM} found a tag in it: write it under `tags`",
        ),
        (
            "rewrite: [{from: quay.io/*, to: b}]",
            f"rules[0].rewrite[0].from: {HOST} quay.io: {MEANT}",
        ),
        (
            "rewrite: [{from: docker.io, to: a*}]",
            f"rules[0].rewrite[0].to: {TO} found a * in it that is not the whole last part",
        ),
        (
            "rewrite: [{from: docker.io, to: '*/a'}]",
            f"rules[0].rewrite[0].to: {TO} found a * in it that is not the whole last part",
        ),
        (
            "rewrite: [{from: docker.io, to: A/*}]",
            f"rules[0].rewrite[0].to: {TO} found a capital letter: paths are lower case",
        ),
        (
            "rewrite: [{from: docker.io, to: https://a.corp/b}]",
            f"rules[0].rewrite[0].to: {TO} {ADDRESS}",
        ),
        (
            "rewrite: [{from: docker.io, to: 'sealos.hub:5000/google_containers/*'}]",
            f"rules[0].rewrite[0].to: {TO} {ADDRESS}",
        ),
        (
            "rewrite: [{from: docker.io, to: a//b}]",
            f"rules[0].rewrite[0].to: {TO} found two slashes with nothing in between",
        ),
        (
            "rewrite: [{from: docker.io, to: 'a:1'}]",
            f"rules[0].rewrite[0].to: {TO} found something other than lower-case letters",
        ),
        *(
            (
                f"rewrite: [{{from: docker.io/a/b, to: {empty}}}]",
                (
                    "rules[0].rewrite[0].to: expected a path, found none: nothing would be left of "
                    "docker.io/a/b; write one, or `from: docker.io/a/b/*`"
                ),
            )
            for empty in ("''", "'*'", "/", "/*")
        ),
    ],
)
def test_a_wrong_part_of_a_rule_is_one_problem(text: str, expected: str) -> None:
    found = problem(text)
    assert found.startswith(expected)
    assert found == expected or not expected.endswith((ADD, MEANT, "out", "mirror.corp", ADDRESS))


def test_a_word_where_a_pattern_belongs_is_told_what_it_would_be_as_a_tag() -> None:
    found = problem("exclude: latest")
    assert found.startswith("rules[0].exclude: expected a pattern such as *:latest or")
    assert found.endswith("; for a tag, write *:latest")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("match: docker.io/a:1", f"1:12: rules[0].match: {PATTERN} found a tag in it: write it"),
        ("match: '*:latest'", f"1:12: rules[0].match: {PATTERN} found a tag in it: write it under"),
        ("match: nginx", f"1:12: rules[0].match: {PATTERN} found nginx, which is no registry's"),
        ("match: ''", f"1:12: rules[0].match: {PATTERN} found an empty text"),
        ("match: [a.io, '']", f"1:19: rules[0].match[1]: {PATTERN} found an empty text"),
        ("match: [~]", f"1:13: rules[0].match[0]: {PATTERN} found nothing"),
        ("match: [[a.io]]", f"1:13: rules[0].match[0]: {PATTERN} found a list"),
        (
            "match: []",
            (
                "1:12: rules[0].match: expected a pattern such as docker.io/library/*, "
                "or a list of such, found an empty list"
            ),
        ),
        ("match:", "1:5: rules[0]: expected the key `match`, found none"),
        ("tags: a", "1:5: rules[0]: expected the key `match`, found none"),
        (
            "Match: a.io",
            "1:5: rules[0].Match: unknown key (did you mean `match`?)",
        ),
        (
            "docker.io",
            (
                "1:5: rules[0]: expected a mapping of match, tags, registries, exclude, rewrite, "
                "originAllowed; found a text"
            ),
        ),
    ],
)
def test_a_rule_without_a_right_pattern_is_told_so(text: str, expected: str) -> None:
    assert problems(f"  - {text}\n")[0].startswith(expected)


def test_rules_are_a_list() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("rules: {match: a.io}", "f")
    assert str(caught.value) == "f:1:8: rules: expected a list, found a mapping"


def test_a_pattern_that_yaml_takes_for_an_alias_is_told_to_be_quoted() -> None:
    for text in ("*.corp/*", "*", "*:latest", "*-mirror.corp"):
        with pytest.raises(ConfigError) as caught:
            parse(f"rules:\n  - match: {text}\n", "f")
        assert "in quotes if it begins like that" in str(caught.value) or (
            "found a value that begins with *: put the value in single quotes" in str(caught.value)
        )


def test_without_registries_there_is_none_to_name() -> None:
    head = "address: ''\nrules:\n"
    assert problems("  - {match: a.io, registries: [b.corp]}\n", head) == [
        f"1:32: rules[0].registries[0]: {UNKNOWN} b.corp (there is none): {ADD}"
    ]


def test_a_name_without_its_prefix_is_told_with_it() -> None:
    prefix = "a-path/that-looks/like-nothing/of-the-name"
    head = f"registries: [{{address: h.io, prefix: {prefix}}}]\nrules:\n"
    assert problems("  - {match: a.io, registries: [H.io]}\n", head) == [
        f"1:32: rules[0].registries[0]: {UNKNOWN} h.io (did you mean `h.io/{prefix}`?): {ADD}"
    ]


def test_an_exclusion_for_no_host_of_the_rule_is_refused() -> None:
    rest = "originAllowed: false}"
    for match, exclude in (
        ("'*.corp'", "quay.io/a"),
        ("'*.corp'", "corp:5000/a"),
        ("['*.corp', a.io]", "b.io:x"),
        ("a.io:5000", "a.io"),
        ("a.io:5000", "a.io:443"),
        ("a.io:80", "'*.io'"),
        ("a.io", "'*.corp:latest'"),
    ):
        (found,) = problems(f"  - {{match: {match}, exclude: {exclude}, {rest}\n")
        assert MEANT in found
    for match, exclude in (
        ("'*.corp'", "a.corp/a"),
        ("['*.corp', A.io]", "a.io/b:x"),
        ("a.io", "'*.io'"),
        ("'*'", "quay.io/a"),
        ("docker.io", "index.docker.io/library/nginx"),
        # A host without a port means this one as well.
        ("a.io", "a.io:443/a"),
        ("a.io:443", "a.io/a"),
        ("'*.io'", "a.io:443/a"),
        ("'*:443'", "a.io/a"),
        ("'a.*'", "'*.io'"),
    ):
        assert parse(f"{HEAD}  - {{match: {match}, exclude: {exclude}, {rest}\n", "f").rules


def test_of_many_registries_some_are_named() -> None:
    listed = ", ".join(f"{{address: r{n}.corp}}" for n in range(600))
    (found,) = problems(
        "  - {match: a.io, registries: [r1000.corp]}\n",
        f"address: ''\nregistries: [{listed}]\nrules:\n",
    )
    named = ", ".join(f"r{n}.corp" for n in range(32))
    assert found.endswith(f"found r1000.corp (known: {named}, ...): {ADD}")


@pytest.mark.parametrize(
    "registries",
    [
        "registries: [{address: harbor.corp/x}]",
        "registries: [{address: harbor.corp, prefix: X}]",
        "registries: [{address: harbor.corp, prfix: x}]",
        "registries: [{adress: harbor.corp, prefix: x, priority: 1}]",
        "registries: [harbor.corp/x]",
        "registries: harbor.corp/x",
        "registries: *harbor",
        "address: harbor.corp/x",
        "address: harbor.corp\noffline: {prefix: X}",
        "address: harbor.corp\noffline: {prfix: x}",
        "address: harbor.corp\noffline: x",
    ],
)
def test_a_registry_that_is_wrong_itself_is_not_unknown_as_well(registries: str) -> None:
    text = f"{registries}\nrules: [{{match: a.io, registries: [harbor.corp/x]}}]\n"
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    assert [one.path for one in caught.value.problems if one.path.startswith("rules")] == []


def test_a_registry_with_another_mistake_is_known() -> None:
    text = "  - {match: a.io, registries: [b.corp, x.corp, c.corp]}\n"
    head = (
        "registries: [{address: b.corp, priority: x}, {address: c.corp, auth: y}, "
        "{address: c.corp}]\nrules:\n"
    )
    found = problems(text, head)
    assert [one for one in found if "rules" in one] == [
        (
            "1:40: rules[0].registries[1]: expected the name of a configured registry, found "
            f"x.corp (did you mean `c.corp`?): {ADD}"
        )
    ]
