"""Runtimes that start, and others that clean up, while stale sockets are taken away."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from image_cri_shim.stale_sockets import Outcome, clean
from tests.unix_socket.cleaning import cleaned
from tests.unix_socket.sockets import (
    ROOT,
    accepts,
    bind,
    child,
    is_free,
    leave_stale,
    names,
    serve,
)
from tests.unix_socket.zombies import scene


def test_a_runtime_that_begins_to_listen_in_the_pause_keeps_its_socket(
    tmp_path: Path, stack: ExitStack
) -> None:
    leave_stale(tmp_path / "s")

    def begin() -> None:
        (tmp_path / "s").unlink()
        serve(tmp_path / "s", stack)

    assert cleaned(tmp_path / "s", meanwhile=begin) == [": live, left alone"]
    assert accepts(tmp_path / "s")
    assert names(tmp_path) == ["s"]


def test_a_runtime_that_binds_in_the_pause_keeps_its_socket(
    tmp_path: Path, stack: ExitStack
) -> None:
    leave_stale(tmp_path / "s")
    bound = []

    def begin() -> None:
        (tmp_path / "s").unlink()
        bound.append(bind(tmp_path / "s", stack))

    assert cleaned(tmp_path / "s", meanwhile=begin) == [": about to be served, left alone"]
    bound[0].listen()
    assert accepts(tmp_path / "s")


@pytest.mark.parametrize("dry_run", [False, True])
def test_another_stale_socket_is_asked_anew_the_next_time(tmp_path: Path, dry_run: bool) -> None:
    leave_stale(tmp_path / "s")

    def replace() -> None:
        leave_stale(tmp_path / "new")
        (tmp_path / "new").rename(tmp_path / "s")

    told = cleaned(tmp_path / "s", meanwhile=replace, dry_run=dry_run)
    assert told == [": another has taken its place, left alone"]
    assert names(tmp_path) == ["s"]


def test_one_that_somebody_else_removes_meanwhile_is_no_error(tmp_path: Path) -> None:
    leave_stale(tmp_path / "s")
    (found,) = clean([str(tmp_path / "s")], lambda _: (tmp_path / "s").unlink())
    assert (found.outcome, found.failed) == (Outcome.GONE, False)


def test_a_directory_that_goes_meanwhile_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "run" / "s"
    path.parent.mkdir()
    leave_stale(path)

    def remove() -> None:
        path.unlink()
        path.parent.rmdir()

    assert cleaned(path, meanwhile=remove) == [": stale, gone"]


# Something happens at the very moment when the socket is taken away.
OVERTAKEN = """
import os, socket, sys
from image_cri_shim.stale_sockets import clean

path, event_name, what = sys.argv[1:]
directory = os.path.dirname(path)
kept = []

def act(event, arguments):
    if event != event_name or kept:
        return
    new = socket.socket(socket.AF_UNIX)
    kept.append(new)
    if event == "os.rename":
        os.unlink(path)
    new.bind(path)
    if what == "listens":
        new.listen()
    global inode
    inode = os.stat(path).st_ino

sys.addaudithook(act)
(found,) = clean([path], lambda _: None)
assert kept
new = kept[0]
assert os.stat(path).st_ino == inode
new.listen()
with socket.socket(socket.AF_UNIX) as client:
    client.connect(path)
print(str(found).removeprefix(path), os.listdir(directory))
"""


def overtaken(path: Path, event: str, what: str) -> str:
    return child(OVERTAKEN, path, event, what).rstrip("\n")


@pytest.mark.parametrize("what", ["listens", "is bound"])
def test_a_runtime_that_starts_at_the_last_moment_gets_its_socket_back(
    tmp_path: Path, what: str
) -> None:
    leave_stale(tmp_path / "s")
    told = overtaken(tmp_path / "s", "os.rename", what)
    # On a file system that gives out a number again, it is still known by being served.
    assert told in (
        ": another has taken its place, left alone ['s']",
        ": live, left alone ['s']",
    )


@pytest.mark.parametrize("what", ["listens", "is bound"])
def test_a_runtime_that_binds_while_the_stale_one_is_away_keeps_its_socket(
    tmp_path: Path, what: str
) -> None:
    leave_stale(tmp_path / "s")
    assert overtaken(tmp_path / "s", "os.remove", what) == ": stale, removed ['s']"


REPLACED = """
import os, sys
from image_cri_shim.stale_sockets import clean

path, replaced = sys.argv[1], False

def replace(event, arguments):
    global replaced
    if event == "os.rename" and not replaced:
        replaced = True
        os.rename(path + ".new", path)

sys.addaudithook(replace)
(found,) = clean([path], lambda _: None)
print(str(found).removeprefix(path), os.listdir(os.path.dirname(path)))
"""


def test_what_was_not_asked_is_not_removed_whatever_it_is(tmp_path: Path) -> None:
    for name in ("s", "s.new"):
        leave_stale(tmp_path / name)
    assert child(REPLACED, tmp_path / "s") == ": another has taken its place, left alone ['s']\n"


KILLED = """
import os, signal, socket, sys
from image_cri_shim.stale_sockets import clean

path, event_name, live = sys.argv[1], sys.argv[2], sys.argv[3] == "live"

taken = False

def kill(event, arguments):
    global taken
    if event == "os.rename":
        if live:
            # What is taken away is not what was asked.
            os.unlink(path)
            os.link(path + ".live", path)
        taken = True
    elif taken and event == event_name:
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
clean([path], lambda _: None)
"""


@pytest.mark.parametrize("event", ["os.remove", "os.link"])
def test_what_a_killed_one_has_taken_away_the_next_one_sees_to(
    tmp_path: Path, stack: ExitStack, event: str
) -> None:
    path = tmp_path / "s"
    leave_stale(path)
    live = event == "os.link"
    if live:
        serve(tmp_path / "s.live", stack)
    subprocess.run(
        [sys.executable, "-c", KILLED, str(path), event, "live" if live else "stale"],
        cwd=ROOT,
        timeout=60,
    )
    (taken,) = (name for name in names(tmp_path) if name != "s.live")
    assert taken.endswith(".stale.s")
    if live:
        assert cleaned(path) == [": live, left alone"]
        assert accepts(path)
        assert names(tmp_path) == ["s", "s.live"]
    else:
        assert cleaned(path) == [": absent"]
        assert names(tmp_path) == []


def test_what_another_one_that_runs_has_taken_away_is_left_to_it(
    tmp_path: Path, stack: ExitStack
) -> None:
    (tmp_path / f".{os.getppid()}.stale.s").symlink_to("x")
    leave_stale(tmp_path / f".{os.getppid()}.stale.t")
    before = scene(tmp_path)
    assert cleaned(tmp_path / "s", tmp_path / "t") == [": absent", ": absent"]
    assert scene(tmp_path) == before


MANY = """
import os, sys
from image_cri_shim.stale_sockets import clean

start, go = os.pipe()
for _ in range(8):
    if os.fork() == 0:
        os.read(start, 1)
        (found,) = clean([sys.argv[1]], lambda _: None)
        os.write(1, (str(found).removeprefix(sys.argv[1]) + "\\n").encode())
        os._exit(0)
os.write(go, b"x" * 8)
for _ in range(8):
    os.wait()
"""


def test_several_at_once_get_in_nobodys_way(tmp_path: Path) -> None:
    for _ in range(5):
        leave_stale(tmp_path / "s")
        told = child(MANY, tmp_path / "s").splitlines()
        assert len(told) == 8
        assert told.count(": stale, removed") == 1
        assert set(told) <= {": stale, removed", ": stale, gone", ": absent"}
        assert names(tmp_path) == []


def test_a_shim_that_starts_meanwhile_serves(tmp_path: Path, stack: ExitStack) -> None:
    path = tmp_path / "s"
    leave_stale(path)
    assert cleaned(path, meanwhile=lambda: is_free(path, stack)) == [": live, left alone"]
    assert accepts(path)
