"""The history goes on whatever lies in its file's place, and says what is wrong."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from image_cri_shim.history import row
from image_cri_shim.history.keeper import Job, Keeper, Outcome
from image_cri_shim.history.store import Bounds, Store
from image_cri_shim.pull_record import PullRecord
from tests.history.pulls import BEGAN, begun, dead_run, file_of, outcomes, pulled, run
from tests.support.daemon import ROOT

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    made = Keeper(run(), lambda: BEGAN + 60)
    yield made
    made.do(Job("", 0, 0.0, last=True))


def job(directory: Path, *records: PullRecord) -> Job:
    return Job(str(directory), 100, 0.0, records)


def aside(directory: Path) -> str:
    path = file_of(directory)
    return (
        f"{path} is no history of image-cri-shim's, or damaged; it is set aside as {path}.bad, "
        "and a new one begins"
    )


def leave(directory: Path, count: int = 300) -> bytes:
    """Write a history of a run that is over; return the file's content."""
    with closing(Store(str(directory), dead_run())) as made:
        made.write([pulled(number) for number in range(1, count + 1)], Bounds(1000, 0.0))
    return file_of(directory).read_bytes()


def test_pulls_are_written_to_the_directory(keeper: Keeper, tmp_path: Path) -> None:
    assert keeper.do(job(tmp_path, pulled(1))) == Outcome(anew=True)
    assert keeper.do(job(tmp_path, pulled(2))) == Outcome()
    assert outcomes(tmp_path) == {1: "pulled", 2: "pulled"}


def test_where_no_history_is_kept_no_file_is_made(keeper: Keeper, tmp_path: Path) -> None:
    assert keeper.do(Job("", 0, 0.0, (pulled(),))) == Outcome()
    assert os.listdir(tmp_path) == []


def test_another_directory_gets_what_comes_next_and_no_pull_runs_in_two(
    keeper: Keeper, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    keeper.do(job(one, pulled(1), begun(2)))
    assert keeper.do(job(two, pulled(2))).anew
    assert (outcomes(one), outcomes(two)) == ({1: "pulled"}, {2: "pulled"})
    assert os.listdir(one) == [row.NAME]


def test_a_file_that_is_taken_away_is_made_again(keeper: Keeper, tmp_path: Path) -> None:
    keeper.do(job(tmp_path, pulled(1)))
    for path in tmp_path.iterdir():
        path.unlink()
    assert keeper.do(job(tmp_path, pulled(2))) == Outcome(anew=True)
    assert outcomes(tmp_path) == {2: "pulled"}
    for path in tmp_path.iterdir():
        path.unlink()
    tmp_path.rmdir()
    assert keeper.do(job(tmp_path, pulled(3))) == Outcome(anew=True)
    assert outcomes(tmp_path) == {3: "pulled"}


def foreign() -> bytes:
    """Return a database of another program's."""
    with closing(sqlite3.connect(":memory:")) as file:
        file.execute("CREATE TABLE pull (id INTEGER PRIMARY KEY)")
        return file.serialize()


@pytest.mark.parametrize(
    "content", [b"xy", b"not a database " * 1000, foreign(), b"SQLite format 3\0", b"\0" * 5000]
)
def test_what_is_no_history_is_set_aside_and_a_new_one_begins(
    keeper: Keeper, tmp_path: Path, content: bytes
) -> None:
    path = file_of(tmp_path)
    path.write_bytes(content)
    assert keeper.do(job(tmp_path, pulled())) == Outcome(anew=True, news=aside(tmp_path))
    assert outcomes(tmp_path) == {1: "pulled"}
    assert Path(f"{path}.bad").read_bytes() == content


def test_an_empty_file_is_a_beginning(keeper: Keeper, tmp_path: Path) -> None:
    file_of(tmp_path).touch()
    assert keeper.do(job(tmp_path, pulled())) == Outcome(anew=True)
    assert outcomes(tmp_path) == {1: "pulled"}


def test_what_lies_beside_a_damaged_file_goes_with_it(keeper: Keeper, tmp_path: Path) -> None:
    path = file_of(tmp_path)
    (tmp_path / f"{path.name}.bad-wal").write_bytes(b"of one before")
    path.write_bytes(b"garbage")
    path.chmod(0o644)
    (tmp_path / f"{path.name}-wal").write_bytes(b"log")
    (tmp_path / f"{path.name}-shm").write_bytes(b"index")
    assert keeper.do(job(tmp_path, pulled())).news == aside(tmp_path)
    kept = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path) if "bad" in name}
    assert kept == {
        f"{path.name}.bad": b"garbage",
        f"{path.name}.bad-wal": b"log",
        f"{path.name}.bad-shm": b"index",
    }
    # It has the images of the node in it as the other has.
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in kept} == {0o600}


@pytest.mark.parametrize("kept", [0, 1, 15, 16, 100, 511, 512, 4095, 4096, 6000, 0.5, 0.9])
def test_a_truncated_file_never_stops_it(keeper: Keeper, tmp_path: Path, kept: float) -> None:
    content = leave(tmp_path)
    size = int(kept * len(content)) if isinstance(kept, float) else kept
    os.truncate(file_of(tmp_path), size)
    outcome = keeper.do(job(tmp_path, pulled(7)))
    assert outcome == Outcome(anew=True, news=aside(tmp_path) if size else "")
    assert outcomes(tmp_path) == {7: "pulled"}


@pytest.mark.parametrize("seed", range(40))
def test_damage_anywhere_never_stops_it(keeper: Keeper, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    content = bytearray(leave(tmp_path, 60))
    for _ in range(chance.choice((1, 4, 64))):
        begin = chance.randrange(len(content))
        content[begin : begin + 16] = chance.randbytes(16)[: len(content) - begin]
    file_of(tmp_path).write_bytes(content)
    outcome = keeper.do(job(tmp_path, pulled(1000)))
    assert outcome.trouble == ""
    with closing(sqlite3.connect(file_of(tmp_path))) as file:
        found = file.execute("SELECT outcome FROM pull WHERE number = 1000").fetchall()
        assert found == [("pulled",)]


def test_damage_that_shows_while_it_is_open_is_set_aside_too(
    keeper: Keeper, tmp_path: Path
) -> None:
    keeper.do(job(tmp_path, *(pulled(number) for number in range(60))))
    with closing(sqlite3.connect(file_of(tmp_path))) as file:
        file.execute("DROP TABLE pull")
    assert keeper.do(job(tmp_path, pulled(77))) == Outcome(anew=True, news=aside(tmp_path))
    assert outcomes(tmp_path) == {77: "pulled"}


def test_what_is_no_file_is_named_and_tried_again(keeper: Keeper, tmp_path: Path) -> None:
    path = file_of(tmp_path)
    for make in (path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to("elsewhere")):
        make()
        trouble = f"cannot write {path}: it is no regular file; move it away"
        assert keeper.do(job(tmp_path, pulled(1))) == Outcome(trouble)
        path.rmdir() if path.is_dir() else path.unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        assert keeper.do(job(tmp_path, pulled(1))) == Outcome(trouble)
        path.unlink()
    assert keeper.do(job(tmp_path, pulled(2))) == Outcome(anew=True)
    assert outcomes(tmp_path) == {2: "pulled"}


def test_a_directory_that_cannot_be_made_is_named(keeper: Keeper, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    directory = tmp_path / "file" / "state"
    trouble = f"cannot write {file_of(directory)}: Not a directory"
    assert keeper.do(job(directory, pulled())) == Outcome(trouble)
    assert "null" in keeper.do(job(Path("/a\0b"), pulled())).trouble


def test_damage_that_cannot_be_set_aside_is_named(keeper: Keeper, tmp_path: Path) -> None:
    path = file_of(tmp_path)
    path.write_bytes(b"garbage")
    Path(f"{path}.bad").mkdir()
    assert keeper.do(job(tmp_path, pulled())).trouble == (
        f"{path} is no history of image-cri-shim's, or damaged, and cannot be set aside: "
        "Is a directory"
    )
    assert path.read_bytes() == b"garbage"


def test_what_nobody_thought_of_leaves_nothing_open(keeper: Keeper, tmp_path: Path) -> None:
    keeper.do(job(tmp_path, pulled(1)))
    odd = attrs.evolve(pulled(2), error=7)
    with pytest.raises(AttributeError):
        keeper.do(job(tmp_path, odd))
    assert keeper.do(job(tmp_path, pulled(3))) == Outcome(anew=True)
    assert outcomes(tmp_path) == {1: "pulled", 3: "pulled"}


def test_a_python_without_sqlite_keeps_no_history_and_says_so(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['sqlite3'] = None\n"
        "from image_cri_shim.history.recorder import History\n"
        "from image_cri_shim.history.keeper import Job, Keeper\n"
        "from image_cri_shim.history.run import this_run\n"
        "print(Keeper(this_run(0.0)).do(Job(sys.argv[1], 1, 0.0)).trouble)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("this Python cannot use SQLite (")
    assert os.listdir(tmp_path) == []


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a small file system with these options."""
    place = tmp_path / "small"
    place.mkdir()
    made = []

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("no file system may be mounted here")
        made.append(place)
        return place

    yield mount
    for one in made:
        subprocess.run(["umount", "-l", str(one)], check=True)


@needs_root
def test_a_full_disk_is_named_and_loses_nothing_that_was_written(
    keeper: Keeper, mounted: Callable[[str], Path]
) -> None:
    place = mounted("size=400k")
    assert keeper.do(job(place, pulled(1))) == Outcome(anew=True)
    with contextlib.suppress(OSError):
        (place / "ballast").write_bytes(b"x" * 400_000)
    trouble = ""
    for number in range(2, 300):
        trouble = trouble or keeper.do(job(place, pulled(number))).trouble
    assert trouble.startswith(f"cannot write {file_of(place)}: ")
    assert outcomes(place)[1] == "pulled"
    (place / "ballast").unlink()
    assert keeper.do(job(place, pulled(300))).trouble == ""
    assert {1, 300} <= set(outcomes(place))


@needs_root
def test_a_read_only_file_system_is_named(keeper: Keeper, mounted: Callable[[str], Path]) -> None:
    place = mounted("size=4m")
    keeper.do(job(place, pulled(1)))
    keeper.do(attrs.evolve(job(place), last=True))
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    assert keeper.do(job(place, pulled(2))).trouble == (
        f"cannot write {file_of(place)}: Read-only file system"
    )
    assert outcomes(place) == {1: "pulled"}
    subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
    assert keeper.do(job(place, pulled(3))) == Outcome(anew=True)
    assert outcomes(place) == {1: "pulled", 3: "pulled"}
