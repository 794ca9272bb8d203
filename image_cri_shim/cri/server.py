"""The CRI proxy's server: takes every call of the socket and says who answers it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import cast

from google.protobuf.message import DecodeError

from image_cri_shim.cri.account import account
from image_cri_shim.cri.call import Call, read_call, write_answer
from image_cri_shim.cri.containers import create_container
from image_cri_shim.cri.health import HEALTH, Health
from image_cri_shim.cri.identity import identity_of
from image_cri_shim.cri.listener import LEAVING_PATIENCE, RawServer
from image_cri_shim.cri.listing import stream_images
from image_cri_shim.cri.local import image_status, list_images, remove_image
from image_cri_shim.cri.memory import Memory
from image_cri_shim.cri.naming import Naming
from image_cri_shim.cri.passthrough import forward
from image_cri_shim.cri.pull import Observer, Puller, Routing
from image_cri_shim.cri.status import (
    CONTENT_TYPE,
    Answer,
    Code,
    RpcError,
    error_headers,
    error_trailers,
    header,
    parse_timeout,
)
from image_cri_shim.cri.stream import BadFrame, Headers, MessageTooLarge, RawStream, StreamLost
from image_cri_shim.cri.translation import translation
from image_cri_shim.cri.versions import (
    IMAGE_SERVICE,
    RUNTIME_SERVICE,
    Method,
    parse_method,
    shown,
)
from image_cri_shim.measurements import CallMeasurements
from image_cri_shim.redaction import Redactor

_log = logging.getLogger(__name__)

# Seconds from telling clients to go to refusing what they begin here: longer than a message takes.
_NOTICE = 0.1


class CriServer:
    """Serves the CRI on a listening socket.

    :param routing: returns what the next call is decided by.
    :param observer: is told of decisions and pulls.
    :param memory: what was pulled as what.
    :param measurements: what the clients' calls come to.
    :param recorded: as for ``Puller``.
    """

    def __init__(
        self,
        routing: Callable[[], Routing],
        observer: Observer,
        memory: Memory,
        *,
        measurements: CallMeasurements | None = None,
        recorded: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._measurements = CallMeasurements() if measurements is None else measurements
        self._routing = routing
        self._memory = memory
        self._named: tuple[Routing, Naming] | None = None
        self._puller = Puller(observer) if recorded is None else Puller(observer, recorded)
        self._health = Health(lambda: routing().upstream)
        self._bounded: set[asyncio.Task[None]] = set()
        self._server = RawServer(self._serve)

    async def start(self, listener: socket.socket) -> None:
        """Serve on a socket that listens already."""
        self._server.serve_on(listener)

    def serve_on(self, listener: socket.socket) -> None:
        """Serve on one more socket that listens already."""
        self._server.serve_on(listener)

    def leave(self, listener: socket.socket) -> None:
        """Serve no longer on a socket, which is closed; its clients stay."""
        self._server.leave(listener)

    @property
    def full(self) -> bool:
        """Whether a client that comes is refused, for there are too many."""
        return self._server.full

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return self._server.clients

    @property
    def calls(self) -> int:
        """How many calls run."""
        return self._server.calls

    async def stop(self, grace: float) -> None:
        """Stop accepting, let calls finish, then drop the connections.

        :param grace: seconds that running calls get, pulls among them; not those that go on
            for ever, unless their clients have set a deadline.
        """
        if grace and self._server.warn():
            await asyncio.sleep(min(grace, _NOTICE))
        self._server.drain()
        if self._bounded:
            _log.info("stopping: %d calls get %g s to finish", len(self._bounded), grace)
            await asyncio.wait(self._bounded, timeout=grace)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(grace, LEAVING_PATIENCE)):
                await self._server.left()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._server.drop()

    async def _serve(self, stream: RawStream, headers: Headers) -> None:
        """Answer one call; whatever happens, the client gets a status."""
        started = monotonic()
        path = header(headers, b":path") or b""
        method = parse_method(path)
        try:
            problem = _not_grpc(headers)
            if problem is not None:
                await stream.write_headers(problem, end=True)
                return
            await self._answer(stream, headers, method)
        except RpcError as error:
            await _write_error(stream, error)
        except MessageTooLarge as error:
            await _write_error(
                stream, RpcError(Code.RESOURCE_EXHAUSTED, f"image-cri-shim: {error}")
            )
        except (BadFrame, DecodeError, UnicodeDecodeError) as error:
            # UnicodeDecodeError: what protobuf's implementation in Python says of a bad string.
            await _write_error(stream, RpcError(Code.INTERNAL, f"image-cri-shim: {error}"))
        except TimeoutError:
            await _write_error(
                stream, RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
            )
        except StreamLost:
            raise
        except Exception:  # noqa: BLE001 - the client gets a status whatever happens
            call = identity_of(stream, headers).call
            what = "an error in the shim itself while serving %s [%s]"
            _log.exception(what, shown(path), call, extra={"call": call})
            await _write_error(
                stream, RpcError(Code.INTERNAL, "image-cri-shim: internal error, see its log")
            )
        finally:
            stream.abandon_unread()
            if not path.startswith(HEALTH):
                account(self._measurements, stream, headers, method, started, self._redactor)
            if _log.isEnabledFor(logging.DEBUG):
                took = (monotonic() - started) * 1000
                call = identity_of(stream, headers).call
                _log.debug("%s took %.1f ms [%s]", shown(path), took, call, extra={"call": call})

    async def _answer(self, stream: RawStream, headers: Headers, method: Method) -> None:
        routing = self._routing()
        if method.path[:1] != b"/":
            # Runtimes forgive the missing slash; so it would be a way past everything below.
            raise RpcError(Code.UNIMPLEMENTED, "image-cri-shim: malformed method name")
        timeout = parse_timeout(headers)
        if method.path.startswith(HEALTH):
            # Nobody waits for these when the shim stops.
            async with asyncio.timeout(timeout):
                await self._health.answer(stream, headers, method)
            return
        if timeout is None and method.service == IMAGE_SERVICE:
            timeout = routing.timeout
        deadline = None
        if timeout is not None:
            deadline = asyncio.get_running_loop().time() + timeout
            stream.deadline = deadline
        if timeout is not None or method.finite:
            task = cast("asyncio.Task[None]", asyncio.current_task())
            self._bounded.add(task)
            task.add_done_callback(self._bounded.discard)
        async with asyncio.timeout_at(deadline):
            if (method.service, method.name) in _READ:
                await self._answer_read(stream, headers, method, deadline, routing)
            else:
                translate = translation(method, self._naming(routing))
                await forward(stream, headers, method, deadline, routing.upstream, translate)

    async def _answer_read(
        self,
        stream: RawStream,
        headers: Headers,
        method: Method,
        deadline: float | None,
        routing: Routing,
    ) -> None:
        """Answer a call whose message the shim reads."""
        naming = self._naming(routing)
        call = await read_call(stream, headers, method, deadline, routing.upstream)
        if method.name == "StreamImages":
            await stream_images(stream, call, naming)
            return
        if method.name == "PullImage":
            identity = identity_of(stream, headers)
            answer = await self._puller.pull_image(call, identity, routing, naming)
        else:
            answer = await _LOCAL[method.name](call, naming)
        await write_answer(stream, answer)

    def _redactor(self) -> Redactor:
        return self._routing().redactor

    def _naming(self, routing: Routing) -> Naming:
        """Return what is known of names under the current configuration."""
        if self._named is None or self._named[0] is not routing:
            self._named = (routing, Naming(routing.policy, routing.original_names, self._memory))
        return self._named[1]


# As it stands, or with a message format or parameters behind it.
_GRPC = re.compile(CONTENT_TYPE + rb"(?:[+;].*)?")
_LOCAL: dict[str, Callable[[Call, Naming], Awaitable[Answer]]] = {
    "ImageStatus": image_status,
    "ListImages": list_images,
    "RemoveImage": remove_image,
    "CreateContainer": create_container,
}
_READ = frozenset(
    {
        (IMAGE_SERVICE, "PullImage"),
        (IMAGE_SERVICE, "ImageStatus"),
        (IMAGE_SERVICE, "ListImages"),
        (IMAGE_SERVICE, "RemoveImage"),
        (IMAGE_SERVICE, "StreamImages"),
        (RUNTIME_SERVICE, "CreateContainer"),
    }
)


def _not_grpc(headers: Headers) -> Headers | None:
    """Return the answer for a request that is HTTP/2 but not gRPC, or None if it is gRPC."""
    if header(headers, b":method") != b"POST":
        return [(b":status", b"405"), (b"allow", b"POST")]
    if _GRPC.fullmatch(header(headers, b"content-type") or b"") is None:
        return [(b":status", b"415")]
    return None


async def _write_error(stream: RawStream, error: RpcError) -> None:
    """End a call with a status; a client that is gone does not matter."""
    with contextlib.suppress(StreamLost):
        if stream.wrote_headers:
            await stream.write_headers(error_trailers(error), end=True)
        else:
            await stream.write_headers(error_headers(error), end=True)
