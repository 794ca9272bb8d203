"""The file that keeps what was pulled as what: whole or not at all, whatever lies in its way."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_cri_shim import state_file
from image_cri_shim.originals import Record
from image_cri_shim.state_file import NAME, StateError

ID = "sha256:" + "ab" * 32
OLD = (Record("hub/a:1", "", ("quay.io/a:1",)),)
NEW = (
    Record("hub/a:1", ID, ()),
    Record("hub/b:1", ID, ("docker.io/library/b:1", "quay.io/b:1")),
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")

ORIGINALS = ("docker.io/library/a:1", "quay.io/a:1", f"quay.io/a@{ID}", "[::1]:5000/a/b:c")
names = st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=20)
records = st.lists(
    st.builds(
        Record,
        held=names,
        image_id=names,
        originals=st.lists(st.sampled_from(ORIGINALS), max_size=3).map(tuple),
    ),
    max_size=5,
).map(tuple)


def test_nothing_is_known_where_nothing_was_written(tmp_path: Path) -> None:
    assert state_file.read(str(tmp_path)) == ()
    assert state_file.read(str(tmp_path / "nowhere")) == ()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    directory = str(tmp_path / "var" / "state")
    state_file.write(directory, NEW)
    assert state_file.read(directory) == NEW
    state_file.write(directory, ())
    assert state_file.read(directory) == ()


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(written=records)
def test_whatever_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, written: tuple[Record, ...]
) -> None:
    directory = str(tmp_path_factory.getbasetemp() / "any")
    state_file.write(directory, written)
    assert state_file.read(directory) == written


@pytest.mark.parametrize("text", ["", "/", "quay.io/a/b\n0:1", "nginx", "UPPER/x", ID])
def test_what_is_no_name_in_full_is_shown_to_nobody(tmp_path: Path, text: str) -> None:
    state_file.write(str(tmp_path), [Record("hub/a:1", ID, (text, "quay.io/a:1"))])
    assert state_file.read(str(tmp_path)) == (Record("hub/a:1", ID, ("quay.io/a:1",)),)


def test_no_image_has_names_without_end(tmp_path: Path) -> None:
    names = tuple(f"quay.io/a:{number}" for number in range(1000))
    state_file.write(str(tmp_path), [Record("hub/a:1", ID, names)])
    assert state_file.read(str(tmp_path)) == (Record("hub/a:1", ID, names[:64]),)


def test_nobody_else_may_read_it_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    state_file.write(str(directory), OLD)
    state_file.write(str(directory), NEW)
    assert os.listdir(directory) == [NAME]
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(directory / NAME).st_mode) == 0o600


def killed_at(line: int, act: Callable[[], object]) -> bool:
    """Do something in a child process that is gone at the n-th line; tell whether it got there."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = line

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in (state_file.__file__, json.__file__):
            return None
        if event == "line":
            left -= 1
            if not left:
                os._exit(9)
        return trace

    sys.settrace(trace)
    try:
        act()
    finally:
        os._exit(0)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_crash_at_any_point_leaves_the_file_before_or_the_new_one(tmp_path: Path) -> None:
    directory = str(tmp_path)
    seen = []
    state_file.write(directory, OLD)
    # The new one must be as good: more than a buffer's worth, so that a part of it gets written.
    new = tuple(Record(f"hub/{'a' * 9000}:{number}", ID, ()) for number in range(2))
    line = 1
    while killed_at(line, lambda: state_file.write(directory, new)):
        seen.append(state_file.read(directory))
        assert seen[-1] in (OLD, new)
        if seen[-1] == new:
            state_file.write(directory, OLD)
        line += 1
    assert OLD in seen
    assert new in seen
    assert state_file.read(directory) == new
    assert os.listdir(directory) == [NAME]


def test_it_is_on_the_disk_before_it_takes_the_place_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    replace, fsync = os.replace, os.fsync

    def synced(descriptor: int) -> None:
        done.append("sync " + os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def replaced(source: Any, target: Any) -> None:
        done.append(f"replace {target}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    state_file.write(str(tmp_path), NEW)
    path = tmp_path / NAME
    assert done == [f"sync {tmp_path / f'.{NAME}.new'}", f"replace {path}", f"sync {tmp_path}"]


GOOD = json.dumps({"format": 1, "images": [{"held": "a", "image": "", "originals": ["b.c/d:e"]}]})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\xff",
        GOOD.encode()[:-1],
        b"[]",
        b"7",
        b"{}",
        b'{"format": 2, "images": []}',
        b'{"format": 1}',
        b'{"format": 1, "images": {}}',
        b'{"format": 1, "images": [7]}',
        b'{"format": 1, "images": [{"held": "a", "image": ""}]}',
        b'{"format": 1, "images": [{"held": "a", "image": "", "originals": null}]}',
        b'{"format": 1, "images": [{"held": "a", "image": "", "originals": "text"}]}',
        b'{"format": 1, "images": [{"held": "a", "image": 1, "originals": []}]}',
        b'{"format": 1, "images": [{"held": null, "image": "", "originals": []}]}',
        b'{"format": 1, "images": [{"held": "a", "image": "", "originals": [[]]}]}',
        b'{"format": 1, "images": [{"held": "a", "image": "", "originals": ["\\ud800"]}]}',
        '{"format": 1, "images": [{"held": "ä", "image": "", "originals": []}]}'.encode(),
        b"[" * 100_000,
        b"1" * 5000,
    ],
)
def test_a_file_that_makes_no_sense_is_set_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / NAME
    path.write_bytes(content)
    with pytest.raises(StateError) as caught:
        state_file.read(str(tmp_path))
    assert str(caught.value) == (
        f"{path} is no file of image-cri-shim's, or damaged; it is set aside as {path}.bad"
    )
    assert (tmp_path / f"{NAME}.bad").read_bytes() == content
    assert state_file.read(str(tmp_path)) == ()


def test_the_good_file_of_these_is_good(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(GOOD)
    assert state_file.read(str(tmp_path)) == (Record("a", "", ("b.c/d:e",)),)


def test_of_a_huge_file_no_more_is_read_than_a_full_memory_takes(tmp_path: Path) -> None:
    with (tmp_path / NAME).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(StateError, match="set aside"):
        state_file.read(str(tmp_path))


def test_a_directory_in_its_way_is_named(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    message = f"cannot (read|write) {tmp_path / NAME}: Is a directory"
    with pytest.raises(StateError, match=message):
        state_file.read(str(tmp_path))
    with pytest.raises(StateError, match=message):
        state_file.write(str(tmp_path), NEW)
    assert os.listdir(tmp_path) == [NAME]


def test_a_pipe_in_its_way_does_not_keep_anybody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(StateError, match="set aside"):
        state_file.read(str(tmp_path))
    os.mkfifo(tmp_path / f".{NAME}.new")
    state_file.write(str(tmp_path), NEW)
    assert state_file.read(str(tmp_path)) == NEW


@pytest.mark.parametrize("name", [NAME, f".{NAME}.new"])
def test_a_symbolic_link_in_its_way_leads_to_no_other_file(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    state = tmp_path / "state"
    state.mkdir()
    (state / name).symlink_to(victim)
    state_file.write(str(state), NEW)
    assert victim.read_text() == "precious"
    assert not (state / NAME).is_symlink()
    assert state_file.read(str(state)) == NEW


def test_a_file_in_the_directorys_place_is_named(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("")
    assert state_file.read(str(state)) == ()
    with pytest.raises(StateError, match=f"cannot write {state / NAME}: "):
        state_file.write(str(state), NEW)


def test_a_directory_that_is_no_path_is_an_error_for_the_operator() -> None:
    with pytest.raises(StateError):
        state_file.read("/a\0b")
    with pytest.raises(StateError):
        state_file.write("/a\0b", NEW)


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
        subprocess.run(["umount", str(one)], check=True)


@needs_root
def test_a_full_file_system_keeps_the_file_before(mounted: Callable[[str], Path]) -> None:
    place = mounted("size=64k")
    state_file.write(str(place), OLD)
    many = tuple(Record(f"hub/a:{number}", ID, ()) for number in range(5000))
    with pytest.raises(StateError, match="No space left on device"):
        state_file.write(str(place), many)
    assert state_file.read(str(place)) == OLD
    assert os.listdir(place) == [NAME], "and takes no room for what could not be written"
    state_file.write(str(place), NEW)
    assert state_file.read(str(place)) == NEW


@needs_root
def test_a_file_system_that_cannot_be_written_is_read(mounted: Callable[[str], Path]) -> None:
    place = mounted("size=64k")
    state_file.write(str(place), OLD)
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    with pytest.raises(StateError, match="Read-only file system"):
        state_file.write(str(place), NEW)
    assert state_file.read(str(place)) == OLD
