"""A history that is kept, with what it runs on in the test's hands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.logger import Logger

from image_cri_shim.config import Config
from image_cri_shim.history.recorder import History
from tests.history.keeping import Kept, Make
from tests.history.pulls import BEGAN, Hands, TestReactor


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a function that makes one, not started; its arguments are the configuration's."""
    all_made: list[Kept] = []

    def kept(now: Callable[[], float] = lambda: BEGAN, **settings: object) -> Kept:
        config = Config(image=str(tmp_path / "state"), **settings)  # type: ignore[arg-type]
        reactor, hands, log = TestReactor(), Hands(), []
        logger = Logger("test", observer=log.append)
        history = History(config, reactor, logger, hands=hands, now=now, monotonic=reactor.seconds)
        all_made.append(Kept(history, reactor, hands, config, log))
        return all_made[-1]

    yield kept
    for one in all_made:
        one.history.stop()
        one.hands.finish_all()


@pytest.fixture
def kept(make: Make) -> Kept:
    made = make()
    made.history.start()
    made.hands.finish_all()
    return made
