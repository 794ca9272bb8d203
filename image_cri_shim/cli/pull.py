"""``image-cri-shim pull``: pull an image as a kubelet would, and show what the node then has."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Any

from image_cri_shim.cli import streams
from image_cri_shim.cli.configuration import add_config_option, read_configuration
from image_cri_shim.cli.status import UNUSABLE
from image_cri_shim.cli.terminal import complain, one_line
from image_cri_shim.config import parse_duration
from image_cri_shim.config.sockets import without_scheme
from image_cri_shim.errors import ConfigError


def add_parser(commands: Any) -> None:
    """Add the command to the program's."""
    command = commands.add_parser(
        "pull",
        help="pull an image through the shim, as a kubelet would",
        description=(
            "Pulls an image over the CRI and shows what the runtime then has. "
            "Exit status: 0 pulled, 1 not pulled, 2 the configuration or the command line is "
            "wrong, 3 nobody answers on the socket."
        ),
    )
    command.add_argument("image", metavar="IMAGE", help="an image reference, such as nginx:1.25")
    add_config_option(command)
    command.add_argument(
        *("--socket", "--shim"),
        dest="socket",
        type=_socket,
        metavar="SOCKET",
        help="the shim's socket, in place of the configuration's",
    )
    command.add_argument(
        "--timeout",
        type=_duration,
        metavar="TIME",
        help="give up after this time, such as 90s or 5m; a number without a unit is seconds",
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
    command.set_defaults(
        run=run,
        config_instead="`pull` has its own: image-cri-shim pull --config FILE IMAGE",
        shim_instead="`pull` has its own: image-cri-shim pull --shim SOCKET IMAGE",
    )


def _socket(text: str) -> str:
    """Refuse what names no socket, as a shell's variable that is not set."""
    if not without_scheme(text):
        raise argparse.ArgumentTypeError("expected the path of a socket, found nothing")
    return text


def _duration(text: str) -> float:
    """Read a duration, or seconds without a unit."""
    try:
        plain = text.replace(".", "", 1).isdecimal()
        seconds = parse_duration(f"{text}s" if plain else text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a time such as 90s or 5m, {error}") from error
    if seconds <= 0:
        raise argparse.ArgumentTypeError("expected a time of more than 0")
    return seconds


def _password() -> str:
    """Read it from standard input, without showing it where that is a terminal.

    :raises NoInputError: there is no standard input, or nothing typed at the terminal.
    """
    if sys.stdin is not None and sys.stdin.isatty():
        try:
            return getpass.getpass()
        except EOFError:
            raise streams.NoInputError("no password was typed") from None
    return streams.read_line()


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    socket = options.socket
    if socket is None:
        try:
            socket = read_configuration(options.configuration).config.shim
        except ConfigError as error:
            complain("the configuration is refused (--socket SOCKET does without it):")
            for problem in error.problems:
                streams.write_error(one_line(str(problem)))
            return UNUSABLE
    # Imported here: the other commands need neither gRPC nor asyncio.
    import asyncio  # noqa: PLC0415

    from image_cri_shim.cli.image_service import pull  # noqa: PLC0415

    password = None if options.user is None else _password()
    return asyncio.run(pull(options, socket, password))
