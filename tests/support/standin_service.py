"""Serve CRI's ImageService from memory, on grpclib with raw bytes."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import CodecBase, StatusDetailsCodecBase
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from image_cri_shim.cri._generated import cri_pb2
from tests.support.standin_images import (
    AmbiguousIDError,
    Held,
    Images,
    InvalidReferenceError,
    parse,
)
from tests.support.standin_pull import PullError, pull

FAULTS = "fault.test/"
DETAILS = b"\x08\x0d\x12\x05fault"  # a google.rpc.Status: code 13, message "fault"
Call = Callable[[bytes], Awaitable[bytes]]


class RawCodec(CodecBase):
    """Take and give messages as the bytes that they are."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: object) -> bytes:
        return message

    def decode(self, data: bytes, message_type: object) -> bytes:
        return data


class RawDetailsCodec(StatusDetailsCodecBase):
    """Take and give grpc-status-details-bin as bytes."""

    def encode(self, status: Status, message: str | None, details: bytes) -> bytes:
        return details

    def decode(self, status: Status, message: str | None, data: bytes) -> bytes:
        return data


class ImageService:
    """Answer the calls of one runtime, in each of `versions`, and journal every call."""

    def __init__(
        self, versions: Sequence[str], mirrors: Mapping[str, str], journal: Path | None
    ) -> None:
        self._versions = versions
        self._mirrors = mirrors
        self._journal = journal
        self._images = Images()

    def __mapping__(self) -> dict[str, Handler]:
        calls: dict[str, Call] = {
            "PullImage": self.pull_image,
            "ImageStatus": self.image_status,
            "ListImages": self.list_images,
            "RemoveImage": self.remove_image,
            "ImageFsInfo": self.image_fs_info,
        }
        handlers = {}
        for version in self._versions:
            for name, call in calls.items():
                path = f"/runtime.{version}.ImageService/{name}"
                handlers[path] = self._unary(path, call)
            path = f"/runtime.{version}.ImageService/StreamImages"
            handlers[path] = Handler(self._stream(path), Cardinality.UNARY_STREAM, bytes, bytes)
            path = f"/runtime.{version}.RuntimeService/Version"
            handlers[path] = self._unary(path, self._version(version))
        return handlers

    async def pull_image(self, body: bytes) -> bytes:
        request = cri_pb2.PullImageRequest.FromString(body)
        try:
            reference = parse(request.image.image)
        except InvalidReferenceError as error:
            raise GRPCError(
                Status.UNKNOWN, f'failed to parse image reference "{request.image.image}": {error}'
            ) from None
        user, password = request.auth.username, request.auth.password
        if request.auth.auth:
            user, _, password = base64.b64decode(request.auth.auth).decode().partition(":")
        try:
            found = await asyncio.to_thread(pull, reference, (user, password), self._mirrors)
        except PullError as error:
            status = Status.NOT_FOUND if error.absent else Status.UNKNOWN
            raise GRPCError(status, str(error)) from None
        self._images.add(reference, found.manifest_digest, found.image)
        return cri_pb2.PullImageResponse(image_ref=found.image.id).SerializeToString()

    async def image_status(self, body: bytes) -> bytes:
        request = cri_pb2.ImageStatusRequest.FromString(body)
        image = self._find(request.image.image)
        if image is None:
            return b""
        answer = cri_pb2.ImageStatusResponse(image=self._message(image)).SerializeToString()
        if request.verbose:
            # `map<string, string> info = 2`, which the definitions here leave out.
            answer += _field(2, _field(1, b"info") + _field(2, image.info.encode()))
        return answer

    async def list_images(self, body: bytes) -> bytes:
        # The filter is not looked at: containerd does not either.
        images = [self._message(image) for image in self._images.all()]
        return cri_pb2.ListImagesResponse(images=images).SerializeToString()

    async def remove_image(self, body: bytes) -> bytes:
        image = self._find(cri_pb2.RemoveImageRequest.FromString(body).image.image)
        if image is not None:
            self._images.remove(image)
        return b""

    async def image_fs_info(self, body: bytes) -> bytes:
        # FilesystemUsage: timestamp 1 (ns), fs_id 2 (mountpoint 1), used_bytes 3, inodes_used 4.
        usage = _varint(1, time.time_ns()) + _field(2, _field(1, b"/standin"))
        size = sum(image.size for image in self._images.all())
        return _field(1, usage + _field(3, _varint(1, size)) + _field(4, b""))

    def _version(self, version: str) -> Call:
        async def answer(body: bytes) -> bytes:
            return cri_pb2.VersionResponse(
                version="0.1.0",
                runtime_name="standin",
                runtime_version="1.0.0",
                runtime_api_version=version,
            ).SerializeToString()

        return answer

    def _find(self, text: str) -> Held | None:
        try:
            return self._images.find(text)
        except AmbiguousIDError as error:
            raise GRPCError(Status.UNKNOWN, str(error)) from None

    def _message(self, image: Held) -> cri_pb2.Image:
        tags, digests = self._images.names(image)
        return cri_pb2.Image(id=image.id, repo_tags=tags, repo_digests=digests, size=image.size)

    def _unary(self, path: str, call: Call) -> Handler:
        async def handle(stream: Stream[bytes, bytes]) -> None:
            body = await stream.recv_message() or b""
            image = self._note(path, body, stream)
            try:
                if image.startswith(FAULTS):
                    await self._fault(image.removeprefix(FAULTS), stream)
                else:
                    await stream.send_message(await call(body))
            except asyncio.CancelledError:
                self._write({"event": "cancelled", "method": path, "image": image})
                raise

        return Handler(handle, Cardinality.UNARY_UNARY, bytes, bytes)

    def _stream(self, path: str) -> Callable[[Stream[bytes, bytes]], Awaitable[None]]:
        """Stream the images, one a message."""

        async def handle(stream: Stream[bytes, bytes]) -> None:
            self._note(path, await stream.recv_message() or b"", stream)
            for image in self._images.all():
                answer = cri_pb2.ListImagesResponse(images=[self._message(image)])
                await stream.send_message(answer.SerializeToString())

        return handle

    async def _fault(self, name: str, stream: Stream[bytes, bytes]) -> None:
        """Do what the name of an image of the host fault.test asks for."""
        kind, _, argument = name.partition(":")[0].partition("-")
        if kind == "hang":
            await asyncio.Event().wait()
        elif kind == "crash":
            os._exit(1)
        elif kind == "slow":
            await asyncio.sleep(int(argument) / 1000)
            await stream.send_message(cri_pb2.PullImageResponse(image_ref=name).SerializeToString())
        elif kind == "size":
            # An unknown field of about that size: any message takes it.
            await stream.send_message(_field(1000, bytes(int(argument))))
        elif kind in ("code", "metadata"):
            await stream.send_initial_metadata(metadata={"x-fault-initial": "first"})
            trailing: dict[str, str | bytes] = {"x-fault": name, "x-fault-bin": b"\x00\xff"}
            if kind == "metadata":
                await stream.send_message(b"")
                await stream.send_trailing_metadata(metadata=trailing)
            else:
                await stream.send_trailing_metadata(
                    status=Status(int(argument)),
                    status_message=f"fault {argument}",
                    status_details=DETAILS,
                    metadata=trailing,
                )
        else:
            raise GRPCError(Status.INVALID_ARGUMENT, f"no such fault: {name}")

    def _note(self, path: str, body: bytes, stream: Stream[bytes, bytes]) -> str:
        """Journal a call; return the image name in it."""
        image, auth = "", {}
        # Every request that names an image has its ImageSpec as field 1; so has the filter.
        if path.endswith(("PullImage", "ImageStatus", "RemoveImage")):
            request = cri_pb2.PullImageRequest()
            if path.endswith("PullImage"):
                request.MergeFromString(body)
                auth = {field.name: value for field, value in request.auth.ListFields()}
                image = request.image.image
            else:
                image = cri_pb2.RemoveImageRequest.FromString(body).image.image
        deadline = stream.deadline.time_remaining() if stream.deadline else None
        metadata = [
            (key, base64.b64encode(value).decode() if isinstance(value, bytes) else value)
            for key, value in (stream.metadata or {}).items()
        ]
        self._write(
            {
                "event": "call",
                "method": path,
                "image": image,
                "auth": auth,
                "metadata": metadata,
                "deadline": deadline,
                "request": base64.b64encode(body).decode(),
            }
        )
        return image

    def _write(self, entry: dict[str, object]) -> None:
        if self._journal is not None:
            with self._journal.open("a") as journal:
                journal.write(json.dumps(entry) + "\n")


async def serve(
    socket: str, versions: Sequence[str], mirrors: Mapping[str, str], journal: Path | None
) -> None:
    """Serve on the unix socket `socket` until the process ends; replaces a stale socket."""
    # A registry that never answers holds a thread; the others must go on.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(64))
    service = ImageService(versions, mirrors, journal)
    server = Server([service], codec=RawCodec(), status_details_codec=RawDetailsCodec())
    await server.start(path=socket)
    await server.wait_closed()


def _number(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _varint(field: int, value: int) -> bytes:
    return _number(field << 3) + _number(value)


def _field(field: int, content: bytes) -> bytes:
    return _number(field << 3 | 2) + _number(len(content)) + content
