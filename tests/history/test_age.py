"""How long the history keeps pulls, whatever the clock says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from image_cri_shim.history.keeper import SETTLED, Job, Keeper
from image_cri_shim.history.run import Run
from image_cri_shim.pull_record import PullRecord
from tests.history.pulls import BEGAN, outcomes, pulled, run

DAY = 86400.0
AGE = 90 * DAY


@attrs.define
class Node:
    """Runs the daemon, with a clock that may be wrong."""

    directory: Path
    now: float = BEGAN
    ran: float = 0.0
    keeper: Keeper | None = None

    def start(self, number: int, now: float) -> None:
        self.stop()
        self.now, self.ran = now, 0.0
        this: Run = attrs.evolve(run(number), began=now)
        self.keeper = Keeper(this, lambda: self.now, lambda: self.ran)

    def spend(self, seconds: float) -> None:
        self.now += seconds
        self.ran += seconds

    def write(self, *records: PullRecord) -> None:
        assert self.keeper is not None
        assert self.keeper.do(Job(str(self.directory), 100, AGE, records)).trouble == ""

    def stop(self) -> None:
        if self.keeper is not None:
            self.keeper.do(Job(str(self.directory), 100, AGE, last=True))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.stop()


def test_pulls_that_are_too_old_are_removed_once_the_daemon_has_run_for_an_hour(
    node: Node,
) -> None:
    node.start(1, BEGAN)
    node.write(pulled(1), pulled(2, BEGAN + 2 * DAY))
    node.start(2, BEGAN + 89 * DAY)
    node.write(pulled(3, node.now))
    node.start(3, BEGAN + 91 * DAY)
    node.spend(SETTLED - 1)
    node.write()
    assert sorted(outcomes(node.directory)) == [1, 2, 3]
    node.spend(1)
    node.write()
    assert sorted(outcomes(node.directory)) == [1, 2, 3], "the last run's pull was two days ago"
    node.spend(2 * DAY)
    node.write()
    assert sorted(outcomes(node.directory)) == [2, 3]


def test_a_daemon_that_runs_for_long_removes_what_it_wrote_itself(node: Node) -> None:
    node.start(1, BEGAN)
    node.write(pulled(1))
    node.spend(AGE)
    node.write(pulled(2, node.now))
    assert sorted(outcomes(node.directory)) == [1, 2]
    node.spend(1)
    node.write()
    assert sorted(outcomes(node.directory)) == [2]


def jump(node: Node) -> None:
    node.now += 100 * DAY


def restart(node: Node) -> None:
    node.start(2, node.now + 100 * DAY)


@pytest.mark.parametrize("go_wrong", [jump, restart])
def test_a_clock_that_is_far_ahead_does_not_erase_the_history(
    node: Node, go_wrong: Callable[[Node], None]
) -> None:
    node.start(1, BEGAN)
    node.write(*(pulled(number) for number in range(1, 11)))
    go_wrong(node)
    node.write(pulled(11, node.now))
    node.spend(2 * SETTLED)
    node.write(pulled(12, node.now))
    # And again, now that the last pull is said to have been then.
    node.start(3, node.now)
    node.write(pulled(13, node.now))
    # Set right again.
    node.start(4, BEGAN + DAY)
    node.write(pulled(14, node.now))
    node.spend(2 * SETTLED)
    node.write()
    assert sorted(outcomes(node.directory)) == list(range(1, 15))
