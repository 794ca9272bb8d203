"""Several registries: the right one is chosen, whatever the others do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.certificates import self_signed
from tests.support.containerd import Containerd
from tests.support.cri_client import CRI
from tests.support.faults import Drop, Hang, Slow, Status, always
from tests.support.http_server import Tarpit
from tests.support.images import build_image, delete_manifest, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import wait_until
from tests.support.registries import DockerRegistry
from tests.system.conftest import StartDaemon

MakeRegistry = Callable[..., DockerRegistry]
Connect = Callable[..., CRI]


@pytest.fixture
def mirror() -> Iterator[MemoryRegistry]:
    with MemoryRegistry() as running:
        yield running


def settings(*registries: str, more: str = "") -> str:
    """Return a configuration with registries only, the first with the highest priority."""
    entries = [
        f"  - {{address: '{address}', priority: {1000 - n}}}"
        for n, address in enumerate(registries)
    ]
    return "\n".join(["address: ''", more, "registries:", *entries])


def decision(log: str, image: str) -> str:
    (line,) = [line for line in log.splitlines() if f"PullImage {image} -> " in line]
    return line.partition(" -> ")[2]


def test_the_one_that_has_the_image_is_found_among_five_that_fail_in_their_own_ways(
    start_daemon: StartDaemon,
    make_registry: MakeRegistry,
    connect: Connect,
    runtime: Containerd,
    origin: MemoryRegistry,
    tarpit: Tarpit,
    tmp_path: Path,
) -> None:
    holder, other = make_registry(), make_registry()
    untrusted = make_registry(tls=self_signed(tmp_path / "certificate"))
    image = build_image("five")
    push(holder.url, "lab/five", "1", image)
    push(other.url, "lab/other", "1", build_image("another"))
    origin.forget_requests()
    with MemoryRegistry() as failing, MemoryRegistry() as dropping:
        failing.faults = always(Status(503))
        dropping.faults = always(Drop())
        shim = start_daemon(
            runtime.socket,
            settings(failing.url, untrusted.url, dropping.url, tarpit.url, other.url, holder.url),
        )
        # Less than the silent one's budget of 10 s.
        pulled = connect(shim.socket).pull("origin.test/lab/five:1", timeout=8)
    assert pulled == image.config_digest
    line = decision(shim.text(), "origin.test/lab/five:1")
    assert line.startswith(f"{holder.host}/lab/five:1 (registry, present, ")
    for said in (
        f"{failing.host}: unknown (503)",
        f"{untrusted.host}: unknown (TLS: certificate verify failed: ",
        f"{dropping.host}: unknown (connection lost)",
        f"{tarpit.host}: slow, ",
        f"{other.host}: absent (404)",
    ):
        assert said in line
    assert origin.connections == 0


def test_a_slow_one_in_front_is_waited_for_if_the_operator_wants_the_order_kept(
    start_daemon: StartDaemon,
    connect: Connect,
    runtime: Containerd,
    offline: MemoryRegistry,
    mirror: MemoryRegistry,
) -> None:
    image = build_image("slow")
    for registry in (offline, mirror):
        push(registry.url, "lab/slow", "1", image)
    offline.faults = always(Slow(1.5))
    shim = start_daemon(
        runtime.socket, settings(offline.url, mirror.url, more="lookupGrace: 100ms")
    )
    assert connect(shim.socket).pull("origin.test/lab/slow:1") == image.config_digest
    line = decision(shim.text(), "origin.test/lab/slow:1")
    assert line.startswith(f"{mirror.host}/lab/slow:1 ")
    shim.configure(settings(offline.url, mirror.url, more="lookupGrace: 0"))
    shim.restart()
    shim.forget_log()
    assert connect(shim.socket).pull("origin.test/lab/slow:1") == image.config_digest
    line = decision(shim.text(), "origin.test/lab/slow:1")
    assert line.startswith(f"{offline.host}/lab/slow:1 ")


def test_an_image_that_was_pushed_after_a_miss_is_found_when_the_miss_no_longer_holds(
    start_daemon: StartDaemon,
    make_registry: MakeRegistry,
    connect: Connect,
    runtime: Containerd,
    origin: MemoryRegistry,
) -> None:
    offline = make_registry()
    image = build_image("later")
    push(origin.url, "lab/later", "1", image)
    shim = start_daemon(runtime.socket, f"address: {offline.url}\ncache: {{absentTTL: 1s}}")
    client = connect(shim.socket)
    client.pull("origin.test/lab/later:1")
    assert f"(origin, {offline.host}: absent (404), " in shim.text()
    push(offline.url, "lab/later", "1", image)

    def found() -> bool:
        shim.forget_log()
        client.pull("origin.test/lab/later:1")
        return f"-> {offline.host}/lab/later:1 (offline, present" in shim.text()

    assert wait_until(found, 10, interval=0.3)


def test_an_image_that_was_pushed_after_a_pull_that_failed_is_found_at_once(
    start_daemon: StartDaemon,
    make_registry: MakeRegistry,
    connect: Connect,
    runtime: Containerd,
) -> None:
    offline = make_registry()
    shim = start_daemon(runtime.socket, f"address: {offline.url}")
    client = connect(shim.socket)
    with pytest.raises(Exception, match="not found"):
        client.pull("origin.test/lab/corrected:1")
    image = build_image("corrected")
    push(offline.url, "lab/corrected", "1", image)
    assert client.pull("origin.test/lab/corrected:1") == image.config_digest


def test_an_image_that_was_deleted_after_a_hit_is_pulled_from_the_next_in_the_same_call(
    start_daemon: StartDaemon,
    make_registry: MakeRegistry,
    connect: Connect,
    runtime: Containerd,
    origin: MemoryRegistry,
) -> None:
    first, second = make_registry(), make_registry()
    image = build_image("deleted")
    for registry in (first, second):
        push(registry.url, "lab/deleted", "1", image)
    origin.forget_requests()
    shim = start_daemon(runtime.socket, settings(first.url, second.url))
    client = connect(shim.socket)
    reference = "origin.test/lab/deleted:1"
    assert client.pull(reference) == image.config_digest
    client.remove_image(reference)
    delete_manifest(first.url, "lab/deleted", image.manifest_digest)
    shim.forget_log()
    assert client.pull(reference) == image.config_digest
    assert "(registry, present, cached, " in decision(shim.text(), reference)
    (line,) = shim.lines(f"PullImage {reference}: pulled {second.host}/lab/deleted:1 in ")
    assert f"after {first.host}/lab/deleted:1: " in line
    assert origin.connections == 0
    # What was proved wrong is forgotten: the next pull knows at once.
    shim.forget_log()
    client.pull(reference)
    line = decision(shim.text(), reference)
    assert line.startswith(f"{second.host}/lab/deleted:1 (registry, present, ")
    assert f"{first.host}: absent (404)" in line


def test_clients_in_a_hurry_do_not_wait_for_a_silent_registry_for_ever(
    start_daemon: StartDaemon,
    connect: Connect,
    runtime: Containerd,
    origin: MemoryRegistry,
    offline: MemoryRegistry,
) -> None:
    image = build_image("hurry")
    push(origin.url, "lab/hurry", "1", image)
    offline.faults = always(Hang())
    shim = start_daemon(
        runtime.socket,
        f"address: ''\nregistries:\n  - {{address: '{offline.url}', timeout: 3s}}",
    )
    client = connect(shim.socket)
    with pytest.raises(Exception, match=r"(?i)deadline exceeded"):
        client.pull("origin.test/lab/hurry:1", timeout=1)
    shim.wait_for(f"registry {offline.host} is not asked for ")
    assert client.pull("origin.test/lab/hurry:1", timeout=2) == image.config_digest
    assert len(offline.requests) == 1


def test_rules_say_which_registries_hold_what_and_where(
    start_daemon: StartDaemon,
    make_registry: MakeRegistry,
    connect: Connect,
    runtime: Containerd,
    origin: MemoryRegistry,
) -> None:
    harbor, offline = make_registry(), make_registry()
    images = {
        "proxied": ("harbor", "docker-proxy/library/proxied"),
        "origin.test/team/app": ("harbor", "all/origin.test/team/app"),
        "origin.test/k8s/pause": ("offline", "google_containers/pause"),
    }
    built = {}
    for name, (where, path) in images.items():
        built[name] = build_image(f"rules {name}")
        push((harbor if where == "harbor" else offline).url, path, "1", built[name])
    push(origin.url, "library/proxied", "latest", build_image("latest"))
    shim = start_daemon(
        runtime.socket,
        f"""
address: {offline.url}
registries:
  - {{address: '{harbor.url}', prefix: docker-proxy}}
  - {{address: '{harbor.url}', prefix: all, keepHost: true}}
rules:
  - match: docker.io
    registries: ['{harbor.host}/docker-proxy']
    exclude: '*:latest'
  - match: origin.test/k8s
    registries: ['{offline.host}']
    rewrite:
      - {{from: origin.test/k8s/*, to: google_containers/*}}
  - match: origin.test
    registries: ['{harbor.host}/all', '{offline.host}']
""",
    )
    client = connect(shim.socket)
    for name, (where, path) in images.items():
        assert client.pull(f"{name}:1") == built[name].config_digest
        host = (harbor if where == "harbor" else offline).host
        line = decision(shim.text(), f"{name}:1")
        assert line.startswith(f"{host}/{path}:1 (")
        found = client.image_status(f"{name}:1")
        assert found is not None
        assert found.repo_tags == [f"{host}/{path}:1"]
    asked = len(harbor.requests())
    client.pull("proxied:latest")
    assert decision(shim.text(), "proxied:latest").startswith("proxied:latest (")
    assert len(harbor.requests()) == asked
