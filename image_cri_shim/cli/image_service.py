"""The daemon's image service as a client sees it: one pull, and what the node then has."""

from __future__ import annotations

import argparse
import base64
import time

from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from image_cri_shim.cli import streams
from image_cri_shim.cli.status import FAILED, FOUND, UNREACHABLE
from image_cri_shim.cli.terminal import complain, one_line
from image_cri_shim.config import format_duration
from image_cri_shim.cri._generated import cri_pb2


async def pull(options: argparse.Namespace, password: str | None) -> int:
    """Pull an image, print what came of it and return the exit status.

    :param options: the command line.
    :param password: the one of its user; None if it names none.
    """
    channel = Channel(path=options.socket.removeprefix("unix://"))
    try:
        service = _ImageService(channel, options.cri_version)
        request = cri_pb2.PullImageRequest()
        request.image.image = options.image
        if password is not None:
            pair = f"{options.user}:{password}".encode()
            request.auth.auth = base64.b64encode(pair).decode("ascii")
        started = time.monotonic()
        reply = await service.pull(request, timeout=options.timeout)
        took = time.monotonic() - started
        streams.write(f"pulled {one_line(options.image)} in {took:.2f} s")
        streams.write(f"  image ref     {one_line(reply.image_ref)}")
        status = await service.status(options.image, timeout=options.timeout)
    except GRPCError as error:
        code = error.status.name if isinstance(error.status, Status) else error.status
        complain(f"{options.image}: {code}: {error.message}")
        return FAILED
    except TimeoutError:
        complain(f"{options.image}: gave up after {format_duration(options.timeout)}")
        return FAILED
    except OSError as error:
        why = error.strerror or str(error)
        complain(f"nobody answers on {options.socket}: {why}; is the daemon running?")
        return UNREACHABLE
    finally:
        channel.close()
    if not status.HasField("image"):
        streams.write_error("  the runtime does not show it under this name")
        return FAILED
    for label, values in (
        ("image ID", [status.image.id]),
        ("held as", status.image.repo_tags),
        ("digest", status.image.repo_digests),
    ):
        for value in values:
            streams.write(f"  {label:<13} {one_line(value)}")
    return FOUND


class _ImageService:
    """A client of the CRI's ImageService in one version."""

    def __init__(self, channel: Channel, version: str) -> None:
        path = f"/runtime.{version}.ImageService"
        self._pull = UnaryUnaryMethod(
            channel, f"{path}/PullImage", cri_pb2.PullImageRequest, cri_pb2.PullImageResponse
        )
        self._status = UnaryUnaryMethod(
            channel, f"{path}/ImageStatus", cri_pb2.ImageStatusRequest, cri_pb2.ImageStatusResponse
        )

    async def pull(
        self, request: cri_pb2.PullImageRequest, *, timeout: float | None
    ) -> cri_pb2.PullImageResponse:
        return await self._pull(request, timeout=timeout)

    async def status(self, image: str, *, timeout: float | None) -> cri_pb2.ImageStatusResponse:
        request = cri_pb2.ImageStatusRequest()
        request.image.image = image
        return await self._status(request, timeout=timeout)
