"""The yardstick: the shortest CRI proxy that grpclib's public API allows, without any logic.

Messages pass as bytes, because its codec leaves them alone; metadata, statuses and what else a
proxy has to get right are not passed on.

Run in a process of its own: ``python -m benchmarks.bare_proxy SOCKET RUNTIME``.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Any

from grpclib.client import Channel
from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import CodecBase
from grpclib.server import Server, Stream

METHODS = {
    "/runtime.v1.ImageService/ImageStatus": Cardinality.UNARY_UNARY,
    "/runtime.v1.ImageService/ListImages": Cardinality.UNARY_UNARY,
    "/runtime.v1.ImageService/PullImage": Cardinality.UNARY_UNARY,
    "/runtime.v1.RuntimeService/Version": Cardinality.UNARY_UNARY,
    "/runtime.v1.RuntimeService/GetContainerEvents": Cardinality.UNARY_STREAM,
}


class Bytes(CodecBase):
    """A codec whose messages are their bytes."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:  # noqa: ARG002 - grpclib's names
        """Return the message."""
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:  # noqa: ARG002 - grpclib's names
        """Return the message."""
        return data


class Proxy:
    """One handler for each method.

    :param channel: the runtime's.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __mapping__(self) -> dict[str, Handler]:
        return {
            path: Handler(partial(self._pass, path, kind), kind, bytes, bytes)
            for path, kind in METHODS.items()
        }

    async def _pass(self, path: str, kind: Cardinality, client: Stream[bytes, bytes]) -> None:
        request = await client.recv_message() or b""
        call = self._channel.request(path, kind, bytes, bytes, deadline=client.deadline)
        async with call as runtime:
            await runtime.send_message(request, end=True)
            while (answer := await runtime.recv_message()) is not None:
                await client.send_message(answer)
                if kind is Cardinality.UNARY_UNARY:
                    break


async def main() -> None:
    """Serve until killed."""
    path, runtime = sys.argv[1:]
    channel = Channel(path=runtime, codec=Bytes())
    server = Server([Proxy(channel)], codec=Bytes())
    await server.start(path=path)
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())
