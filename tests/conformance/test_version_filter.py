"""The filter makes a runtime with both CRI versions one with a single version, and no more."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from tests.support.runtime_client import RuntimeClient
from tests.support.standin_runtime import StandinRuntime
from tests.support.version_filter import VersionFilter


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandinRuntime]:
    with StandinRuntime(tmp_path_factory.mktemp("standin")) as running:
        yield running


@pytest.fixture(params=["v1", "v1alpha2"])
def only(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    standin: StandinRuntime,
) -> Iterator[VersionFilter]:
    directory = tmp_path_factory.mktemp("filter")
    with VersionFilter(directory, standin.socket, request.param) as running:
        yield running


@pytest.mark.parametrize("fault", ["code-5", "code-14", "metadata", "size-70000"])
def test_its_version_passes_with_all_that_belongs_to_an_answer(
    only: VersionFilter, standin: StandinRuntime, fault: str
) -> None:
    request = {"image": {"image": f"fault.test/{fault}:1"}}
    with (
        RuntimeClient(standin.socket, only.version) as direct,
        RuntimeClient(only.socket, only.version) as client,
    ):
        assert client.outcome("ImageStatus", **request) == direct.outcome("ImageStatus", **request)
        path = direct.method("StreamImages")
        assert client.stream(path) == direct.stream(path)


def test_the_other_version_is_refused_as_grpc_go_refuses_it(only: VersionFilter) -> None:
    other = {"v1": "v1alpha2", "v1alpha2": "v1"}[only.version]
    with RuntimeClient(only.socket, other) as client:
        for method, service in (("Version", "RuntimeService"), ("ListImages", "ImageService")):
            answer = client.outcome(method)
            assert answer.code == grpc.StatusCode.UNIMPLEMENTED
            assert answer.details == f"unknown service runtime.{other}.{service}"


def test_a_client_that_gives_up_is_heard_by_the_runtime(
    only: VersionFilter, standin: StandinRuntime
) -> None:
    standin.forget_journal()
    with RuntimeClient(only.socket, only.version) as client, pytest.raises(grpc.RpcError):
        client.pull("fault.test/hang:1", timeout=0.2)
    assert standin.wait_for("PullImage", "cancelled")
