"""One connection to the container runtime: made, asked which CRI version it speaks, used, closed.

It is never made a second time, so what was found out about it stays true; ``connector`` makes the
next one.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from functools import partial

from google.protobuf.message import DecodeError

from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.cri.channel import RawChannel
from image_cri_shim.cri.status import CONTENT_TYPE, Answer, Code, RpcError, frame, header
from image_cri_shim.cri.stream import BadFrame, Headers, MessageTooLarge, RawStream, StreamLost
from image_cri_shim.cri.versions import RUNTIME_SERVICE, V1, Method, negotiate, parse_method
from image_cri_shim.redaction import Redactor

_log = logging.getLogger(__name__)

# Seconds between two questions for its version to a runtime that knew none.
_ASK_AGAIN = 1.0
# What is kept of a runtime's name and of its version.
_NAME_SHOWN = 100
_EMPTY = frame(b"")
# Whether the runtime knows it or not, it answers.
_HEALTH = b"/grpc.health.v1.Health/Check"
_QUESTION: Headers = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":authority", b"localhost"),
    (b"te", b"trailers"),
    (b"content-type", CONTENT_TYPE),
]


class RuntimeUnavailable(RpcError):
    """The runtime cannot be reached, or went away in the middle of a call."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.UNAVAILABLE, message)


class RuntimeSilent(RuntimeUnavailable):
    """The runtime accepts connections, or lets them wait, and does not answer."""


class NotGrpc(Exception):
    """An answer is HTTP but not gRPC.

    :ivar status: its HTTP status, or None.
    """

    def __init__(self, status: bytes | None) -> None:
        super().__init__(f"HTTP status {(status or b'none').decode('ascii', 'replace')[:3]}")
        self.status = status


class Connection:
    """A connection to the runtime.

    :param path: the runtime's socket.
    :param gone: is told once, with the connection, when it takes no more calls: it is lost, or the
        runtime goes away.
    :ivar version: the CRI version to speak.
    :ivar decided: whether the runtime was found to speak it, or it was configured; if not, it is
        only assumed.
    :ivar program: the runtime's name and version, once it has introduced itself.
    """

    def __init__(self, path: str, gone: Callable[[Connection], None]) -> None:
        self.path = path
        self.version = V1
        self.decided = False
        self.program = ("", "")
        self._channel = RawChannel(path, partial(gone, self))
        self._running = 0
        self._retired = False
        self._deciding = asyncio.Lock()
        self._ask_at = 0.0

    @property
    def running(self) -> int:
        """How many calls run on it."""
        return self._running

    @property
    def sent_away(self) -> bool:
        """Whether the runtime, or the end of HTTP/2's numbers, asks for another connection."""
        return self._channel.going_away

    @property
    def usable(self) -> bool:
        """Whether it takes calls."""
        return not self._retired and self._channel.usable

    async def connect(self) -> None:
        """Connect.

        :raises OSError: nothing listens on the socket, or too many wait to be accepted.
        :raises StreamLost: the connection was closed at once.
        """
        await self._channel.connect()

    async def decide(self, wanted: str) -> None:
        """Find out which version to speak, and that the runtime answers at all.

        :param wanted: ``v1``, ``v1alpha2``, or ``auto`` to ask the runtime.
        :raises StreamLost: the connection went.
        """
        if wanted == "auto":
            await self._negotiate()
            if not self.decided:
                _log.warning(
                    "the runtime at %s serves neither CRI v1 nor v1alpha2; it is asked again",
                    self.path,
                )
            return
        self.version, self.decided = wanted, True
        await self._channel.ping()
        _log.info("the runtime at %s is spoken to in CRI %s, as configured", self.path, wanted)

    async def decide_again(self) -> None:
        """Ask a runtime that knew neither version, for it may have been starting.

        :raises StreamLost: the connection went.
        """
        async with self._deciding:
            if not self.decided and asyncio.get_running_loop().time() >= self._ask_at:
                await self._negotiate()

    async def _negotiate(self) -> None:
        found = await negotiate(self._ask)
        if found is None:
            self._ask_at = asyncio.get_running_loop().time() + _ASK_AGAIN
            return
        self.version, self.decided = found, True
        _log.info("the runtime at %s speaks CRI %s", self.path, found)

    async def introduce(self) -> None:
        """Ask the runtime what it is, for people; what does not say so stays without a name."""
        method = parse_method(f"/runtime.{self.version}.{RUNTIME_SERVICE}/Version".encode("ascii"))
        try:
            answer = await self._answer(method.path, _EMPTY)
            if answer.code != Code.OK:
                return
            told = cri_pb2.VersionResponse.FromString(answer.payload)
        except (StreamLost, BadFrame, MessageTooLarge, NotGrpc, DecodeError, UnicodeDecodeError):
            return
        clean = Redactor().clean
        self.program = (
            clean(told.runtime_name[:_NAME_SHOWN]),
            clean(told.runtime_version[:_NAME_SHOWN]),
        )

    async def alive(self, question: bytes = _EMPTY) -> bool:
        """Wait for the runtime's answer to a call without effect; False if the connection goes.

        :param question: the frame of the HealthCheckRequest to ask.

        Not a PING: gRPC's implementation in Go, which runtimes use, takes the third one in five
        minutes for an attack and closes the connection.
        """
        try:
            await self._ask(_HEALTH, question)
        except (StreamLost, BadFrame, MessageTooLarge, NotGrpc):
            return False
        return True

    async def open(self, method: Method, headers: Headers) -> tuple[RawStream, Callable[[], None]]:
        """Start a call.

        :returns: the stream, and what must be called when the call is over.
        :raises StreamLost: the connection takes no more calls.
        """
        return await self._open(method.spoken(self.version), headers)

    def retire(self) -> None:
        """Take no more calls, and close as soon as none runs."""
        self._retired = True
        if not self._running:
            self.close()

    def close(self) -> None:
        """Close; calls that still run end with StreamLost."""
        self._retired = True
        self._channel.close()

    async def _open(self, path: bytes, headers: Headers) -> tuple[RawStream, Callable[[], None]]:
        if not self.usable:
            raise StreamLost("the connection is closed", unprocessed=True)
        self._running += 1
        try:
            # RFC 9113, section 8.3: pseudo-headers come first.
            stream, release = await self._channel.open([(b":path", path), *headers])
        except BaseException:
            self._ended()
            raise

        def over() -> None:
            release()
            self._ended()

        return stream, over

    def _ended(self) -> None:
        self._running -= 1
        if self._retired and not self._running:
            self.close()

    async def _ask(self, path: bytes, message: bytes = _EMPTY) -> int:
        return (await self._answer(path, message)).code

    async def _answer(self, path: bytes, message: bytes) -> Answer:
        stream, release = await self._open(path, _QUESTION)
        try:
            await stream.write_frame(message, end=True)
            return await read_answer(stream, await stream.read_headers())
        finally:
            stream.abandon()
            release()


async def reach(
    locate: Callable[[], str], version: str, gone: Callable[[Connection], None], patience: float
) -> Connection:
    """Connect to the runtime and find out its version.

    :param locate: returns the path of its socket, or an empty one if there is none.
    :param version: as for ``Connection.decide``.
    :param gone: as for ``Connection``.
    :param patience: seconds for all of it.
    :raises RuntimeSilent: it took longer.
    :raises RuntimeUnavailable: it cannot be reached; the message says why.
    """
    try:
        path = locate()
    except OSError as error:
        raise RuntimeUnavailable(_why_unreachable(str(error.filename), error)) from error
    if not path:
        raise RuntimeUnavailable(
            "image-cri-shim: no container runtime's socket was found (is the runtime running? "
            "if it is, set `cri` to its socket)"
        )
    connection = Connection(path, gone)
    reached = False
    try:
        async with asyncio.timeout(patience) as bound:
            await connection.connect()
            await connection.decide(version)
        reached = connection.usable
    except OSError as error:
        if bound.expired():
            raise RuntimeSilent(
                f"image-cri-shim: the runtime at {path} does not answer "
                f"(a new connection was given {patience:g} s)"
            ) from error
        raise RuntimeUnavailable(_why_unreachable(path, error)) from error
    except (StreamLost, BadFrame, MessageTooLarge, NotGrpc) as error:
        raise RuntimeUnavailable(_why_useless(path, str(error))) from error
    finally:
        if not reached:
            connection.close()
    if not reached:
        raise RuntimeUnavailable(_why_useless(path, "it sent the shim away"))
    return connection


def _why_useless(path: str, reason: str) -> str:
    return f"image-cri-shim: a new connection to the runtime at {path} is of no use: {reason}"


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


async def read_answer(stream: RawStream, first: Headers) -> Answer:
    """Read what follows the first headers of a unary answer.

    :raises NotGrpc: it is HTTP but not gRPC.
    :raises StreamLost: the runtime broke off.
    :raises BadFrame: what it sent is no whole answer.
    :raises MessageTooLarge: its message is.
    """
    if header(first, b"grpc-status") is not None:
        return Answer(first)
    status = header(first, b":status")
    if status != b"200":
        raise NotGrpc(status)
    body = await stream.read_frame()
    return Answer(first, body, await stream.read_trailers())
