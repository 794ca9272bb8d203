"""Deadlines: the client's is passed on, `timeout` holds where there is none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import grpc
import pytest

from image_cri_shim.cri.status import parse_timeout
from image_cri_shim.decision import Decision
from tests.cri.background import PATIENCE
from tests.cri.scripted import FIRST, ScriptedUpstream, UpstreamCall, frame, hang, reply
from tests.cri.shim import IMAGES, Shim
from tests.cri.wire import Wire
from tests.support.cri_client import CRI

PATHS = [f"{IMAGES}ImageFsInfo", f"{IMAGES}ImageStatus", f"{IMAGES}PullImage"]
OTHER = "/runtime.v1.RuntimeService/Status"


@pytest.mark.parametrize("path", [*PATHS, OTHER])
def test_the_clients_deadline_is_passed_on_and_never_a_later_one(
    shim: Shim, upstream: ScriptedUpstream, path: str
) -> None:
    upstream.scripts[path] = reply(b"")
    with Wire(shim.path) as wire:
        # grpcio would round it up.
        wire.call(path.encode(), frame(b"\x0a\x07\x0a\x05nginx"), [(b"grpc-timeout", b"7S")])
    seconds = parse_timeout(upstream.next_call().headers)
    assert seconds is not None
    assert 6 < seconds <= 7


@pytest.mark.parametrize("path", PATHS)
def test_an_image_call_without_a_deadline_gets_the_configured_one(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim], path: str
) -> None:
    shim = make_shim(upstream.path, timeout=70)
    upstream.scripts[path] = reply(b"")
    shim.client().raw(path, b"\x0a\x07\x0a\x05nginx", timeout=None)
    seconds = parse_timeout(upstream.next_call().headers)
    assert seconds is not None
    assert 69 < seconds <= 70


@pytest.mark.parametrize("path", [OTHER, "/made.up.Service/Watch"])
def test_another_call_without_a_deadline_gets_none(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim], path: str
) -> None:
    # Such as GetContainerEvents, which lasts as long as the kubelet.
    shim = make_shim(upstream.path, timeout=0.001)
    upstream.scripts[path] = reply(b"")
    assert shim.client().raw(path, timeout=None).code is grpc.StatusCode.OK
    assert upstream.next_call().header(b"grpc-timeout") is None


@pytest.mark.parametrize("path", PATHS)
def test_a_runtime_that_hangs_ends_in_deadline_exceeded(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim], path: str
) -> None:
    # The shim's own deadline, so that it is the shim that says so and not the client.
    shim = make_shim(upstream.path, timeout=0.1)
    upstream.scripts[path] = hang
    answer = shim.client().raw(path, b"\x0a\x07\x0a\x05nginx", timeout=None)
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert answer.details == "context deadline exceeded"
    assert upstream.next_call().reset.result(PATIENCE) == 8


def test_a_stream_that_stops_in_the_middle_ends_in_deadline_exceeded(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim]
) -> None:
    async def stop(call: UpstreamCall) -> None:
        await call.request()
        call.headers_out(FIRST)
        await call.data(frame(b"one"))

    shim = make_shim(upstream.path, timeout=0.2)
    upstream.scripts["StreamImages"] = stop
    call = shim.channel().unary_stream(f"{IMAGES}StreamImages")(b"")
    assert next(call) == b"one"
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert upstream.next_call().reset.result(PATIENCE) == 8


def test_a_request_that_never_ends_does_not_outlive_its_deadline(shim: Shim) -> None:
    with Wire(shim.path) as wire:
        number = wire.start(f"{IMAGES}ImageStatus".encode(), [(b"grpc-timeout", b"50m")])
        answer = wire.answer(number)
    assert answer.status == (4, "context deadline exceeded")
    shim.wait_idle()


def test_a_deadline_ends_the_look_ups_too(shim: Shim, upstream: ScriptedUpstream) -> None:
    cancelled = shim.background.call(asyncio.Event)

    async def never(_: str) -> Decision:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    shim.resolve = never
    with Wire(shim.path) as wire:
        path = f"{IMAGES}PullImage".encode()
        answer = wire.call(path, frame(b"\x0a\x07\x0a\x05nginx"), [(b"grpc-timeout", b"50m")])
    assert answer.status == (4, "context deadline exceeded")
    shim.background.run(cancelled.wait())
    assert upstream.calls == []


def test_a_pull_that_runs_out_of_time_is_noted_as_such(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = hang
    with Wire(shim.path) as wire:
        request = frame(b"\x0a\x07\x0a\x05nginx")
        wire.call(PATHS[2].encode(), request, [(b"grpc-timeout", b"200m")])
    assert shim.notes.next_pull().error == "deadline exceeded"


def test_a_deadline_that_is_over_at_once_is_deadline_exceeded(shim: Shim) -> None:
    with Wire(shim.path) as wire:
        for path in (*PATHS, OTHER):
            answer = wire.call(path.encode(), frame(b""), [(b"grpc-timeout", b"0n")])
            assert answer.status[0] == 4, path


def test_a_malformed_deadline_is_refused(shim: Shim, upstream: ScriptedUpstream) -> None:
    with Wire(shim.path) as wire:
        answer = wire.call(OTHER.encode(), more=[(b"grpc-timeout", b"soon")])
    assert answer.status == (13, "malformed grpc-timeout header")
    assert upstream.calls == []


def test_a_pull_with_a_deadline_of_a_millisecond_ends_as_such(
    client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = hang
    started = time.monotonic()
    answer = client.raw(f"{IMAGES}PullImage", b"\x0a\x07\x0a\x05nginx", timeout=0.001)
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < PATIENCE


def test_a_runtime_that_accepts_and_never_speaks_is_waited_for_until_the_deadline(
    background, make_shim: Callable[..., Shim], tmp_path
) -> None:
    async def mute() -> asyncio.Server:
        return await asyncio.get_running_loop().create_unix_server(
            asyncio.Protocol, str(tmp_path / "mute.sock")
        )

    server = background.run(mute())
    for version in ("v1", "auto"):
        shim = make_shim(str(tmp_path / "mute.sock"), version=version, timeout=0.1)
        answer = shim.client().raw(f"{IMAGES}ImageStatus", timeout=None)
        assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED
    background.call(server.close)
