"""The registries of the status document as a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from image_cri_shim.cli.colours import Colours
from image_cri_shim.cli.moments import ago, span
from image_cri_shim.cli.terminal import WIDTH, columns, one_line, wrapped

_Document: TypeAlias = Mapping[str, Any]

_INDENT = 2
_GAP = 2
# Where there is less room for the last column, it goes below the others.
_ROOM = 24


def table(registries: Sequence[_Document], at: str, colours: Colours) -> Iterator[str]:
    """Yield the lines: name, access, state, latency, last answer.

    :param registries: as the status document has them.
    :param at: when that was made.
    """
    if not registries:
        yield "  none: every image is pulled from its origin"
        return
    rows = [
        ("name", "access", "state", "latency"),
        *((one["name"], _access(one), _state(one), _latency(one)) for one in registries),
    ]
    lasts = ["last answer", *(_last(one, at) for one in registries)]
    lines = columns(rows)
    width = max(map(len, lines)) + _INDENT + _GAP
    paints = [colours.faint, *(_paint(one, colours) for one in registries)]
    for line, last, paint in zip(lines, lasts, paints, strict=True):
        head = f"{'':<{_INDENT}}{line}"
        if not last:
            told = [head.rstrip()]
        elif width + min(len(last), _ROOM) <= WIDTH:
            told = wrapped(last, width, head)
        else:
            told = [head.rstrip(), *wrapped(last, 2 * _INDENT)]
        yield from map(paint, told)


def _access(one: _Document) -> str:
    """Say how it is spoken to: ``https, password``."""
    if not one["configured"]:
        return "origin"
    scheme = "http" if one["url"].startswith("http:") else "https"
    if one["insecure"] and scheme == "https":
        scheme = "unverified"
    return f"{scheme}, login" if one["credentials"] else scheme


def _state(one: _Document) -> str:
    if one["breaker"] != "closed":
        return "left alone" if _wait(one) else "on trial"
    return {"": "not asked yet", "unknown": "failing"}.get(one["lastOutcome"], "answers")


def _wait(one: _Document) -> int:
    """Return for how many seconds it is left alone."""
    return math.ceil(one["retryInSeconds"]) if one["breaker"] == "open" else 0


def _latency(one: _Document) -> str:
    return "-" if one["latencySeconds"] is None else span(one["latencySeconds"])


def _last(one: _Document, at: str) -> str:
    # Beside the state, which is too narrow a column for it.
    again = f"tried again in {_wait(one)} s" if _wait(one) else ""
    if not one["lastOutcome"]:
        return again
    again += "; " if again else ""
    detail = f" ({one['lastDetail']})" if one["lastDetail"] else ""
    when = f", {ago(one['lastAskedAt'], at)}" if one["lastAskedAt"] else ""
    return one_line(f"{again}{one['lastOutcome']}{detail}{when}")


def _paint(one: _Document, colours: Colours) -> Any:
    if one["breaker"] != "closed":
        return colours.bad
    return colours.doubtful if one["lastOutcome"] == "unknown" else str
