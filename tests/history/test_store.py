"""The history's file as the daemon writes it: bounded, private, whole."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from image_cri_shim.history import row, store
from image_cri_shim.history.store import Bounds, Store, StoreError
from image_cri_shim.pull_record import PullRecord, Tried
from tests.history.pulls import (
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
def one(tmp_path: Path) -> Iterator[Store]:
    made = Store(str(tmp_path), run())
    yield made
    made.close()


def test_what_was_written_is_read_while_it_is_open_and_afterwards(
    one: Store, tmp_path: Path
) -> None:
    records = [pulled(1), failed(2), begun(3)]
    one.write(records, MANY)
    assert [found.record for found in entries(tmp_path)] == records[::-1]
    assert outcomes(tmp_path) == {1: "pulled", 2: "failed", 3: "running"}
    assert {found.run for found in entries(tmp_path)} == {"run1"}
    one.close()
    assert [found.record for found in entries(tmp_path)] == records[::-1]


def test_a_pull_has_one_row_and_what_was_told_last_holds(one: Store, tmp_path: Path) -> None:
    for record in (begun(1), begun(2), pulled(1)):
        one.write([record], MANY)
    assert [found.record for found in entries(tmp_path)] == [begun(2), pulled(1)]


def test_the_numbers_of_another_run_are_other_pulls(one: Store, tmp_path: Path) -> None:
    one.write([pulled(1)], MANY)
    with closing(Store(str(tmp_path), run(2))) as other:
        other.write([failed(1)], MANY)
    assert [(e.run, e.outcome) for e in entries(tmp_path)] == [
        ("run2", "failed"),
        ("run1", "pulled"),
    ]


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    directory = tmp_path / "var" / "state"
    before = os.umask(0)
    try:
        with closing(Store(str(directory), run())) as made:
            made.write([pulled()], MANY)
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys([f"{row.NAME}{end}" for end in ("", "-shm", "-wal")], 0o600)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    file_of(directory).chmod(0o644)
    Store(str(directory), run()).close()
    assert stat.S_IMODE(file_of(directory).stat().st_mode) == 0o600


def test_when_it_is_closed_all_is_in_the_file(one: Store, tmp_path: Path) -> None:
    one.write([pulled()], MANY)
    one.close()
    assert os.listdir(tmp_path) == [row.NAME]


def test_it_keeps_no_more_pulls_than_it_may(one: Store, tmp_path: Path) -> None:
    assert not one.write([pulled(number) for number in range(1, 8)], Bounds(5, 0.0))
    assert sorted(outcomes(tmp_path)) == [3, 4, 5, 6, 7]
    one.write([pulled(8)], Bounds(5, 0.0))
    assert sorted(outcomes(tmp_path)) == [4, 5, 6, 7, 8]
    one.write([], Bounds(1, 0.0))
    assert sorted(outcomes(tmp_path)) == [8]


def test_it_keeps_none_that_are_too_old(one: Store, tmp_path: Path) -> None:
    one.write([pulled(number, BEGAN + number) for number in range(1, 8)], Bounds(5, BEGAN + 5))
    assert sorted(outcomes(tmp_path)) == [5, 6, 7]
    one.write([], Bounds(5, BEGAN + 100))
    assert outcomes(tmp_path) == {}


def test_much_is_removed_in_parts(one: Store, tmp_path: Path) -> None:
    one.write([pulled(number) for number in range(1, 1201)], Bounds(2000, 0.0))
    parts = 1
    while one.write([], Bounds(10, 0.0)):
        parts += 1
        assert parts < 10
    assert parts >= 3
    assert len(outcomes(tmp_path)) == 10


def large(number: int) -> PullRecord:
    tried = Tried("a" * 600, "b" * 600, "c" * 600, 1.0)
    return attrs.evolve(failed(number), attempts=(tried,) * 16)


def test_the_file_does_not_grow_without_bound(one: Store, tmp_path: Path) -> None:
    sizes = []
    for batch in range(30):
        one.write([large(batch * 40 + number) for number in range(40)], Bounds(100, 0.0))
        sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
    assert max(sizes[10:]) <= 1.3 * max(sizes[:10])
    # A smaller bound gives the room back.
    while one.write([], Bounds(1, 0.0)):
        pass
    one.close()
    assert file_of(tmp_path).stat().st_size < 2.5 * 1024 * 1024


def test_the_log_beside_the_file_stays_small(one: Store, tmp_path: Path) -> None:
    for number in range(400):
        one.write([large(number)], Bounds(1000, 0.0))
    one.write([pulled(1000)], MANY)
    log = tmp_path / f"{row.NAME}{row.LOG}"
    assert log.stat().st_size <= 2 << 20


def test_pulls_whose_end_was_not_recorded_do_not_run_for_ever(one: Store, tmp_path: Path) -> None:
    one.write([begun(1), begun(2), pulled(3)], MANY)
    one.write([], MANY, running=frozenset({2}))
    assert outcomes(tmp_path) == {2: "running", 3: "pulled"}


def test_pulls_that_end_elsewhere_are_forgotten(one: Store, tmp_path: Path) -> None:
    with closing(Store(str(tmp_path), dead_run())) as dead:
        dead.write([begun(7)], MANY)
    one.write([begun(1), pulled(2)], MANY)
    one.forget()
    assert outcomes(tmp_path) == {2: "pulled", 7: "interrupted"}


def test_runs_of_which_nothing_is_left_are_forgotten(tmp_path: Path) -> None:
    Store(str(tmp_path), run(0)).close()
    for number in range(1, 5):
        over = attrs.evolve(dead_run(), token=f"run{number}")
        with closing(Store(str(tmp_path), over)) as made:
            made.write([pulled(1)], Bounds(2, 0.0))
    Store(str(tmp_path), run(9)).close()
    with closing(sqlite3.connect(file_of(tmp_path))) as file:
        tokens = [token for (token,) in file.execute("SELECT token FROM run ORDER BY id")]
    assert tokens == ["run0", "run3", "run4", "run9"], "run0 may still pull something"


def test_it_notices_when_its_file_is_taken_away(one: Store, tmp_path: Path) -> None:
    assert one.is_in_place
    file_of(tmp_path).rename(tmp_path / "elsewhere")
    assert not one.is_in_place
    file_of(tmp_path).touch()
    assert not one.is_in_place


def test_half_characters_are_no_reason_to_lose_a_pull(one: Store, tmp_path: Path) -> None:
    odd = attrs.evolve(failed(), image="a\ud800b", error="\0\udcff")
    one.write([attrs.evolve(odd, attempts=(Tried("\ud800", "", "\udcff", 1.0),))], MANY)
    (found,) = entries(tmp_path)
    assert (found.record.image, found.record.error) == ("a?b", "\0?")


def test_a_later_versions_file_is_left_alone(one: Store, tmp_path: Path) -> None:
    one.write([pulled()], MANY)
    one.close()
    with closing(sqlite3.connect(file_of(tmp_path))) as file:
        file.execute("PRAGMA user_version = 7")
    before = file_of(tmp_path).read_bytes()
    with pytest.raises(StoreError) as caught:
        Store(str(tmp_path), run())
    assert str(caught.value) == (
        f"{file_of(tmp_path)} is of a later version of image-cri-shim: its schema is 7, and this "
        "one knows 1; move it away, or set image: to another directory"
    )
    assert not isinstance(caught.value, store.DamagedError)
    assert file_of(tmp_path).read_bytes() == before


def test_a_program_that_locks_the_file_is_named_as_the_reason(
    one: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.close()
    monkeypatch.setattr(store, "_PATIENCE", 0.01)
    with closing(Store(str(tmp_path), run())) as made:
        with closing(sqlite3.connect(file_of(tmp_path), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="database is locked"):
                made.write([pulled()], MANY)
        made.write([pulled()], MANY)
    assert outcomes(tmp_path) == {1: "pulled"}


KILLED = """
import os, sys
from tests.history.pulls import begun, dead_run, pulled
from image_cri_shim.history.store import Bounds, Store
store = Store(sys.argv[1], dead_run())
store.write([begun(1), begun(2), pulled(3)], Bounds(100, 0.0))
store.write([pulled(1)], Bounds(100, 0.0))
os.kill(os.getpid(), 9)
"""


def test_what_was_written_survives_kill_9(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT, timeout=60).returncode == -9
    assert outcomes(tmp_path) == {1: "pulled", 2: "interrupted", 3: "pulled"}
    # And the next run goes on.
    with closing(Store(str(tmp_path), run())) as made:
        made.write([pulled(4)], MANY)
        assert outcomes(tmp_path) == {1: "pulled", 2: "interrupted", 3: "pulled", 4: "pulled"}
