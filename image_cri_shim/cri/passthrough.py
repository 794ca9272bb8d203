"""Calls that the shim has no part in: forwarded as they are, in both directions.

Known or not yet invented, unary or streaming: frames pass as bytes, each only when the other side
has room for it.
"""

from __future__ import annotations

import asyncio

from image_cri_shim.cri.status import header
from image_cri_shim.cri.stream import BadFrame, Headers, MessageTooLarge, RawStream, StreamLost
from image_cri_shim.cri.upstream import Upstream, forwarded
from image_cri_shim.cri.versions import Method


async def forward(
    stream: RawStream, headers: Headers, method: Method, deadline: float | None, upstream: Upstream
) -> None:
    """Forward one call, from the request's first byte to the answer's last.

    :raises RpcError: the runtime cannot be reached or broke off.
    :raises MessageTooLarge: the client's message is.
    :raises StreamLost: the client went away.
    """
    up, release = await upstream.open(method, forwarded(headers, deadline))
    sender: asyncio.Task[None] | None = None
    try:
        if stream.ended:
            # The usual request is all here before its call begins; it needs no task.
            await _send(stream, up)
        else:
            sender = asyncio.create_task(_send(stream, up))
        answer = _Source(up, upstream)
        first = await answer.headers()
        if header(first, b"grpc-status") is not None:
            await stream.write_headers(first, end=True)
        else:
            await stream.write_headers(first)
            while (frame := await answer.frame()) is not None:
                await stream.write_frame(frame)
            await stream.write_headers(await answer.trailers(), end=True)
    except BaseException:
        if sender is not None and sender.done() and not sender.cancelled():
            # What the client did wrong explains why the runtime broke off.
            sender.result()
        raise
    finally:
        if sender is not None:
            sender.cancel()
        up.abandon()
        release()


async def _send(stream: RawStream, up: RawStream) -> None:
    """Send the request's frames to the upstream.

    An upstream that resets the stream has its reason in the answer, where it is looked for. A
    client's message that cannot be passed on ends the upstream's call too.
    """
    while True:
        try:
            frame = await stream.read_frame()
        except (MessageTooLarge, BadFrame, StreamLost):
            up.abandon()
            up.__terminated__("the client's request ended early")
            raise
        try:
            if frame is None:
                await up.write_end()
                return
            last = stream.exhausted
            await up.write_frame(frame, end=last)
        except StreamLost:
            return
        if last:
            return


class _Source:
    """The upstream's side of a call, with its failures as statuses."""

    def __init__(self, stream: RawStream, upstream: Upstream) -> None:
        self._stream = stream
        self._upstream = upstream

    async def headers(self) -> Headers:
        try:
            return await self._stream.read_headers()
        except (StreamLost, BadFrame) as error:
            raise self._upstream.lost(error) from error

    async def frame(self) -> bytes | None:
        try:
            return await self._stream.read_frame()
        except (StreamLost, BadFrame, MessageTooLarge) as error:
            raise self._upstream.lost(error) from error

    async def trailers(self) -> Headers:
        try:
            return await self._stream.read_trailers()
        except (StreamLost, BadFrame) as error:
            raise self._upstream.lost(error) from error
