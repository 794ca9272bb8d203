from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.local_file import SIZE_LIMIT, Reread, read_file


def refusal(path: Path | str) -> str:
    with pytest.raises(Unanswered) as caught:
        read_file(str(path))
    return caught.value.detail


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    missing, locked = tmp_path / "missing", tmp_path / "locked" / "file"
    assert refusal(missing) == f"cannot use {missing}: no such file"
    assert refusal(tmp_path) == f"cannot use {tmp_path}: is a directory"
    assert refusal("a\0b") == "cannot use a\0b: this cannot be the name of a file"
    locked.parent.write_bytes(b"")
    assert refusal(locked) == f"cannot use {locked}: not a directory"


def test_nobody_waits_for_what_is_no_regular_file(tmp_path: Path) -> None:
    fifo, unix = tmp_path / "fifo", tmp_path / "unix"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(unix))
    for path in (fifo, unix):
        assert refusal(path) == f"cannot use {path}: not a regular file"


def test_a_file_of_any_size_is_no_reason_to_run_out_of_memory(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(SIZE_LIMIT)
    assert len(read_file(str(path))) == SIZE_LIMIT
    with path.open("wb") as file:
        file.truncate(SIZE_LIMIT + 1)
    assert refusal(path) == f"cannot use {path}: larger than 4 MiB"


class Reader:
    """Reads a file, and counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0

    def __call__(self) -> bytes:
        self.count += 1
        return read_file(str(self.path))


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    return Reader(path)


def test_a_file_is_read_once_while_it_stays_the_same(reader: Reader) -> None:
    reread = Reread((str(reader.path),), reader)
    assert [reread.get() for _ in range(3)] == [b"first"] * 3
    assert reader.count == 1


def test_nothing_is_read_before_it_is_wanted(reader: Reader) -> None:
    Reread((str(reader.path),), reader)
    assert reader.count == 0


@pytest.mark.parametrize("how", ["written", "replaced", "linked", "touched back"])
def test_a_file_that_has_changed_is_read_again(reader: Reader, tmp_path: Path, how: str) -> None:
    if how == "linked":
        reader.path.rename(tmp_path / "old")
        reader.path.symlink_to("old")
    reread = Reread((str(reader.path),), reader)
    assert reread.get() == b"first"
    before = reader.path.stat()
    if how == "written":
        reader.path.write_bytes(b"second")
    else:
        (tmp_path / "new").write_bytes(b"other")
    if how == "replaced":
        (tmp_path / "new").rename(reader.path)
    if how == "linked":
        (tmp_path / "link").symlink_to("new")
        (tmp_path / "link").rename(reader.path)
    if how == "touched back":
        os.utime(tmp_path / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
        (tmp_path / "new").rename(reader.path)
    assert reread.get() == reader.path.read_bytes() != b"first"


def test_one_of_several_files_is_enough(reader: Reader, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"1")
    reread = Reread((str(reader.path), str(other)), reader)
    reread.get()
    other.write_bytes(b"22")
    reread.get()
    assert reader.count == 2


def test_a_file_that_is_gone_is_not_remembered(reader: Reader) -> None:
    reread = Reread((str(reader.path),), reader)
    reread.get()
    reader.path.unlink()
    with pytest.raises(Unanswered, match="no such file"):
        reread.get()
    reader.path.write_bytes(b"again")
    assert reread.get() == b"again"


def test_what_could_not_be_made_is_tried_again(reader: Reader) -> None:
    results: list[object] = [Unanswered("cannot use it"), "made"]

    def make() -> object:
        result = results.pop(0)
        if isinstance(result, Unanswered):
            raise result
        return result

    reread: Reread[object] = Reread((str(reader.path),), make)
    with pytest.raises(Unanswered):
        reread.get()
    assert reread.get() == "made"
