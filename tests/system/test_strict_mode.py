"""`originAllowed: false`: the origin is never contacted, and the error says why there is no image."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from tests.support.containerd import Containerd
from tests.support.cri_client import CRI
from tests.support.faults import Redirect, Status, always
from tests.support.http_server import Tarpit
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import free_port
from tests.support.registries import DockerRegistry
from tests.system.conftest import StartDaemon

Connect = Callable[..., CRI]
RULES = "rules:\n  - {match: '*', originAllowed: false}\n"


def refused(client: CRI, image: str) -> tuple[grpc.StatusCode, str]:
    """Pull what cannot be pulled; return the code and the message of the error."""
    with pytest.raises(grpc.RpcError) as caught:
        client.pull(image)
    call = caught.value
    assert isinstance(call, grpc.Call)
    return call.code(), call.details() or ""


def test_with_every_mirror_down_the_origin_sees_nothing_and_the_error_names_every_mirror(
    start_daemon: StartDaemon,
    make_registry: Callable[..., DockerRegistry],
    connect: Connect,
    runtime: Containerd,
    origin: MemoryRegistry,
) -> None:
    image = build_image("strict")
    push(origin.url, "lab/strict", "1", image)
    origin.forget_requests()
    empty = make_registry()
    dead = f"127.0.0.1:{free_port()}"
    with Tarpit() as silent, MemoryRegistry() as failing:
        failing.faults = always(Status(503))
        shim = start_daemon(
            runtime.socket,
            f"address: http://{dead}\nregistries:\n"
            f"  - {{address: '{empty.url}'}}\n"
            f"  - {{address: '{silent.url}', timeout: 2s}}\n"
            f"  - {{address: '{failing.url}'}}\n{RULES}",
        )
        _, message = refused(connect(shim.socket), "origin.test/lab/strict:1")
    for host, reason in (
        (dead, "connection refused"),
        (empty.host, "404"),
        (silent.host, "timed out after 2s"),
        (failing.host, "503"),
    ):
        assert host in message
        assert reason in message
    assert "origin not allowed by rule 1 (*)" in message
    assert origin.connections == 0


def test_an_image_that_no_mirror_has_is_not_found(
    start_daemon: StartDaemon,
    connect: Connect,
    runtime: Containerd,
    origin: MemoryRegistry,
    offline: MemoryRegistry,
) -> None:
    origin.forget_requests()
    shim = start_daemon(runtime.socket, f"address: {offline.url}\n{RULES}")
    client = connect(shim.socket)
    expected = (
        f"image-cri-shim: origin.test/lab/no:1 not found on {offline.host} (404); "
        "origin not allowed by rule 1 (*)"
    )
    assert refused(client, "origin.test/lab/no:1") == (grpc.StatusCode.NOT_FOUND, expected)
    assert origin.connections == 0
    # Once a mirror has it, all is well.
    image = build_image("strict, found")
    push(offline.url, "lab/yes", "1", image)
    assert client.pull("origin.test/lab/yes:1") == image.config_digest


def test_a_mirror_that_leads_to_the_origin_is_no_mirror(
    start_daemon: StartDaemon,
    connect: Connect,
    runtime: Containerd,
    origin: MemoryRegistry,
    offline: MemoryRegistry,
) -> None:
    push(origin.url, "lab/astray", "1", build_image("astray"))
    host = f"localhost:{origin.port}"
    offline.faults = always(Redirect(f"http://{host}"))
    origin.forget_requests()
    shim = start_daemon(runtime.socket, f"address: {offline.url}\n{RULES}")
    _, message = refused(connect(shim.socket), f"{host}/lab/astray:1")
    assert f"{offline.host} (leads to localhost, which is not allowed)" in message
    assert origin.connections == 0


def test_what_the_node_has_under_its_own_name_is_still_found(
    start_daemon: StartDaemon,
    connect: Connect,
    runtime: Containerd,
    origin: MemoryRegistry,
    offline: MemoryRegistry,
) -> None:
    image = build_image("strict, loaded before")
    push(origin.url, "lab/loaded", "1", image)
    connect(runtime.socket).pull("origin.test/lab/loaded:1")
    shim = start_daemon(runtime.socket, f"address: {offline.url}\n{RULES}")
    found = connect(shim.socket).image_status("origin.test/lab/loaded:1")
    assert found is not None
    assert found.id == image.config_digest


def test_what_is_excluded_from_the_mirrors_cannot_be_had_at_all(
    start_daemon: StartDaemon,
    connect: Connect,
    runtime: Containerd,
    origin: MemoryRegistry,
    offline: MemoryRegistry,
) -> None:
    push(offline.url, "lab/mutable", "latest", build_image("mutable"))
    for registry in (origin, offline):
        registry.forget_requests()
    shim = start_daemon(
        runtime.socket,
        f"address: {offline.url}\n"
        "rules:\n  - {match: '*', exclude: '*:latest', originAllowed: false}\n",
    )
    _, message = refused(connect(shim.socket), "origin.test/lab/mutable")
    assert "left alone by *:latest of rule 1 (*)" in message
    assert (origin.connections, offline.connections) == (0, 0)
