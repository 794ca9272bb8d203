"""A registry that is dead, hangs or fails never stops the node."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.containerd import Containerd
from tests.support.cri_client import CRI
from tests.support.faults import Drop, Hang, Status, always
from tests.support.http_server import Tarpit
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import free_port
from tests.support.registries import DockerRegistry
from tests.system.conftest import StartDaemon

BUDGET = 10.0
# Only against a test that hangs; what is asserted of local questions is who was asked.
PATIENCE = 13.0


@pytest.fixture
def unreachable() -> Iterator[str]:
    """An address whose connections are never established: a listener's full queue."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_an_image_that_the_node_has_is_found_with_the_offline_registry_stopped(
    start_daemon: StartDaemon,
    make_registry: Callable[..., DockerRegistry],
    connect: Callable[..., CRI],
    runtime: Containerd,
) -> None:
    offline = make_registry()
    image = build_image("stopped")
    push(offline.url, "library/nginx", "1.25", image)
    shim = start_daemon(runtime.socket, f"address: {offline.url}")
    client = connect(shim.socket)
    client.pull("nginx:1.25")
    offline.stop()
    for version in ("v1", "v1alpha2"):
        found = connect(shim.socket, version).image_status("nginx:1.25", timeout=2)
        assert found is not None
        assert found.id == image.config_digest

    # Nothing that matters is forgotten by a restart.
    shim.restart()
    found = connect(shim.socket).image_status("nginx:1.25", timeout=2)
    assert found is not None
    assert found.id == image.config_digest
    client = connect(shim.socket)
    client.remove_image("nginx:1.25", timeout=2)
    assert client.image_status(image.config_digest) is None


def test_local_questions_never_reach_a_registry(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
    tarpit: Tarpit,
) -> None:
    image = build_image("local")
    push(origin.url, "lab/local", "1", image)
    connect(runtime.socket).pull("origin.test/lab/local:1")
    origin.forget_requests()
    shim = start_daemon(runtime.socket, f"address: {tarpit.url}")
    for version in ("v1", "v1alpha2"):
        client = connect(shim.socket, version)
        for name in ("origin.test/lab/local:1", image.config_digest, image.config_digest[7:19]):
            found = client.image_status(name, timeout=2)
            assert found is not None
            assert found.id == image.config_digest
        for absent in ("nginx:1.25", f"nginx@{image.manifest_digest}", "origin.test/lab/no:1"):
            assert client.image_status(absent, timeout=2) is None
            client.remove_image(absent, timeout=2)
        assert image.config_digest in {i.id for i in client.list_images(timeout=2)}
        assert image.config_digest in {
            i.id for i in client.list_images("origin.test/lab/local:1", timeout=2)
        }
        client.image_fs_info(timeout=2)
    client.remove_image("origin.test/lab/local:1", timeout=2)
    assert connect(runtime.socket).image_status(image.config_digest) is None
    assert tarpit.connections == 0
    assert origin.connections == 0


def test_a_registry_that_never_answers_delays_one_pull_by_its_budget_and_then_none(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
    tarpit: Tarpit,
) -> None:
    images = [build_image(f"tarpit {n}") for n in range(3)]
    for number, image in enumerate(images):
        push(origin.url, "lab/tarpit", str(number), image)
    shim = start_daemon(runtime.socket, f"address: {tarpit.url}")
    client = connect(shim.socket)

    began = time.monotonic()
    pending = client.start(
        client.path("ImageService", "PullImage"),
        b"\x0a\x1a\x0a\x18origin.test/lab/tarpit:0",
        timeout=60,
    )
    # While that pull waits, the node's own questions are answered.
    for _ in range(20):
        assert client.image_status("origin.test/lab/tarpit:1", timeout=2) is None
    assert not pending.done()
    pending.result()
    assert time.monotonic() - began < PATIENCE
    # The runtime was not sent into the same trap.
    assert tarpit.connections == 1
    shim.wait_for(f"(origin, {tarpit.host}: unknown (timed out after 10s), 10.")

    assert client.pull("origin.test/lab/tarpit:1", timeout=BUDGET / 2) == images[1].config_digest
    assert client.pull("origin.test/lab/tarpit:2", timeout=BUDGET / 2) == images[2].config_digest
    assert tarpit.connections == 1
    (line,) = shim.lines("PullImage origin.test/lab/tarpit:1 ->")
    assert f"(origin, {tarpit.host}: unknown (not asked: timed out after 10s, next try in " in line


def test_a_silent_registry_is_named_in_the_error_when_the_origin_fails_too(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    tarpit: Tarpit,
) -> None:
    shim = start_daemon(runtime.socket, f"address: {tarpit.url}\noffline: {{timeout: 1s}}\n")
    client = connect(shim.socket)
    with pytest.raises(Exception, match="not found") as failed:
        client.pull("origin.test/lab/nowhere:1")
    said = f"(image-cri-shim: could not be looked up on {tarpit.host} (timed out after 1s))"
    assert said in str(failed.value)
    (line,) = shim.lines("PullImage origin.test/lab/nowhere:1: failed ")
    assert f"{tarpit.host} (timed out after 1s)" in line


def test_a_registry_that_cannot_be_connected_to_costs_the_connection_budget_only(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
    unreachable: str,
) -> None:
    image = build_image("unreachable")
    push(origin.url, "lab/unreachable", "1", image)
    shim = start_daemon(runtime.socket, f"address: http://{unreachable}")
    # Less than the total budget: connecting has one of its own.
    assert connect(shim.socket).pull("origin.test/lab/unreachable:1", timeout=8)
    assert f"{unreachable}: unknown (connecting timed out after 3s)" in shim.text()


@pytest.mark.parametrize(
    ("name", "fault", "reason"),
    [
        ("503", Status(503), "unknown (503)"),
        ("429", Status(429, {"Retry-After": "60"}), "unknown (429)"),
        ("dropped", Drop(), "unknown (connection lost)"),
    ],
)
def test_what_a_failing_registry_said_is_in_the_log_and_the_origin_is_pulled(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
    offline: MemoryRegistry,
    name: str,
    fault: Status | Drop,
    reason: str,
) -> None:
    image = build_image(f"failing {name}")
    push(origin.url, f"lab/failing-{name}", "1", image)
    offline.faults = always(fault)
    shim = start_daemon(runtime.socket, f"address: {offline.url}")
    client = connect(shim.socket)
    reference = f"origin.test/lab/failing-{name}:1"
    assert client.pull(reference) == image.config_digest
    found = client.image_status(reference)
    assert found is not None
    assert found.repo_tags == [reference]
    assert f"{offline.host}: {reason}" in shim.text()
    (line,) = shim.lines(f"PullImage {reference}: pulled {reference} in ")
    assert f"after {offline.host}/lab/failing-{name}:1: " in line


def test_a_registry_that_refuses_connections_is_named_and_the_origin_is_pulled(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
) -> None:
    image = build_image("refused")
    push(origin.url, "lab/refused", "1", image)
    dead = f"127.0.0.1:{free_port()}"
    shim = start_daemon(runtime.socket, f"address: http://{dead}")
    assert connect(shim.socket).pull("origin.test/lab/refused:1") == image.config_digest
    assert f"{dead}: unknown (connection refused)" in shim.text()


def test_a_host_that_does_not_exist_is_named_and_the_origin_is_pulled(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
) -> None:
    image = build_image("no such host")
    push(origin.url, "lab/nohost", "1", image)
    shim = start_daemon(runtime.socket, "address: http://sealos.invalid:5000")
    assert connect(shim.socket).pull("origin.test/lab/nohost:1") == image.config_digest
    assert "sealos.invalid:5000: unknown (no such host)" in shim.text()


def test_a_registry_that_comes_back_is_asked_again(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
    offline: MemoryRegistry,
) -> None:
    image = build_image("back")
    push(offline.url, "lab/back", "1", image)
    push(origin.url, "lab/back", "1", image)
    offline.stop()
    shim = start_daemon(runtime.socket, f"address: {offline.url}")
    client = connect(shim.socket)
    assert client.pull("origin.test/lab/back:1") == image.config_digest
    assert f"-> {offline.host}/lab/back:1 (offline, tried although unknown" in shim.text()
    offline.start()
    # The back-off after one failure is 5 seconds; a reload forgets it.
    shim.reload()
    shim.forget_log()
    assert client.pull("origin.test/lab/back:1") == image.config_digest
    assert f"-> {offline.host}/lab/back:1 (offline, present, " in shim.text()


def test_a_registry_that_has_an_image_and_never_hands_it_out_hangs_one_pull_only(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
    offline: MemoryRegistry,
) -> None:
    image = build_image("never handed out")
    for registry in (offline, origin):
        push(registry.url, "lab/withheld", "1", image)
    offline.faults = lambda method, path, count: Hang() if method == "GET" else None
    shim = start_daemon(runtime.socket, f"address: {offline.url}\ntimeout: 2s")
    client = connect(shim.socket)
    with pytest.raises(Exception, match=r"(?i)deadline exceeded"):
        client.pull("origin.test/lab/withheld:1", timeout=None)
    shim.forget_log()
    assert client.pull("origin.test/lab/withheld:1", timeout=None) == image.config_digest
    (line,) = shim.lines("PullImage origin.test/lab/withheld:1 ->")
    assert "-> origin.test/lab/withheld:1 (origin, " in line
    assert "the last pull from it did not come to an end" in line
