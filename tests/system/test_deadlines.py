"""Deadlines pass on to the runtime, and so does giving up."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from tests.support.containerd import Containerd
from tests.support.cri_client import CRI
from tests.support.faults import Hang, Slow, always
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import wait_until
from tests.support.standin_runtime import StandinRuntime
from tests.system.conftest import StartDaemon

NO_REGISTRY = 'address: ""'
# PullImageRequest of fault.test/hang:1.
HANG = b"\x0a\x13\x0a\x11fault.test/hang:1"


@pytest.mark.parametrize("version", ["v1", "v1alpha2"])
def test_a_pull_with_a_deadline_of_a_millisecond_ends_with_deadline_exceeded(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    offline: MemoryRegistry,
    version: str,
) -> None:
    image = build_image(f"deadline {version}")
    push(offline.url, f"deadline/{version}", "1", image)
    shim = start_daemon(runtime.socket, f"address: {offline.url}")
    client = connect(shim.socket, version)
    name = f"origin.test/deadline/{version}:1"
    assert client.image_status(name) is None
    for _ in range(20):
        with pytest.raises(grpc.RpcError) as caught:
            client.pull(name, timeout=0.001)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    # It is none the worse for it.
    assert client.pull(name) == image.config_digest


def test_a_clients_deadline_is_the_runtimes_deadline(
    start_daemon: StartDaemon, connect: Callable[..., CRI], standin: StandinRuntime
) -> None:
    client = connect(start_daemon(standin.socket, NO_REGISTRY).socket)
    standin.forget_journal()
    with pytest.raises(grpc.RpcError) as caught:
        client.pull("fault.test/hang:1", timeout=0.5)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    (entry,) = standin.wait_for("PullImage")
    # gRPC clients round what they send.
    assert 0 < entry["deadline"] < 0.6
    standin.wait_for("PullImage", "cancelled")


def test_timeout_is_the_deadline_of_who_sets_none(
    start_daemon: StartDaemon, connect: Callable[..., CRI], standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, f"{NO_REGISTRY}\ntimeout: 1s")
    client = connect(shim.socket)
    standin.forget_journal()
    pull = client.start(client.path("ImageService", "PullImage"), HANG)
    with pytest.raises(grpc.RpcError) as caught:
        pull.result(timeout=10)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    (entry,) = standin.wait_for("PullImage")
    assert 0 < entry["deadline"] <= 1.01
    # A client that sets one may wait longer.
    with pytest.raises(grpc.RpcError):
        client.pull("fault.test/hang:1", timeout=2)
    assert standin.wait_for("PullImage", count=2)[1]["deadline"] > 1


def test_a_client_that_gives_up_reaches_the_runtime(
    start_daemon: StartDaemon, connect: Callable[..., CRI], standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    client = connect(shim.socket)
    standin.forget_journal()
    pull = client.start(client.path("ImageService", "PullImage"), HANG)
    standin.wait_for("PullImage")
    assert standin.journal("PullImage", event="cancelled") == []
    pull.cancel()
    (entry,) = standin.wait_for("PullImage", "cancelled")
    assert entry["image"] == "fault.test/hang:1"
    shim.wait_for("PullImage fault.test/hang:1: failed after ")
    (line,) = shim.lines("PullImage fault.test/hang:1: failed after ")
    assert " ms: fault.test/hang:1: cancelled [" in line


def test_a_client_that_dies_reaches_the_runtime(
    start_daemon: StartDaemon, connect: Callable[..., CRI], standin: StandinRuntime
) -> None:
    client = connect(start_daemon(standin.socket, NO_REGISTRY).socket)
    standin.forget_journal()
    pull = client.start(client.path("ImageService", "PullImage"), HANG)
    standin.wait_for("PullImage")
    client.close()
    standin.wait_for("PullImage", "cancelled")
    assert pull.done()


def test_giving_up_during_a_look_up_ends_it_and_pulls_nothing(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    standin: StandinRuntime,
    offline: MemoryRegistry,
) -> None:
    offline.faults = always(Hang())
    shim = start_daemon(standin.socket, f"address: {offline.url}")
    client = connect(shim.socket)
    standin.forget_journal()
    # PullImageRequest of origin.test/give/up:1.
    body = b"\x0a\x17\x0a\x15origin.test/give/up:1"
    pull = client.start(client.path("ImageService", "PullImage"), body)
    assert wait_until(lambda: len(offline.requests) == 1, 10)
    pull.cancel()
    shim.wait_for("PullImage origin.test/give/up:1: failed after ")
    assert client.image_status("origin.test/give/up:1") is None
    assert standin.journal("PullImage") == []


def test_one_client_that_gives_up_takes_nothing_from_another(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    standin: StandinRuntime,
    offline: MemoryRegistry,
) -> None:
    image = build_image("give shared")
    push(offline.url, "give/shared", "1", image)
    offline.forget_requests()
    offline.faults = [Slow(1)]
    shim = start_daemon(standin.socket, f"address: {offline.url}")
    one, other = connect(shim.socket), connect(shim.socket)
    # PullImageRequest of origin.test/give/shared:1.
    body = b"\x0a\x1b\x0a\x19origin.test/give/shared:1"
    path = one.path("ImageService", "PullImage")
    pulls = [one.start(path, body, timeout=20), other.start(path, body, timeout=20)]
    assert wait_until(lambda: len(offline.requests) >= 1, 10)
    pulls[0].cancel()
    assert image.config_digest.encode() in pulls[1].result()
