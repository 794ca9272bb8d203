"""Changes are noticed: at once where the system tells of them, else now and then."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, eventAsText

from image_cri_shim.file_watch import SETTLE, FileWatch
from image_cri_shim.fingerprint import EVERY


class Reactor(Clock):
    """A clock, and what reads when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def removeWriter(self, writer: Any) -> None:
        pass

    def read(self) -> None:
        for reader in list(self.readers):
            reader.doRead()


class Stage:
    """A watched directory."""

    def __init__(self, directory: Path, interval: float = 0.0) -> None:
        self.reactor = Reactor()
        self.wanted = {str(directory)}
        self.names = frozenset({EVERY})
        self.looks = 0
        self.broken = False
        self.events: list[LogEvent] = []
        log = Logger(namespace="test", observer=self.events.append)
        self.watch = FileWatch(
            lambda: dict.fromkeys(self.wanted, self.names), self._look, interval, self.reactor, log
        )
        self.watch.startService()
        self.reactor.advance(0)

    def _look(self) -> None:
        self.looks += 1
        if self.broken:
            raise RuntimeError("bug")

    def settle(self) -> int:
        """Let signs arrive and settle; return how often was looked."""
        self.reactor.read()
        self.reactor.advance(SETTLE)
        looks, self.looks = self.looks, 0
        return looks

    @property
    def lines(self) -> list[str]:
        return [eventAsText(event, includeTimestamp=False) for event in self.events]


@pytest.fixture
def watch() -> Iterator[Callable[..., Stage]]:
    """Return a function that watches a directory; with the test the watch ends, without a trace."""
    made: list[Stage] = []

    def begin(directory: Path, interval: float = 0.0) -> Stage:
        made.append(Stage(directory, interval))
        return made[-1]

    yield begin
    for stage in made:
        if stage.watch.running:
            stage.watch.stopService()
        assert stage.reactor.readers == []
        assert stage.reactor.getDelayedCalls() == []


@pytest.fixture
def stage(watch: Callable[..., Stage], tmp_path: Path) -> Stage:
    return watch(tmp_path)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_is_written_comes_goes_or_is_replaced_is_noticed(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    assert stage.settle() == 0
    file.write_text("a")
    assert stage.settle() == 1
    (tmp_path / "new").write_text("b")
    (tmp_path / "new").rename(file)
    assert stage.settle() == 1
    file.chmod(0o600)
    assert stage.settle() == 1
    file.unlink()
    assert stage.settle() == 1
    file.symlink_to("elsewhere")
    assert stage.settle() == 1
    assert stage.settle() == 0


def test_what_is_being_written_is_left_until_it_is_closed(stage: Stage, tmp_path: Path) -> None:
    with (tmp_path / "a.yaml").open("w") as file:
        assert stage.settle() == 1, "a new file has come"
        file.write("half")
        file.flush()
        assert stage.settle() == 0
    assert stage.settle() == 1


def test_many_steps_are_one_look(stage: Stage, tmp_path: Path) -> None:
    for _ in range(10):
        (tmp_path / "a.yaml").write_text("a")
        stage.reactor.read()
    assert stage.looks == 0
    assert stage.settle() == 1


def test_it_goes_on_when_a_directory_goes_and_comes_back(stage: Stage, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    stage.wanted = {str(tmp_path), str(inner)}
    assert stage.settle() == 1
    before = descriptors()
    for _ in range(3):
        inner.rmdir()
        stage.wanted = {str(tmp_path)}
        assert stage.settle() == 1
        inner.mkdir()
        stage.wanted = {str(tmp_path), str(inner)}
        assert stage.settle() == 1
        (inner / "a.yaml").write_text("a")
        assert stage.settle() == 1
        (inner / "a.yaml").unlink()
        assert stage.settle() == 1
    assert descriptors() == before


def test_what_goes_wrong_in_a_look_is_logged_and_the_next_comes(
    stage: Stage, tmp_path: Path
) -> None:
    stage.broken = True
    (tmp_path / "a.yaml").write_text("a")
    assert stage.settle() == 1
    assert "bug" in "".join(stage.lines)
    (tmp_path / "a.yaml").write_text("b")
    assert stage.settle() == 1


def test_without_signs_it_looks_now_and_then(watch: Callable[..., Stage], tmp_path: Path) -> None:
    stage = watch(tmp_path, interval=15.0)
    stage.reactor.pump([15.0, 15.0])
    assert stage.looks == 2
    stage.watch.look_every(60.0)
    stage.reactor.advance(59)
    assert stage.looks == 2
    stage.reactor.advance(1)
    assert stage.looks == 3
    stage.watch.look_every(0)
    stage.reactor.advance(10_000)
    assert stage.looks == 3


def test_where_the_system_cannot_tell_it_says_so_once_and_looks(
    watch: Callable[..., Stage], tmp_path: Path
) -> None:
    stage = watch(tmp_path / "not there", interval=15.0)
    stage.reactor.pump([15.0] * 3)
    assert stage.looks == 3
    (line,) = stage.lines
    assert "changes of the configuration are noticed every 15 s" in line
    assert str(tmp_path / "not there") in line
    # And as soon as it can, it does.
    (tmp_path / "not there").mkdir()
    stage.reactor.advance(15.0)
    stage.looks = 0
    (tmp_path / "not there" / "a.yaml").write_text("a")
    assert stage.settle() == 1


def test_after_the_stop_nothing_is_looked_at(watch: Callable[..., Stage], tmp_path: Path) -> None:
    before = descriptors()
    stage = watch(tmp_path, interval=15.0)
    (tmp_path / "a.yaml").write_text("a")
    stage.reactor.read()
    stage.watch.stopService()
    stage.reactor.advance(100)
    assert stage.looks == 0
    assert descriptors() == before
    # Also when it ends before it has begun.
    early = FileWatch(dict, lambda: None, 1.0, stage.reactor, Logger(namespace="test"))
    early.startService()
    early.stopService()
    stage.reactor.advance(100)
    assert descriptors() == before


def test_what_else_goes_on_in_the_directory_is_not_looked_at(
    watch: Callable[..., Stage], tmp_path: Path
) -> None:
    stage = watch(tmp_path)
    stage.names = frozenset({"a.yaml"})
    stage.watch._watch()
    (tmp_path / "shim.log").write_text("busy")
    assert stage.settle() == 0
    (tmp_path / "a.yaml").write_text("a")
    assert stage.settle() == 1


def test_a_directory_that_another_takes_the_place_of_is_watched_again(
    watch: Callable[..., Stage], tmp_path: Path
) -> None:
    (tmp_path / "conf").mkdir()
    stage = watch(tmp_path / "conf")
    for number in range(3):
        (tmp_path / "next").mkdir()
        (tmp_path / "conf").rename(tmp_path / f"old{number}")
        (tmp_path / "next").rename(tmp_path / "conf")
        assert stage.settle() == 1
        (tmp_path / "conf" / "a.yaml").write_text("a")
        assert stage.settle() == 1


def test_what_is_said_of_looking_is_said_again_when_it_changes(
    watch: Callable[..., Stage], tmp_path: Path
) -> None:
    stage = watch(tmp_path / "not there", interval=15.0)
    stage.watch.look_every(0)
    stage.watch._examine()
    assert len(stage.lines) == 2
    assert "changes of the configuration are noticed on SIGHUP only" in stage.lines[1]
