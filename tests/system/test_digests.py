"""Digests are promises: such a reference is only ever pulled by its digest."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from tests.support.containerd import Containerd
from tests.support.cri_client import CRI
from tests.support.images import MediaTypes, build_image, image_index, push
from tests.support.memory_registry import MemoryRegistry
from tests.system.conftest import StartDaemon

HOST = "origin.test"


@pytest.mark.parametrize("form", ["{name}@{digest}", "{name}:1@{digest}", "{name}:gone@{digest}"])
def test_a_digest_that_the_offline_registry_has_is_pulled_from_there_by_the_digest(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
    offline: MemoryRegistry,
    form: str,
) -> None:
    image, moved = build_image(f"digest {form}"), build_image("moved on")
    push(offline.url, "digests/app", "1", image)
    # The tag is somebody else's by now.
    push(offline.url, "digests/app", "1", moved)
    shim = start_daemon(runtime.socket, f"address: {offline.url}")
    client = connect(shim.socket)
    name = form.format(name=f"{HOST}/digests/app", digest=image.manifest_digest)
    origin.forget_requests()
    assert client.pull(name) == image.config_digest
    assert origin.requests == []
    candidate = f"{offline.host}/digests/app@{image.manifest_digest}"
    assert f"PullImage {name} -> {candidate} (offline, present, " in shim.text()
    found = client.image_status(name)
    assert found is not None
    assert found.id == image.config_digest
    client.remove_image(name)
    assert client.image_status(name) is None


def test_a_digest_that_the_offline_registry_lacks_comes_from_the_origin_whatever_the_tag_says(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
    offline: MemoryRegistry,
) -> None:
    wanted, other = build_image("digest wanted"), build_image("digest other")
    push(origin.url, "digests/lacking", "1", wanted)
    push(offline.url, "digests/lacking", "1", other)
    offline.forget_requests()
    shim = start_daemon(runtime.socket, f"address: {offline.url}")
    client = connect(shim.socket)
    for tag, said in (("", "404"), (":1", "404, cached")):
        name = f"{HOST}/digests/lacking{tag}@{wanted.manifest_digest}"
        assert client.pull(name) == wanted.config_digest
        assert f"-> {name} (origin, {offline.host}: absent ({said}), " in shim.text()
    assert [r.path for r in offline.requests] == [
        f"/v2/digests/lacking/manifests/{wanted.manifest_digest}"
    ]
    # The same name without the digest is another question.
    assert client.pull(f"{HOST}/digests/lacking:1") == other.config_digest


def test_a_digest_that_nobody_has_fails_and_nothing_else_is_pulled(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
    offline: MemoryRegistry,
) -> None:
    tagged, nowhere = build_image("digest tagged"), build_image("digest nowhere")
    for registry in (origin, offline):
        push(registry.url, "digests/nowhere", "1", tagged)
    client = connect(start_daemon(runtime.socket, f"address: {offline.url}").socket)
    name = f"{HOST}/digests/nowhere:1@{nowhere.manifest_digest}"
    with pytest.raises(grpc.RpcError, match="not found"):
        client.pull(name)
    assert client.image_status(tagged.config_digest) is None
    assert client.image_status(name) is None


def test_the_digest_of_an_index_is_a_promise_too(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    offline: MemoryRegistry,
) -> None:
    image = build_image("digest of index", types=MediaTypes.OCI)
    foreign = build_image("foreign", types=MediaTypes.OCI, architecture="mips64")
    index = image_index([image, foreign])
    push(offline.url, "digests/index", "1", index)
    shim = start_daemon(runtime.socket, f"address: {offline.url}")
    client = connect(shim.socket)
    name = f"{HOST}/digests/index@{index.manifest_digest}"
    assert client.pull(name) == image.config_digest
    found = client.image_status(name)
    assert found is not None
    assert found.repo_digests == [f"{offline.host}/digests/index@{index.manifest_digest}"]
