"""What a reload changes of the history, and what time does."""

from __future__ import annotations

import os
from pathlib import Path

import attrs

from image_cri_shim.history import row
from image_cri_shim.history.recorder import (
    TICK,
)
from image_cri_shim.pull_book import Event
from tests.history.keeping import Kept, Make, fired
from tests.history.pulls import (
    BEGAN,
    file_of,
    outcomes,
    pulled,
)


def test_without_a_history_no_file_is_made_and_no_thread_begun(make: Make) -> None:
    kept = make(history_size=0)
    kept.history.start()
    kept.begin(1)
    kept.end(1)
    assert (kept.history.state, kept.hands.work) == ("off", [])
    assert fired(kept.history.recorded())
    assert fired(kept.history.stop())
    assert not kept.directory.exists()


def test_it_is_turned_off_and_on_by_a_reload(kept: Kept) -> None:
    kept.begin(1)
    kept.hands.finish_all()
    kept.history.apply(attrs.evolve(kept.config, history_size=0))
    assert kept.history.state == "off"
    kept.begin(2)
    kept.hands.finish_all()
    assert os.listdir(kept.directory) == [row.NAME], "it is closed"
    kept.end(1)
    kept.history.apply(kept.config)
    kept.hands.finish_all()
    # How the first one ended was not to be written; the second still runs.
    assert (kept.history.state, outcomes(kept.directory)) == ("ok", {2: "running"})
    assert kept.said == []


def test_turned_off_while_it_fails_it_says_nothing_more(make: Make) -> None:
    kept = make()
    kept.directory.touch()
    kept.history.start()
    kept.history.apply(attrs.evolve(kept.config, history_size=0))
    kept.hands.finish_all()
    kept.history.apply(kept.config)
    kept.hands.finish_all()
    kept.history.apply(attrs.evolve(kept.config, history_size=0))
    kept.hands.finish_all()
    assert kept.history.state == "off"
    assert len(kept.said) == 1


def test_a_reload_changes_directory_size_and_age(kept: Kept, tmp_path: Path) -> None:
    kept.begin(1, 2)
    kept.end(1)
    kept.hands.finish_all()
    other = attrs.evolve(kept.config, image=str(tmp_path / "other"))
    kept.history.apply(other)
    kept.hands.finish_all()
    assert kept.history.path == str(file_of(tmp_path / "other"))
    assert outcomes(tmp_path / "other") == {2: "running"}
    assert outcomes(kept.directory) == {1: "pulled"}
    kept.end(*range(2, 10))
    kept.hands.finish_all()
    kept.history.apply(attrs.evolve(other, history_size=3))
    kept.hands.finish_all()
    assert sorted(outcomes(tmp_path / "other")) == [7, 8, 9]
    kept.reactor.advance(TICK)
    kept.hands.finish_all()
    kept.history.note(Event.ENDED, pulled(10, BEGAN - 4000))
    kept.history.apply(attrs.evolve(other, history_age=50.0))
    kept.hands.finish_all()
    assert sorted(outcomes(tmp_path / "other")) == [8, 9]


def test_a_reload_of_something_else_does_not_touch_it(kept: Kept) -> None:
    kept.history.apply(attrs.evolve(kept.config, debug=True))
    assert kept.hands.work == []


def test_a_reload_is_tried_at_once(make: Make, tmp_path: Path) -> None:
    kept = make()
    kept.directory.touch()
    kept.history.start()
    kept.hands.finish_all()
    assert kept.history.state != "ok"
    kept.begin(1)
    kept.history.apply(attrs.evolve(kept.config, image=str(tmp_path / "other")))
    kept.hands.finish_all()
    assert kept.history.state == "ok"
    assert outcomes(tmp_path / "other") == {1: "running"}


def test_old_pulls_go_although_nothing_is_pulled(make: Make) -> None:
    now = [BEGAN]
    kept = make(lambda: now[0], history_age=1000.0)
    kept.history.start()
    kept.history.note(Event.ENDED, pulled())
    kept.hands.finish_all()
    assert outcomes(kept.directory) == {1: "pulled"}
    now[0] += 1001
    kept.reactor.advance(TICK)
    kept.hands.finish_all()
    assert outcomes(kept.directory) == {}
