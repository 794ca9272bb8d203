"""Calls that the shim has no part in: forwarded as they are, in both directions.

Known or not yet invented, unary or streaming: frames pass as bytes, each only when the other side
has room for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from image_cri_shim.cri.status import header
from image_cri_shim.cri.stream import BadFrame, Headers, MessageTooLarge, RawStream, StreamLost
from image_cri_shim.cri.upstream import Upstream, forwarded
from image_cri_shim.cri.versions import Method


async def forward(  # noqa: PLR0917 - a call is all of these
    stream: RawStream,
    headers: Headers,
    method: Method,
    deadline: float | None,
    upstream: Upstream,
    translate: Callable[[bytes], bytes] | None = None,
) -> None:
    """Forward one call, from the request's first byte to the answer's last.

    :param translate: makes of each whole frame of the answer the one that the client gets; a
        compressed one, which the runtime is not invited to send, passes as it is.
    :raises RpcError: the runtime cannot be reached or broke off.
    :raises MessageTooLarge: the client's message is.
    :raises StreamLost: the client went away.
    """
    sent = forwarded(headers, deadline, parsed=translate is not None)
    if stream.ended:
        message = await stream.read_frame()
        if stream.exhausted:
            # The usual request is all here before its call begins; it needs no task.
            started = monotonic()
            try:
                up, release, first = await upstream.begin(method, sent, message)
            finally:
                stream.in_runtime += monotonic() - started
            try:
                await _answer(stream, Source(up, upstream), first, translate)
            finally:
                up.abandon()
                release()
            return
    else:
        message = None
    up, release = await upstream.open(method, sent)
    sender = asyncio.create_task(_send(stream, up, message))
    try:
        answer = Source(up, upstream)
        await _answer(stream, answer, await answer.headers(), translate)
    except BaseException:
        if sender.done() and not sender.cancelled():
            # What the client did wrong explains why the runtime broke off.
            sender.result()
        raise
    finally:
        sender.cancel()
        up.abandon()
        release()


async def _answer(
    stream: RawStream,
    answer: Source,
    first: Headers,
    translate: Callable[[bytes], bytes] | None,
) -> None:
    """Give the client the runtime's answer."""
    if header(first, b"grpc-status") is not None:
        await stream.write_headers(first, end=True)
        return
    await stream.write_headers(first)
    while (frame := await answer.frame()) is not None:
        if translate is not None and not frame[0]:
            frame = translate(frame)
        await stream.write_frame(frame)
    await stream.write_headers(await answer.trailers(), end=True)


async def _send(stream: RawStream, up: RawStream, frame: bytes | None) -> None:
    """Send the request's frames to the upstream.

    An upstream that resets the stream has its reason in the answer, where it is looked for. A
    client's message that cannot be passed on ends the upstream's call too.

    :param frame: the first one, if it has been read.
    """
    while True:
        try:
            if frame is None:
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
            frame = None
        except StreamLost:
            return
        if last:
            return


class Source:
    """The upstream's side of a call, with its failures as statuses (RpcError)."""

    def __init__(self, stream: RawStream, upstream: Upstream) -> None:
        self._stream = stream
        self._upstream = upstream

    async def headers(self) -> Headers:
        """Return the answer's first headers."""
        try:
            return await self._stream.read_headers()
        except (StreamLost, BadFrame) as error:
            raise self._upstream.lost(error) from error

    async def frame(self) -> bytes | None:
        """Return the answer's next frame, or None at the end."""
        try:
            return await self._stream.read_frame()
        except (StreamLost, BadFrame, MessageTooLarge) as error:
            raise self._upstream.lost(error) from error

    async def trailers(self) -> Headers:
        """Return the answer's trailers, once all frames are read."""
        try:
            return await self._stream.read_trailers()
        except (StreamLost, BadFrame) as error:
            raise self._upstream.lost(error) from error
