"""The history is read without changing anything, whoever wrote it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from image_cri_shim.call_identity import Client
from image_cri_shim.history import row
from image_cri_shim.history.reading import HistoryError, Wanted, as_object, read
from image_cri_shim.history.store import Bounds, Store
from image_cri_shim.pull_record import Phase, as_document
from tests.history.pulls import (
    ALL,
    BEGAN,
    begun,
    dead_run,
    entries,
    failed,
    file_of,
    outcomes,
    pulled,
    run,
)
from tests.support.daemon import ROOT

MANY = Bounds(1000, 0.0)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """Return the directory of a running daemon's history, with three pulls."""
    with closing(Store(str(tmp_path), run())) as store:
        store.write([pulled(1), failed(2, BEGAN + 10), begun(3, BEGAN + 20)], MANY)
        yield tmp_path


def seen(directory: Path) -> dict[str, tuple[bytes, int]]:
    """Return all that there is in a directory: contents and times."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}


def why_not(directory: Path) -> str:
    with pytest.raises(HistoryError) as caught:
        read(str(directory), ALL, pause=lambda _: None)
    return str(caught.value)


def test_reading_changes_nothing_beside_a_daemon_that_runs(state: Path) -> None:
    before = seen(state)
    assert sorted(before) == sorted(f"{row.NAME}{end}" for end in ("", "-shm", "-wal"))
    assert outcomes(state) == {3: "running", 2: "failed", 1: "pulled"}
    assert seen(state) == before


def test_reading_changes_nothing_after_a_daemon_that_has_ended(tmp_path: Path) -> None:
    with closing(Store(str(tmp_path), run())) as store:
        store.write([pulled(1)], MANY)
    before = seen(tmp_path)
    assert outcomes(tmp_path) == {1: "pulled"}
    assert seen(tmp_path) == before


LEFT = """
import os, sys
from tests.history.pulls import dead_run, begun, pulled
from image_cri_shim.history.store import Bounds, Store
store = Store(sys.argv[1], dead_run())
store.write([pulled(1), begun(2)], Bounds(10, 0.0))
os._exit(0)
"""


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """Return the directory of a daemon that was killed."""
    command = [sys.executable, "-c", LEFT, str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    return tmp_path


def test_reading_changes_nothing_after_a_daemon_that_was_killed(left: Path) -> None:
    before = seen(left)
    assert len(before) == 3
    assert outcomes(left) == {1: "pulled", 2: "interrupted"}
    assert seen(left) == before


def test_a_log_without_its_index_is_no_riddle(left: Path) -> None:
    path = file_of(left)
    (left / f"{path.name}-shm").unlink()
    assert why_not(left) == (
        f"cannot read {path}: there is a history.sqlite3-wal beside it, but no "
        "history.sqlite3-shm; copy that as well, or start the daemon, which makes it"
    )
    assert len(seen(left)) == 2
    (left / f"{path.name}-wal").write_bytes(b"")
    assert "the daemon has not begun it yet" in why_not(left)


def test_the_newest_come_first_and_no_more_than_wanted(state: Path) -> None:
    assert [one.record.number for one in entries(state)] == [3, 2, 1]
    assert [one.record.number for one in entries(state, Wanted(limit=2))] == [3, 2]


def test_the_order_is_that_of_writing_whatever_the_clock_was(state: Path) -> None:
    with closing(Store(str(state), run(2))) as store:
        store.write([pulled(1, 100.0)], MANY)
    assert entries(state)[0].record.began == 100.0


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Wanted(failed=True), [2]),
        (Wanted(since=BEGAN + 10), [3, 2]),
        (Wanted(since=BEGAN + 10.5), [3]),
        (Wanted(image="nginx:[12]"), [2, 1]),
        (Wanted(image="nginx"), []),
        (Wanted(image="NGINX*"), []),
        (Wanted(image="sealos.hub:5000/*:1"), [1]),
        (Wanted(image="*", failed=True, since=BEGAN, limit=1), [2]),
    ],
)
def test_only_what_is_wanted_is_read(state: Path, wanted: Wanted, numbers: list[int]) -> None:
    assert [one.record.number for one in entries(state, wanted)] == numbers


def test_in_json_it_is_a_record_with_its_outcome(left: Path) -> None:
    interrupted, done = (as_object(one, BEGAN + 60) for one in entries(left))
    expected = as_document(pulled(1), BEGAN + 60)
    del expected["lookUps"]
    assert done == expected | {"outcome": "pulled", "run": "dead"}
    assert (interrupted["outcome"], interrupted["phase"]) == ("interrupted", "looking up")
    assert interrupted["seconds"] is None


def test_a_pull_that_runs_has_taken_until_now(state: Path) -> None:
    assert as_object(entries(state)[0], BEGAN + 60)["seconds"] == 40.0


def test_a_pull_of_nobody_that_is_known_is_read(tmp_path: Path) -> None:
    records = [
        attrs.evolve(pulled(1), client=None),
        attrs.evolve(pulled(2), client=Client(0, 5, 6, "")),
    ]
    with closing(Store(str(tmp_path), run())) as store:
        store.write(records, MANY)
    assert [one.record for one in entries(tmp_path)] == records[::-1]


def test_where_there_is_no_file_it_says_so_and_makes_none(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    assert why_not(tmp_path) == (
        f"there is no {path}: no daemon has kept a history there yet; see `image` and "
        "`historySize` in its configuration, or name its state directory with --state"
    )
    assert why_not(tmp_path / "nowhere").startswith("there is no ")
    assert os.listdir(tmp_path) == []


def test_what_is_no_history_is_named(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    path.mkdir()
    assert why_not(tmp_path) == f"{path} is no regular file, and so no history; move it away"
    path.rmdir()
    os.mkfifo(path)
    assert "no regular file" in why_not(tmp_path)
    path.unlink()
    path.touch()
    assert why_not(tmp_path) == f"there is no history in {path}: the daemon has not begun it yet"
    path.write_bytes(b"garbage" * 1000)
    assert why_not(tmp_path) == (
        f"cannot read {path}: file is not a database; if it is damaged, the daemon sets it aside "
        "when it starts"
    )
    path.unlink()
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA application_id = 7")
    assert why_not(tmp_path) == f"{path} is not image-cri-shim's; the daemon sets it aside"
    assert os.listdir(tmp_path) == [row.NAME]
    assert "null" in why_not(Path("/a\0b"))


def test_a_later_versions_history_is_for_that_version(state: Path) -> None:
    with closing(sqlite3.connect(file_of(state))) as file:
        file.execute("PRAGMA user_version = 7")
    assert why_not(state) == (
        f"{file_of(state)} is of another version of image-cri-shim: its schema is 7, and this one "
        "knows 1; use that version to read it"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_who_may_not_read_it_is_told(state: Path) -> None:
    state.chmod(0o700)
    child = os.fork()
    if not child:
        os.setgid(65534)
        os.setuid(65534)
        try:
            read(str(state), ALL)
        except HistoryError as error:
            os._exit(0 if "Permission denied; it is for root alone" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    "change",
    [
        "phase = 'sideways'",
        "phase = NULL",
        "began = 'long ago'",
        "began = 1e300",
        "began = 9e999",
        "image = x'ff'",
        "attempts = 'x'",
        "attempts = '{}'",
        "attempts = '[[1, 2, 3, 4]]'",
        "attempts = '[[\"a\"]]'",
        "attempts = replace(hex(zeroblob(100000)), '0', '[')",
        "number = 'one'",
        "seconds = 'soon'",
        "seconds = NULL",
        "pid = 'x'",
        "run = x'00'",
    ],
)
def test_a_row_that_makes_no_sense_does_not_keep_the_others_from_being_read(
    tmp_path: Path, change: str
) -> None:
    with closing(Store(str(tmp_path), run())) as store:
        store.write([pulled(1), pulled(2)], MANY)
    with closing(sqlite3.connect(file_of(tmp_path), isolation_level=None)) as file:
        file.execute("PRAGMA ignore_check_constraints = ON")
        file.execute("PRAGMA writable_schema = ON")
        file.execute("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '')")
    with closing(sqlite3.connect(file_of(tmp_path), isolation_level=None)) as file:
        file.execute(f"UPDATE pull SET {change} WHERE number = 2")
    found = read(str(tmp_path), ALL)
    if change.startswith("run"):
        assert [one.run for one in found.entries] == ["", "run1"]
        return
    assert found.strange == 1
    assert [one.record for one in found.entries] == [pulled(1)]


def test_runs_that_make_no_sense_are_over(left: Path) -> None:
    for change in ("pid = 'x'", "pid = '../../x'", "ticks = 'x'", "boot = x'00'"):
        with closing(sqlite3.connect(file_of(left), isolation_level=None)) as file:
            file.execute(f"UPDATE run SET {change}")
        assert outcomes(left)[2] == "interrupted"


def test_text_that_is_no_utf_8_is_read(tmp_path: Path) -> None:
    with closing(Store(str(tmp_path), dead_run())) as store:
        store.write([pulled(1)], MANY)
    with closing(sqlite3.connect(file_of(tmp_path), isolation_level=None)) as file:
        file.execute("UPDATE pull SET image = CAST(x'61ff62' AS TEXT)")
    assert entries(tmp_path)[0].record.image == "a\ufffdb"


def test_whoever_reads_does_not_keep_the_daemon_from_writing(state: Path) -> None:
    with closing(sqlite3.connect(f"file:{file_of(state)}?mode=ro", uri=True)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM pull").fetchone()
        with closing(Store(str(state), run(2))) as store:
            store.write([pulled(9)], MANY)
    assert entries(state)[0].record.phase is Phase.PULLED
