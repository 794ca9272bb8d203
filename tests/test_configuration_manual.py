"""The manual of the configuration says what the program does: its keys, its examples, its pulls."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from image_cri_shim.config import (
    CACHE_KEYS,
    KEYS,
    LOG_KEYS,
    OFFLINE_KEYS,
    REGISTRY_KEYS,
    REWRITE_KEYS,
    RULE_KEYS,
    Config,
    Key,
    exposure,
    parse,
    warnings,
)
from image_cri_shim.pattern import parse_pattern, parse_tagged_pattern
from image_cri_shim.policy import Policy
from image_cri_shim.reference import parse_reference

MANUAL = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text()
HEADER = "| key | type | default | meaning |"
PATTERNS = "| pattern | means | does not mean |"

# By the section's heading: its keys, and how to get from a file's content to mappings of them.
SECTIONS = {
    "The keys at the top": (KEYS, "."),
    "offline": (OFFLINE_KEYS, "offline"),
    "registries": (REGISTRY_KEYS, "registries"),
    "rules": (RULE_KEYS, "rules"),
    "rewrite": (REWRITE_KEYS, "rules rewrite"),
    "cache": (CACHE_KEYS, "cache"),
    "logLevels": (LOG_KEYS, "logLevels"),
}
sections = pytest.mark.parametrize("section", SECTIONS)

# What a key's type is called, by what its parser expects.
TYPES = {
    "the absolute path of a socket, of at most 107 bytes": "path of a socket",
    'http://host[:port] or https://host[:port] (or "" for no offline registry)': "address",
    "http://host[:port] or https://host[:port]": "address",
    "user:password": "`user:password`",
    "true or false": "true or false",
    "the absolute path of a directory": "path of a directory",
    "the absolute path of a file": "path of a file",
    "the name of a systemd credential": "name of a credential",
    "three or four octal digits such as 0660": "octal digits",
    "the name or number of a user": "user",
    "the name or number of a group": "group",
    "an address and a port such as 127.0.0.1:9317 or [::1]:9317": "IP address and port",
    "auto, text, json or journal": "`auto`, `text`, `json` or `journal`",
    "debug, info, warn or error": "`debug`, `info`, `warn` or `error`",
    "a path such as team/proxy": "path",
    "a path such as google_containers/*": "path",
    "auto, v1 or v1alpha2": "`auto`, `v1` or `v1alpha2`",
    "keep, add or only": "`keep`, `add` or `only`",
    "all, digest or tag": "`all`, `digest` or `tag`",
    "a duration of more than 0, such as 15m or 1h30m": "duration",
    "a duration such as 15s or 1h30m, or 0": "duration or 0",
    "a pattern such as docker.io/library/*": "pattern",
    "a pattern such as *:latest or docker.io/library/*": "pattern with or without a tag",
    "a pattern of tags such as v1.*": "tag pattern",
    "host, host/path or host/path/*": "pattern",
    "the name of a registry, host[:port] or host[:port]/prefix": "registries' names",
}


def text_of(section: str) -> str:
    """Return what stands below a heading, up to the next one of the same level."""
    found = re.search(
        rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", MANUAL, re.MULTILINE | re.DOTALL
    )
    assert found is not None
    return found[1]


def rows(text: str, header: str) -> list[list[str]]:
    """Return the cells of all tables with a header."""
    found = []
    for table in re.findall(rf"^{re.escape(header)}\n\|[-|]+\|\n((?:\|.*\n)*)", text, re.MULTILINE):
        found += [
            [cell.strip() for cell in line.strip("|").split(" | ")]
            for line in table.replace("| |\n", "|  |\n").splitlines()
        ]
    return found


def type_of(key: Key) -> str:
    """Say how a key's type is called in the manual."""
    if key.parser is None:
        return "list of mappings" if key.many else "mapping"
    expected = key.parser.expected
    if expected.startswith("a whole number from "):
        kind = "whole number, " + expected.removeprefix("a whole number from ")
    else:
        kind = TYPES[expected]
    if not key.many:
        return kind
    return f"{kind}, or list of them" if key.or_one else f"list of {kind}"


def default_of(key: Key) -> str:
    if key.required:
        return "required"
    return f"`{key.default}`" if key.default else "all"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def examples() -> Iterator[tuple[str, str]]:
    """Yield each file in the manual with the pulls that are told of it, if any."""
    for match in re.finditer(
        r"^```yaml\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", MANUAL, re.MULTILINE | re.DOTALL
    ):
        yield match[1], match[2] or ""


EXAMPLES = list(examples())
PULLS = [(text, *line.split(" -> ", 1)) for text, pulls in EXAMPLES for line in pulls.splitlines()]


def test_the_manual_has_all_blocks_that_are_looked_for() -> None:
    assert len(EXAMPLES) == MANUAL.count("```yaml\n")
    assert sum(bool(pulls) for _, pulls in EXAMPLES) == MANUAL.count("```text\n")
    assert len(PULLS) == MANUAL.count(" -> ") - MANUAL.count("`a -> b, c, origin`")


@sections
def test_the_table_of_a_section_has_every_key_with_its_type_and_default(section: str) -> None:
    keys, _ = SECTIONS[section]
    table = [row[:3] for row in rows(text_of(section), HEADER)]
    assert table == [[f"`{key.name}`", type_of(key), default_of(key)] for key in keys]


def test_no_table_of_keys_is_elsewhere() -> None:
    assert MANUAL.count(HEADER) == len(SECTIONS)
    keys = [key for key in KEYS if key.keys]
    assert {key.name for key in keys} <= set(SECTIONS)
    assert [SECTIONS[key.name][0] for key in keys] == [key.keys for key in keys]


def found_keys(content: object, path: str) -> set[str]:
    """Return the keys of the mappings at a path."""
    for step in path.strip(".").split():
        mappings = content if isinstance(content, list) else [content]
        inner = [one.get(step, []) for one in mappings]
        content = [deep for one in inner for deep in (one if isinstance(one, list) else [one])]
    mappings = content if isinstance(content, list) else [content]
    return {key for one in mappings for key in one}


@sections
def test_a_section_has_an_example_of_each_of_its_keys(section: str) -> None:
    keys, path = SECTIONS[section]
    contents = [yaml.safe_load(text) for text in blocks(text_of(section), "yaml")]
    shown = set().union(*(found_keys(content, path) for content in contents))
    assert shown == {key.name for key in keys}


@pytest.mark.parametrize("text", [text for text, _ in EXAMPLES])
def test_an_example_is_a_right_file(text: str) -> None:
    config = parse(text, "f")
    assert config != Config()
    risky = "insecureSkipVerify: true" in text
    assert len(warnings(config)) == risky


@pytest.mark.parametrize(("text", "reference", "pulls"), PULLS)
def test_a_pull_is_tried_as_the_manual_says(text: str, reference: str, pulls: str) -> None:
    config = parse(text, "f")
    plan = Policy(config.all_registries, config.rules).plan(reference)
    tried = [candidate.name for candidate in plan.candidates]
    tried += ["origin"] if plan.origin_allowed else []
    assert ", ".join(tried or ["refused"]) == pulls


@pytest.mark.parametrize(("pattern", "means", "others"), rows(MANUAL, PATTERNS))
def test_a_pattern_means_what_the_manual_says(pattern: str, means: str, others: str) -> None:
    text = pattern.strip("`")
    read = parse_tagged_pattern if text.count(":") and "5000" not in text else parse_pattern
    meant = re.findall(r"`([^`]+)`", means)
    assert meant
    for reference in meant:
        assert read(text).matches(parse_reference(reference)), reference
    for reference in re.findall(r"`([^`]+)`", others):
        assert not read(text).matches(parse_reference(reference)), reference


# What each point of the list of warnings is about, in the order of the manual; the first is about
# the file and not about what it says.
WARNED = [
    "auth: a:b\naddress: https://a.corp",
    "shimMode: 0666",
    "adminListen: 0.0.0.0:9317",
    "address: https://a.corp\noffline: {insecureSkipVerify: true}",
    "auth: a:b",
    "registries: [{address: docker.io}]",
    "offline: {prefix: a}",
    "offline: {trustFor: digest}\nrules: [{match: quay.io, originAllowed: false}]",
    "rules: [{match: quay.io, tags: v*, originAllowed: false}]",
    "offline: {trustFor: digest}\nrules: [{match: quay.io, tags: v*}]",
    "rules: [{match: quay.io, rewrite: [{from: quay.io, to: docker.io}]}]",
]
# The words that a point and its warning have in common.
COMMON = [
    "password",
    "shimMode",
    "adminListen",
    "insecureSkipVerify",
    "in clear text",
    "it is never used",
    "keepHost",
    "originAllowed: false",
    "from their origin",
    "it never asks any",
    "and not another registry",
]


def test_each_point_of_the_list_of_warnings_is_warned_of(tmp_path: Path) -> None:
    points = [" ".join(one.split()) for one in text_of("What is warned of").split("\n* ")[1:]]
    assert len(points) == len(WARNED) == len(COMMON)
    file = tmp_path / "c.yaml"
    for point, common, text in zip(points, COMMON, WARNED, strict=True):
        file.write_text(text)
        file.chmod(0o644 if common == "password" else 0o600)
        config = parse(text, "f")
        (warning,) = filter(None, (exposure(str(file), config), *warnings(config)))
        assert common in point
        # A strict rule is said in words.
        assert common.replace("originAllowed: false", "does not allow the origin") in warning


def test_every_word_in_camel_case_is_a_key() -> None:
    known = {key.name for keys, _ in SECTIONS.values() for key in keys}
    docker = {"credHelpers", "credsStore"}
    words = set(re.findall(r"\b[a-z]+(?:[A-Z][A-Za-z]*)+\b", MANUAL))
    assert words - known <= docker
    assert {word for word in known if word != word.lower()} <= words


def test_links_lead_to_headings() -> None:
    headings = re.findall(
        r"^#+ (.*)$",
        re.sub(r"^```.*?^```$", "", MANUAL, flags=re.MULTILINE | re.DOTALL),
        re.MULTILINE,
    )
    anchors = {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}
    links = re.findall(r"\]\(#([^)]*)\)", MANUAL)
    assert links
    assert set(links) <= anchors


def test_the_defaults_of_the_two_kinds_of_registries_are_the_same() -> None:
    def settings(section: str) -> list[list[str]]:
        return [row[:3] for row in rows(text_of(section), HEADER)][-len(OFFLINE_KEYS) :]

    assert settings("offline") == settings("registries")
