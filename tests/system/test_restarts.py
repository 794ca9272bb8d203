"""The runtime dies again and again under load: every call ends, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import containerd
from tests.system.conftest import accidents
from tests.system.endurance import endure


def test_calls_of_64_clients_end_while_the_runtime_is_killed_again_and_again(
    tmp_path: Path,
) -> None:
    if reason := containerd.why_not():
        pytest.skip(reason)
    report = endure(tmp_path, seconds=24, period=8)
    assert report.kills == 3
    # What containerd itself says while it starts.
    assert set(report.outcomes["others"]) <= {"UNKNOWN: server is not initialized yet"}
    assert set(report.outcomes["codes"]) - {"UNKNOWN"} == {"OK", "UNAVAILABLE"}, report.outcomes
    assert report.outcomes["late"] == 0, report.outcomes
    assert report.after.descriptors <= report.before.descriptors
    assert report.after.memory < report.before.memory + 8 * 1024
    assert accidents(report.log) == []
