"""What containerd never sends comes through as well: metadata, details and every status."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from tests.support.daemon import Daemon
from tests.support.runtime_client import RuntimeClient
from tests.support.standin_runtime import StandinRuntime


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandinRuntime]:
    with StandinRuntime(tmp_path_factory.mktemp("standin")) as running:
        yield running


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory, standin: StandinRuntime) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("shim")
    with Daemon(directory, cri=standin.socket, config='address: ""') as running:
        yield running


@pytest.fixture(params=["v1", "v1alpha2"])
def both(
    request: pytest.FixtureRequest, standin: StandinRuntime, shim: Daemon
) -> Iterator[tuple[RuntimeClient, RuntimeClient]]:
    with (
        RuntimeClient(standin.socket, request.param) as direct,
        RuntimeClient(shim.socket, request.param) as client,
    ):
        yield direct, client


@pytest.mark.parametrize("method", ["PullImage", "ImageStatus", "RemoveImage"])
@pytest.mark.parametrize(
    "fault", [*(f"code-{code}" for code in range(1, 17)), "metadata", "size-70000"]
)
def test_an_answer_with_everything_arrives_as_it_is(
    both: tuple[RuntimeClient, RuntimeClient], method: str, fault: str
) -> None:
    request = {"image": {"image": f"fault.test/{fault}:1"}}
    expected, found = (client.outcome(method, **request) for client in both)
    assert found == expected
    if fault.startswith("code-"):
        # grpc-status-details-bin, the binary one, and the one that came before the answer.
        assert "grpc-status-details-bin" in dict(found.trailing_metadata)
        assert dict(found.trailing_metadata)["x-fault-bin"] == b"\x00\xff"
        assert dict(found.initial_metadata)["x-fault-initial"] == "first"
        assert found.details == f"fault {fault.removeprefix('code-')}"


@pytest.mark.parametrize("method", ["Version", "ListImages", "ImageFsInfo"])
def test_what_the_client_sends_arrives_as_it_is(
    both: tuple[RuntimeClient, RuntimeClient], standin: StandinRuntime, method: str
) -> None:
    metadata = (
        ("x-text", "one"),
        ("x-text", "two"),
        ("x-data-bin", bytes(range(256))),
        ("x-empty", ""),
        ("authorization", "Bearer of news"),
    )
    entries = []
    for client in both:
        standin.forget_journal()
        client.outcome(method, metadata=metadata)
        (entry,) = standin.wait_for(method)
        assert 25 < entry.pop("deadline") <= 31
        # In the version that is spoken to the runtime.
        assert entry.pop("method").endswith(f"Service/{method}")
        entries.append(entry)
    assert entries[0] == entries[1]
    pairs = [tuple(pair) for pair in entries[1]["metadata"]]
    assert pairs.count(("x-text", "two")) == 1
    assert ("x-data-bin", base64.b64encode(bytes(range(256))).decode()) in pairs


def test_a_stream_and_what_is_not_there_arrive_as_they_are(
    both: tuple[RuntimeClient, RuntimeClient],
) -> None:
    direct, client = both
    path = direct.method("StreamImages")
    assert client.stream(path) == direct.stream(path)
    for method in ("Status", "MadeUp"):
        path = direct.method(method)
        assert client.raw(path, b"\x00\x01") == direct.raw(path, b"\x00\x01")
