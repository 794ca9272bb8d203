"""The CRI server in front of a runtime in a process of its own, and a registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.decision import Decision, Registry
from tests.cri.background import PATIENCE
from tests.cri.shim import IMAGES, Shim
from tests.support.cri_client import CRI
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.standin_runtime import StandinRuntime

IMAGE = build_image("nginx")


@pytest.fixture(scope="module")
def registry() -> Iterator[MemoryRegistry]:
    with MemoryRegistry() as registry:
        push(registry.url, "library/nginx", "1.25", IMAGE)
        yield registry


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandinRuntime]:
    with StandinRuntime(tmp_path_factory.mktemp("rt")) as runtime:
        yield runtime


@pytest.fixture
def shim(registry: MemoryRegistry, runtime: StandinRuntime, make_shim: Callable[..., Shim]) -> Shim:
    runtime.forget_journal()
    offline = Registry(registry.url.removeprefix("http://"), plain_http=True, offline=True)
    return make_shim(runtime.socket, registries=[offline], version="auto")


def naming(image: str) -> bytes:
    """Return a request that names an image; those of all methods begin alike."""
    spec = cri_pb2.ImageSpec(image=image)
    return cri_pb2.ImageStatusRequest(image=spec).SerializeToString()


@pytest.mark.parametrize("version", ["v1", "v1alpha2"])
def test_an_image_is_pulled_found_listed_and_removed(
    shim: Shim, runtime: StandinRuntime, version: str
) -> None:
    client = shim.client(version)
    (offline,) = shim.policy.registries
    assert client.pull("nginx:1.25") == IMAGE.config_digest
    (asked,) = runtime.journal("PullImage")
    assert asked["image"] == f"{offline.domain}/library/nginx:1.25"
    by_name = client.image_status("nginx:1.25")
    (asked,) = runtime.journal("ImageStatus")
    assert asked["image"] == f"{offline.domain}/library/nginx:1.25"
    assert by_name is not None
    assert by_name.id == IMAGE.config_digest
    for other in (
        IMAGE.config_digest,
        IMAGE.config_digest.removeprefix("sha256:"),
        IMAGE.config_digest[7:19],
        by_name.repo_digests[0],
        by_name.repo_tags[0],
        f"nginx@{IMAGE.manifest_digest}",
    ):
        assert client.image_status(other) == by_name, other
    assert client.list_images() == [by_name]
    assert client.list_images("nginx:1.25") == [by_name]
    assert client.image_fs_info()
    client.remove_image(IMAGE.config_digest[7:19])
    assert client.image_status("nginx:1.25") is None
    assert client.list_images() == []
    client.remove_image("nginx:1.25")


def test_a_status_and_everything_with_it_is_the_same_as_without_the_shim(
    shim: Shim, runtime: StandinRuntime
) -> None:
    through = shim.client()
    with CRI(runtime.socket) as direct:
        for name in ("code-13", "metadata", "size-1000"):
            request = naming(f"fault.test/{name}:1")
            for method in ("ImageStatus", "RemoveImage"):
                expected = direct.raw(IMAGES + method, request)
                assert through.raw(IMAGES + method, request) == expected


def test_a_cancelled_pull_is_cancelled_in_the_runtime(shim: Shim, runtime: StandinRuntime) -> None:
    async def as_written(image: str) -> Decision:
        return Decision(shim.policy.candidates(image)[-1:])

    shim.resolve = as_written
    call = shim.client().start(f"{IMAGES}PullImage", naming("fault.test/hang:1"))
    runtime.wait_for("PullImage")
    call.cancel()
    (entry,) = runtime.wait_for("PullImage", "cancelled")
    assert entry["image"] == "fault.test/hang:1"
    assert shim.notes.next_pull().error == "cancelled"


def test_a_runtime_that_crashes_in_a_call_and_comes_back_is_used_again(
    make_shim: Callable[..., Shim], tmp_path: Path
) -> None:
    with StandinRuntime(tmp_path / "rt") as runtime:
        client = make_shim(runtime.socket, version="auto").client()
        request = naming("fault.test/crash:1")
        answer = client.raw(f"{IMAGES}ImageStatus", request, timeout=PATIENCE)
        assert answer.code is grpc.StatusCode.UNAVAILABLE
        assert "was lost in the middle of the call" in answer.details
        assert client.raw(f"{IMAGES}ImageFsInfo").code is grpc.StatusCode.UNAVAILABLE
        runtime.restart()
        assert client.list_images() == []
