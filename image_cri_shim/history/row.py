"""How a pull is written in the history: its table, and records as rows of it and back.

The texts in records are masked and bounded already; a file may have been written by anybody.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from image_cri_shim.call_identity import Client
from image_cri_shim.pull_record import Phase, PullRecord, Tried

# What SQLite keeps in a column.
Value: TypeAlias = str | int | float | bytes | None

NAME = "history.sqlite3"
# Behind the names of what SQLite has beside the file: the write-ahead log, and its index.
LOG, INDEX = "-wal", "-shm"
# In the file's header, so that it is not taken for another program's (PRAGMA application_id): CRIH.
APPLICATION = 0x43524948
# PRAGMA user_version. Whoever finds a later one leaves the file alone.
VERSION = 1

SCHEMA = """
CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    token TEXT NOT NULL UNIQUE,
    pid INTEGER NOT NULL,
    began REAL NOT NULL,
    ticks INTEGER NOT NULL,
    boot TEXT NOT NULL,
    namespace INTEGER NOT NULL
);
CREATE TABLE pull (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    number INTEGER NOT NULL,
    began REAL NOT NULL,
    call TEXT NOT NULL,
    client TEXT,
    pid INTEGER,
    uid INTEGER,
    gid INTEGER,
    trace TEXT NOT NULL,
    image TEXT NOT NULL,
    name TEXT NOT NULL,
    registry TEXT NOT NULL,
    kind TEXT NOT NULL,
    digest TEXT NOT NULL,
    image_ref TEXT NOT NULL,
    seconds REAL,
    outcome TEXT NOT NULL,
    phase TEXT NOT NULL,
    error TEXT NOT NULL,
    tries INTEGER NOT NULL,
    attempts TEXT NOT NULL,
    reason TEXT NOT NULL,
    rule TEXT NOT NULL,
    UNIQUE (run, number)
);
CREATE INDEX pull_began ON pull (began);
"""

RUNNING = "running"
# Of pulls; `run` stands in front of them.
COLUMNS = (
    *("number", "began", "call", "client", "pid", "uid", "gid", "trace", "image", "name"),
    *("registry", "kind", "digest", "image_ref", "seconds", "outcome", "phase", "error"),
    *("tries", "attempts", "reason", "rule"),
)
# The year 9999 is over then.
_LATEST = 253_402_300_800.0


def as_row(record: PullRecord) -> tuple[Value, ...]:
    """Return a record's values, in the order of ``COLUMNS``."""
    client = record.client
    attempts = [[one.name, one.registry, one.error, one.seconds] for one in record.attempts]
    return (
        record.number,
        record.began,
        _clean(record.call),
        None if client is None else _clean(client.name),
        None if client is None else client.pid,
        None if client is None else client.uid,
        None if client is None else client.gid,
        _clean(record.trace),
        _clean(record.image),
        _clean(record.name),
        _clean(record.registry),
        _clean(record.kind),
        _clean(record.digest),
        _clean(record.image_ref),
        record.seconds,
        record.phase.value if record.over else RUNNING,
        record.phase.value,
        _clean(record.error),
        len(record.attempts),
        # In ASCII: no text in it can be half a character.
        json.dumps(attempts),
        _clean(record.reason),
        _clean(record.rule),
    )


def from_row(values: Mapping[str, Value]) -> PullRecord:
    """Return the record that a row was made of, without its look-ups, which are not kept.

    :param values: by the names of the columns.
    :raises ValueError: it was made of none.
    """
    phase = Phase(values["phase"])
    seconds = values["seconds"]
    over = phase in (Phase.PULLED, Phase.FAILED)
    return PullRecord(
        number=_whole(values["number"]),
        call=_text(values["call"]),
        image=_text(values["image"]),
        began=_number(values["began"], _LATEST),
        client=_client(values),
        trace=_text(values["trace"]),
        phase=phase,
        name=_text(values["name"]),
        registry=_text(values["registry"]),
        kind=_text(values["kind"]),
        reason=_text(values["reason"]),
        rule=_text(values["rule"]),
        attempts=_attempts(_text(values["attempts"])),
        digest=_text(values["digest"]),
        image_ref=_text(values["image_ref"]),
        error=_text(values["error"]),
        seconds=_number(seconds, _LATEST) if over else None,
    )


def lenient(text: bytes) -> str:
    """Return a text as the file has it, which may be anything (Connection.text_factory)."""
    return text.decode("utf-8", "replace")


def _client(values: Mapping[str, Value]) -> Client | None:
    if values["pid"] is None:
        return None
    return Client(
        pid=_whole(values["pid"]),
        uid=_whole(values["uid"]),
        gid=_whole(values["gid"]),
        name=_text(values["client"]),
    )


def _attempts(text: str) -> tuple[Tried, ...]:
    try:
        entries = json.loads(text)
    except RecursionError as error:
        raise ValueError("no attempts") from error
    return tuple(_attempt(entry) for entry in _list(entries))


def _attempt(entry: object) -> Tried:
    values = _list(entry)
    name, registry, error, seconds = values
    return Tried(_text(name), _text(registry), _text(error), _number(seconds, _LATEST))


def _list(value: object) -> Sequence[object]:
    if not isinstance(value, list):
        raise ValueError("no list")  # noqa: TRY004 - whatever is wrong, it is no record
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")  # noqa: TRY004 - as above
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError("no whole number")  # noqa: TRY004 - as above
    return value


def _number(value: object, limit: float) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value < limit:
        raise ValueError("no number, or none that it can be")
    return float(value)


def _clean(text: str) -> str:
    """Return a text without halves of characters, which cannot be written."""
    return text.encode("utf-8", "replace").decode()
