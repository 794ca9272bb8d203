"""docs/troubleshooting.md as the tests read it: what it says that an operator will see."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md"
# Blocks with what the two commands print, and what the kubelet says: every line stands in it, and
# `...` for anything.
COMMANDS = ("status", "decisions")
KUBELET = "kubelet"
_HEADING = re.compile(r"^### (.+)$")
_FENCE = re.compile(r"^```(\S*) ?(.*)$")

Test = TypeVar("Test", bound=Callable[..., None])


@dataclass
class Section:
    """One failure of the page: its title, and the lines of its blocks by whose words they are."""

    title: str
    lines: dict[str, list[str]] = field(default_factory=dict)

    @property
    def anchor(self) -> str:
        """What a link to it ends in, as GitHub makes it of a heading."""
        kept = re.sub(r"[^\w\- ]", "", self.title.lower())
        return kept.replace(" ", "-")


def read() -> dict[str, Section]:
    """Return the page's failures by their anchors, in order."""
    sections: list[Section] = []
    block: list[str] | None = None
    for line in PAGE.read_text().splitlines():
        heading, fence = _HEADING.match(line), _FENCE.match(line)
        if fence is not None:
            if block is not None:
                block = None
            else:
                block = sections[-1].lines.setdefault(fence[2], []) if fence[2] else []
        elif block is not None:
            block.append(line)
        elif heading is not None:
            sections.append(Section(heading[1]))
    return {section.anchor: section for section in sections}


def shows(anchor: str) -> Callable[[Test], Test]:
    """Give a test the section, as `section`, whose failure it makes."""
    sections = read()
    section = sections.get(anchor)
    if section is None:
        raise LookupError(f"{PAGE.name} has no section {anchor}: {', '.join(sections)}")
    return pytest.mark.parametrize("section", [section], ids=[anchor])


def unseen(lines: list[str], output: str, names: Mapping[str, str]) -> list[str]:
    """Return the lines of a block that are not in what a command printed.

    `names` are the page's names and what stands for them in the test. How lines are broken and
    aligned does not matter.
    """
    text = " ".join(output.split())
    return [line for line in lines if re.search(_pattern(line, names), text) is None]


def _pattern(line: str, names: Mapping[str, str]) -> str:
    for name, real in names.items():
        line = line.replace(name, real)
    return re.escape(" ".join(line.split())).replace(r"\.\.\.", ".*?")
