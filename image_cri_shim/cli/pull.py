"""``image-cri-shim pull``: pull an image as a kubelet would, and show what the node then has."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Any

from image_cri_shim.cli import streams
from image_cri_shim.cli.status import FAILED
from image_cri_shim.cli.terminal import complain
from image_cri_shim.config import parse_duration

DEFAULT_SOCKET = "/var/run/image-cri-shim.sock"


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
    command.set_defaults(run=run, config_instead="")


def _duration(text: str) -> float:
    """Read seconds, or a duration with units."""
    try:
        seconds = float(text) if text.replace(".", "", 1).isdecimal() else parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a time such as 90s or 5m, {error}") from error
    if seconds <= 0:
        raise argparse.ArgumentTypeError("expected a time of more than 0")
    return seconds


def _password() -> str:
    """Read it from standard input, without showing it where that is a terminal.

    :raises NoInputError: there is no standard input.
    """
    if sys.stdin is not None and sys.stdin.isatty():
        return getpass.getpass()
    return streams.read_line()


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    password = None
    try:
        # Imported here: the other commands need neither gRPC nor asyncio.
        import asyncio  # noqa: PLC0415

        from image_cri_shim.cli.image_service import pull  # noqa: PLC0415

        if options.user is not None:
            password = _password()
        return asyncio.run(pull(options, password))
    except KeyboardInterrupt:
        complain("interrupted")
        return FAILED
