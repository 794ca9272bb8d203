"""The upstream: calls to the container runtime on its CRI socket.

The runtime may be absent, restart or change its version; the shim never dies of it. Calls fail
fast with UNAVAILABLE that names the socket and the reason. A call that cannot have had an effect
when its connection went is made once more, on a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from image_cri_shim.cri.connection import Connection, NotGrpc, RuntimeUnavailable, read_answer
from image_cri_shim.cri.connector import Connector
from image_cri_shim.cri.status import (
    Answer,
    Code,
    RpcError,
    format_timeout,
    header,
    parse_timeout,
)
from image_cri_shim.cri.stream import BadFrame, Headers, MessageTooLarge, RawStream, StreamLost
from image_cri_shim.cri.versions import Method

# Seconds that the runtime gets to show that it is alive.
_ALIVE = 2.0
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

# What must be called when a call is over.
Release = Callable[[], None]


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
    :param connector: makes what keeps the connection, given these and what is told of changes.
    """

    def __init__(
        self,
        locate: Callable[[], str],
        version: str,
        connector: Callable[[Callable[[], str], str, Callable[[], None]], Connector] = Connector,
    ) -> None:
        self._connector = connector(locate, version, self._changed)
        self._watchers: set[Callable[[], None]] = set()
        self._path = ""
        self._running = 0
        self._retired = False

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the runtime now."""
        current = self._connector.current
        return current is not None and current.usable

    @property
    def state(self) -> str:
        """How the connection is, in words for the operator."""
        return self._connector.state

    @property
    def path(self) -> str:
        """The runtime's socket, as far as it is known."""
        current = self._connector.current
        return self._path if current is None else current.path

    @property
    def version(self) -> str:
        """The CRI version that it is spoken to; empty without a connection."""
        current = self._connector.current
        return "" if current is None else current.version

    @property
    def program(self) -> tuple[str, str]:
        """The runtime's name and version; empty texts before it has introduced itself."""
        current = self._connector.current
        return ("", "") if current is None else current.program

    async def introduce(self) -> None:
        """Ask the runtime what it is, if there is a connection to it."""
        current = self._connector.current
        if current is not None and current.usable and not current.program[0]:
            await current.introduce()

    @property
    def retired(self) -> bool:
        """Whether another upstream has taken its place."""
        return self._retired

    def start(self) -> None:
        """Connect now, not with the first call, and keep the connection; needs a running loop."""
        if not self._retired:
            self._connector.start()

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Call ``watcher`` whenever ``connected`` or ``retired`` may have changed.

        :returns: what ends that.
        """
        self._watchers.add(watcher)
        return lambda: self._watchers.discard(watcher)

    async def reachable(self, patience: float = _ALIVE) -> bool:
        """Find out whether the runtime is alive: connected, and answering in time.

        :param patience: the seconds that it gets.
        """
        self._running += 1
        try:
            async with asyncio.timeout(patience):
                return await (await self._connector.connection()).alive()
        except (RuntimeUnavailable, TimeoutError):
            return False
        finally:
            self._over()

    async def open(self, method: Method, headers: Headers) -> tuple[RawStream, Release]:
        """Start a call.

        :param headers: as ``forwarded`` makes them.
        :returns: the stream, and what must be called when the call is over.
        :raises RpcError: the runtime cannot be reached.
        """
        stream, release, _ = await self._start(method, headers, None, ended=False)
        return stream, release

    async def begin(
        self, method: Method, headers: Headers, message: bytes | None
    ) -> tuple[RawStream, Release, Headers]:
        """Start a call with a request of one message (a whole frame) or none, and await its answer.

        :returns: the stream, what must be called when the call is over, the answer's first headers.
        :raises RpcError: the runtime cannot be reached or broke off.
        """
        return await self._start(method, headers, message, ended=True)

    async def unary(self, method: Method, headers: Headers, message: bytes) -> Answer:
        """Call a method with one message (a whole frame) and return what was answered.

        :raises RpcError: the runtime cannot be reached or did not answer properly. A status that
            the runtime itself gives is an Answer.
        """
        stream, release, first = await self._start(method, headers, message, ended=True)
        try:
            return await read_answer(stream, first)
        except NotGrpc as error:
            raise self._not_grpc(error) from error
        except (StreamLost, MessageTooLarge, BadFrame) as error:
            raise self.lost(error) from error
        finally:
            stream.abandon()
            release()

    def retire(self) -> None:
        """Close the connection as soon as no call runs on it; no new ones will come."""
        self._retired = True
        if not self._running:
            self._connector.close()
        self._changed()

    def close(self) -> None:
        """Close the connection; calls that still run end with UNAVAILABLE."""
        self._connector.close()

    async def _start(
        self, method: Method, headers: Headers, message: bytes | None, *, ended: bool
    ) -> tuple[RawStream, Release, Headers]:
        """Start a call, and once more if that can do no harm.

        :param ended: whether ``message`` is all of the request; if not, nothing is sent but the
            headers, and no headers are returned.
        """
        connector = self._connector
        closings = connector.closings
        since = asyncio.get_running_loop().time()
        first: StreamLost | None = None
        self._running += 1
        try:
            while True:
                connection = connector.current
                if connection is None or not connection.usable:
                    try:
                        connection = await connector.connection()
                    except RuntimeUnavailable:
                        if first is None or first.unprocessed:
                            raise
                        # That the runtime is down by now is not what ended the call.
                        raise self.lost(first) from first
                    headers = _later(headers, since)
                self._path = connection.path
                try:
                    return await self._start_on(connection, method, headers, message, ended=ended)
                except StreamLost as lost:
                    repeatable = lost.unprocessed or (
                        ended and lost.reset is None and method.read_only
                    )
                    if first is not None or not repeatable or connector.closings != closings:
                        raise self.lost(lost) from lost
                    first = lost
                    headers = _later(headers, since)
                except (BadFrame, MessageTooLarge) as error:
                    raise self.lost(error) from error
                except NotGrpc as error:
                    raise self._not_grpc(error) from error
        except BaseException:
            self._over()
            raise

    async def _start_on(
        self,
        connection: Connection,
        method: Method,
        headers: Headers,
        message: bytes | None,
        *,
        ended: bool,
    ) -> tuple[RawStream, Release, Headers]:
        if not connection.decided:
            await connection.decide_again()
        stream, release = await connection.open(method, headers)

        def over() -> None:
            release()
            self._over()

        if not ended:
            return stream, over, []
        try:
            try:
                if message is None:
                    await stream.write_end()
                else:
                    await stream.write_frame(message, end=True)
            except StreamLost:
                # It may have answered without reading all of it.
                if stream.headers is None:
                    raise
            return stream, over, await stream.read_headers()
        except BaseException:
            stream.abandon()
            release()
            raise

    def _over(self) -> None:
        self._running -= 1
        if self._retired and not self._running:
            self._connector.close()

    def _changed(self) -> None:
        for watcher in tuple(self._watchers):
            watcher()

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

    def _not_grpc(self, error: NotGrpc) -> RpcError:
        """Return the status for an answer that is not gRPC (gRPC's HTTP status mapping)."""
        code = _HTTP_CODES.get(error.status or b"", Code.UNKNOWN)
        return RpcError(code, f"image-cri-shim: the runtime at {self._path} answered with {error}")


def _later(headers: Headers, since: float) -> Headers:
    """Return the headers with a ``grpc-timeout`` for the same deadline as at an earlier time.

    :param since: that time, on the event loop's clock.
    """
    timeout = parse_timeout(headers)
    if timeout is None:
        return headers
    left = format_timeout(timeout - (asyncio.get_running_loop().time() - since))
    return [(k, left if k == b"grpc-timeout" else v) for k, v in headers]
