"""The history's SQLite file as the daemon writes it: synchronous, for a thread of its own.

SQLite's write-ahead log (https://www.sqlite.org/wal.html) lets others read meanwhile, and keeps
nobody waiting for them. What was committed is in the kernel's page cache: it survives the end of
the process, kill -9 included. ``synchronous=NORMAL`` does without a sync of the disk for each pull:
when the power fails or the kernel dies, what came after the last sync may be missing, but the file
is whole.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Collection, Sequence
from pathlib import Path

import attrs

from image_cri_shim.history import row
from image_cri_shim.history.run import Run, is_alive
from image_cri_shim.pull_record import PullRecord

# Pulls that one commit removes at most, so that none waits for long.
_PRUNED = 500
# Free pages, of 4 KiB, that the file keeps for what comes next; and those given back in one go.
_SPARE_PAGES = 256
# Seconds to wait for a program that has locked the file.
_PATIENCE = 2.0
# Bytes of a file that is looked through when it is opened: a fraction of a second.
_LOOKED_THROUGH = 64 << 20
# Pages of the write-ahead log before they are moved to the file, and bytes that it keeps then.
_LOG_PAGES, _LOG_SIZE = 256, 1 << 20

_WRITE = (
    f"INSERT INTO pull (run, {', '.join(row.COLUMNS)}) "  # noqa: S608 - the names are ours
    f"VALUES ({', '.join('?' * (len(row.COLUMNS) + 1))}) ON CONFLICT (run, number) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in row.COLUMNS if name != "number")
)
_PRUNE = (
    "DELETE FROM pull WHERE id IN (SELECT id FROM pull "
    "WHERE id <= (SELECT max(id) FROM pull) - ? ORDER BY id LIMIT ?)",
    "DELETE FROM pull WHERE id IN (SELECT id FROM pull WHERE began < ? LIMIT ?)",
)
# How every file of SQLite's begins (https://www.sqlite.org/fileformat.html).
_MAGIC = b"SQLite format 3\0"
# What says that the file is not what it was written as (https://www.sqlite.org/rescode.html).
_DAMAGE = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_FORMAT,
}


# Messages may repeat what the file says, and Python expects UTF-8 in them.
_TROUBLES = (sqlite3.Error, UnicodeDecodeError)


class StoreError(Exception):
    """The history cannot be written; the message says why, for the operator."""


class DamagedError(StoreError):
    """The file is not one of image-cri-shim's, or no longer."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is no history of image-cri-shim's, or damaged")


@attrs.frozen
class Bounds:
    """What the history keeps.

    :ivar size: pulls, at least one.
    :ivar since: pulls that began before are removed; seconds since 1970.
    """

    size: int
    since: float


class Store:
    """An open file; all of it belongs to the thread that opened it.

    :param directory: the state directory; it and the file are made if they are not there.
    :param run: whose pulls are written.
    :ivar last_before: when the last pull of another run began, in seconds since 1970; None if there
        is none.
    :raises DamagedError: the file is none of ours, or damaged.
    :raises StoreError: it cannot be used for another reason.
    """

    def __init__(self, directory: str, run: Run) -> None:
        self.directory = directory
        self.path = Path(directory, row.NAME)
        self._run = run
        try:
            Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_file()
        except (OSError, ValueError) as error:
            raise StoreError(f"cannot write {self.path}: {_why(error)}") from error
        try:
            self._file = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        self._file.text_factory = row.lenient
        try:
            self._prepare()
            self._identity = _identity(self.path)
        except _TROUBLES as error:
            self.close()
            raise self._trouble(error) from error
        except (OSError, StoreError):
            self.close()
            raise

    @property
    def is_in_place(self) -> bool:
        """Tell whether the file is still the one that its path leads to."""
        return _identity(self.path) == self._identity

    def write(
        self, records: Sequence[PullRecord], bounds: Bounds, running: Collection[int] | None = None
    ) -> bool:
        """Write what is known of pulls, and remove the oldest; all of it or nothing.

        :param running: the numbers of the pulls of this run that are not over; what is written as
            running and is none of them is removed, for its end was not recorded. None if all ends
            were.
        :returns: whether more is to be removed.
        :raises DamagedError: the file is none of ours any more.
        :raises StoreError: it cannot be written; nothing has changed.
        """
        try:
            self._file.execute("BEGIN IMMEDIATE")
            removed = self._change(records, bounds, running)
            self._file.execute("COMMIT")
            return self._shrink() or removed >= _PRUNED
        except _TROUBLES as error:
            with contextlib.suppress(sqlite3.Error):
                self._file.execute("ROLLBACK")
            raise self._trouble(error) from error

    def forget(self) -> None:
        """Remove the pulls that run: they are written elsewhere from now on.

        :raises StoreError: it cannot be written.
        """
        try:
            self._file.execute(
                "DELETE FROM pull WHERE run = ? AND outcome = ?", (self._number, row.RUNNING)
            )
        except _TROUBLES as error:
            raise self._trouble(error) from error

    def close(self) -> None:
        """Close the file, with everything in it: the log beside it goes."""
        with contextlib.suppress(sqlite3.Error):
            self._file.close()

    def _make_file(self) -> None:
        """Make the file, or see to it that one is there that can be used and is private."""
        try:
            # SQLite would make it for all to read; what it makes beside it has the same mode.
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            self._examine()

    def _examine(self) -> None:
        """See what there is before SQLite does, which has fewer words and may change it.

        It must not be open: when a process closes a file, SQLite's locks on it are gone.
        """
        found = self.path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no regular file; move it away")
        with os.fdopen(os.open(self.path, os.O_RDWR | os.O_CLOEXEC), "rb") as file:
            begin = file.read(len(_MAGIC))
        if begin not in (b"", _MAGIC):
            raise DamagedError(self.path)
        _make_private(self.path)

    def _prepare(self) -> None:
        application, version = self._ask("PRAGMA application_id"), self._ask("PRAGMA user_version")
        empty = not self._ask("SELECT count(*) FROM sqlite_master")
        if not (empty and application == version == 0):
            if application != row.APPLICATION or not isinstance(version, int) or version < 1:
                raise DamagedError(self.path)
            if version > row.VERSION:
                raise StoreError(
                    f"{self.path} is of a later version of image-cri-shim: its schema is "
                    f"{version}, and this one knows {row.VERSION}; move it away, or set image: to "
                    "another directory"
                )
        # Before there is a table; afterwards it says nothing.
        self._ask("PRAGMA auto_vacuum = INCREMENTAL")
        if self._ask("PRAGMA journal_mode = WAL") != "wal":
            raise StoreError(f"cannot write {self.path}: its file system cannot share memory")
        for setting in (
            "synchronous = NORMAL",
            "cache_size = -256",
            f"wal_autocheckpoint = {_LOG_PAGES}",
            f"journal_size_limit = {_LOG_SIZE}",
        ):
            self._ask(f"PRAGMA {setting}")
        if empty:
            self._file.executescript(
                f"BEGIN IMMEDIATE; {row.SCHEMA} PRAGMA application_id = {row.APPLICATION}; "
                f"PRAGMA user_version = {row.VERSION}; COMMIT"
            )
        elif (
            self.path.stat().st_size <= _LOOKED_THROUGH and self._ask("PRAGMA quick_check") != "ok"
        ):
            raise DamagedError(self.path)
        self._number = self._begin_run()
        last = self._ask(
            f"SELECT began FROM pull WHERE run <> {self._number} ORDER BY id DESC LIMIT 1"  # noqa: S608
        )
        self.last_before = last if isinstance(last, float) else None

    def _begin_run(self) -> int:
        """Write which run this is, and forget those that are over and of which nothing is left."""
        run = self._run
        self._file.execute("BEGIN IMMEDIATE")
        for key, *values in self._file.execute(
            "SELECT id, token, pid, began, ticks, boot, namespace FROM run "
            "WHERE id NOT IN (SELECT run FROM pull)"
        ).fetchall():
            if not is_alive(Run(*values), newest=False):
                self._file.execute("DELETE FROM run WHERE id = ?", (key,))
        self._file.execute(
            "INSERT OR IGNORE INTO run (token, pid, began, ticks, boot, namespace) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (run.token, run.pid, run.began, run.ticks, run.boot, run.namespace),
        )
        found = self._file.execute("SELECT id FROM run WHERE token = ?", (run.token,)).fetchone()
        self._file.execute("COMMIT")
        return int(found[0])

    def _change(
        self, records: Sequence[PullRecord], bounds: Bounds, running: Collection[int] | None
    ) -> int:
        """Do what ``write`` does; return how many pulls were removed, for one reason at most."""
        self._file.executemany(_WRITE, ((self._number, *row.as_row(one)) for one in records))
        if running is not None:
            known = self._file.execute(
                "SELECT id, number FROM pull WHERE run = ? AND outcome = ?",
                (self._number, row.RUNNING),
            ).fetchall()
            lost = [(key,) for key, number in known if number not in running]
            self._file.executemany("DELETE FROM pull WHERE id = ?", lost)
        limits = (bounds.size, bounds.since)
        return max(
            self._file.execute(statement, (limit, _PRUNED)).rowcount
            for statement, limit in zip(_PRUNE, limits, strict=True)
        )

    def _shrink(self) -> bool:
        """Give free pages back; return whether there are more of them."""
        free = self._ask("PRAGMA freelist_count")
        if not isinstance(free, int) or free <= _SPARE_PAGES:
            return False
        self._file.execute(f"PRAGMA incremental_vacuum({_SPARE_PAGES})").fetchall()
        return free > 2 * _SPARE_PAGES

    def _ask(self, statement: str) -> object:
        found = self._file.execute(statement).fetchone()
        return None if found is None else found[0]

    def _trouble(self, error: Exception) -> StoreError:
        # The code's first byte is the kind of error.
        kind = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if kind in _DAMAGE or isinstance(error, UnicodeError):
            return DamagedError(self.path)
        return StoreError(f"cannot write {self.path}: {error}")


def set_aside(path: Path) -> Path:
    """Rename a damaged file and what SQLite has beside it; return what it is called now.

    :raises StoreError: that cannot be done.
    """
    aside = path.with_name(f"{path.name}.bad")
    try:
        # The file last: if this is cut short, it is still there to be set aside again.
        for end in (row.LOG, row.INDEX, ""):
            other = aside.with_name(f"{aside.name}{end}")
            other.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                _make_private(path.with_name(f"{path.name}{end}")).replace(other)
    except OSError as error:
        raise StoreError(f"{DamagedError(path)}, and cannot be set aside: {_why(error)}") from error
    return aside


def _make_private(path: Path) -> Path:
    """Let nobody else read a file, if it is one and that can be done; return its path."""
    with contextlib.suppress(OSError):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and stat.S_IMODE(mode) & 0o177:
            path.chmod(0o600)
    return path


def _identity(path: Path) -> tuple[tuple[int, int], ...] | None:
    """Return what tells a file, and those beside it, from others in their places."""
    try:
        found = [path.with_name(f"{path.name}{end}").stat() for end in ("", row.LOG, row.INDEX)]
    except OSError:
        return None
    return tuple((one.st_dev, one.st_ino) for one in found)


def _why(error: OSError | ValueError) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
