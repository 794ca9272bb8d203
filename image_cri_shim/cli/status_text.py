"""The status document for the operator's eyes: what is wrong first, in 80 columns, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from image_cri_shim.cli.colours import Colours
from image_cri_shim.cli.decision_text import failures, led_to, outcome, reason_of_name
from image_cri_shim.cli.moments import ago, between, local, span
from image_cri_shim.cli.registry_table import table
from image_cri_shim.cli.terminal import one_line, wrapped
from image_cri_shim.pull_record import from_document, seconds_since_1970
from image_cri_shim.pull_trouble import TOLD_EACH
from image_cri_shim.wording import counted

# A JSON object.
Document: TypeAlias = Mapping[str, Any]

# Where the values begin.
_INDENT = 18
_UNDER = 2
# What is shown of what has failed; there is more elsewhere.
_SHOWN = 5
_FAILING, _DEGRADED, _NOTE = "failing", "degraded", "note"


def as_text(document: Document, colours: Colours) -> str:
    """Write a whole status document, without a line break at the end.

    :raises KeyError, TypeError, ValueError, AttributeError: it is none.
    """
    parts = [
        [_verdict(document, colours)],
        *_problems(document, colours),
        list(_facts(document)),
        ["registries", *table(document["registries"], document["at"], colours)],
        list(_in_progress(document["pulls"])),
        list(_failed_pulls(document["pulls"], colours)),
        list(_failed_calls(document["failedCalls"], colours)),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _verdict(document: Document, colours: Colours) -> str:
    state, severities = document["state"], Counter(one["severity"] for one in document["problems"])
    notes = severities.pop(_NOTE, 0)
    said = [counted(severities.total(), "problem")] if severities else []
    said += [counted(notes, "note")] if notes else []
    paint = {_FAILING: colours.bad, _DEGRADED: colours.doubtful}.get(state, colours.good)
    return paint(one_line(f"{state}: {', '.join(said)}" if said else state))


def _problems(document: Document, colours: Colours) -> Iterator[list[str]]:
    paint = {_FAILING: colours.bad, _DEGRADED: colours.doubtful}
    for one in document["problems"]:
        since = f" (since {_when(one['since'], document['at'])})" if one["since"] else ""
        head = wrapped(f"{one['about']}{since}")
        yield [
            *(paint.get(one["severity"], colours.strong)(line) for line in head),
            *wrapped(one["what"], _UNDER),
            *(wrapped(one["cure"], len("  cure: "), "  cure: ") if one["cure"] else ()),
        ]


def _facts(document: Document) -> Iterator[str]:
    rows: tuple[tuple[str, Iterable[str]], ...] = (
        ("daemon", _daemon(document["program"])),
        ("sockets", _sockets(document)),
        ("clients", _clients(document["clients"], document["at"])),
        ("runtime", _runtime(document["runtime"], document["at"])),
        ("configuration", _configuration(document["configuration"], document["at"])),
        ("cache", _cache(document["cache"])),
        ("pulls", _pulls(document["pulls"])),
        ("history", _history(document["history"])),
        ("admin", _admin(document["admin"])),
        ("log", _log(document["logging"])),
        ("names in answers", [document["originalNames"]]),
    )
    for label, values in rows:
        first = label
        for value in values:
            yield from wrapped(value, _INDENT, first)
            first = ""


def _daemon(program: Document) -> Iterator[str]:
    running = span(program["uptimeSeconds"])
    yield f"version {program['version']}, process {program['pid']}, running for {running}"


def _sockets(document: Document) -> Iterator[str]:
    for one in document["sockets"]:
        yield one["path"] + (", passed by systemd" if one["activated"] else "")
    if document["socketTrouble"]:
        yield document["socketTrouble"]
    elif not document["sockets"]:
        yield "none"


def _clients(clients: Document, at: str) -> Iterator[str]:
    last = f"the last {ago(clients['lastCallAt'], at)}" if clients["lastCallAt"] else "none yet"
    yield f"{clients['connected']} connected, {counted(clients['calls'], 'call')} running, {last}"
    versions = [
        f"{number:,} in {version}" for version, number in clients["versions"].items() if number
    ]
    services = f"{clients['imageCalls']:,} about images, {clients['runtimeCalls']:,} about pods"
    yield f"calls: {services}" + (f"; {', '.join(versions)}" if versions else "")


def _runtime(runtime: Document, at: str) -> Iterator[str]:
    if runtime["connected"]:
        since = f", connected for {between(runtime['since'], at)}" if runtime["since"] else ""
        program = f"{runtime['name']} {runtime['version']}".strip() or "not introduced yet"
        spoken = f", spoken to in CRI {runtime['criVersion']}" if runtime["criVersion"] else ""
        yield f"{program}{spoken}{since}"
        yield runtime["socket"]
    else:
        yield f"not connected: {runtime['state']}"
        if runtime["socket"] and runtime["socket"] not in runtime["state"]:
            yield runtime["socket"]


def _configuration(configuration: Document, at: str) -> Iterator[str]:
    yield ", ".join(configuration["files"] or [f"{configuration['file']}, which is not there"])
    loaded = _when(configuration["loadedAt"], at)
    if configuration["current"]:
        yield f"runs since {loaded}"
    else:
        refused = _when(configuration["refusedSince"], at)
        yield f"REFUSED since {refused}"
        yield f"the one before runs since {loaded}"
    for sentence in configuration["warnings"]:
        yield f"warning: {sentence}"


def _cache(cache: Document) -> Iterator[str]:
    if not cache:
        yield "not there yet"
        return
    answered = f"{counted(cache['hits'], 'look-up')} answered from it, {cache['misses']:,} not"
    yield f"{cache['held']:,} of {counted(cache['size'], 'answer')} held; {answered}"


def _pulls(pulls: Document) -> Iterator[str]:
    running = len(pulls["inProgress"])
    yield f"{pulls['pulled']:,} pulled, {pulls['failed']:,} failed, {running:,} in progress"


def _history(history: Document) -> Iterator[str]:
    state, path = history["state"], history["path"]
    yield f"{path}: {state}" if path and state != "off" else state


def _admin(admin: Document) -> Iterator[str]:
    # What is wrong with it is among the problems.
    yield from admin["addresses"] or ["none"]


def _log(logging: Document) -> Iterator[str]:
    levels: Mapping[str, str] = logging["levels"]
    usual = Counter(levels.values()).most_common(1)
    others = [f"{name} {level}" for name, level in levels.items() if level != usual[0][0]]
    said = [f"{usual[0][0]}{' but for' if others else ''}"] if usual else []
    yield " ".join((f"format {logging['format']}; level", *said, ", ".join(others))).strip()


def _in_progress(pulls: Document) -> Iterator[str]:
    if pulls["inProgress"]:
        yield "in progress"
    for one in pulls["inProgress"]:
        record = from_document(one)
        client = f" for {record.client}" if record.client is not None else ""
        yield from wrapped(led_to(record), _UNDER)
        yield from wrapped(f"{outcome(record, one['seconds'])}{client}", 2 * _UNDER)


def _failed_pulls(pulls: Document, colours: Colours) -> Iterator[str]:
    """Tell the newest failure of each image."""
    times = Counter(one["image"] for one in pulls["failures"])
    found = [next(one for one in pulls["failures"] if one["image"] == image) for image in times]
    if found:
        yield "last pulls that failed"
    for one in found[:_SHOWN]:
        record = from_document(one)
        count = times[one["image"]]
        # No more of one image are told.
        more = " or more" if count >= TOLD_EACH else ""
        repeated = f" ({count} times{more})" if count > 1 else ""
        lines = wrapped(f"{local(record.began)}  {led_to(record)}{repeated}", _UNDER)
        yield from map(colours.bad, lines)
        if reason_of_name(record):
            yield from wrapped(f"({record.reason})", 2 * _UNDER)
        for said in failures(record):
            yield from wrapped(said, 2 * _UNDER)
    if len(found) > _SHOWN:
        yield f"  and {len(found) - _SHOWN} more: image-cri-shim decisions"


def _failed_calls(found: list[Document], colours: Colours) -> Iterator[str]:
    if found:
        yield "last calls that failed"
    for one in found[:_SHOWN]:
        when = local(seconds_since_1970(one["at"]))
        yield colours.bad(one_line(f"  {when}  {one['method']}, {one['code']}"))
        yield from wrapped(one["message"], 2 * _UNDER)
    if len(found) > _SHOWN:
        yield f"  and {len(found) - _SHOWN} more: image-cri-shim status --json"


def _when(moment: str, at: str) -> str:
    return f"{local(seconds_since_1970(moment))}, {ago(moment, at)}"
