"""One call of a client: what it asked, until when, and how it is answered."""

from __future__ import annotations

from time import monotonic

import attrs

from image_cri_shim.cri.status import Answer, Code, RpcError
from image_cri_shim.cri.stream import PREFIX_LENGTH, Headers, RawStream
from image_cri_shim.cri.upstream import Upstream, forwarded
from image_cri_shim.cri.versions import Method


@attrs.frozen
class Call:
    """A unary call whose message the shim reads.

    :ivar headers: the request's headers, as they came.
    :ivar deadline: when it must be over, on the event loop's clock; None for never.
    :ivar message: the request's message with its prefix.
    :ivar upstream: the runtime that answers.
    :ivar stream: the client's; it is told how long the runtime was waited for.
    """

    headers: Headers
    method: Method
    deadline: float | None
    message: bytes
    upstream: Upstream
    stream: RawStream

    @property
    def payload(self) -> bytes:
        """The message without its prefix."""
        return self.message[PREFIX_LENGTH:]

    async def unary(self, message: bytes, method: Method | None = None) -> Answer:
        """Call the upstream on behalf of the client: its metadata, its deadline.

        :param message: a whole frame.
        :param method: another method than the client's.
        :raises RpcError: as ``Upstream.unary``.
        """
        headers = forwarded(self.headers, self.deadline, parsed=True)
        started = monotonic()
        try:
            return await self.upstream.unary(method or self.method, headers, message)
        finally:
            self.stream.in_runtime += monotonic() - started


async def read_call(
    stream: RawStream,
    headers: Headers,
    method: Method,
    deadline: float | None,
    upstream: Upstream,
) -> Call:
    """Read the one message of a unary call.

    :raises RpcError: there is none, or it is compressed.
    :raises MessageTooLarge: it is.
    """
    message = await stream.read_frame()
    if message is None:
        raise RpcError(Code.INTERNAL, "image-cri-shim: the request has no message")
    if message[0]:
        raise RpcError(
            Code.UNIMPLEMENTED,
            "image-cri-shim: compressed requests are not supported; send them uncompressed",
            # gRPC's "Compression": who refuses says what would be taken.
            [(b"grpc-accept-encoding", b"identity")],
        )
    return Call(headers, method, deadline, message, upstream, stream)


async def write_answer(stream: RawStream, answer: Answer) -> None:
    """Give a client an upstream's answer as it came."""
    if not answer.trailers:
        await stream.write_headers(answer.headers, end=True)
        return
    await stream.write_headers(answer.headers)
    if answer.frame is not None:
        await stream.write_frame(answer.frame)
    await stream.write_headers(answer.trailers, end=True)
