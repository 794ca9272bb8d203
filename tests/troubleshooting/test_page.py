"""docs/troubleshooting.md: complete, and no failure without a test that makes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.troubleshooting.page import COMMANDS, KUBELET, PAGE, read, unseen

SECTIONS = read()
HERE = Path(__file__).parent


def test_every_failure_has_a_test_that_makes_it() -> None:
    shown = [
        anchor
        for path in sorted(HERE.glob("test_*.py"))
        for anchor in re.findall(r'^@shows\("([^"]+)"\)$', path.read_text(), re.MULTILINE)
    ]
    assert sorted(shown) == sorted(SECTIONS)


def test_there_are_more_than_twenty_failures() -> None:
    assert len(SECTIONS) >= 20


def test_the_contents_lead_to_every_failure_in_its_order() -> None:
    contents = PAGE.read_text().partition("## Contents")[2].partition("\n## ")[0]
    expected = [(section.title, anchor) for anchor, section in SECTIONS.items()]
    assert re.findall(r"\[(.+)\]\(#(.+)\)", contents) == expected


@pytest.mark.parametrize("anchor", SECTIONS)
def test_a_failure_is_told_with_what_is_seen_its_cause_and_its_cure(anchor: str) -> None:
    section = SECTIONS[anchor]
    assert set(section.lines) <= {*COMMANDS, KUBELET}
    assert any(section.lines.get(command) for command in COMMANDS)
    text = PAGE.read_text().partition(f"### {section.title}\n")[2].partition("\n### ")[0]
    assert "**Cause.**" in text
    assert "**Cure.**" in text


def test_links_to_other_pages_lead_somewhere() -> None:
    for path, anchor in re.findall(r"\]\(([^)#]+)(?:#([^)]+))?\)", PAGE.read_text()):
        target = (PAGE.parent / path).resolve()
        assert target.is_file(), path
        titles = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not anchor or anchor in anchors, f"{path}#{anchor}"


def test_what_is_compared_is_the_words_and_not_their_layout() -> None:
    output = "registry  127.0.0.1:5000\n   not asked for\n   4 s: 503 (twice)"
    names = {"sealos.hub:5000": "127.0.0.1:5000"}
    assert unseen(["registry sealos.hub:5000", "asked for ... s: 503 (twice)"], output, names) == []
    assert unseen(["not asked for 4 s: 50."], output, names) == ["not asked for 4 s: 50."]
    assert unseen(["registry harbor.corp"], output, names) == ["registry harbor.corp"]
