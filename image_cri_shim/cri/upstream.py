"""The upstream: calls to the container runtime on its CRI socket.

The runtime may be absent, restart or change its version; the shim never dies of it. Calls fail
fast with UNAVAILABLE that names the socket and the reason, and the next call connects again.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable

from image_cri_shim.cri.status import (
    CONTENT_TYPE,
    Answer,
    Code,
    RpcError,
    format_timeout,
    frame,
    header,
)
from image_cri_shim.cri.stream import BadFrame, Headers, MessageTooLarge, RawStream, StreamLost
from image_cri_shim.cri.transport import RawChannel
from image_cri_shim.cri.versions import Method, negotiate

_log = logging.getLogger(__name__)

# HTTP/2 error codes that say something about the call (gRPC over HTTP/2, "Errors").
_RESETS = {7: Code.UNAVAILABLE, 8: Code.CANCELLED, 11: Code.RESOURCE_EXHAUSTED}
_HTTP_CODES = {
    b"400": Code.INTERNAL,
    b"401": Code.UNAUTHENTICATED,
    b"403": Code.PERMISSION_DENIED,
    b"404": Code.UNIMPLEMENTED,
    b"429": Code.UNAVAILABLE,
    b"502": Code.UNAVAILABLE,
    b"503": Code.UNAVAILABLE,
    b"504": Code.UNAVAILABLE,
}
# Headers that belong to one connection or are made anew for the next one.
_HOP = frozenset({b"te", b"connection", b"grpc-timeout", b"transfer-encoding", b"host"})
_EMPTY = frame(b"")


class RuntimeUnavailable(RpcError):
    """The runtime cannot be reached, or went away in the middle of a call."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.UNAVAILABLE, message)


def forwarded(headers: Headers, deadline: float | None, *, parsed: bool = False) -> Headers:
    """Return the headers of a client's call as they go to the upstream, without the path.

    :param deadline: on the event loop's clock, or None.
    :param parsed: the shim reads the answer, so it must not be compressed.
    """
    out: Headers = [(b":method", b"POST"), (b":scheme", b"http")]
    out.append((b":authority", header(headers, b":authority") or b"localhost"))
    if deadline is not None:
        remaining = deadline - asyncio.get_running_loop().time()
        out.append((b"grpc-timeout", format_timeout(remaining)))
    out.append((b"te", b"trailers"))
    for pair in headers:
        name = pair[0]
        if name[:1] == b":" or name in _HOP or (parsed and name == b"grpc-accept-encoding"):
            continue
        out.append(pair)
    return out


class Upstream:
    """The container runtime.

    :param locate: returns the path of the runtime's socket; asked before each connection.
    :param version: ``v1``, ``v1alpha2``, or ``auto``: ask the runtime after each connection.
    """

    def __init__(self, locate: Callable[[], str], version: str) -> None:
        self._locate = locate
        self._version = version
        self._path = ""
        self._channel: RawChannel | None = None
        self._connection: object = None
        self._negotiated = ""
        self._negotiating = asyncio.Lock()
        self._running = 0
        self._retired = False

    async def open(self, method: Method, headers: Headers) -> tuple[RawStream, Callable[[], None]]:
        """Start a call.

        :param headers: as ``forwarded`` makes them.
        :returns: the stream, and what must be called when the call is over.
        :raises RpcError: the runtime cannot be reached.
        """
        version = await self._speak()
        return await self._open(method.spoken(version), headers)

    async def unary(self, method: Method, headers: Headers, message: bytes) -> Answer:
        """Call a method with one message (a whole frame) and return what was answered.

        :raises RpcError: the runtime cannot be reached or did not answer properly. A status that
            the runtime itself gives is an Answer.
        """
        version = await self._speak()
        return await self._unary(method.spoken(version), headers, message)

    def retire(self) -> None:
        """Close the connection as soon as no call runs on it; no new ones will come."""
        self._retired = True
        if not self._running:
            self.close()

    def close(self) -> None:
        """Close the connection; calls that still run end with UNAVAILABLE."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    async def _connect(self) -> tuple[RawChannel, object]:
        while True:
            channel = self._channel
            if channel is None or not channel.connected:
                try:
                    path = self._locate()
                except OSError as error:
                    raise RuntimeUnavailable(_why_unreachable(error.filename, error)) from error
                if not path:
                    raise RuntimeUnavailable(
                        "image-cri-shim: no container runtime's socket was found; "
                        "set `cri` to its path"
                    )
                if channel is None or path != self._path:
                    self.close()
                    self._path = path
                    channel = self._channel = RawChannel(path)
            try:
                connection = await channel.connect()
            except OSError as error:
                raise RuntimeUnavailable(_why_unreachable(self._path, error)) from error
            if channel is self._channel:
                return channel, connection
            # Closed while it connected; nobody else would close this connection.
            channel.close()

    async def _speak(self) -> str:
        if self._version != "auto":
            return self._version
        connection = (await self._connect())[1]
        if connection is self._connection:
            return self._negotiated
        async with self._negotiating:
            connection = (await self._connect())[1]
            if connection is not self._connection:
                self._negotiated = await negotiate(self._ask)
                self._connection = connection
                _log.info("the runtime at %s speaks CRI %s", self._path, self._negotiated)
        return self._negotiated

    async def _ask(self, path: bytes) -> int:
        request = [*forwarded([], None), (b"content-type", CONTENT_TYPE)]
        return (await self._unary(path, request, _EMPTY)).code

    async def _open(self, path: bytes, headers: Headers) -> tuple[RawStream, Callable[[], None]]:
        channel, _ = await self._connect()
        try:
            # RFC 9113, section 8.3: pseudo-headers come first.
            stream, release = await channel.open([(b":path", path), *headers])
        except StreamLost as lost:
            raise self.lost(lost) from lost
        except OSError as error:
            raise RuntimeUnavailable(_why_unreachable(self._path, error)) from error
        self._running += 1

        def over() -> None:
            release()
            self._running -= 1
            if self._retired and not self._running:
                self.close()

        return stream, over

    async def _unary(self, path: bytes, headers: Headers, message: bytes) -> Answer:
        stream, release = await self._open(path, headers)
        try:
            try:
                await stream.write_frame(message, end=True)
            except StreamLost:
                # It may have answered without reading all of it.
                if stream.headers is None:
                    raise
            first = await stream.read_headers()
            if header(first, b"grpc-status") is not None:
                return Answer(first)
            status = header(first, b":status")
            if status != b"200":
                raise _not_grpc(self._path, status)
            body = await stream.read_frame()
            return Answer(first, body, await stream.read_trailers())
        except (StreamLost, MessageTooLarge, BadFrame) as error:
            raise self.lost(error) from error
        finally:
            stream.abandon()
            release()

    def lost(self, error: StreamLost | MessageTooLarge | BadFrame) -> RpcError:
        """Return the status for a call that the runtime did not end properly."""
        if isinstance(error, MessageTooLarge):
            return RpcError(Code.RESOURCE_EXHAUSTED, f"image-cri-shim: the runtime's {error}")
        if isinstance(error, StreamLost) and error.reset is None:
            return RuntimeUnavailable(
                f"image-cri-shim: the connection to the runtime at {self._path} was lost "
                "in the middle of the call"
            )
        code = (
            _RESETS.get(error.reset or 0, Code.INTERNAL)
            if isinstance(error, StreamLost)
            else (Code.INTERNAL)
        )
        return RpcError(code, f"image-cri-shim: the runtime at {self._path} broke off: {error}")


def _not_grpc(path: str, status: bytes | None) -> RpcError:
    """Return the status for an answer that is HTTP but not gRPC (gRPC's HTTP status mapping)."""
    code = _HTTP_CODES.get(status or b"", Code.UNKNOWN)
    shown = (status or b"none").decode("ascii", "replace")[:3]
    return RpcError(
        code, f"image-cri-shim: the runtime at {path} answered with HTTP status {shown}"
    )


def _why_unreachable(path: str, error: OSError) -> str:
    """Say for the operator why nothing could be called on a socket."""
    if error.errno == errno.ENOENT:
        why = f"the runtime's socket {path} does not exist (is the runtime running?)"
    elif error.errno == errno.ECONNREFUSED:
        why = f"nobody listens on the runtime's socket {path} (the runtime is down)"
    elif error.errno in (errno.EACCES, errno.EPERM):
        why = f"the runtime's socket {path} may not be opened (permission denied)"
    else:
        why = f"the runtime's socket {path} cannot be reached: {error.strerror or error}"
    return f"image-cri-shim: {why}"
