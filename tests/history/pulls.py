"""Pulls for the tests of the history, and what stands in for its thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
from twisted.internet.task import Clock

from image_cri_shim.call_identity import Client
from image_cri_shim.history import row
from image_cri_shim.history.reading import Entry, Wanted, read
from image_cri_shim.history.run import Run, this_run
from image_cri_shim.history.worker import Work
from image_cri_shim.pull_record import Phase, PullRecord, Tried

# 2026-01-31 03:04:05 UTC.
BEGAN = 1769828645.0
KUBELET = Client(812, 0, 0, "kubelet")
ALL = Wanted()


def begun(number: int = 1, began: float = BEGAN) -> PullRecord:
    return PullRecord(number, f"4f1c-{number}", f"nginx:{number}", began, KUBELET, "ab" * 16)


def pulled(number: int = 1, began: float = BEGAN) -> PullRecord:
    name = f"sealos.hub:5000/library/nginx:{number}"
    return attrs.evolve(
        begun(number, began),
        phase=Phase.PULLED,
        name=name,
        registry="sealos.hub:5000",
        kind="offline",
        reason="offline, present, 12 ms",
        rule="rule 2",
        attempts=(Tried(name, "sealos.hub:5000", "", 3.1),),
        digest="sha256:" + "cd" * 32,
        image_ref="sha256:" + "ef" * 32,
        seconds=3.25,
    )


def failed(number: int = 1, began: float = BEGAN) -> PullRecord:
    record = pulled(number, began)
    tried = Tried(record.name, record.registry, "NOT_FOUND: it is not there", 0.5)
    return attrs.evolve(
        record,
        phase=Phase.FAILED,
        error="NOT_FOUND: it is not there",
        attempts=(tried,),
        digest="",
        image_ref="",
    )


def run(number: int = 1) -> Run:
    """Return a run of this process, one of several."""
    return attrs.evolve(this_run(BEGAN), token=f"run{number}")


def dead_run() -> Run:
    return attrs.evolve(run(), token="dead", ticks=1)


def entries(directory: Path | str, wanted: Wanted = ALL) -> tuple[Entry, ...]:
    found = read(str(directory), wanted, pause=lambda _: None)
    assert found.strange == 0
    return found.entries


def outcomes(directory: Path | str) -> dict[int, str]:
    return {one.record.number: one.outcome for one in entries(directory)}


def file_of(directory: Path) -> Path:
    return directory / row.NAME


class TestReactor(Clock):
    """A clock; what comes from a thread is called at once."""

    __test__ = False

    def callFromThread(self, callable: Callable[[], object]) -> None:
        callable()


@attrs.define
class Hands:
    """Does the work when the test says so: a disk that takes its time."""

    work: list[Work] = attrs.field(factory=list)
    ended: bool = False

    def do(self, work: Work) -> None:
        self.work.append(work)

    def end(self) -> None:
        self.ended = True

    def finish(self) -> None:
        """Do what there is to do, and tell."""
        self.work.pop(0)()()

    def finish_all(self) -> None:
        while self.work:
            self.finish()
