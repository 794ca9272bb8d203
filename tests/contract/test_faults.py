"""What the fakes do wrong on demand, they do in the way that their names say."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from image_cri_shim.cri._generated import cri_pb2
from tests.support import faults
from tests.support.cri_client import CRI
from tests.support.http_server import Tarpit
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.standin_runtime import StandinRuntime

IMAGE = build_image("faults")


def ask(registry: MemoryRegistry | Tarpit, method: str = "GET", path: str = "/v2/") -> tuple:
    connection = http.client.HTTPConnection("127.0.0.1", registry.port, timeout=0.5)
    try:
        connection.request(method, path, headers={"X-Mark": "1"})
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def thread_names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


class TestMemoryRegistry:
    @pytest.fixture
    def registry(self) -> Iterator[MemoryRegistry]:
        with MemoryRegistry() as running:
            yield running

    def test_a_list_of_faults_is_used_up_one_a_request(self, registry: MemoryRegistry) -> None:
        registry.faults = [faults.Status(503, {"Retry-After": "7"}), None, faults.Status(429)]
        answers = [ask(registry) for _ in range(4)]
        assert [answer[0] for answer in answers] == [503, 200, 429, 200]
        assert answers[0][1]["Retry-After"] == "7"

    def test_a_plan_sees_method_path_and_count(self, registry: MemoryRegistry) -> None:
        seen = []
        registry.faults = lambda *arguments: seen.append(arguments)
        ask(registry)
        ask(registry)
        ask(registry, "HEAD", "/v2/x")
        assert seen == [("GET", "/v2/", 0), ("GET", "/v2/", 1), ("HEAD", "/v2/x", 0)]

    def test_first_stops_after_some_times(self, registry: MemoryRegistry) -> None:
        registry.faults = faults.first(2, faults.Status(500))
        assert [ask(registry)[0] for _ in range(3)] == [500, 500, 200]

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_drop_closes_inside_of_the_response(
        self, registry: MemoryRegistry, method: str
    ) -> None:
        registry.faults = faults.always(faults.Drop(after=8))
        with pytest.raises(http.client.HTTPException):
            ask(registry, method)

    def test_refuse_head_answers_get(self, registry: MemoryRegistry) -> None:
        registry.faults = faults.always(faults.RefuseHead())
        assert (ask(registry, "HEAD")[0], ask(registry, "GET")[0]) == (405, 200)

    def test_redirect_keeps_the_path_for_a_bare_host(self, registry: MemoryRegistry) -> None:
        registry.faults = [faults.Redirect("http://a.test"), faults.Redirect("http://a.test/b")]
        locations = [ask(registry, path="/v2/x")[1]["Location"] for _ in range(2)]
        assert locations == ["http://a.test/v2/x", "http://a.test/b"]

    def test_hang_ends_with_stop(self, registry: MemoryRegistry) -> None:
        registry.faults = faults.always(faults.Hang())
        with pytest.raises(TimeoutError):
            ask(registry)
        waiting = http.client.HTTPConnection("127.0.0.1", registry.port)
        waiting.request("GET", "/v2/")
        registry.stop()
        with pytest.raises(ConnectionResetError):
            waiting.getresponse()
        waiting.close()
        assert registry.thread_name not in thread_names()

    def test_requests_and_connections_are_counted(self, registry: MemoryRegistry) -> None:
        kept = http.client.HTTPConnection("127.0.0.1", registry.port)
        for _ in range(3):
            kept.request("PUT", "/v2/a", body=b"12345", headers={"X-Mark": "1"})
            kept.getresponse().read()
        kept.close()
        ask(registry)
        assert registry.connections == 2
        assert [request.body_length for request in registry.requests] == [5, 5, 5, 0]
        assert registry.requests[0].headers["x-mark"] == "1"


def test_a_tarpit_accepts_and_never_answers() -> None:
    with Tarpit() as tarpit:
        with pytest.raises(TimeoutError):
            ask(tarpit)
        assert tarpit.connections == 1
    assert tarpit.thread_name not in thread_names()


class TestStandinRuntime:
    @pytest.fixture
    def runtime(self, tmp_path: Path) -> Iterator[StandinRuntime]:
        with StandinRuntime(tmp_path) as running:
            yield running

    @pytest.fixture
    def cri(self, runtime: StandinRuntime) -> Iterator[CRI]:
        with CRI(runtime.socket) as client:
            yield client

    def test_hang_journals_the_cancellation(self, runtime: StandinRuntime, cri: CRI) -> None:
        request = cri_pb2.PullImageRequest(image=cri_pb2.ImageSpec(image="fault.test/hang:1"))
        call = cri.start(cri.path("ImageService", "PullImage"), request.SerializeToString())
        runtime.wait_for("PullImage")
        assert runtime.journal("PullImage", event="cancelled") == []
        call.cancel()
        (entry,) = runtime.wait_for("PullImage", "cancelled")
        assert entry["image"] == "fault.test/hang:1"

    def test_code_carries_message_details_and_metadata(self, cri: CRI) -> None:
        request = cri_pb2.PullImageRequest(image=cri_pb2.ImageSpec(image="fault.test/code-13:1"))
        answer = cri.raw(cri.path("ImageService", "PullImage"), request.SerializeToString())
        assert (answer.code, answer.details) == (grpc.StatusCode.INTERNAL, "fault 13")
        assert ("x-fault-initial", "first") in answer.initial_metadata
        trailing = dict(answer.trailing_metadata)
        assert trailing["x-fault"] == "code-13:1"
        assert trailing["x-fault-bin"] == b"\x00\xff"
        assert trailing["grpc-status-details-bin"] == b"\x08\x0d\x12\x05fault"

    def test_metadata_comes_with_success(self, cri: CRI) -> None:
        request = cri_pb2.PullImageRequest(image=cri_pb2.ImageSpec(image="fault.test/metadata:1"))
        answer = cri.raw(cri.path("ImageService", "PullImage"), request.SerializeToString())
        assert answer.code is grpc.StatusCode.OK
        assert ("x-fault", "metadata:1") in answer.trailing_metadata

    def test_size_is_the_size_of_an_unknown_field(self, cri: CRI) -> None:
        request = cri_pb2.ImageStatusRequest(
            image=cri_pb2.ImageSpec(image="fault.test/size-5000000:1")
        )
        answer = cri.raw(cri.path("ImageService", "ImageStatus"), request.SerializeToString())
        assert len(answer.body) == 5_000_000 + 6

    def test_crash_leaves_a_stale_socket(self, runtime: StandinRuntime, cri: CRI) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            cri.pull("fault.test/crash:1")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert Path(runtime.socket).exists()
        runtime.stop()
        with runtime, CRI(runtime.socket) as anew:
            assert anew.version().runtime_name == "standin"

    def test_the_journal_tells_everything_of_a_call(
        self, runtime: StandinRuntime, cri: CRI
    ) -> None:
        with pytest.raises(grpc.RpcError):
            cri.pull(
                "origin.test/lab/x:1",
                auth={"username": "robot", "password": "secret"},
                timeout=20,
                metadata=[("x-mark", "one"), ("x-mark", "two"), ("x-raw-bin", b"\x00\x01")],
            )
        (entry,) = runtime.journal()
        assert entry["method"] == "/runtime.v1.ImageService/PullImage"
        assert entry["image"] == "origin.test/lab/x:1"
        assert entry["auth"] == {"username": "robot", "password": "secret"}
        assert 10 < entry["deadline"] < 21  # grpcio rounds up
        pairs = [pair for pair in entry["metadata"] if pair[0].startswith("x-")]
        assert sorted(pairs) == [["x-mark", "one"], ["x-mark", "two"], ["x-raw-bin", "AAE="]]
        assert json.dumps(entry)

    def test_images_can_be_streamed(self, tmp_path: Path) -> None:
        with MemoryRegistry() as registry:
            push(registry.url, "lab/a", "1", IMAGE)
            push(registry.url, "lab/b", "1", build_image("second"))
            mirrors = {"origin.test": registry.url}
            with StandinRuntime(tmp_path, mirrors=mirrors) as runtime, CRI(runtime.socket) as cri:
                cri.pull("origin.test/lab/a:1")
                cri.pull("origin.test/lab/b:1")
                assert len(cri.stream(cri.path("ImageService", "StreamImages"))) == 2

    def test_one_version_alone_leaves_the_other_unimplemented(self, tmp_path: Path) -> None:
        with StandinRuntime(tmp_path, versions=["v1alpha2"]) as runtime:
            with CRI(runtime.socket) as modern, CRI(runtime.socket, "v1alpha2") as old:
                answer = modern.raw(modern.path("RuntimeService", "Version"))
                assert answer.code is grpc.StatusCode.UNIMPLEMENTED
                assert old.version().runtime_api_version == "v1alpha2"
