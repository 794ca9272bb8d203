"""How the page shows pulls: what was asked for, what was decided, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.web.template import Tag, tags

from image_cri_shim.admin.parts import Look, Part, badge, mark, more, name, time
from image_cri_shim.pull_record import Document, Phase
from image_cri_shim.wording import counted, duration, visible

_PHASES = {
    Phase.LOOKING_UP.value: Look.BUSY,
    Phase.PULLING.value: Look.BUSY,
    Phase.PULLED.value: Look.GOOD,
    Phase.FAILED.value: Look.BAD,
}
_OUTCOMES = {"present": Look.GOOD, "absent": Look.IDLE, "unknown": Look.WARN}
_KINDS = {"offline": "offline registry", "registry": "", "origin": "origin"}


def pull_list(records: Iterable[Document], at: str) -> Tag:
    """Return pulls, each with its decision.

    :param at: the time of the page.
    """
    return tags.ul(*(tags.li(_pull(one, at)) for one in records), class_="pulls")


def _pull(record: Document, at: str) -> Tag:
    phase = str(record["phase"])
    look = _PHASES.get(phase, Look.IDLE)
    took = duration(record["seconds"])
    running = look is Look.BUSY
    head = tags.p(
        mark(look, phase),
        name(record["image"]),
        class_="what",
    )
    when = tags.p(
        f"{visible(phase)} for {took}" if running else f"{visible(phase)} in {took}, ",
        "" if running else time(record["began"], at),
        class_="when",
    )
    return tags.article(
        tags.div(head, when, class_="line"),
        _source(record),
        tags.p(tags.strong("Why it failed: "), visible(record["error"]), class_="error")
        if record["error"]
        else "",
        _decision(record),
        more(_summary(record), *_details(record)),
        class_=look.style,
    )


def _source(record: Document) -> Tag | str:
    if not record["name"]:
        return ""
    said = "from " if record["phase"] == Phase.PULLED.value else "tried last: "
    if record["phase"] == Phase.PULLING.value:
        said = "from "
    kind = _KINDS.get(str(record["kind"]), "")
    attempts = record["attempts"]
    before: list[Part] = (
        [", after ", name(attempts[0]["name"]), " failed"] if len(attempts) > 1 else []
    )
    marked: list[Part] = [" ", badge(kind)] if kind else []
    return tags.p(said, name(record["name"]), *marked, *before, class_="source")


def _decision(record: Document) -> Tag | str:
    """Return why the first name was chosen; it is said of which name where another one came."""
    if not record["reason"]:
        return ""
    attempts = record["attempts"]
    of: list[Part] = [" for ", name(attempts[0]["name"])] if len(attempts) > 1 else []
    return tags.p("Decision", *of, ": ", visible(record["reason"]), class_="reason")


def _summary(record: Document) -> str:
    steps = ((len(record["lookUps"]), "look-up"), (len(record["attempts"]), "attempt"))
    parts = [counted(number, word) for number, word in steps if number] or ["Details"]
    client = record["client"]
    if client:
        parts.append(f"for {visible(client['name'] or 'an unknown client')}")
    return ", ".join(parts)


def _details(record: Document) -> Iterable[Tag]:
    if record["lookUps"]:
        yield tags.h3("Asked")
        yield tags.ul(*(tags.li(_look_up(one)) for one in record["lookUps"]), class_="steps")
    if record["attempts"]:
        yield tags.h3("Tried")
        yield tags.ul(*(tags.li(_attempt(one)) for one in record["attempts"]), class_="steps")
    client = record["client"]
    facts = [("call", record["call"]), ("trace", record["trace"]), ("rule", record["rule"])]
    if client:
        who = f"{client['name'] or 'unknown'} (pid {client['pid']}, uid {client['uid']})"
        facts.insert(0, ("client", who))
    facts += [("digest", record["digest"]), ("image", record["imageRef"])]
    yield tags.h3("Known")
    yield tags.ul(
        *(tags.li(f"{term} ", name(value)) for term, value in facts if value), class_="steps"
    )


def _look_up(look_up: Document) -> list[Part]:
    outcome = str(look_up["outcome"])
    detail = f" ({visible(look_up['detail'])})" if look_up["detail"] else ""
    took = "as known from before" if look_up["cached"] else f"in {duration(look_up['seconds'])}"
    return [
        mark(_OUTCOMES.get(outcome, Look.IDLE), ""),
        name(look_up["name"]),
        f" {visible(outcome)}{detail}, {took}",
    ]


def _attempt(attempt: Document) -> list[Part]:
    error = str(attempt["error"])
    return [
        mark(Look.BAD if error else Look.GOOD, ""),
        name(attempt["name"]),
        f" {visible(error) if error else 'pulled'}, {duration(attempt['seconds'])}",
    ]
