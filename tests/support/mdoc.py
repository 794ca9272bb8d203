"""The manual pages as text: their sections, lists, references and examples."""

from __future__ import annotations

import re
from pathlib import Path

DIRECTORY = Path(__file__).parent.parent.parent / "man"
PAGES = {path.name: path.read_text() for path in sorted(DIRECTORY.glob("*.[1-9]"))}
# What stands for a character where mdoc would take that for itself.
_ESCAPES = {r"\e": "\\", r"\(dq": '"', r"\&": "", r"\ ": " "}


def plain(text: str) -> str:
    """Return the text without mdoc's escapes."""
    return re.sub(r"\\(?:e|\(dq|&| )", lambda found: _ESCAPES[found[0]], text)


def words(text: str) -> list[str]:
    """Return the macros' arguments and the text, with mdoc's `Fl -debug` as `--debug`."""
    text = re.sub(r"(?:^\.|\b)Fl (-?[\w-]+)", r"-\1", text, flags=re.MULTILINE)
    return re.sub(r"[,\\&]", " ", text).split()


def section(page: str, kind: str, title: str) -> str:
    """Return what stands under a heading: `Sh` for a section's, `Ss` for a subsection's."""
    ends = r"^\.Sh " if kind == "Sh" else r"^\.S[sh] "
    _, _, below = PAGES[page].partition(f"\n.{kind} {title}\n")
    assert below, f"no .{kind} {title} in {page}"
    return re.split(ends, below, maxsplit=1, flags=re.MULTILINE)[0]


def heads(text: str) -> list[str]:
    """Return the heads of the items of all lists."""
    return re.findall(r"^\.It (.+)$", text, re.MULTILINE)


def references(page: str) -> list[str]:
    """Return the pages that a page refers to, in their order, as `name.section`."""
    return [".".join(found) for found in re.findall(r"^\.Xr (\S+) (\d)", PAGES[page], re.MULTILINE)]


def literals(text: str) -> list[str]:
    """Return what is displayed as it is."""
    blocks = re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed$", text, re.MULTILINE | re.DOTALL)
    return [plain(block) for block in blocks]
