"""Noticing that files say something else, and where that shows."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from image_cri_shim.config.document import SIZE_LIMIT
from image_cri_shim.fingerprint import EVERY, fingerprint, places


def write(path: Path) -> None:
    path.write_text("b")


def replace(path: Path) -> None:
    path.with_suffix(".new").write_text("b")
    path.with_suffix(".new").rename(path)


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", [write, replace, Path.unlink, make_fifo, make_directory])
def test_a_change_shows(tmp_path: Path, change: Callable[[Path], None]) -> None:
    file, other = tmp_path / "a.yaml", tmp_path / "b.yaml"
    file.write_text("a")
    before = fingerprint([str(file), str(other)])
    assert fingerprint([str(file), str(other)]) == before
    change(file)
    assert fingerprint([str(file), str(other)]) != before


def test_who_writes_the_same_again_has_changed_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a")
    before = fingerprint([str(file)])
    os.utime(file, (0, 0))
    file.chmod(0o600)
    file.with_suffix(".new").write_text("a")
    file.with_suffix(".new").rename(file)
    assert fingerprint([str(file)]) == before


def test_what_stands_in_which_file_matters(tmp_path: Path) -> None:
    one, two = tmp_path / "1.yaml", tmp_path / "2.yaml"
    one.write_text("ab")
    two.write_text("c")
    before = fingerprint([str(one), str(two)])
    one.write_text("a")
    two.write_text("bc")
    assert fingerprint([str(one), str(two)]) != before
    assert fingerprint([str(one)]) != before


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    os.mkfifo(path)
    before = fingerprint([str(path)])
    with path.open("r+b", buffering=0) as fifo:
        fifo.write(b"somebody else's")
        assert fingerprint([str(path)]) == before
        assert fifo.read(100) == b"somebody else's"


def test_a_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    # What is longer is refused, whatever it says.
    file = tmp_path / "a.yaml"
    file.write_bytes(bytes(SIZE_LIMIT + 1))
    before = fingerprint([str(file)])
    file.write_bytes(bytes(SIZE_LIMIT + 1) + b"more")
    assert fingerprint([str(file)]) == before
    file.write_bytes(bytes(SIZE_LIMIT))
    assert fingerprint([str(file)]) != before


def test_a_name_that_is_no_utf_8_is_a_name(tmp_path: Path) -> None:
    assert fingerprint([os.fsdecode(os.fsencode(tmp_path) + b"/\xff.yaml")])


def test_the_directory_of_a_file_is_watched(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a")
    assert places([str(tmp_path / "a.yaml")]) == {str(tmp_path): {"a.yaml"}}


def test_what_is_not_there_yet_is_watched_where_it_would_come(tmp_path: Path) -> None:
    assert places([str(tmp_path / "no" / "such" / "a.yaml")]) == {str(tmp_path): {"no"}}
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    assert places([str(tmp_path / "dangling")]) == {str(tmp_path): {"dangling", "gone"}}


def test_of_a_config_map_both_directories_are_watched(tmp_path: Path) -> None:
    # As the kubelet mounts one: the file is a link to ..data/file, and ..data a link to what it
    # replaces as a whole.
    mount = tmp_path / "mount"
    (mount / "..2026_1").mkdir(parents=True)
    (mount / "..2026_1" / "shim.yaml").write_text("a")
    (mount / "..data").symlink_to("..2026_1")
    (mount / "shim.yaml").symlink_to("..data/shim.yaml")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "shim.yaml").symlink_to(mount / "shim.yaml")
    assert places([str(tmp_path / "etc" / "shim.yaml")]) == {
        str(tmp_path / "etc"): {"shim.yaml"},
        str(mount): {"shim.yaml", "..data"},
        str(mount / "..2026_1"): {"shim.yaml"},
    }


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert places([str(tmp_path / "a" / "x.yaml")]) == {str(tmp_path): {"a", "b"}}


def test_a_directory_that_is_read_itself_is_watched_itself(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    assert places([str(tmp_path / "conf.d")]) == {
        str(tmp_path): {"conf.d"},
        str(tmp_path / "conf.d"): {EVERY},
    }


def test_a_link_to_nothing_is_not_nothing(tmp_path: Path) -> None:
    before = fingerprint([str(tmp_path / "conf.d")])
    (tmp_path / "conf.d").symlink_to("nowhere")
    assert fingerprint([str(tmp_path / "conf.d")]) != before
