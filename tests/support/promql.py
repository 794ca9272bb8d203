"""Which metrics and labels a PromQL expression speaks of: enough for those that we write."""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

# What looks like a metric's name and is none, before a bracket or anywhere.
_FUNCTIONS = {
    "count",
    "histogram_quantile",
    "increase",
    "label_values",
    "max",
    "min",
    "rate",
    "sum",
    "vector",
}
_WORDS = {"and", "or", "unless", "bool", "offset"}
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)")
_MATCHERS = re.compile(r"\{([^{}]*)\}")
_MATCHER = re.compile(r"\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*\"((?:[^\"\\]|\\.)*)\"\s*(?:,|$)")
_NAME = re.compile(r"[a-zA-Z_:][\w:]*")
_STRING = re.compile(r"\"(?:[^\"\\]|\\.)*\"")
_RANGE = re.compile(r"\[[^\[\]]*\]")
# What a scraper adds to every series.
_SCRAPED = {"instance", "job"}


@attrs.frozen
class Selector:
    """A metric in an expression.

    :ivar matched: the labels that it is selected by, with what they are compared to.
    """

    name: str
    matched: tuple[tuple[str, str], ...]


def selectors(expression: str) -> Iterator[Selector]:
    """Yield all metrics of an expression.

    :raises ValueError: it is not understood.
    """
    text = _RANGE.sub("", _GROUPING.sub("", expression))
    for found in _NAME.finditer(_outside(text)):
        name = found[0]
        if name in _WORDS:
            continue
        behind = text[found.end() :].lstrip()
        if behind.startswith("("):
            if name not in _FUNCTIONS:
                raise ValueError(f"{name} is no function that is known here")
            continue
        match = _MATCHERS.match(behind)
        yield Selector(name, () if match is None else tuple(_matched(match[1])))


def grouped_by(expression: str) -> set[str]:
    """Return the labels that an expression groups or joins by."""
    found = {label.strip() for group in _GROUPING.findall(expression) for label in group.split(",")}
    return found - _SCRAPED


def _outside(text: str) -> str:
    """Return a text with blanks in place of its braces and strings, and what is in them."""
    for part in (_MATCHERS, _STRING):
        text = part.sub(lambda found: " " * len(found[0]), text)
    return text


def _matched(text: str) -> Iterator[tuple[str, str]]:
    while text.strip():
        match = _MATCHER.match(text)
        if match is None:
            raise ValueError(f"no matcher: {text}")
        if match[1] not in _SCRAPED:
            yield match[1], match[3]
        text = text[match.end() :]
