"""Stopping: pulls finish, connections end, nobody new is taken."""

from __future__ import annotations

import asyncio
import concurrent.futures

import grpc
import pytest

from image_cri_shim.cri.server import CriServer
from tests.cri.background import PATIENCE
from tests.cri.scripted import ScriptedUpstream, UpstreamCall, frame, hang, reply
from tests.cri.shim import IMAGES, Shim
from tests.cri.wire import Wire
from tests.support.cri_client import CRI
from tests.support.processes import accepts

PULL = f"{IMAGES}PullImage"
# Of the streams that a client begins (RFC 9113, section 5.1.1).
HIGHEST = 2**31 - 1
NGINX = b"\x0a\x07\x0a\x05nginx"


def stopping(shim: Shim, grace: float) -> concurrent.futures.Future[None]:
    """Begin to stop."""
    shim._stopped = True
    return asyncio.run_coroutine_threadsafe(shim.server.stop(grace), shim.background.loop)


def test_a_running_pull_finishes(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, event: asyncio.Event
) -> None:
    async def waiting(call: UpstreamCall) -> None:
        await call.request()
        await event.wait()
        await reply(b"\x0a\x02id")(call)

    upstream.scripts["PullImage"] = waiting
    call = client.start(PULL, NGINX)
    upstream.next_call()
    stop = stopping(shim, PATIENCE)
    assert not concurrent.futures.wait([stop], 0.05).done
    shim.background.call(event.set)
    assert call.result(PATIENCE) == b"\x0a\x02id"
    stop.result(PATIENCE)
    assert shim.notes.next_pull().error == ""


@pytest.mark.parametrize("timeout", [PATIENCE, None])
@pytest.mark.parametrize(
    "path", [f"{IMAGES}RemoveImage", "/runtime.v1.RuntimeService/RunPodSandbox"]
)
def test_any_other_running_call_finishes_too(
    shim: Shim,
    client: CRI,
    upstream: ScriptedUpstream,
    event: asyncio.Event,
    path: str,
    timeout: float | None,
) -> None:
    async def waiting(call: UpstreamCall) -> None:
        await event.wait()
        await reply(b"")(call)

    upstream.scripts[path] = waiting
    upstream.scripts["ImageStatus"] = reply(b"")
    call = client.start(path, NGINX, timeout=timeout)
    while upstream.next_call().path != path.encode():
        pass
    stop = stopping(shim, PATIENCE)
    assert not concurrent.futures.wait([stop], 0.05).done
    shim.background.call(event.set)
    assert call.result(PATIENCE) == b""
    stop.result(PATIENCE)


def test_a_pull_that_takes_too_long_is_cut_off(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = hang
    call = client.start(PULL, NGINX)
    seen = upstream.next_call()
    shim.stop(0.05)
    assert call.exception(PATIENCE).code() is grpc.StatusCode.UNAVAILABLE
    assert seen.reset.result(PATIENCE) == 8
    assert shim.notes.next_pull().error == "cancelled"


def test_an_endless_stream_does_not_hold_up_the_end(shim: Shim, upstream: ScriptedUpstream) -> None:
    upstream.scripts["/runtime.v1.RuntimeService/GetContainerEvents"] = hang
    call = shim.channel().unary_stream("/runtime.v1.RuntimeService/GetContainerEvents")(b"")
    seen = upstream.next_call()
    shim.stop(PATIENCE)
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert seen.reset.result(PATIENCE) == 8


def test_an_idle_connection_is_told_and_closed(shim: Shim, upstream: ScriptedUpstream) -> None:
    upstream.scripts["ImageFsInfo"] = reply(b"")
    with Wire(shim.path) as wire:
        wire.call(f"{IMAGES}ImageFsInfo".encode())
        shim.stop()
        while not wire.closed:
            wire.read()
        assert wire.going_away is not None
        # RFC 9113, section 6.8: what was answered; everything later may be tried elsewhere.
        assert wire.going_away.last_stream_id == 1
        assert wire.going_away.error_code == 0


def test_an_idle_connection_does_not_wait_for_the_pulls_of_another(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, event: asyncio.Event
) -> None:
    async def waiting(call: UpstreamCall) -> None:
        await event.wait()
        await reply(b"")(call)

    upstream.scripts["PullImage"] = waiting
    call = client.start(PULL, NGINX)
    upstream.next_call()
    with Wire(shim.path) as wire:
        wire.call(f"{IMAGES}ImageFsInfo".encode())
        stop = stopping(shim, PATIENCE)
        wire.wait_closed()
        assert not stop.done()
    shim.background.call(event.set)
    assert call.result(PATIENCE) == b""
    stop.result(PATIENCE)


def test_a_connection_that_never_spoke_is_closed(shim: Shim) -> None:
    with Wire(shim.path, speak=False) as wire:
        # The server has it when another one, later in the queue, is answered.
        shim.client().raw(f"{IMAGES}ImageFsInfo")
        shim.stop()
        wire.wait_closed()


def test_nobody_new_is_taken(shim: Shim) -> None:
    client = shim.client()
    assert client.raw(f"{IMAGES}ImageFsInfo").code is grpc.StatusCode.UNIMPLEMENTED
    shim.stop()
    assert not accepts(shim.path)


def test_a_new_call_on_an_old_connection_is_refused_while_pulls_finish(
    shim: Shim, upstream: ScriptedUpstream, event: asyncio.Event
) -> None:
    async def waiting(call: UpstreamCall) -> None:
        await event.wait()
        await reply(b"")(call)

    upstream.scripts["PullImage"] = waiting
    with Wire(shim.path) as wire:
        wire.body(wire.start(PULL.encode()), frame(NGINX))
        upstream.next_call()
        stop = stopping(shim, PATIENCE)
        while wire.going_away is None or wire.going_away.last_stream_id == HIGHEST:
            wire.read()
        # h2 would not send on a connection that is going away; a client may have sent before.
        wire.h2.state_machine.state = type(wire.h2.state_machine.state).CLIENT_OPEN
        number = wire.start(PULL.encode())
        assert wire.answer(number).reset == 7, "REFUSED_STREAM: it may be tried elsewhere"
        assert not stop.done()
        shim.background.call(event.set)
        stop.result(PATIENCE)
    assert len(upstream.of("PullImage")) == 1


def test_a_call_that_was_on_its_way_when_the_stop_began_is_answered(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["ImageFsInfo"] = reply(b"")
    with Wire(shim.path) as wire:
        wire.call(f"{IMAGES}ImageFsInfo".encode())
        stop = stopping(shim, PATIENCE)
        while wire.going_away is None:
            wire.read()
        assert wire.going_away.last_stream_id == HIGHEST
        # The client has not read that yet.
        wire.h2.state_machine.state = type(wire.h2.state_machine.state).CLIENT_OPEN
        assert wire.call(f"{IMAGES}ImageFsInfo".encode()).status == (0, "")
        while wire.going_away.last_stream_id == HIGHEST:
            wire.read()
        # What was taken, and nothing after it.
        assert wire.going_away.last_stream_id == 3
    stop.result(PATIENCE)


def test_stopping_twice_or_before_the_start_does_no_harm(shim: Shim) -> None:
    shim.stop()
    shim.stop()

    async def never_started() -> None:
        await CriServer(shim._routing, shim.notes, shim.memory).stop(0)

    shim.background.run(never_started())
