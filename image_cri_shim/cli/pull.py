"""``image-cri-shim pull``: pull an image as a kubelet would, and show what the node then has."""

from __future__ import annotations

import argparse
import asyncio
import base64
import getpass
import sys
import time
from typing import Any

from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from image_cri_shim.config import format_duration, parse_duration
from image_cri_shim.cri._generated import cri_pb2

DEFAULT_SOCKET = "/var/run/image-cri-shim.sock"
# 2 is argparse's, for a wrong command line.
FOUND, FAILED, UNREACHABLE = 0, 1, 3


def add_parser(commands: Any) -> None:
    """Add the command to the program's."""
    command = commands.add_parser(
        "pull",
        help="pull an image through the shim, as a kubelet would",
        description=(
            "Pulls an image over the CRI and shows what the runtime then has. "
            "Exit status: 0 pulled, 1 not pulled, 2 wrong command line, "
            "3 nobody answers on the socket."
        ),
    )
    command.add_argument("image", metavar="IMAGE", help="an image reference, such as nginx:1.25")
    command.add_argument(
        "--socket",
        default=DEFAULT_SOCKET,
        metavar="SOCKET",
        help=f"the shim's socket [default: {DEFAULT_SOCKET}]",
    )
    command.add_argument(
        "--timeout",
        type=_duration,
        metavar="TIME",
        help="give up after this time, such as 90s or 5m",
    )
    command.add_argument(
        "--user",
        metavar="USER",
        help="credentials for the image's origin; the password is read from standard input",
    )
    command.add_argument(
        "--cri-version",
        choices=("v1", "v1alpha2"),
        default="v1",
        help="the CRI version to speak [default: v1]",
    )
    command.set_defaults(run=run)


def _duration(text: str) -> float:
    """Read seconds, or a duration with units."""
    try:
        seconds = float(text) if text.replace(".", "", 1).isdecimal() else parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a time such as 90s or 5m, {error}") from error
    if seconds <= 0:
        raise argparse.ArgumentTypeError("expected a time of more than 0")
    return seconds


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    password = None
    if options.user is not None:
        password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    try:
        return asyncio.run(_pull(options, password))
    except KeyboardInterrupt:
        print("image-cri-shim: interrupted", file=sys.stderr)
        return FAILED


async def _pull(options: argparse.Namespace, password: str | None) -> int:
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
        print(f"pulled {options.image} in {time.monotonic() - started:.2f} s")
        print(f"  image ref     {reply.image_ref}")
        status = await service.status(options.image, timeout=options.timeout)
    except GRPCError as error:
        code = error.status.name if isinstance(error.status, Status) else error.status
        print(f"image-cri-shim: {options.image}: {code}: {error.message}", file=sys.stderr)
        return FAILED
    except TimeoutError:
        print(
            f"image-cri-shim: {options.image}: gave up after {format_duration(options.timeout)}",
            file=sys.stderr,
        )
        return FAILED
    except OSError as error:
        print(
            f"image-cri-shim: nobody answers on {options.socket}: {error.strerror or error}; "
            "is the daemon running?",
            file=sys.stderr,
        )
        return UNREACHABLE
    finally:
        channel.close()
    if not status.HasField("image"):
        print("  the runtime does not show it under this name", file=sys.stderr)
        return FAILED
    for label, values in (
        ("image ID", [status.image.id]),
        ("held as", status.image.repo_tags),
        ("digest", status.image.repo_digests),
    ):
        for value in values:
            print(f"  {label:<13} {value}")
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
