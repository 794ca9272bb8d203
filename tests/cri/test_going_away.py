"""A peer that goes away finishes what it has begun, and nobody waits for what it has not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import h2.events
import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame, PingFrame

from image_cri_shim.cri.stream import RawStream, StreamLost
from image_cri_shim.cri.upstream import Upstream
from image_cri_shim.cri.versions import Method
from tests.cri.background import PATIENCE, Background
from tests.cri.memory_peer import Peer, in_memory
from tests.cri.scripted import DONE, FIRST, ScriptedUpstream, UpstreamCall, frame, hang, reply
from tests.cri.shim import IMAGES, Shim
from tests.cri.wire import Wire
from tests.support.cri_client import CRI
from tests.support.processes import wait_until

FS_INFO = f"{IMAGES}ImageFsInfo"
STREAM = "/runtime.v1.RuntimeService/GetContainerEvents"
ALL = 2**31 - 1


def goaway(last: int, code: int = 0) -> bytes:
    return GoAwayFrame(0, last_stream_id=last, error_code=code).serialize()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - nobody says it
            await asyncio.sleep(0)


def say(call: UpstreamCall, data: bytes) -> None:
    call.connection.transport.write(data)


def test_calls_that_the_runtime_has_begun_go_on_when_it_goes_away(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, event: asyncio.Event
) -> None:
    async def waiting(call: UpstreamCall) -> None:
        await call.request()
        call.headers_out(FIRST)
        await call.data(frame(b"one"))
        say(call, goaway(call.id))
        await event.wait()
        await call.data(frame(b"two"))
        call.headers_out(DONE, end=True)

    upstream.scripts[STREAM] = waiting
    upstream.scripts["ImageFsInfo"] = reply(b"here")
    stream = shim.channel().unary_stream(STREAM)(b"", timeout=PATIENCE)
    assert next(stream) == b"one"
    # The next call makes another connection while the first is still there.
    assert wait_until(lambda: client.raw(FS_INFO).body == b"here", PATIENCE)
    assert wait_until(lambda: len(upstream.connections) == 2, PATIENCE)
    old = upstream.connections[0]
    assert not shim.background.call(old.transport.is_closing)
    shim.background.call(event.set)
    assert list(stream) == [b"two"]
    # With its last call, the old connection is closed, and not the new one.
    assert wait_until(lambda: shim.background.call(old.transport.is_closing), PATIENCE)
    assert client.raw(FS_INFO).body == b"here"
    assert len(upstream.connections) == 2


def test_the_way_a_runtime_in_go_stops_is_understood(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, event: asyncio.Event
) -> None:
    """First GOAWAY for nothing and a PING; what it has begun is said behind the PING's answer."""
    pongs: list[bytes] = []

    async def stopping(call: UpstreamCall) -> None:
        await call.request()
        receive = call.connection.h2.receive_data

        def received(data: bytes) -> list[h2.events.Event]:
            events = receive(data)
            pongs.extend(
                bytes(one.ping_data) for one in events if isinstance(one, h2.events.PingAckReceived)
            )
            if pongs:
                say(call, goaway(call.id))
                event.set()
            return events

        call.connection.h2.receive_data = received  # type: ignore[method-assign]
        say(call, goaway(ALL) + PingFrame(0, opaque_data=b"goodbye!").serialize())
        await event.wait()
        await reply(b"done")(call)

    upstream.scripts["ImageFsInfo"] = stopping
    assert client.raw(FS_INFO, timeout=PATIENCE).body == b"done"
    assert pongs[0] == b"goodbye!"


def test_several_runtimes_may_be_going_away_at_once(
    background: Background, upstream: ScriptedUpstream, event: asyncio.Event
) -> None:
    async def leaving(call: UpstreamCall) -> None:
        call.headers_out(FIRST)
        say(call, goaway(call.id))
        if len(upstream.calls) == 3:
            await event.wait()
            call.headers_out(DONE, end=True)
        else:
            await hang(call)

    upstream.scripts["/a/b"] = leaving

    async def run() -> None:
        runtime = Upstream(lambda: upstream.path, "v1")
        living = runtime._connector
        calls = []
        for going in range(1, 4):
            stream, release = await runtime.open(Method(b"/a/b"), REQUEST)
            await stream.read_headers()
            # Those that are leaving, and the next one.
            await until(lambda: len(living.living) == going + 1)  # noqa: B023
            calls.append((stream, release))
        event.set()
        stream, release = calls.pop()
        assert await stream.read_frame() is None
        release()
        await until(lambda: len(living.living) == 3)
        runtime.close()
        for stream, release in calls:
            with pytest.raises(StreamLost) as caught:
                await stream.read_frame()
            assert not caught.value.unprocessed
            release()
        assert not living.living

    background.run(run())


REQUEST = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":authority", b"x"),
]


async def lost(stream: RawStream) -> StreamLost:
    with pytest.raises(StreamLost) as caught:
        await stream.read_headers()
    return caught.value


def test_calls_above_the_last_one_were_not_begun() -> None:
    async def test(peer: Peer) -> None:
        first, second, third = [await peer.call() for _ in range(3)]
        await peer.turn()
        peer.answer(goaway(second.id))
        assert (await lost(third)).unprocessed
        # A second GOAWAY may say that there were fewer.
        peer.answer(goaway(first.id, ErrorCodes.ENHANCE_YOUR_CALM))
        assert (await lost(second)).unprocessed
        with pytest.raises(StreamLost) as caught:
            await peer.call()
        assert caught.value.unprocessed
        for stream in (third, second):
            stream.abandon()
            peer.release[stream]()
        assert not peer.transport.closed
        peer.h2.send_headers(first.id, FIRST)
        peer.h2.send_headers(first.id, DONE, end_stream=True)
        await peer.turn()
        assert [tuple(pair) for pair in await first.read_trailers()] == DONE
        peer.release[first]()
        assert peer.transport.closed

    in_memory(test)


def test_a_call_that_waits_for_its_turn_is_told_that_the_peer_goes_away() -> None:
    async def test(peer: Peer) -> None:
        peer.h2.update_settings({3: 1})
        await peer.turn()
        first = await peer.call()
        waiting = asyncio.create_task(peer.call())
        await asyncio.sleep(0)
        assert not waiting.done()
        peer.answer(goaway(first.id))
        with pytest.raises(StreamLost) as caught:
            await asyncio.wait_for(waiting, 1)
        assert caught.value.unprocessed

    in_memory(test)


def test_an_idle_connection_is_closed_when_the_peer_goes_away() -> None:
    async def test(peer: Peer) -> None:
        await peer.turn()
        peer.answer(goaway(0))
        assert peer.transport.closed
        assert peer.handler.closed

    in_memory(test)


@pytest.mark.parametrize(
    ("code", "unprocessed"),
    [(ErrorCodes.REFUSED_STREAM, True), (ErrorCodes.CANCEL, False), (ErrorCodes.NO_ERROR, False)],
)
def test_a_refused_call_was_not_begun(code: ErrorCodes, unprocessed: bool) -> None:
    async def test(peer: Peer) -> None:
        stream = await peer.call()
        await peer.turn()
        peer.h2.reset_stream(stream.id, code)
        await peer.turn()
        error = await lost(stream)
        assert (error.reset, error.unprocessed) == (code, unprocessed)

    in_memory(test)


def fail_in_sending(peer: Peer) -> None:
    peer.transport.broken = True
    peer.protocol.connection._transport._send()
    peer.protocol.connection_lost(BrokenPipeError())


def end_behind_it(peer: Peer) -> None:
    peer.protocol.connection._transport._send()
    peer.protocol.connection_lost(None)


@pytest.mark.parametrize(
    ("end", "unprocessed"),
    [(fail_in_sending, True), (end_behind_it, False)],
)
def test_a_call_whose_headers_never_left_was_not_begun(
    end: Callable[[Peer], None], unprocessed: bool
) -> None:
    async def test(peer: Peer) -> None:
        await peer.turn()
        stream = await peer.call()
        end(peer)
        assert (await lost(stream)).unprocessed is unprocessed

    in_memory(test)


def test_a_client_that_goes_away_keeps_its_calls(
    shim: Shim, upstream: ScriptedUpstream, event: asyncio.Event
) -> None:
    async def waiting(call: UpstreamCall) -> None:
        await call.request()
        await event.wait()
        await reply(b"here")(call)

    upstream.scripts["ImageFsInfo"] = waiting
    with Wire(shim.path) as wire:
        number = wire.start(FS_INFO.encode())
        wire.body(number, frame(b""))
        upstream.next_call()
        wire.send(goaway(0))
        # Its PING is answered behind it, so the shim has seen it.
        wire.ping()
        shim.background.call(event.set)
        assert wire.answer(number).body == frame(b"here")
