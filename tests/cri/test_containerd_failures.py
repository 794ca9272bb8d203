"""Fail-over in front of a real containerd: what it says of broken registries and of a full disk."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from image_cri_shim.decision import Registry
from tests.cri.background import Background
from tests.cri.shim import Shim
from tests.support import containerd
from tests.support.containerd import Containerd
from tests.support.faults import Drop, Status, always
from tests.support.images import MediaTypes, build_image, digest_of, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import free_port

REASON = containerd.why_not()
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
]
Break = Callable[[MemoryRegistry], None]
GOOD = build_image("good")
BAD = build_image("bad")
NAME = "lab/image"
REFERENCE = f"origin.test/{NAME}:1"


@pytest.fixture
def mirror() -> Iterator[MemoryRegistry]:
    """The registry whose images do not come through."""
    with MemoryRegistry() as running:
        push(running.url, NAME, "1", BAD)
        yield running


@pytest.fixture(scope="module")
def origin() -> Iterator[MemoryRegistry]:
    with MemoryRegistry() as running:
        push(running.url, NAME, "1", GOOD)
        yield running


@pytest.fixture(scope="module")
def runtime(
    tmp_path_factory: pytest.TempPathFactory, origin: MemoryRegistry
) -> Iterator[Containerd]:
    mirrors = {"origin.test": origin.url}
    with Containerd(tmp_path_factory.mktemp("containerd"), mirrors=mirrors) as running:
        yield running


def shim_for(make_shim: Callable[..., Shim], runtime: Containerd, domain: str) -> Shim:
    """Start a shim that pulls from the registry at `domain` first, and then from the origin."""
    return make_shim(runtime.socket, registries=[Registry(domain, plain_http=True, offline=True)])


def answers(code: int, part: str = "", **headers: str) -> Break:
    """Let every request whose path contains `part` be answered with a status."""

    def plan(method: str, path: str, count: int) -> Status | None:
        return Status(code, headers) if part in path else None

    def break_it(registry: MemoryRegistry) -> None:
        registry.faults = plan

    return break_it


def claims_a_full_disk(part: str) -> Break:
    """Let every GET whose path contains `part` be answered with what a full disk says."""
    words = b"filesystem: write /var/lib/registry/x: no space left on device"
    body = b'{"errors":[{"code":"UNKNOWN","message":"' + words + b'"}]}'
    answer = Status(500, {"Content-Type": "application/json"}, body)

    def plan(method: str, path: str, count: int) -> Status | None:
        return answer if method == "GET" and part in path else None

    def break_it(registry: MemoryRegistry) -> None:
        # Nothing of this one is in containerd's store since another test.
        push(registry.url, NAME, "1", build_image(f"full disk {part}"))
        registry.faults = plan

    return break_it


def manifest(content: bytes, kind: str = MediaTypes.OCI.manifest) -> Break:
    """Let the tag's manifest be something else."""

    def break_it(registry: MemoryRegistry) -> None:
        entry = (kind, content)
        registry.manifests[NAME, "1"] = registry.manifests[NAME, digest_of(content)] = entry

    return break_it


def layer(content: bytes | None) -> Break:
    """Let the layer be something else under the same digest, or nothing."""

    def break_it(registry: MemoryRegistry) -> None:
        key = NAME, digest_of(BAD.layer)
        del registry.blobs[key]
        if content is not None:
            registry.blobs[key] = content

    return break_it


def drops(registry: MemoryRegistry) -> None:
    registry.faults = always(Drop())


BREAKAGES: dict[str, Break] = {
    "no manifest": lambda registry: registry.manifests.clear(),
    "401": answers(401),
    "401 with a challenge": answers(401, **{"WWW-Authenticate": 'Basic realm="lab"'}),
    "403": answers(403),
    "429": answers(429),
    "500": answers(500),
    "connection dropped": drops,
    "corrupt manifest": manifest(b"{not json"),
    "empty manifest": manifest(b"{}"),
    "a web page": manifest(b"<html></html>", "text/html"),
    "layer missing": layer(None),
    "another layer": layer(b"x" * len(BAD.layer)),
    "half a layer": layer(BAD.layer[:50]),
    "layer 403": answers(403, "/blobs/"),
    "layer 500": answers(500, "/blobs/"),
    "manifest 500, its own disk is full": claims_a_full_disk("/manifests/"),
    "layer 500, its own disk is full": claims_a_full_disk("/blobs/"),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_the_image_comes_from_the_next_source_when_a_registry_fails(
    make_shim: Callable[..., Shim], runtime: Containerd, mirror: MemoryRegistry, breakage: str
) -> None:
    BREAKAGES[breakage](mirror)
    shim = shim_for(make_shim, runtime, mirror.host)
    assert shim.client().pull(REFERENCE) == GOOD.config_digest
    attempts = shim.notes.next_pull().attempts
    assert [a.candidate.name for a in attempts] == [f"{mirror.host}/{NAME}:1", REFERENCE]
    assert attempts[0].error


def test_the_image_comes_from_the_next_source_when_nobody_listens(
    make_shim: Callable[..., Shim], runtime: Containerd
) -> None:
    shim = shim_for(make_shim, runtime, f"127.0.0.1:{free_port()}")
    assert shim.client().pull(REFERENCE) == GOOD.config_digest
    assert "connection refused" in shim.notes.next_pull().attempts[0].error


@pytest.mark.parametrize("full", ["content", "snapshots", "read-only"])
def test_a_disk_that_takes_no_more_ends_the_pull_with_containerds_own_words(
    background: Background,
    make_shim: Callable[..., Shim],
    tmp_path: Path,
    origin: MemoryRegistry,
    mirror: MemoryRegistry,
    full: str,
) -> None:
    # Zeros are small as a layer, and large on the disk.
    files = {"zeros": bytes(48 << 20)}
    if full == "content":
        files = {"noise": b"".join(digest_of(b"%d" % n).encode() for n in range(200_000))}
    push(mirror.url, NAME, "1", build_image("large", files=files))
    runtime = Containerd(tmp_path / "c", mirrors={"origin.test": origin.url}, snapshotter="native")
    root = tmp_path / "c" / "root"
    root.mkdir()
    mount("-t", "tmpfs", "-o", f"size={'4m' if full == 'content' else '24m'}", "none", str(root))
    with runtime:
        if full == "read-only":
            content = str(root / "io.containerd.content.v1.content")
            mount("--bind", content, content)
            mount("-o", "remount,ro,bind", content)
        shim = shim_for(make_shim, runtime, mirror.host)
        with pytest.raises(grpc.RpcError) as caught:
            shim.client().pull(REFERENCE)
        words = "read-only file system" if full == "read-only" else "no space left on device"
        assert words in caught.value.details()
        assert "image-cri-shim" not in caught.value.details()
        attempts = shim.notes.next_pull().attempts
        assert [a.candidate.name for a in attempts] == [f"{mirror.host}/{NAME}:1"]


def mount(*arguments: str) -> None:
    """Mount something; containerd's end unmounts what is below its directory."""
    subprocess.run(["mount", *arguments], check=True)
