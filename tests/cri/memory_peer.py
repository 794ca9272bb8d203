"""A connection of the shim as a client, in memory, and the server that it talks to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import h2.events

from image_cri_shim.cri.budget import Budget
from image_cri_shim.cri.stream import RawStream
from image_cri_shim.cri.transport import RawProtocol, make_stream


class FakeTransport(asyncio.Transport):
    """A transport to nowhere that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        # Writes fail, as to a peer that is gone.
        self.broken = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        if self.broken:
            self.closed = True
        else:
            self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default


class Handler:
    """What a connection tells its owner."""

    def __init__(self) -> None:
        self.closed = False

    def cancel(self, stream: object) -> None:
        """Do nothing."""

    def close(self) -> None:
        self.closed = True


class Peer:
    """A client's protocol, and the h2 connection that it talks to."""

    def __init__(self) -> None:
        self.transport = FakeTransport()
        self.answers = Budget(2**30)
        self.handler = Handler()
        self.protocol = RawProtocol(self.handler, client_side=True, arriving=self.answers)
        self.protocol.connection_made(self.transport)
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=None)
        )
        self.h2.initiate_connection()
        self.release: dict[RawStream, Callable[[], None]] = {}

    async def turn(self) -> list[h2.events.Event]:
        """Carry what both sides have written to the other."""
        await asyncio.sleep(0)
        written, self.transport.written = self.transport.written, b""
        events = self.h2.receive_data(written)
        self.answer(self.h2.data_to_send())
        await asyncio.sleep(0)
        return events

    def answer(self, data: bytes) -> None:
        """Give bytes to the client."""
        if data:
            self.protocol.data_received(data)

    async def call(self) -> RawStream:
        """Start a call."""
        stream = make_stream(self.protocol.connection)
        headers = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/b")]
        self.release[stream] = await stream.start(
            [*headers, (b":authority", b"x")], self.protocol.processor
        )
        return stream


def in_memory(test: Callable[[Peer], Any]) -> None:
    """Run a test with a new peer in a loop of its own."""

    async def run() -> None:
        await test(Peer())

    asyncio.run(run())
