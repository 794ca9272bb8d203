"""image-cri-shim.yaml(5) says what the configuration takes: its keys, types, defaults, examples."""

from __future__ import annotations

import re

import pytest

from image_cri_shim.config import (
    CACHE_KEYS,
    DEFAULT_CONFIG,
    KEYS,
    LOG_KEYS,
    OFFLINE_KEYS,
    REGISTRY_KEYS,
    REWRITE_KEYS,
    RULE_KEYS,
    Config,
    Key,
    parse,
    warnings,
)
from image_cri_shim.config.drop_ins import FILES_LIMIT, drop_in_directory
from image_cri_shim.config.sockets import PATH_LIMIT
from image_cri_shim.credentials import parse_credentials
from image_cri_shim.pattern import parse_pattern, parse_tagged_pattern
from image_cri_shim.reference import parse_reference
from image_cri_shim.tap import EX_CONFIG
from tests.support.mdoc import PAGES, heads, literals, plain, section, words
from tests.test_configuration_manual import type_of

PAGE = "image-cri-shim.yaml.5"
TEXT = PAGES[PAGE]
SECTIONS = {
    "The keys at the top": KEYS,
    "offline": OFFLINE_KEYS,
    # The offline registry's are not repeated.
    "registries": tuple(key for key in REGISTRY_KEYS if key not in OFFLINE_KEYS),
    "rules": RULE_KEYS,
    "rewrite": REWRITE_KEYS,
    "cache": CACHE_KEYS,
    "logLevels": LOG_KEYS,
}
EXAMPLES = literals(TEXT)


def default_of(key: Key) -> str:
    if key.required:
        return "required"
    if key.default in ('""', "{}", "[]"):
        return "none"
    return key.default or "all"


def items(title: str) -> list[tuple[str, str, str]]:
    """Return the keys under a heading, each with its type and its default."""
    found = []
    for head in heads(section(PAGE, "Ss", title)):
        match = re.fullmatch(r"Cm (\w+) : Ar (.*) Pq (.*)", head)
        assert match, head
        found.append((match[1], plain(match[2]), plain(match[3])))
    return found


@pytest.mark.parametrize("title", SECTIONS)
def test_the_page_has_every_key_with_its_type_and_default_and_no_other(title: str) -> None:
    known = {key.name: (type_of(key).replace("`", ""), default_of(key)) for key in SECTIONS[title]}
    told = {name: (kind, default) for name, kind, default in items(title)}
    assert told == known
    assert len(items(title)) == len(known)


def test_no_list_of_keys_is_elsewhere() -> None:
    listed = [head for head in heads(TEXT) if head.startswith("Cm ")]
    assert len(listed) == sum(map(len, SECTIONS.values()))
    nested = {key.name for key in (*KEYS, *RULE_KEYS) if key.keys}
    assert nested <= {*SECTIONS}
    for name in nested:
        assert f".Sx {name} .\n" in TEXT


def test_registries_take_what_the_offline_registry_takes() -> None:
    assert {*OFFLINE_KEYS} < {*REGISTRY_KEYS}
    assert "and all those of\n.Sx offline .\n" in section(PAGE, "Ss", "registries")


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_is_a_right_file_that_nothing_is_warned_of(text: str) -> None:
    config = parse(text, "f")
    assert config != Config()
    assert warnings(config) == ()


def test_a_password_in_a_block_of_text_is_taken_as_it_is() -> None:
    assert ".Ql auth: |2-\n" in TEXT
    config = parse("auth: |2-\n  user: it's #1 {{ so }}\naddress: https://a.corp\n", "f")
    (registry,) = config.all_registries
    assert registry.credentials == parse_credentials("user: it's #1 {{ so }}")


def test_every_key_in_the_text_is_one() -> None:
    known = {key.name for keys in SECTIONS.values() for key in keys}
    docker = {"auths", "credHelpers", "credsStore"}
    named = {
        word
        for line in re.findall(r"^\.(?:It )?Cm (.*?)(?: : .*)?$", TEXT, re.MULTILINE)
        for word in words(line)
    } - set(".:;")
    assert named == known | docker


def patterns() -> list[tuple[str, list[str], list[str]]]:
    """Return the patterns of the list, with what each is said to mean and not to mean."""
    found = []
    for item in section(PAGE, "Sh", "PATTERNS").partition(".El")[0].split(".It Li ")[1:]:
        pattern, _, text = item.partition("\n")
        means, _, others = text.partition("\nnot\n")
        meant, not_meant = (
            re.findall(r"^\.Ql (\S+)", one, re.MULTILINE) for one in (means, others)
        )
        found.append((pattern, meant, not_meant))
    return found


@pytest.mark.parametrize(("pattern", "means", "others"), patterns())
def test_a_pattern_means_what_the_page_says(
    pattern: str, means: list[str], others: list[str]
) -> None:
    read = parse_pattern(pattern)
    assert all(read.matches(parse_reference(one)) for one in means)
    assert not any(read.matches(parse_reference(one)) for one in others)


def test_the_patterns_with_tags_are_right() -> None:
    tagged = re.findall(
        r"^\.Ql (\S+:\S+)", section(PAGE, "Sh", "PATTERNS").partition(".El")[2], re.MULTILINE
    )
    assert len(tagged) == 2
    assert all(parse_tagged_pattern(one).tag for one in tagged)


def test_the_page_has_the_file_the_limits_and_the_status() -> None:
    assert f".Pa {DEFAULT_CONFIG}\n" in section(PAGE, "Sh", "SYNOPSIS")
    assert f"at most {PATH_LIMIT} bytes" in TEXT
    assert f"with status {EX_CONFIG};" in TEXT


def test_the_page_has_the_drop_in_directory_and_how_its_files_are_put_together() -> None:
    text = section(PAGE, "Ss", "Drop-in directory")
    assert f".Pa {drop_in_directory(DEFAULT_CONFIG)}/*.yaml\n" in section(PAGE, "Sh", "SYNOPSIS")
    assert f", {FILES_LIMIT} at most.\n" in text
    # By key: one by one, appended, and (what is not named) replaced.
    merged, appended = (
        [word for line in re.findall(r"^\.Cm (.*)$", item, re.MULTILINE) for word in words(line)]
        for item in text.split("\n.It\n")[1:3]
    )
    assert {*merged} == {key.name for key in KEYS if type_of(key) == "mapping"}
    assert {*appended} == {key.name for key in KEYS if type_of(key) == "list of mappings"}
