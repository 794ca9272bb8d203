"""The daemon's image service as a client sees it."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from image_cri_shim import __version__
from image_cri_shim.cli.status import FAILED, UNREACHABLE
from image_cri_shim.config.sockets import without_scheme
from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.cri.account import OWN_AGENT
from image_cri_shim.cri.connection import Connection, NotGrpc, read_answer
from image_cri_shim.cri.status import CONTENT_TYPE, Answer, Code, frame
from image_cri_shim.cri.stream import BadFrame, MessageTooLarge, StreamLost
from image_cri_shim.cri.upstream import forwarded
from image_cri_shim.cri.versions import IMAGE_SERVICE, parse_method
from image_cri_shim.status_codes import code_name

# Seconds that the daemon gets to show that it is there; a pull may take any time after that.
_PATIENCE = 10.0

_AGENT = OWN_AGENT + __version__.encode("ascii")

M = TypeVar("M", bound=Message)


class Failed(Exception):
    """A call has no answer that is good; the message says why.

    :ivar status: the exit status for it.
    """

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


class ImageService:
    """A client of the CRI's ImageService in one version, on one connection.

    A daemon that is told to stop lets the calls of its connections finish; so the connection is the
    shim's own, which stays until they have. grpclib's drops them when it is told (GOAWAY).
    """

    def __init__(self, socket: str, version: str) -> None:
        self._socket = socket
        self._version = version
        self._connection = Connection(without_scheme(socket), lambda _: None)

    async def connect(self) -> None:
        """Connect, and wait until the daemon shows that it speaks HTTP/2.

        :raises Failed: it does not, or nobody answers.
        """
        try:
            async with asyncio.timeout(_PATIENCE) as bound:
                await self._connection.connect()
                await self._connection.decide(self._version)
        except StreamLost as error:
            raise self._unreachable(f"{error}; is it the shim's socket?") from error
        except OSError as error:
            why = error.strerror or str(error)
            if bound.expired():
                why = f"connections are accepted, then there is silence for {_PATIENCE:g} s"
            raise self._unreachable(f"{why}; is the daemon running?") from error

    async def status(self, image: str, deadline: float | None) -> cri_pb2.ImageStatusResponse:
        """Ask what the node has of an image; as for ``call``."""
        request = cri_pb2.ImageStatusRequest()
        request.image.image = image
        return await self.call("ImageStatus", request, cri_pb2.ImageStatusResponse(), deadline)

    async def call(self, name: str, request: Message, reply: M, deadline: float | None) -> M:
        """Make a call, read its answer into ``reply`` and return that.

        :param deadline: what to tell the daemon of it, on the event loop's clock.
        :raises Failed: there is none.
        """
        try:
            answer = await self._answer(name, frame(request.SerializeToString()), deadline)
            reply.ParseFromString(_payload(answer))
        except StreamLost as error:
            if error.unprocessed:
                raise self._unreachable(str(error)) from error
            raise Failed(f"lost the shim on {self._socket} during the call: {error}") from error
        except (NotGrpc, BadFrame, MessageTooLarge, DecodeError, UnicodeDecodeError) as error:
            raise self._unreachable(f"it does not answer as a shim does: {error}") from error
        return reply

    async def _answer(self, name: str, message: bytes, deadline: float | None) -> Answer:
        method = parse_method(f"/runtime.{self._version}.{IMAGE_SERVICE}/{name}".encode("ascii"))
        request = [(b"content-type", CONTENT_TYPE), (b"user-agent", _AGENT)]
        headers = forwarded(request, deadline)
        stream, release = await self._connection.open(method, headers)
        try:
            await stream.write_frame(message, end=True)
            return await read_answer(stream, await stream.read_headers())
        finally:
            stream.abandon()
            release()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _unreachable(self, why: str) -> Failed:
        return Failed(f"nobody answers on {self._socket}: {why}", UNREACHABLE)


def _payload(answer: Answer) -> bytes:
    """Return the message of an answer.

    :raises Failed: it has a status instead.
    :raises BadFrame: it has none, or one that is compressed, which was not asked for.
    """
    if answer.code != Code.OK:
        raise Failed(f"{code_name(answer.code)}: {answer.message}")
    if answer.frame is None or answer.compressed:
        raise BadFrame("the answer has no message that can be read")
    return answer.payload
