"""What `cri/stream.py` and `cri/transport.py` rely on in grpclib, and what they add to it."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import grpclib
import grpclib.config
import grpclib.protocol
import h2.connection
import h2.events
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from image_cri_shim.cri.stream import Overloaded, StreamLost
from tests.cri.memory_peer import Peer, in_memory
from tests.cri.scripted import DONE, FIRST, frame

# Called or overridden: the parameters that are given, by position or by name.
CALLED: list[tuple[Any, str, list[str]]] = [
    (
        grpclib.protocol.Stream,
        "__init__",
        ["connection", "h2_connection", "transport", "stream_id"],
    ),
    (grpclib.protocol.Stream, "init_stream", ["stream_id", "connection"]),
    (grpclib.protocol.Stream, "__ended__", []),
    (grpclib.protocol.Stream, "__terminated__", ["reason"]),
    (grpclib.protocol.Buffer, "add", ["data", "ack_size"]),
    (grpclib.protocol.Buffer, "eof", []),
    (grpclib.protocol.Buffer, "unacked_size", []),
    (grpclib.protocol.Connection, "__init__", ["connection", "transport", "config"]),
    (grpclib.protocol.Connection, "initialize", []),
    (grpclib.protocol.Connection, "ack", ["stream_id", "size"]),
    (grpclib.protocol.Connection, "flush", []),
    (grpclib.protocol.Connection, "close", []),
    (grpclib.protocol.Connection, "is_closing", []),
    (grpclib.protocol.EventsProcessor, "__init__", ["handler", "connection"]),
    (grpclib.protocol.EventsProcessor, "register", ["stream"]),
    (grpclib.protocol.EventsProcessor, "process", ["event"]),
    (grpclib.protocol.EventsProcessor, "process_request_received", ["event"]),
    (grpclib.protocol.EventsProcessor, "process_stream_reset", ["event"]),
    (grpclib.protocol.EventsProcessor, "process_connection_terminated", ["event"]),
    (grpclib.protocol.EventsProcessor, "close", ["reason"]),
    (grpclib.protocol.H2Protocol, "__init__", ["handler", "config", "h2_config"]),
    (grpclib.protocol.H2Protocol, "connection_made", ["transport"]),
    (grpclib.protocol.H2Protocol, "data_received", ["data"]),
    (grpclib.protocol.H2Protocol, "connection_lost", ["exc"]),
    # The handlers of ``listener`` and ``channel`` have these.
    (grpclib.protocol.AbstractHandler, "accept", ["stream", "headers", "release_stream"]),
    (grpclib.protocol.AbstractHandler, "cancel", ["stream"]),
    (grpclib.protocol.AbstractHandler, "close", []),
    (grpclib.config.Configuration, "__for_client__", []),
    (grpclib.config.Configuration, "__for_server__", []),
]


def names(values: list[Any]) -> list[str]:
    return [f"{thing.__name__}.{name}" for thing, name, *_ in values]


def broken(what: str) -> str:
    return f"grpclib {grpclib.__version__} changed what image_cri_shim/cri relies on: {what}"


@pytest.mark.parametrize(("thing", "name", "parameters"), CALLED, ids=names(CALLED))
def test_grpclib_has_the_methods_that_are_used(
    thing: Any, name: str, parameters: list[str]
) -> None:
    method = getattr(thing, name, None)
    assert callable(method), broken(f"{thing.__name__} has no {name}()")
    taken = [p for p in inspect.signature(method).parameters if p != "self"]
    for parameter in parameters:
        assert parameter in taken, broken(
            f"{thing.__name__}.{name}() has no parameter {parameter!r} (it has {taken})"
        )
    by_position = [p for p in taken if p in parameters]
    assert by_position == parameters, broken(f"{thing.__name__}.{name}() takes {taken}")
    unknown = [
        p.name
        for p in inspect.signature(method).parameters.values()
        if p.name != "self"
        and p.name not in parameters
        and p.default is p.empty
        and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    assert not unknown, broken(f"{thing.__name__}.{name}() needs {unknown} too")


ATTRIBUTES = {
    "Stream": [
        *("id", "connection", "_h2_connection", "_transport", "buffer", "closable"),
        *("headers", "headers_received", "trailers", "trailers_received", "window_updated"),
    ],
    "Connection": ["_connection", "_transport", "write_ready", "stream_close_waiter"],
    "EventsProcessor": ["handler", "connection", "streams", "processors"],
    "H2Protocol": ["handler", "connection", "processor"],
}


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_grpclibs_connections_have_the_attributes_that_are_used(kind: str) -> None:
    async def test(peer: Peer) -> None:
        things = {
            "Stream": await peer.call(),
            "Connection": peer.protocol.connection,
            "EventsProcessor": peer.protocol.processor,
            "H2Protocol": peer.protocol,
        }
        for name in ATTRIBUTES[kind]:
            assert hasattr(things[kind], name), broken(f"{kind} has no attribute {name}")

    in_memory(test)


def test_an_end_without_bytes_needs_no_window() -> None:
    async def test(peer: Peer) -> None:
        stream = await peer.call()
        await stream.write_frame(frame(bytes(1000)))
        await peer.turn()
        # RFC 9113, section 6.9.2: what was sent before makes the window negative.
        peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        await peer.turn()
        assert stream._h2_connection.local_flow_control_window(stream.id) == -1005
        await asyncio.wait_for(stream.write_end(), 1)
        await asyncio.sleep(0)
        end = b"\0\0\0" + b"\0" + b"\1" + stream.id.to_bytes(4, "big")
        assert peer.transport.written.endswith(end), "DATA, no bytes, END_STREAM"

    in_memory(test)


def test_a_frame_waits_for_the_window() -> None:
    async def test(peer: Peer) -> None:
        stream = await peer.call()
        await peer.turn()
        sending = asyncio.create_task(stream.write_frame(frame(bytes(100_000)), end=True))
        got = b""
        ended = False
        while not ended:
            for event in await peer.turn():
                if isinstance(event, h2.events.DataReceived):
                    got += event.data
                    # A little room at a time.
                    peer.h2.increment_flow_control_window(7_000, stream.id)
                    peer.h2.increment_flow_control_window(7_000)
                ended = ended or isinstance(event, h2.events.StreamEnded)
        assert got == frame(bytes(100_000))
        await sending

    in_memory(test)


def test_who_waits_for_anything_is_woken_by_the_end_of_the_connection() -> None:
    async def test(peer: Peer) -> None:
        streams = [await peer.call() for _ in range(5)]
        await peer.turn()
        peer.protocol.pause_writing()
        waiting = [
            asyncio.create_task(streams[0].read_headers()),
            asyncio.create_task(streams[1].read_frame()),
            asyncio.create_task(streams[2].read_trailers()),
            asyncio.create_task(streams[3].write_frame(frame(b"x"))),
            asyncio.create_task(streams[4].write_end()),
            asyncio.create_task(peer.call()),
        ]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        peer.protocol.connection_lost(None)
        outcomes = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 1)
        assert [type(outcome) for outcome in outcomes] == [StreamLost] * 6

    in_memory(test)


def test_a_writer_without_a_window_is_woken_by_the_end_of_the_connection() -> None:
    async def test(peer: Peer) -> None:
        stream = await peer.call()
        await peer.turn()
        sending = asyncio.create_task(stream.write_frame(frame(bytes(100_000))))
        await peer.turn()
        assert not sending.done()
        # Not by a reset: h2 gives back room on the connection then, which wakes it anyway.
        peer.protocol.connection_lost(None)
        with pytest.raises(StreamLost):
            await asyncio.wait_for(sending, 1)

    in_memory(test)


def test_a_call_that_waits_for_room_is_woken_by_the_end_of_the_connection() -> None:
    async def test(peer: Peer) -> None:
        peer.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 0})
        await peer.turn()
        waiting = asyncio.create_task(peer.call())
        await asyncio.sleep(0)
        assert not waiting.done()
        peer.protocol.connection_lost(None)
        with pytest.raises(StreamLost):
            await asyncio.wait_for(waiting, 1)

    in_memory(test)


def test_an_answer_counts_although_the_stream_is_reset_behind_it() -> None:
    async def test(peer: Peer) -> None:
        stream = await peer.call()
        await peer.turn()
        peer.h2.send_headers(stream.id, FIRST)
        peer.h2.send_data(stream.id, frame(b"here"))
        peer.h2.send_headers(stream.id, DONE, end_stream=True)
        peer.h2.reset_stream(stream.id, ErrorCodes.NO_ERROR)
        await peer.turn()
        assert [tuple(pair) for pair in await stream.read_headers()] == FIRST
        assert await stream.read_frame() == frame(b"here")
        assert await stream.read_frame() is None
        assert [tuple(pair) for pair in await stream.read_trailers()] == DONE
        with pytest.raises(StreamLost):
            await stream.write_frame(frame(b"more"))
        stream.abandon()
        await peer.turn()

    in_memory(test)


def test_calls_that_ended_long_ago_are_forgotten() -> None:
    async def test(peer: Peer) -> None:
        h2_connection = peer.protocol.connection._connection
        for _ in range(5000):
            (await peer.call()).abandon()
        peer.protocol.processor.streams.clear()
        assert h2_connection.open_outbound_streams == 0
        assert len(h2_connection.streams) == 0
        assert len(h2_connection._closed_streams) == 4096

    in_memory(test)


def test_writes_of_one_turn_are_one_write() -> None:
    async def test(peer: Peer) -> None:
        await peer.turn()
        writes: list[bytes] = []
        peer.transport.write = writes.append  # type: ignore[method-assign,assignment]
        stream = await peer.call()
        await stream.write_frame(frame(b"one"))
        await stream.write_frame(frame(b"two"), end=True)
        await asyncio.sleep(0)
        assert len(writes) == 1

    in_memory(test)


def test_a_large_message_is_written_while_it_is_made_and_stops_when_nobody_reads() -> None:
    async def test(peer: Peer) -> None:
        # All the room in the world, as a client may give.
        peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
        peer.h2.increment_flow_control_window(2**31 - 1 - 65535)
        await peer.turn()
        stream = await peer.call()
        await peer.turn()
        written = 0

        def write(data: bytes) -> None:
            nonlocal written
            written += len(data)
            peer.protocol.pause_writing()

        peer.transport.write = write  # type: ignore[method-assign,assignment]
        sending = asyncio.create_task(stream.write_frame(frame(bytes(16 * 1024 * 1024))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert 0 < written < 512 * 1024
        assert not sending.done()
        sending.cancel()

    in_memory(test)


def test_a_message_without_room_is_paid_for_until_it_is_sent() -> None:
    async def test(peer: Peer) -> None:
        leaving = peer.protocol.connection.leaving = type(peer.answers)(250_000)
        first, second, third = [await peer.call() for _ in range(3)]
        await peer.turn()
        message = frame(bytes(100_000))
        waiting = [asyncio.create_task(one.write_frame(message)) for one in (first, second)]
        await asyncio.sleep(0)
        assert leaving.used == 2 * len(message)
        with pytest.raises(Overloaded):
            await third.write_frame(message)
        # What has room costs nothing.
        peer.h2.increment_flow_control_window(200_000)
        peer.h2.increment_flow_control_window(200_000, first.id)
        await peer.turn()
        await waiting[0]
        assert leaving.used == len(message)
        waiting[1].cancel()
        await asyncio.gather(waiting[1], return_exceptions=True)
        assert leaving.used == 0

    in_memory(test)
