"""The parts that the page is made of."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from twisted.web.template import Tag, tags

from image_cri_shim.wording import ago, visible

# What is written into the page: tags, texts, and lists of them (Twisted has no public type for it).
Part: TypeAlias = Any


class Look(enum.Enum):
    """How something stands: its class in the style sheet, its sign, and the word for it."""

    GOOD = ("good", "✓", "good")
    WARN = ("warn", "!", "warning")
    BAD = ("bad", "✕", "bad")
    BUSY = ("busy", "→", "in progress")
    IDLE = ("idle", "·", "idle")

    @property
    def style(self) -> str:
        """The class in the style sheet."""
        return str(self.value[0])

    @property
    def sign(self) -> str:
        """A character that tells it without colour."""
        return str(self.value[1])

    @property
    def word(self) -> str:
        """What a screen reader says."""
        return str(self.value[2])


def mark(look: Look, word: str | None = None) -> Tag:
    """Return a sign in its colour; ``word`` is for who does not see it, empty if a text follows."""
    said = look.word if word is None else word
    sign = tags.span(look.sign, class_=f"mark {look.style}", **{"aria-hidden": "true"})
    return tags.span(sign, tags.span(f"{said}: ", class_="unseen")) if said else sign


def name(text: object) -> Tag:
    """Return a name that others chose: in a type that tells 0 from O, as long as it may be."""
    return tags.code(visible(text), dir="ltr")


def time(moment: str | None, at: str) -> Tag | str:
    """Return how long ago something was; the exact time is its title."""
    if not moment:
        return ""
    return tags.time(ago(moment, at), datetime=visible(moment), title=visible(moment))


def badge(text: str, look: Look = Look.IDLE) -> Tag:
    """Return a word in a frame."""
    return tags.span(text, class_=f"badge {look.style}")


def section(title: str, *content: Part, name: str, note: Part = "") -> Tag:
    """Return a part of the page under a heading.

    :param name: its id.
    :param note: what stands beside the heading.
    """
    heading = tags.h2(title, id=f"{name}-title")
    head = tags.div(heading, tags.span(note, class_="note"), class_="head") if note else heading
    return tags.section(head, *content, id=name, **{"aria-labelledby": f"{name}-title"})


def facts(pairs: Iterable[tuple[str, Part]]) -> Tag:
    """Return terms with what they are; those that are nothing are left out."""
    return tags.dl(
        *(
            tags.div(tags.dt(term), tags.dd(value), class_="row")
            for term, value in pairs
            if value not in ("", None)
        )
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[Part]]) -> Tag:
    """Return a table; where there is no room for its columns, each row is a card.

    The first cell of a row is its head. The roles are said because a card is no table's row to a
    browser; it would no longer be one to a screen reader.
    """
    head = tags.tr(*(tags.th(one, scope="col", role="columnheader") for one in heads), role="row")
    body = []
    for row in rows:
        cells = [tags.th(row[0], scope="row", role="rowheader")]
        for title, cell in zip(heads[1:], row[1:], strict=True):
            value = tags.div(cell, class_="value")
            cells.append(tags.td(value, role="cell", **{"data-label": title}))
        body.append(tags.tr(*cells, role="row"))
    return tags.table(
        tags.thead(head, role="rowgroup"), tags.tbody(*body, role="rowgroup"), role="table"
    )


def nothing(text: str) -> Tag:
    """Return what is said in place of an empty list."""
    return tags.p(text, class_="nothing")


def more(title: str, *content: Part) -> Tag:
    """Return what is shown when somebody asks for it."""
    return tags.details(tags.summary(title), *content)
