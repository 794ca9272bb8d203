"""The history's SQLite file as others read it: without ever writing or making anything.

A write-ahead log and its index may lie beside it, of a daemon that runs or of one that was killed.
SQLite reads them without writing to the index (``readonly_shm``); where there are none, the file is
complete (https://www.sqlite.org/wal.html, "Read-Only Databases", and uri.html).
"""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path

import attrs

from image_cri_shim.history import row
from image_cri_shim.history.run import Run, is_alive
from image_cri_shim.pull_record import Document, Phase, PullRecord, as_document

INTERRUPTED = "interrupted"
# A daemon that starts or stops may take what lies beside the file away, or put it there.
_TRIES = 3
_PAUSE = 0.1
_COLUMNS = ("id", "run", *row.COLUMNS)


class HistoryError(Exception):
    """There is no history, or it cannot be read; the message says why and what to do about it."""


@attrs.frozen
class Wanted:
    """Which pulls are read.

    :ivar limit: the newest ones; 0 for all.
    :ivar image: a pattern of the shell's, for what was asked for or what was pulled; empty for all.
    :ivar failed: only those that failed.
    :ivar since: those that began then or later; seconds since 1970.
    """

    limit: int = 0
    image: str = ""
    failed: bool = False
    since: float = 0.0


@attrs.frozen
class Entry:
    """A pull in the history.

    :ivar record: without its look-ups.
    :ivar outcome: ``running``, ``pulled``, ``failed`` or ``interrupted``: the daemon ended first.
    :ivar run: tells the run of the daemon that wrote it from others.
    """

    record: PullRecord
    outcome: str
    run: str


@attrs.frozen
class Found:
    """What was read.

    :ivar entries: the newest first.
    :ivar strange: how many more make no sense.
    """

    entries: tuple[Entry, ...]
    strange: int = 0


def read(directory: str, wanted: Wanted, pause: Callable[[float], object] = time.sleep) -> Found:
    """Read the history of a state directory.

    :param pause: waits so many seconds.
    :raises HistoryError: there is none, or it cannot be read.
    """
    path = Path(directory, row.NAME)
    for left in reversed(range(_TRIES)):
        try:
            with closing(_open(path)) as file:
                return _read(path, file, wanted)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if not left:
                raise HistoryError(
                    f"cannot read {path}: {error}; if it is damaged, the daemon sets it aside when "
                    "it starts"
                ) from error
            pause(_PAUSE)
    raise AssertionError("it is read, or it is said why not")


def as_object(entry: Entry, now: float) -> Document:
    """Return an entry as it is written in JSON.

    :param now: seconds since 1970.
    """
    document = as_document(entry.record, now)
    del document["lookUps"]
    if entry.outcome == INTERRUPTED:
        document["seconds"] = None
    return document | {"outcome": entry.outcome, "run": entry.run}


def _open(path: Path) -> sqlite3.Connection:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise HistoryError(f"{path} is no regular file, and so no history; move it away")
        log, index = (_size(path.with_name(f"{path.name}{end}")) for end in (row.LOG, row.INDEX))
        with path.open("rb"):
            # SQLite would not say why it cannot be opened.
            pass
    except FileNotFoundError as error:
        raise HistoryError(
            f"there is no {path}: no daemon has kept a history there yet; see `image` and "
            "`historySize` in its configuration, or name its state directory with --state"
        ) from error
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        raise HistoryError(f"cannot read {path}: {why}; it is for root alone") from error
    if log and index is None:
        raise HistoryError(
            f"cannot read {path}: there is a {path.name}{row.LOG} beside it, but no "
            f"{path.name}{row.INDEX}; copy that as well, or start the daemon, which makes it"
        )
    mode = "readonly_shm=1" if log is not None and index is not None else "immutable=1"
    file = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro&{mode}", uri=True, isolation_level=None
    )
    file.text_factory = row.lenient
    return file


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _read(path: Path, file: sqlite3.Connection, wanted: Wanted) -> Found:
    file.execute("BEGIN")
    (application,), (version,) = (
        file.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
    )
    if not application and not version:
        raise HistoryError(f"there is no history in {path}: the daemon has not begun it yet")
    if application != row.APPLICATION:
        raise HistoryError(f"{path} is not image-cri-shim's; the daemon sets it aside")
    if version != row.VERSION:
        raise HistoryError(
            f"{path} is of another version of image-cri-shim: its schema is {version}, and this "
            f"one knows {row.VERSION}; use that version to read it"
        )
    alive, tokens = _runs(file)
    entries = []
    strange = 0
    for values in _rows(file, wanted):
        number = values["run"]
        try:
            record = row.from_row(values)
            token = tokens.get(number, "")
        except (ValueError, TypeError):
            strange += 1
            continue
        outcome = _outcome(record, alive=number in alive)
        entries.append(Entry(record, outcome, token))
    return Found(tuple(entries), strange)


def _outcome(record: PullRecord, *, alive: bool) -> str:
    if record.phase in (Phase.PULLED, Phase.FAILED):
        return str(record.phase.value)
    return row.RUNNING if alive else INTERRUPTED


def _rows(file: sqlite3.Connection, wanted: Wanted) -> Iterator[dict[str, row.Value]]:
    conditions, values = ["began >= ?"], [wanted.since]
    given: list[row.Value] = [*values]
    if wanted.failed:
        conditions.append("outcome = ?")
        given.append(Phase.FAILED.value)
    if wanted.image:
        file.create_function("matches", 1, lambda text: _matches(text, wanted.image))
        conditions.append("(matches(image) OR matches(name))")
    statement = (
        f"SELECT {', '.join(_COLUMNS)} FROM pull "  # noqa: S608 - the names are ours
        f"WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?"
    )
    for values_of_one in file.execute(statement, (*given, wanted.limit or -1)):
        yield dict(zip(_COLUMNS, values_of_one, strict=True))


def _matches(text: object, pattern: str) -> bool:
    return isinstance(text, str) and fnmatchcase(text, pattern)


def _runs(file: sqlite3.Connection) -> tuple[set[row.Value], dict[row.Value, str]]:
    """Return which runs go on, and what all of them are called; by their numbers."""
    alive: set[row.Value] = set()
    tokens: dict[row.Value, str] = {}
    newest = True
    for number, *values in file.execute(
        "SELECT id, token, pid, began, ticks, boot, namespace FROM run ORDER BY id DESC"
    ):
        if tuple(map(type, values)) == (str, int, float, int, str, int):
            run = Run(*values)
            tokens[number] = run.token
            if is_alive(run, newest=newest):
                alive.add(number)
        newest = False
    return alive, tokens
