from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.admin_standin import AdminStandIn


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what a test opens."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def directory() -> Iterator[Path]:
    """Return a directory whose path is short enough for a socket in it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def admin(directory: Path) -> Iterator[AdminStandIn]:
    """An admin interface that answers what the test tells it to."""
    with AdminStandIn(directory / "admin.sock") as running:
        yield running


@pytest.fixture
def set_time_zone() -> Iterator[Callable[[str], None]]:
    """Return a function that sets the local time zone until the test ends."""
    with pytest.MonkeyPatch.context() as patched:

        def set_to(name: str) -> None:
            patched.setenv("TZ", name)
            time.tzset()

        yield set_to
    time.tzset()


class _Count:
    """Counts tests as their reader does: a test passed if nothing about it failed."""

    def __init__(self) -> None:
        self.failed: set[str] = set()
        self.passed: set[str] = set()
        self.repeated: set[str] = set()
        self.skipped: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome == "rerun":
            self.repeated.add(report.nodeid)
        elif report.failed:
            self.failed.add(report.nodeid)
        elif report.skipped:
            self.skipped.add(report.nodeid)
        elif report.when == "call":
            self.passed.add(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)

    def line(self) -> str:
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        repeated = f", {len(self.repeated)} tried twice" if self.repeated else ""
        passed = len(self.passed - self.failed)
        return f"{passed} passed, {len(self.failed)} failed{skipped}{repeated}"


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        # One of several processes; the first of them counts for all.
        return
    config.pluginmanager.register(_Count(), "closing-count")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the run with one plain line, after everything that pytest says itself."""
    count = config.pluginmanager.get_plugin("closing-count")
    if count is not None and not config.option.collectonly:
        print(count.line())
