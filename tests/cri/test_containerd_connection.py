"""The connection to a real containerd: it stays, it is made again, and being asked does no harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc
import pytest

from image_cri_shim.cri._generated import health_pb2
from tests.cri.background import PATIENCE
from tests.cri.shim import IMAGES, Shim
from tests.support import containerd
from tests.support.containerd import Containerd
from tests.support.processes import wait_until

REASON = containerd.why_not()
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
]
CHECK = "/grpc.health.v1.Health/Check"
FS_INFO = f"{IMAGES}ImageFsInfo"
Status = health_pb2.HealthCheckResponse


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    with Containerd(tmp_path_factory.mktemp("containerd")) as running:
        yield running


def check(shim: Shim) -> int:
    answer = shim.client().raw(CHECK, b"", timeout=PATIENCE)
    assert answer.code is grpc.StatusCode.OK, answer.details
    return Status.FromString(answer.body).status


@pytest.mark.parametrize("version", ["v1", "v1alpha2", "auto"])
def test_asking_for_its_health_again_and_again_costs_no_connection(
    runtime: Containerd, make_shim: Callable[..., Shim], version: str
) -> None:
    shim = make_shim(runtime.socket, version=version)
    assert check(shim) == Status.SERVING
    connection = shim.background.call(lambda: shim.upstream._connector.current)
    for _ in range(20):
        assert check(shim) == Status.SERVING
    assert shim.client().raw(FS_INFO, timeout=PATIENCE).code is grpc.StatusCode.OK
    assert shim.background.call(lambda: shim.upstream._connector.current) is connection


def test_after_a_kill_the_next_call_works_as_soon_as_containerd_is_back(
    runtime: Containerd, make_shim: Callable[..., Shim]
) -> None:
    shim = make_shim(runtime.socket, version="auto")
    client = shim.client()
    assert client.raw(FS_INFO, timeout=PATIENCE).code is grpc.StatusCode.OK
    for end in (runtime.kill, runtime.stop):
        end()
        answer = client.raw(FS_INFO, timeout=PATIENCE)
        assert answer.code is grpc.StatusCode.UNAVAILABLE
        assert answer.details.startswith("image-cri-shim: ")
        assert check(shim) == Status.NOT_SERVING
        runtime.start()
        assert wait_until(lambda: shim.background.call(lambda: shim.upstream.connected), PATIENCE)
        assert client.raw(FS_INFO, timeout=PATIENCE).code is grpc.StatusCode.OK
        assert check(shim) == Status.SERVING
