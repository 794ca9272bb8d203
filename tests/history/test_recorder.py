"""The daemon keeps the history without ever waiting for it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import attrs

from image_cri_shim.history import row
from image_cri_shim.history.recorder import (
    PATIENCE,
    RETRY,
    SILENCE,
    STOPPING,
    TICK,
    WAITING,
)
from image_cri_shim.history.worker import Worker
from image_cri_shim.pull_book import Event
from tests.history.keeping import Kept, Make, fired
from tests.history.pulls import (
    begun,
    failed,
    file_of,
    outcomes,
    pulled,
)


def test_a_pull_is_answered_once_it_is_written(kept: Kept) -> None:
    kept.begin(1)
    kept.end(1)
    recorded = kept.history.recorded()
    kept.hands.finish()
    assert not fired(recorded), "its beginning is written, not its end"
    kept.hands.finish()
    assert fired(recorded)
    assert outcomes(kept.directory) == {1: "pulled"}
    assert fired(kept.history.recorded())
    assert kept.history.state == "ok"


def test_nothing_touches_the_disk_but_the_hands(make: Make) -> None:
    kept = make()
    kept.history.start()
    kept.begin(1)
    kept.end(1)
    kept.history.apply(attrs.evolve(kept.config, history_size=5))
    assert not kept.directory.exists()
    assert len(kept.hands.work) == 1


def test_what_comes_while_the_disk_is_busy_is_one_write(kept: Kept) -> None:
    kept.begin(1)
    kept.begin(*range(2, 50))
    kept.end(*range(1, 30))
    waiting = kept.history.recorded()
    kept.hands.finish()
    kept.hands.finish()
    assert fired(waiting)
    assert kept.hands.work == []
    assert len(outcomes(kept.directory)) == 49


def test_what_is_tried_is_written_and_what_is_decided_comes_with_it(kept: Kept) -> None:
    kept.history.note(Event.DECIDED, begun(1))
    assert kept.hands.work == []
    kept.history.note(Event.TRYING, begun(1))
    kept.hands.finish()
    assert outcomes(kept.directory) == {1: "running"}


def test_a_slow_disk_delays_one_answer_by_a_quarter_of_a_second_and_no_other(kept: Kept) -> None:
    kept.end(1)
    first = kept.history.recorded()
    kept.reactor.advance(PATIENCE - 0.01)
    assert not fired(first)
    kept.reactor.advance(0.01)
    assert fired(first)
    kept.end(2)
    assert fired(kept.history.recorded())
    kept.hands.finish()
    # It answers again.
    again = kept.history.recorded()
    assert not fired(again)
    kept.hands.finish()
    assert fired(again)


def test_a_client_that_gives_up_leaves_nothing_behind(kept: Kept) -> None:
    kept.end(1)
    one, other = kept.history.recorded(), kept.history.recorded()
    one.addErrback(lambda _: None)
    one.cancel()
    assert not fired(other)
    kept.hands.finish()
    assert fired(other)
    # What is left is the look for what is too old.
    assert [call.getTime() for call in kept.reactor.getDelayedCalls()] == [TICK]


def test_a_disk_that_hangs_is_said_once_and_holds_nobody(kept: Kept) -> None:
    kept.end(1)
    kept.reactor.advance(SILENCE)
    trouble = f"cannot write {file_of(kept.directory)}: the disk has not answered for 5 s"
    assert kept.history.state == trouble
    assert fired(kept.history.recorded())
    kept.end(2)
    kept.reactor.advance(SILENCE)
    assert kept.said == [f"history: {trouble}; pulls are not recorded"]
    kept.hands.finish_all()
    assert kept.history.state == "ok"
    assert kept.said[1:] == ["history: pulls are recorded again"]
    assert outcomes(kept.directory) == {1: "pulled", 2: "pulled"}


def test_what_finds_no_place_is_dropped_and_counted(kept: Kept) -> None:
    kept.begin(0)
    kept.begin(*range(1, WAITING + 4))
    kept.end(*range(WAITING - 1, WAITING + 4))
    kept.reactor.advance(SILENCE)
    assert kept.history.dropped == 6
    assert kept.history.state.endswith("; 6 pulls of this run not recorded")
    kept.hands.finish_all()
    assert kept.history.state == "ok"
    assert kept.said[-1] == ("history: pulls are recorded again; 6 pulls of this run not recorded")
    found = outcomes(kept.directory)
    assert len(found) == WAITING + 1
    assert {number for number in found if found[number] == "pulled"} == {WAITING - 1, WAITING}


def test_a_pull_whose_end_was_dropped_does_not_run_for_ever(kept: Kept) -> None:
    kept.begin(1, 2)
    kept.hands.finish_all()
    kept.begin(3)
    kept.begin(*range(4, WAITING + 4))
    kept.end(1)
    assert kept.history.dropped == 1
    kept.hands.finish_all()
    found = outcomes(kept.directory)
    assert 1 not in found
    assert found[2] == "running"


def test_where_the_file_cannot_be_written_it_is_said_once_and_tried_again(make: Make) -> None:
    kept = make()
    kept.directory.parent.joinpath("state").touch()
    kept.history.start()
    kept.hands.finish_all()
    trouble = f"cannot write {file_of(kept.directory)}: File exists"
    assert kept.history.state == trouble
    kept.begin(1, 2)
    kept.end(1)
    assert fired(kept.history.recorded())
    assert kept.hands.work == []
    for _ in range(3):
        kept.reactor.advance(RETRY)
        kept.hands.finish()
    assert kept.said == [f"history: {trouble}; pulls are not recorded"]
    kept.directory.unlink()
    kept.reactor.advance(RETRY)
    kept.hands.finish_all()
    assert kept.history.state == "ok"
    assert kept.said[1:] == ["history: pulls are recorded again"]
    assert outcomes(kept.directory) == {1: "pulled", 2: "running"}


def test_what_nobody_thought_of_stops_nothing(kept: Kept) -> None:
    kept.history.note(Event.ENDED, attrs.evolve(pulled(1), error=7))
    kept.hands.finish_all()
    assert kept.history.state.startswith("cannot keep the history: AttributeError")
    assert fired(kept.history.recorded())


def test_a_damaged_file_is_a_warning(make: Make) -> None:
    kept = make()
    kept.directory.mkdir()
    file_of(kept.directory).write_bytes(b"garbage")
    kept.history.start()
    kept.hands.finish_all()
    assert kept.history.state == "ok"
    assert "it is set aside as" in kept.said[0]
    assert [event["log_level"].name for event in kept.log] == ["warn"]


def test_pulls_that_run_are_in_a_new_file_too(kept: Kept) -> None:
    kept.begin(1, 2)
    kept.hands.finish_all()
    for path in kept.directory.iterdir():
        path.unlink()
    kept.end(2)
    kept.hands.finish_all()
    assert outcomes(kept.directory) == {1: "running", 2: "pulled"}


def test_the_end_writes_what_was_told_and_closes_the_file(kept: Kept) -> None:
    kept.begin(1)
    kept.end(1)
    stopped = kept.history.stop()
    kept.end(2)
    assert not fired(stopped)
    kept.hands.finish_all()
    assert fired(stopped)
    assert kept.hands.ended
    assert outcomes(kept.directory) == {1: "pulled"}
    assert os.listdir(kept.directory) == [row.NAME]
    assert fired(kept.history.stop())
    assert kept.reactor.getDelayedCalls() == []


def test_the_end_does_not_wait_for_a_disk_that_hangs(kept: Kept) -> None:
    kept.end(1)
    stopped, again = kept.history.stop(), kept.history.stop()
    kept.reactor.advance(STOPPING - 0.1)
    assert not fired(stopped)
    kept.reactor.advance(0.1)
    assert fired(stopped)
    assert fired(again)
    assert kept.hands.ended
    kept.hands.finish_all()
    kept.hands.finish_all()
    assert kept.reactor.getDelayedCalls() == []


def test_before_it_starts_it_waits_for_nothing(make: Make) -> None:
    kept = make()
    kept.begin(1)
    assert fired(kept.history.recorded())
    kept.history.start()
    kept.hands.finish_all()
    assert outcomes(kept.directory) == {1: "running"}
    assert fired(make().history.stop())


def test_the_thread_does_one_thing_after_the_other_and_ends() -> None:
    order: list[object] = []
    over = threading.Event()

    def work(number: int) -> Callable[[], object]:
        order.append((number, threading.current_thread().name))
        return lambda: number

    told: list[object] = []
    worker = Worker(lambda done: told.append(done()))
    worker.end()
    for number in range(3):
        worker.do(lambda number=number: work(number))  # type: ignore[misc]
    worker.do(lambda: over.set)
    assert over.wait(10) or told
    worker.end()
    for thread in threading.enumerate():
        if thread.name == "history":
            thread.join(10)
            assert not thread.is_alive()
    assert order == [(number, "history") for number in range(3)]
    assert told[:3] == [0, 1, 2]


def test_a_failed_pull_is_written_as_failed(kept: Kept) -> None:
    kept.history.note(Event.ENDED, failed(1))
    kept.hands.finish_all()
    assert outcomes(kept.directory) == {1: "failed"}
