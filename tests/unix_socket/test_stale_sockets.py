"""What is taken away of everything that may stand where a runtime's socket is expected."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from image_cri_shim.stale_sockets import Cleaned, Outcome, clean
from image_cri_shim.unix_socket import PATH_LIMIT
from tests.unix_socket.cleaning import cleaned
from tests.unix_socket.sockets import (
    leave_stale,
    names,
    serve,
    without_privileges,
)
from tests.unix_socket.zombies import (
    BOUND,
    DANGLING,
    FOREIGN,
    LIVE,
    LOOP,
    Make,
    each,
    scene,
)


def test_a_stale_socket_is_removed(tmp_path: Path) -> None:
    leave_stale(tmp_path / "s")
    assert cleaned(tmp_path / "s") == [": stale, removed"]
    assert names(tmp_path) == []


def test_a_stale_socket_behind_a_link_is_removed_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "s"
    leave_stale(target)
    (tmp_path / "link").symlink_to("there/s")
    assert cleaned(tmp_path / "link") == [f" -> {target}: stale, removed"]
    assert names(tmp_path) == ["link", "there"]
    assert names(tmp_path / "there") == []
    assert cleaned(tmp_path / "link") == [f" -> {target}: a link to nothing, left alone"]


@each(LIVE)
def test_a_live_socket_is_left_alone(tmp_path: Path, stack: ExitStack, make: Make) -> None:
    make(tmp_path / "s", stack)
    before = scene(tmp_path)
    (told,) = cleaned(tmp_path / "s")
    assert told.endswith(": live, left alone")
    assert scene(tmp_path) == before


@each(BOUND)
def test_a_socket_that_is_bound_and_does_not_listen_yet_is_left_alone(
    tmp_path: Path, stack: ExitStack, make: Make
) -> None:
    make(tmp_path / "s", stack)
    before = scene(tmp_path)
    (told,) = cleaned(tmp_path / "s")
    assert told.endswith(": about to be served, left alone")
    assert scene(tmp_path) == before


@each(FOREIGN)
def test_what_is_no_socket_is_left_alone(tmp_path: Path, stack: ExitStack, make: Make) -> None:
    make(tmp_path / "s", stack)
    before = scene(tmp_path)
    (told,) = cleaned(tmp_path / "s")
    assert told.endswith(": not a socket, left alone")
    assert scene(tmp_path) == before


@each(DANGLING, LOOP)
def test_a_link_that_leads_nowhere_is_left_alone(
    tmp_path: Path, stack: ExitStack, make: Make
) -> None:
    make(tmp_path / "s", stack)
    before = scene(tmp_path)
    (told,) = cleaned(tmp_path / "s")
    assert told.endswith(": a link to nothing, left alone")
    assert scene(tmp_path) == before


@pytest.mark.parametrize("path", ["s", "no/where/s", "file/s"])
def test_where_there_is_nothing_there_is_nothing_to_do(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    assert cleaned(tmp_path / path) == [": absent"]
    assert names(tmp_path) == ["file"]


def test_all_are_seen_to_with_one_pause(tmp_path: Path, stack: ExitStack) -> None:
    serve(tmp_path / "live", stack)
    for name in ("a", "b"):
        leave_stale(tmp_path / name)
    told = cleaned(*(tmp_path / name for name in ("a", "live", "b", "none")))
    assert told == [": stale, removed", ": live, left alone", ": stale, removed", ": absent"]
    assert names(tmp_path) == ["live"]


def test_without_a_stale_socket_nobody_waits(tmp_path: Path, stack: ExitStack) -> None:
    serve(tmp_path / "live", stack)

    def never() -> None:
        pytest.fail("it waits")

    cleaned(tmp_path / "live", tmp_path / "none", meanwhile=never)


def test_one_socket_by_two_names_is_removed_once(tmp_path: Path) -> None:
    leave_stale(tmp_path / "s")
    (tmp_path / "link").symlink_to("s")
    told = cleaned(tmp_path / "s", tmp_path / "link", tmp_path / "s")
    assert told == [": stale, removed", f" -> {tmp_path}/s: stale, gone", ": stale, gone"]


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    tmp_path: Path, stack: ExitStack
) -> None:
    leave_stale(tmp_path / "s")
    serve(tmp_path / "live", stack)
    leave_stale(tmp_path / ".999999999.stale.s")
    before = scene(tmp_path)
    told = cleaned(tmp_path / "s", tmp_path / "live", dry_run=True)
    assert told == [": stale, would be removed", ": live, left alone"]
    assert scene(tmp_path) == before


def test_a_path_that_is_too_long_for_a_client_is_cleaned_up_as_well(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 100)
    directory.mkdir()
    leave_stale(tmp_path / "s")
    (tmp_path / "s").rename(directory / "s")
    assert len(str(directory / "s")) > PATH_LIMIT
    assert cleaned(directory / "s") == [": stale, removed"]


def test_a_relative_path_is_that_from_where_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    leave_stale(tmp_path / "s")
    assert cleaned("s") == [": stale, removed"]


@pytest.mark.skipif(os.geteuid() != 0, reason="root makes what others may not remove")
def test_what_may_not_be_removed_is_said_and_counts_as_failed(everybodys: Path) -> None:
    directory = everybodys / "run"
    directory.mkdir()
    leave_stale(directory / "s")
    (directory / "s").chmod(0o666)
    with without_privileges():
        (found,) = clean([str(directory / "s")], lambda _: None)
        assert str(found) == f"{directory}/s: stale, cannot be removed: permission denied"
        assert found.failed
    (directory / "s").chmod(0o600)
    with without_privileges():
        (found,) = clean([str(directory / "s")], lambda _: None)
    assert str(found) == f"{directory}/s: cannot be examined: permission denied"
    assert found.failed
    assert names(directory) == ["s"]


def test_what_was_only_left_alone_has_not_failed() -> None:
    failed = {one for one in Outcome if Cleaned("/s", one, "/s").failed}
    assert failed == {Outcome.NOT_REMOVED, Outcome.UNKNOWN}


def test_a_socket_whose_queue_is_full_is_live(tmp_path: Path, stack: ExitStack) -> None:
    server = stack.enter_context(socket.socket(socket.AF_UNIX))
    server.bind(str(tmp_path / "s"))
    server.listen(0)
    for _ in range(2):
        client = stack.enter_context(socket.socket(socket.AF_UNIX))
        client.setblocking(False)
        client.connect_ex(str(tmp_path / "s"))
    assert cleaned(tmp_path / "s") == [": live, left alone"]


def test_a_directory_that_may_only_be_passed_through_is_no_obstacle(everybodys: Path) -> None:
    directory = everybodys / "run"
    directory.mkdir()
    directory.chmod(0o711)
    with without_privileges():
        assert cleaned(directory / "s") == [": absent"]
