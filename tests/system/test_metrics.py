"""What a running daemon shows under /metrics."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from image_cri_shim.admin.families import FAMILIES
from tests.support.admin_client import ask
from tests.support.cri_client import CRI
from tests.support.daemon import Daemon
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.standin_runtime import StandinRuntime
from tests.system.conftest import StartDaemon

# Families without samples until something happens, or where something is not there.
EVENTFUL = {
    "cri_requests_total",
    "cri_request_duration_seconds",
    "cri_request_runtime_seconds",
    "cri_request_shim_seconds",
    "pulls_total",
    "pull_duration_seconds",
    "rewrites_total",
    "failovers_total",
    "look_ups_total",
    "look_up_duration_seconds",
    "registry_up",
}


class Scrape:
    """The samples of one moment."""

    def __init__(self, shim: Daemon) -> None:
        status, content = ask(shim.admin, "/metrics")
        assert status == 200, content
        self._samples = {
            (sample.name.removeprefix("image_cri_shim_"), frozenset(sample.labels.items())): (
                sample.value
            )
            for family in text_string_to_metric_families(content)
            for sample in family.samples
        }

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self._samples}

    def __call__(self, name: str, **labels: str) -> float | None:
        wanted = {key.removesuffix("_"): value for key, value in labels.items()}
        return self._samples.get((name, frozenset(wanted.items())))


def test_what_does_not_wait_for_something_to_happen_is_there_from_the_beginning(
    start_daemon: StartDaemon, connect: Callable[..., CRI], standin: StandinRuntime
) -> None:
    shim = start_daemon(
        standin.socket, "address: ''\nregistries: [{address: 'http://127.0.0.1:9'}]"
    )
    # Which makes the shim ask the runtime what it is.
    connect(shim.socket).version()
    told = Scrape(shim)
    assert {one.name for one in FAMILIES} - EVENTFUL - told.names == set()
    assert told("log_lines_lost_total") == 0


def test_counters_tell_of_pulls_and_go_on_when_the_configuration_is_read_again(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    standin: StandinRuntime,
    offline: MemoryRegistry,
) -> None:
    push(offline.url, "library/nginx", "1.25", build_image("metrics"))
    hub = offline.url.removeprefix("http://")
    shim = start_daemon(standin.socket, f"address: {offline.url}")
    client = connect(shim.socket)
    client.pull("nginx:1.25")
    client.pull("nginx:1.25")
    with pytest.raises(grpc.RpcError):
        client.pull("fault.test/fail:1")
    assert "the new configuration runs" in shim.reload()
    client.pull("nginx:1.25")
    assert "refused" in shim.reload("nonsense: 1")
    told = Scrape(shim)
    assert told("pulls_total", kind="offline", registry=hub, outcome="pulled") == 3
    assert told("pulls_total", kind="origin", registry="origin", outcome="failed") == 1
    assert told("pull_duration_seconds_count", outcome="pulled") == 3
    assert told("rewrites_total", registry=hub, outcome="pulled") == 3
    assert told("look_ups_total", registry=hub, outcome="present") == 2
    assert told("look_up_duration_seconds_count", registry=hub, outcome="absent") == 1
    assert told("cache_hits_total", outcome="present") == 1
    assert told("cache_misses_total") == 3
    assert told("cri_requests_total", version="v1", method="PullImage", code="OK") == 3
    count = told("cri_request_shim_seconds_count", method="PullImage")
    assert count == told("cri_request_runtime_seconds_count", method="PullImage") == 4
    assert told("registry_up", registry=hub) == 1
    assert told("registry_breaker_state", registry=hub, state="closed") == 1
    assert told("config_reloads_total", outcome="success") == 1
    assert told("config_reloads_total", outcome="failure") == 1
    assert told("config_current") == 0
    assert told("runtime_connected") == 1
    assert told("clients") == 1
    assert told("process_resident_memory_bytes")


def test_a_failing_registry_and_what_is_pulled_in_its_place_are_seen(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    standin: StandinRuntime,
    offline: MemoryRegistry,
    origin: MemoryRegistry,
) -> None:
    push(origin.url, "team/app", "1", build_image("metrics at the origin"))
    shim = start_daemon(standin.socket, f"address: {offline.url}")
    hub = offline.url.removeprefix("http://")
    offline.stop()
    client = connect(shim.socket)
    for _ in range(4):
        client.pull("origin.test/team/app:1")
    told = Scrape(shim)
    assert told("registry_up", registry=hub) == 0
    assert told("registry_breaker_state", registry=hub, state="open") == 1
    assert told("look_ups_total", registry=hub, outcome="unknown") == 3
    assert told("look_ups_total", registry=hub, outcome="not_asked") == 1
    # The runtime may reach what the shim could not, so it was asked first while that was unknown.
    assert told("failovers_total", from_=hub, to="origin") == 3
    assert told("pulls_total", kind="origin", registry="origin", outcome="pulled") == 4
