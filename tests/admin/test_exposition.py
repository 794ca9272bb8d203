"""The metrics as they are collected."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from image_cri_shim import __version__
from image_cri_shim.admin.exposition import expose
from image_cri_shim.admin.families import FAMILIES, PREFIX
from image_cri_shim.call_identity import CallIdentity
from image_cri_shim.decision import Attempt, Decision, LookUp, Outcome, Pull, Registry
from image_cri_shim.measurements import Measurements, MethodCalls, Reloads, RuntimeState
from image_cri_shim.policy import Policy
from image_cri_shim.pull_book import PullBook
from tests.support.metrics import OPEN, parsed, values

HUB, HARBOR = "sealos.hub:5000", "harbor.corp"
FIRST, SECOND, ORIGIN = Policy(
    [Registry(HUB, offline=True, priority=1000), Registry(HARBOR)]
).candidates("nginx:1.25")


@pytest.fixture
def measured() -> Measurements:
    """A daemon in which everything has happened once."""
    measured = Measurements(lambda: 1000.0)
    measured.breakers = lambda: {HUB: "closed", HARBOR: "half-open", "silent.example": "closed"}
    measured.reloads = lambda: Reloads(taken=3, refused=1, loaded_at=1234.5, current=False)
    measured.runtime = lambda: RuntimeState(True, "containerd", "1.7.2", "v1")
    measured.clients = lambda: 2
    measured.running = lambda: 4
    measured.lines_lost = lambda: 7
    measured.history = lambda: True
    for version in ("v1", "v1alpha2"):
        calls = MethodCalls(version, "ImageService", "ImageStatus", timed=True)
        measured.calls.methods[version.encode()] = calls
        calls.note(0, 0.03, 0.0275)
    calls.note(5, 99.0, 1.0)
    measured.note_look_up(LookUp(FIRST, Outcome.PRESENT, elapsed=0.25))
    measured.note_look_up(LookUp(SECOND, Outcome.UNKNOWN, "503", elapsed=20.0))
    measured.note_look_up(LookUp(SECOND, Outcome.UNKNOWN, "not asked: 503", asked=False))
    book = PullBook(_Still(), lambda: 1000.0)
    book.watch(measured.note_pull)
    pull = book.began("nginx:1.25", CallIdentity("1"))
    decision = Decision((FIRST, ORIGIN))
    pull.trying(FIRST, decision)
    pull.trying(ORIGIN, decision)
    attempts = (Attempt(FIRST, "UNKNOWN: no", 1.0), Attempt(ORIGIN, "", 1.0))
    pull.ended(Pull("nginx:1.25", attempts, "", 2.0))
    book.began("redis:7", CallIdentity("2"))
    return measured


class _Still:
    """A clock that stands."""

    def seconds(self) -> float:
        return 0.0

    def callLater(self, *_: object, **__: object) -> None:
        raise AssertionError("nothing is due later")


@pytest.mark.parametrize("accept", ["", OPEN])
def test_the_official_parsers_read_every_family(measured: Measurements, accept: str) -> None:
    families = parsed(measured, accept)
    for family in FAMILIES:
        found = families[family.name.removesuffix("_total")]
        assert (found.type, found.documentation) == (family.kind, family.meaning)
    ours = {one.full_name.removesuffix("_total").removeprefix(PREFIX) for one in FAMILIES}
    rest = families.keys() - ours
    assert rest >= {"process_resident_memory_bytes", "process_open_fds", "python_info"}
    assert {name.partition("_")[0] for name in rest} == {"process", "python"}


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("text/plain;version=0.0.4;q=0.5", "text/plain"),
        (f"{OPEN};escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4", OPEN.partition(";")[0]),
        # Nonsense; the libraries stumble over some of it.
        ("application/openmetrics-text; version=x", None),
        ("text/plain; version=\ufffd", None),
        (";;==,,", "text/plain"),
    ],
)
def test_whoever_collects_gets_the_format_that_is_asked_for(
    measured: Measurements, accept: str, kind: str | None
) -> None:
    given, content = expose(measured, accept)
    assert kind is None or given.startswith(kind.encode())
    assert b"# TYPE image_cri_shim_clients gauge" in content


def test_calls_are_shown_by_version_method_and_status(measured: Measurements) -> None:
    assert values(measured, "cri_requests") == {
        ("v1", "ImageStatus", "OK"): 1,
        ("v1alpha2", "ImageStatus", "OK"): 1,
        ("v1alpha2", "ImageStatus", "NOT_FOUND"): 1,
    }
    buckets = values(measured, "cri_request_duration_seconds", "_bucket")
    assert buckets["ImageStatus", "0.025"] == 0
    assert buckets["ImageStatus", "0.1"] == buckets["ImageStatus", "60.0"] == 2
    assert buckets["ImageStatus", "+Inf"] == 3
    for part, total in (("duration", 99.06), ("runtime", 1.055), ("shim", 98.005)):
        assert values(measured, f"cri_request_{part}_seconds", "_sum") == {
            ("ImageStatus",): pytest.approx(total)
        }
    assert values(measured, "cri_requests_in_progress") == {(): 4}


def test_pulls_are_shown_by_where_they_came_from(measured: Measurements) -> None:
    assert values(measured, "pulls") == {("origin", "origin", "pulled"): 1}
    assert values(measured, "rewrites") == {(HUB, "failed"): 1}
    assert values(measured, "failovers") == {(HUB, "origin"): 1}
    assert values(measured, "pulls_in_progress") == {(): 1}
    counts = values(measured, "pull_duration_seconds", "_count")
    assert counts == {("pulled",): 1, ("failed",): 0, ("cancelled",): 0}, "for increase() at once"


def test_registries_are_shown_as_they_answer(measured: Measurements) -> None:
    assert values(measured, "look_ups") == {
        (HUB, "present"): 1,
        (HARBOR, "unknown"): 1,
        (HARBOR, "not_asked"): 1,
    }
    assert values(measured, "look_up_duration_seconds", "_sum") == {
        (HUB, "present"): 0.25,
        (HARBOR, "unknown"): 20.0,
    }
    assert values(measured, "registry_up") == {(HUB,): 1, (HARBOR,): 0}, "one was never asked"
    states = values(measured, "registry_breaker_state")
    assert {labels for labels, value in states.items() if value} == {
        (HUB, "closed"),
        (HARBOR, "half-open"),
        ("silent.example", "closed"),
    }
    assert len(states) == 9


def test_a_registry_that_is_left_alone_is_not_up(measured: Measurements) -> None:
    measured.breakers = lambda: {HUB: "open"}
    assert values(measured, "registry_up") == {(HUB,): 0}


def test_states_are_those_of_the_moment(measured: Measurements) -> None:
    assert values(measured, "config_reloads") == {("success",): 3, ("failure",): 1}
    assert values(measured, "config_last_reload_success_timestamp_seconds") == {(): 1234.5}
    assert values(measured, "config_current") == {(): 0}
    assert values(measured, "runtime_connected") == {(): 1}
    assert values(measured, "runtime_info") == {("containerd", "1.7.2", "v1"): 1}
    assert values(measured, "clients") == {(): 2}
    assert values(measured, "log_lines_lost") == {(): 7}
    assert values(measured, "history_up") == {(): 1}
    assert values(measured, "build_info") == {(__version__,): 1}
    measured.runtime = lambda: RuntimeState(False, "containerd", "1.7.2", "v1")
    measured.history = lambda: None
    assert values(measured, "runtime_connected") == {(): 0}
    assert values(measured, "runtime_info") == {}
    assert values(measured, "history_up") == {}


def test_a_daemon_that_is_about_to_start_has_metrics() -> None:
    families = parsed(Measurements(lambda: 0.0))
    assert families["runtime_connected"].samples == []
    assert families["cache_misses"].samples[0].value == 0


def test_what_a_runtime_calls_itself_cannot_break_the_format(measured: Measurements) -> None:
    measured.runtime = lambda: RuntimeState(True, 'a"b\\c\nd' + "x" * 500, "1\n2", "v1")
    for accept in ("", OPEN):
        (sample,) = parsed(measured, accept)["runtime_info"].samples
        assert sample.labels["name"].startswith('a"b\\c\nd')
        assert len(sample.labels["name"]) == 100


def test_names_are_as_prometheus_wants_them(measured: Measurements) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool (Debian's package prometheus)")
    _, content = expose(measured, "")
    ended = subprocess.run(
        [promtool, "check", "metrics"], input=content, capture_output=True, timeout=60
    )
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, b"")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_name_says_its_unit_and_its_type(family) -> None:
    assert re.fullmatch(r"[a-z][a-z_]*[a-z]", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert family.name.endswith("_seconds") or family.kind != "histogram"
    assert "image" not in family.labels
    assert family.meaning.endswith(".")


def test_the_library_is_wanted_only_when_somebody_asks() -> None:
    script = (
        "import sys, image_cri_shim.daemon, image_cri_shim.admin.exposition as e\n"
        "from image_cri_shim.measurements import Measurements\n"
        "assert 'prometheus_client' not in sys.modules\n"
        "sys.modules['prometheus_client'] = None\n"
        "try:\n"
        "    e.expose(Measurements(lambda: 0.0), '')\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error.name)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (ended.stdout, ended.stderr) == ("prometheus_client\n", "")
