"""The page: how the node stands, at a glance and in detail, on one page without scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote

from twisted.python.failure import Failure
from twisted.web.template import Tag, flattenString, tags

from image_cri_shim.admin.node_parts import (
    call_section,
    program_sections,
    registry_section,
    runtime_section,
)
from image_cri_shim.admin.parts import Look, Part, mark, nothing, section, time
from image_cri_shim.admin.pull_parts import pull_list
from image_cri_shim.admin.style import STYLE
from image_cri_shim.pull_record import Document
from image_cri_shim.wording import counted, duration, visible

# Seconds until a browser asks for the page again.
REFRESH = 15
# The address of the page that stays as it is.
STILL = "?still=1"

_STATES = {
    "ok": (Look.GOOD, "OK", "Everything works."),
    "degraded": (Look.WARN, "Degraded", "It works, but not as well as it should."),
    "failing": (Look.BAD, "Failing", "Something does not work."),
}
_SEVERITIES = {"failing": Look.BAD, "degraded": Look.WARN, "note": Look.IDLE}
_COLOURS = {Look.GOOD: "#1a7f37", Look.WARN: "#9a6700", Look.BAD: "#cf222e"}


def page_pieces(status: Document, *, still: bool = False) -> Iterator[bytes]:
    """Yield the page in pieces, each of which is quick to make.

    :param status: the status document.
    :param still: do not ask the browser to come again.
    """
    yield b'<!DOCTYPE html>\n<html lang="en">\n'
    yield _html(_head(status, still=still))
    yield b"\n<body>\n"
    yield _html(_banner(status, still=still))
    yield b"\n<main>\n"
    sections: tuple[Callable[[Document], Tag | list[Tag] | str], ...] = (
        _problems,
        runtime_section,
        registry_section,
        _running,
        _failures,
        _recent,
        call_section,
        program_sections,
    )
    for make in sections:
        yield _html(make(status)) + b"\n"
    yield b"</main>\n"
    yield _html(_foot())
    yield b"\n</body>\n</html>\n"


def _html(part: Tag | list[Tag] | str) -> bytes:
    """Return a part as it is sent. Nothing in it is waited for."""
    made: list[bytes | Failure] = []
    flattenString(None, part).addBoth(made.append)
    (outcome,) = made
    if isinstance(outcome, Failure):
        outcome.raiseException()
    assert isinstance(outcome, bytes)  # noqa: S101 - for the type checker
    return outcome


def _state(status: Document) -> tuple[Look, str, str]:
    state = str(status["state"])
    return _STATES.get(state, (Look.WARN, visible(state), ""))


def _head(status: Document, *, still: bool) -> Tag:
    look, word, _ = _state(status)
    drawing = (
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>"
        f"<circle cx='8' cy='8' r='7' fill='{_COLOURS[look]}'/></svg>"
    )
    return tags.head(
        tags.meta(charset="utf-8"),
        tags.meta(name="viewport", content="width=device-width, initial-scale=1"),
        tags.meta(name="color-scheme", content="light dark"),
        "" if still else tags.meta(content=str(REFRESH), **{"http-equiv": "refresh"}),
        tags.title(f"{look.sign} {word} · image-cri-shim"),
        tags.link(rel="icon", href=f"data:image/svg+xml,{quote(drawing)}"),
        tags.style(STYLE),
    )


def _banner(status: Document, *, still: bool) -> Tag:
    look, word, sentence = _state(status)
    problems, program = status["problems"], status["program"]
    if number := _grave(problems):
        sentence = f"{counted(number, 'thing')} to look at, with what to do."
    anew: list[Part] = ["It stays as it is (", tags.a("let it renew itself", href="."), ")."]
    if not still:
        anew = [f"It renews itself every {REFRESH} s (", tags.a("hold it", href=STILL), ")."]
    return tags.header(
        tags.div(look.sign, class_="sign", **{"aria-hidden": "true"}),
        tags.div(
            tags.h1("image-cri-shim"),
            tags.p(tags.strong(word), " ", sentence, class_="state"),
            tags.p(
                f"Version {visible(program['version'])}, process {program['pid']}, "
                f"up for {duration(program['uptimeSeconds'])}. ",
                "This page is of ",
                _clock(str(status["at"])),
                ". ",
                *anew,
                class_="asof",
            ),
        ),
        class_=f"banner {look.style}",
    )


def _clock(at: str) -> Tag:
    """Return the time of day of a moment in UTC (RFC 3339)."""
    day, _, rest = at.partition("T")
    return tags.time(f"{visible(rest[:8])} UTC", datetime=visible(at), title=visible(day))


def _problems(status: Document) -> Tag | str:
    problems, at = status["problems"], str(status["at"])
    if not problems:
        return ""
    items = []
    for one in problems:
        look = _SEVERITIES.get(str(one["severity"]), Look.WARN)
        since = tags.p("since ", time(one["since"], at), class_="when") if one["since"] else ""
        head = tags.p(mark(look, str(one["severity"])), tags.strong(visible(one["about"])))
        cure = tags.p(tags.strong("What to do: "), visible(one["cure"])) if one["cure"] else ""
        items.append(
            tags.li(
                tags.article(
                    tags.div(head(class_="what"), since, class_="line"),
                    tags.p(visible(one["what"]), class_="error"),
                    cure,
                    class_=look.style,
                )
            )
        )
    title = "Look at this first" if _grave(problems) else "Good to know"
    return section(title, tags.ul(*items, class_="pulls"), name="problems")


def _grave(problems: Iterable[Document]) -> int:
    """Return how many problems are more than a note."""
    return sum(one["severity"] != "note" for one in problems)


def _running(status: Document) -> Tag | str:
    running = status["pulls"]["inProgress"]
    if not running:
        return ""
    return section("Pulls in progress", pull_list(running, str(status["at"])), name="running")


def _failures(status: Document) -> Tag | str:
    failures = status["pulls"]["failures"]
    if not failures:
        return ""
    note = f"the last {len(failures)} of {status['pulls']['failed']:,}"
    return section(
        "Failed pulls", pull_list(failures, str(status["at"])), name="failures", note=note
    )


def _recent(status: Document) -> Tag:
    pulls = status["pulls"]
    shown = {one["number"] for one in pulls["failures"]}
    recent = [one for one in pulls["recent"] if one["number"] not in shown]
    if not recent:
        none = "No pull has succeeded" if shown else "Nothing has been pulled"
        return section("Last pulls", nothing(f"{none} since the start."), name="recent")
    note = f"the last {len(recent)} of {pulls['pulled']:,} that succeeded"
    return section("Last pulls", pull_list(recent, str(status["at"])), name="recent", note=note)


def _foot() -> Tag:
    links = (("status", "status"), ("decisions", "decisions"), ("metrics", "metrics"))
    return tags.footer(
        tags.p(
            "For programs: ",
            [[tags.a(word, href=where), " "] for word, where in links],
        ),
        tags.p("On the node: ", tags.code("image-cri-shim status"), " tells the same."),
    )
