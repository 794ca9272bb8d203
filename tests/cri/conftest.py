"""The shim between a client and an upstream, both in the test's hands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cri.background import PATIENCE, Background
from tests.cri.image_store import HARBOR, HUB, MakeShim
from tests.cri.scripted import ScriptedUpstream
from tests.cri.shim import Shim
from tests.support.cri_client import CRI
from tests.support.processes import wait_until


@pytest.fixture
def background(caplog: pytest.LogCaptureFixture) -> Iterator[Background]:
    """A loop in which nothing may be left behind: no task, no exception that nobody saw."""
    background = Background()
    yield background

    def others() -> list[str]:
        return [repr(task) for task in background.tasks()]

    wait_until(lambda: not others(), PATIENCE)
    left = others()
    background.close()
    assert left == []
    assert background.complaints == []
    errors = [r.getMessage() for r in caplog.get_records("call") if r.levelno >= logging.ERROR]
    assert errors == []


@pytest.fixture
def upstream(background: Background, tmp_path: Path) -> Iterator[ScriptedUpstream]:
    upstream = ScriptedUpstream(background, str(tmp_path / "up.sock")).start()
    yield upstream
    upstream.stop()


@pytest.fixture
def make_shim(background: Background, tmp_path: Path) -> Iterator[Callable[..., Shim]]:
    """Return a function that starts a shim; its arguments are those of `Shim`."""
    made: list[Shim] = []

    def make(runtime: str, **options: Any) -> Shim:
        path = str(tmp_path / f"shim{len(made)}.sock")
        made.append(Shim(background, path, runtime, **options))
        return made[-1]

    yield make
    for shim in made:
        shim.close()


@pytest.fixture(name="make")
def make_naming(upstream: ScriptedUpstream, make_shim: MakeShim, tmp_path: Path) -> MakeShim:
    """Return a function that starts a shim with a state directory of this test."""

    def start(names: str = "only", **options: object) -> Shim:
        options.setdefault("registries", [HUB, HARBOR])
        state = str(tmp_path / "state")
        return make_shim(upstream.path, original_names=names, state=state, **options)

    return start


@pytest.fixture
def shim(upstream: ScriptedUpstream, make_shim: Callable[..., Shim]) -> Shim:
    """A shim without registries in front of the scripted upstream, speaking v1."""
    return make_shim(upstream.path)


@pytest.fixture
def client(shim: Shim) -> CRI:
    return shim.client()


@pytest.fixture
def event(background: Background) -> asyncio.Event:
    """An event of the background loop, for scripts to wait for."""
    return background.call(asyncio.Event)
