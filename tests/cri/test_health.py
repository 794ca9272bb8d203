"""grpc.health.v1.Health on the shim's socket: it serves only while the runtime is reachable."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from image_cri_shim.cri._generated import health_pb2
from image_cri_shim.cri.upstream import Upstream
from tests.cri.background import PATIENCE, Background
from tests.cri.scripted import ScriptedUpstream, frame, reply
from tests.cri.shim import Shim
from tests.cri.wire import Wire
from tests.support.processes import wait_until

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
Status = health_pb2.HealthCheckResponse
SERVICES = [
    "",
    "runtime.v1.ImageService",
    "runtime.v1.RuntimeService",
    "runtime.v1alpha2.ImageService",
    "runtime.v1alpha2.RuntimeService",
]


def question(service: str = "") -> bytes:
    return health_pb2.HealthCheckRequest(service=service).SerializeToString()


def check(shim: Shim, service: str = "") -> int:
    answer = shim.client().raw(CHECK, question(service), timeout=PATIENCE)
    assert answer.code is grpc.StatusCode.OK, answer.details
    return Status.FromString(answer.body).status


class Watcher:
    """A client that watches."""

    def __init__(self, shim: Shim, service: str = "") -> None:
        method = shim.channel().unary_stream(WATCH, response_deserializer=Status.FromString)
        self.call = method(question(service), timeout=3 * PATIENCE)

    def next(self) -> int:
        return next(self.call).status

    def until(self, status: int) -> None:
        while self.next() != status:
            pass


@pytest.fixture
def watch() -> Iterator[Callable[..., Watcher]]:
    made: list[Watcher] = []

    def begin(shim: Shim, service: str = "") -> Watcher:
        made.append(Watcher(shim, service))
        return made[-1]

    yield begin
    for watcher in made:
        watcher.call.cancel()


@pytest.mark.parametrize("service", SERVICES)
def test_every_cri_service_is_served_while_the_runtime_answers(shim: Shim, service: str) -> None:
    assert check(shim, service) == Status.SERVING


def test_the_runtime_is_asked_what_has_no_effect(shim: Shim, upstream: ScriptedUpstream) -> None:
    assert check(shim) == Status.SERVING
    assert [call.path for call in upstream.calls] == [CHECK.encode()]


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_is_served_without_a_runtime(
    make_shim: Callable[..., Shim], tmp_path: Path, service: str
) -> None:
    shim = make_shim(str(tmp_path / "none.sock"))
    assert check(shim, service) == Status.NOT_SERVING


@pytest.mark.parametrize("version", ["v1", "auto"])
def test_check_follows_the_runtime(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim], version: str
) -> None:
    upstream.scripts["Version"] = reply(b"")
    shim = make_shim(upstream.path, version=version)
    for _ in range(2):
        assert check(shim) == Status.SERVING
        upstream.stop()
        assert check(shim) == Status.NOT_SERVING
        upstream.start()
    assert check(shim) == Status.SERVING


def test_a_runtime_that_has_frozen_is_not_reachable(
    upstream: ScriptedUpstream, shim: Shim, background: Background
) -> None:
    assert check(shim) == Status.SERVING
    # Connected as before, but nothing is read any more.
    background.call(upstream.connections[0].transport.pause_reading)
    assert not background.run(shim.upstream.reachable(0.05))
    assert background.call(lambda: shim.upstream.connected)
    background.call(upstream.connections[0].transport.resume_reading)
    assert check(shim) == Status.SERVING


def test_a_runtime_that_dies_during_the_check_does_not_serve(
    upstream: ScriptedUpstream, shim: Shim, background: Background
) -> None:
    assert check(shim) == Status.SERVING
    background.call(upstream.connections[0].transport.pause_reading)
    with Wire(shim.path) as wire:
        number = wire.start(CHECK.encode())
        wire.body(number, frame(question()))

        def asked() -> bool:
            connection = shim.upstream._connector.current
            return connection is not None and connection.running == 1

        assert wait_until(lambda: background.call(asked), PATIENCE)
        upstream.stop()
        answer = wire.answer(number)
    assert Status.FromString(bytes(answer.body)[5:]).status == Status.NOT_SERVING


@pytest.mark.parametrize("service", ["made.up.Service", "runtime.v1", "ImageService"])
def test_an_unknown_service_is_not_found_by_check(shim: Shim, service: str) -> None:
    answer = shim.client().raw(CHECK, question(service), timeout=PATIENCE)
    assert answer.code is grpc.StatusCode.NOT_FOUND
    assert answer.details == f"image-cri-shim: no service is called '{service}'"


def test_an_unknown_service_is_watched_as_unknown(
    shim: Shim, watch: Callable[..., Watcher]
) -> None:
    watcher = watch(shim, "made.up.Service")
    assert watcher.next() == Status.SERVICE_UNKNOWN
    # The call goes on, as the protocol has it.
    assert watcher.call.is_active()


@pytest.mark.parametrize("path", ["List", "check", ""])
def test_other_methods_are_not_implemented(shim: Shim, path: str) -> None:
    answer = shim.client().raw(f"/grpc.health.v1.Health/{path}", timeout=PATIENCE)
    assert answer.code is grpc.StatusCode.UNIMPLEMENTED
    assert "Check and Watch" in answer.details


def test_a_question_that_is_no_protobuf_is_an_internal_error(shim: Shim) -> None:
    answer = shim.client().raw(CHECK, b"\xff\xff", timeout=PATIENCE)
    assert answer.code is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("service", SERVICES)
def test_watchers_are_told_of_each_change(
    upstream: ScriptedUpstream, shim: Shim, watch: Callable[..., Watcher], service: str
) -> None:
    watchers = [watch(shim, service) for _ in range(3)]
    for watcher in watchers:
        watcher.until(Status.SERVING)
    for _ in range(2):
        upstream.stop()
        assert [watcher.next() for watcher in watchers] == [Status.NOT_SERVING] * 3
        upstream.start()
        assert [watcher.next() for watcher in watchers] == [Status.SERVING] * 3


def test_a_watcher_sees_a_runtime_that_comes_later(
    background: Background,
    make_shim: Callable[..., Shim],
    tmp_path: Path,
    watch: Callable[..., Watcher],
) -> None:
    upstream = ScriptedUpstream(background, str(tmp_path / "late.sock"))
    watcher = watch(make_shim(upstream.path))
    assert watcher.next() == Status.NOT_SERVING
    upstream.start()
    assert watcher.next() == Status.SERVING
    upstream.stop()


def test_a_watcher_follows_a_reload_to_another_runtime(
    upstream: ScriptedUpstream, shim: Shim, tmp_path: Path, watch: Callable[..., Watcher]
) -> None:
    watcher = watch(shim)
    watcher.until(Status.SERVING)
    before = shim.upstream
    shim.upstream = Upstream(lambda: str(tmp_path / "none.sock"), "v1")
    shim.background.call(before.retire)
    assert watcher.next() == Status.NOT_SERVING
    assert before._watchers == set()
    second = shim.upstream
    shim.upstream = Upstream(lambda: upstream.path, "v1")
    shim.background.call(second.retire)
    assert watcher.next() == Status.SERVING


def test_a_watcher_that_leaves_is_forgotten(shim: Shim, watch: Callable[..., Watcher]) -> None:
    watcher = watch(shim)
    watcher.until(Status.SERVING)
    assert len(shim.upstream._watchers) == 1
    watcher.call.cancel()
    assert wait_until(lambda: not shim.upstream._watchers, PATIENCE)


def test_a_watcher_does_not_keep_the_shim_from_stopping(
    shim: Shim, watch: Callable[..., Watcher]
) -> None:
    watcher = watch(shim)
    watcher.until(Status.SERVING)
    # With a deadline it could have been waited for until then.
    shim.stop(grace=3 * PATIENCE)
    with pytest.raises(grpc.RpcError):
        watcher.next()


@pytest.mark.parametrize("alive", [True, False])
def test_pings_of_a_client_are_answered(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim], tmp_path: Path, *, alive: bool
) -> None:
    # A PING is between the client and the shim, whatever the runtime does.
    path = upstream.path if alive else str(tmp_path / "mute.sock")
    with socket.socket(socket.AF_UNIX) as mute, Wire(make_shim(path).path) as wire:
        if not alive:
            mute.bind(path)
            mute.listen(8)
            wire.body(wire.start(b"/runtime.v1.ImageService/ImageFsInfo"), frame(b""))
        wire.h2.ping(b"are you?")
        wire.flush()
        got = b""
        # RFC 9113, section 6.7: length 8, type 6, the ACK flag.
        while b"\x00\x00\x08\x06\x01\x00\x00\x00\x00are you?" not in got:
            got += wire.socket.recv(65536)
