"""What `cri/stream.py` and `cri/transport.py` rely on in grpclib, and what they add to it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import grpclib
import grpclib.client
import grpclib.config
import grpclib.protocol
import grpclib.server
import h2.config
import h2.connection
import h2.events
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from image_cri_shim.cri.stream import RawStream, StreamLost
from image_cri_shim.cri.transport import RawChannel, RawServer, _http2_config, _Protocol
from tests.cri.background import Background
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
    (grpclib.protocol.Connection, "ack", ["stream_id", "size"]),
    (grpclib.protocol.Connection, "flush", []),
    (grpclib.protocol.Connection, "close", []),
    (grpclib.protocol.Connection, "is_closing", []),
    (grpclib.protocol.EventsProcessor, "__init__", ["handler", "connection"]),
    (grpclib.protocol.EventsProcessor, "register", ["stream"]),
    (grpclib.protocol.EventsProcessor, "process", ["event"]),
    (grpclib.protocol.EventsProcessor, "process_request_received", ["event"]),
    (grpclib.protocol.EventsProcessor, "process_stream_reset", ["event"]),
    (grpclib.protocol.EventsProcessor, "close", ["reason"]),
    (grpclib.protocol.H2Protocol, "__init__", ["handler", "config", "h2_config"]),
    (grpclib.protocol.H2Protocol, "connection_made", ["transport"]),
    (grpclib.protocol.H2Protocol, "data_received", ["data"]),
    (grpclib.protocol.H2Protocol, "connection_lost", ["exc"]),
    (
        grpclib.server.Handler,
        "__init__",
        ["mapping", "codec", "status_details_codec", "dispatch"],
    ),
    (grpclib.server.Handler, "accept", ["stream", "headers", "release_stream"]),
    (grpclib.server.Handler, "cancel", ["stream"]),
    (grpclib.server.Handler, "close", []),
    (grpclib.server.Handler, "__gc_step__", []),
    (grpclib.server.Server, "__init__", ["handlers", "config"]),
    (grpclib.server.Server, "__gc_step__", []),
    (grpclib.server.Server, "_protocol_factory", []),
    (grpclib.server.Server, "start", ["sock", "backlog"]),
    (grpclib.server.Server, "close", []),
    (grpclib.server.Server, "wait_closed", []),
    (grpclib.client.Handler, "close", []),
    (grpclib.client.Channel, "__init__", ["path", "config"]),
    (grpclib.client.Channel, "_protocol_factory", []),
    (grpclib.client.Channel, "__connect__", []),
    (grpclib.client.Channel, "close", []),
    (
        grpclib.config.Configuration,
        "__init__",
        ["http2_connection_window_size", "http2_stream_window_size"],
    ),
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


class FakeTransport(asyncio.Transport):
    """A transport to nowhere that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default


class Peer:
    """A client's protocol in memory, and the h2 connection that it talks to."""

    def __init__(self) -> None:
        self.transport = FakeTransport()
        config = grpclib.config.Configuration().__for_client__()
        self.protocol = _Protocol(grpclib.client.Handler(), config, _http2_config(client_side=True))
        self.protocol.connection_made(self.transport)
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=None)
        )
        self.h2.initiate_connection()

    async def turn(self) -> list[h2.events.Event]:
        """Carry what both sides have written to the other."""
        await asyncio.sleep(0)
        written, self.transport.written = self.transport.written, b""
        events = self.h2.receive_data(written)
        answer = self.h2.data_to_send()
        if answer:
            self.protocol.data_received(answer)
        await asyncio.sleep(0)
        return events

    async def call(self) -> RawStream:
        connection = self.protocol.connection
        stream = RawStream(connection, connection._connection, connection._transport)
        headers = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/b")]
        await stream.start([*headers, (b":authority", b"x")], self.protocol.processor)
        return stream


def in_memory(test: Callable[[Peer], Any]) -> None:
    async def run() -> None:
        await test(Peer())

    asyncio.run(run())


ATTRIBUTES = {
    "Stream": [
        *("id", "connection", "_h2_connection", "_transport", "buffer", "closable"),
        *("headers", "headers_received", "trailers", "trailers_received", "window_updated"),
    ],
    "Connection": ["_connection", "_transport", "write_ready", "stream_close_waiter"],
    "EventsProcessor": ["handler", "connection", "streams", "processors"],
    "H2Protocol": ["handler", "connection", "processor"],
    "client.Handler": ["connection_lost"],
}


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_grpclibs_connections_have_the_attributes_that_are_used(kind: str) -> None:
    async def test(peer: Peer) -> None:
        things = {
            "Stream": await peer.call(),
            "Connection": peer.protocol.connection,
            "EventsProcessor": peer.protocol.processor,
            "H2Protocol": peer.protocol,
            "client.Handler": peer.protocol.handler,
        }
        for name in ATTRIBUTES[kind]:
            assert hasattr(things[kind], name), broken(f"{kind} has no attribute {name}")

    in_memory(test)


def test_grpclibs_ends_have_the_attributes_that_are_used(background: Background) -> None:
    async def noone(*_: object) -> None:
        return

    ends = background.call(lambda: (RawServer(noone), RawChannel("/nowhere")))
    used = [
        ["_server", "_handlers", "_config", "_h2_config"],
        ["_connected", "_protocol", "_config", "_h2_config"],
    ]
    for end, attributes in zip(ends, used, strict=True):
        for name in attributes:
            assert hasattr(end, name), broken(f"{type(end).__base__} has no attribute {name}")
    handler: Any = background.call(lambda: ends[0]._protocol_factory().handler)
    for name in ("_tasks", "_cancelled", "loop"):
        assert hasattr(handler, name), broken(f"server.Handler has no attribute {name}")


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
        assert type(h2_connection)(h2_connection.config)._closed_streams == {}, (
            f"h2 {h2.__version__} remembers its closed streams elsewhere"
        )
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
