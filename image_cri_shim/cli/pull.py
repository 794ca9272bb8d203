"""``image-cri-shim pull``: pull an image as a kubelet would, and show what the node then has."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Any

from image_cri_shim.cli import streams
from image_cri_shim.cli.admin_access import socket_name
from image_cri_shim.cli.check_report import problems_as_objects
from image_cri_shim.cli.configuration import add_config_option, read_configuration
from image_cri_shim.cli.status import UNUSABLE
from image_cri_shim.cli.terminal import as_json, as_unicode, complain, one_line
from image_cri_shim.config import Config, parse_duration
from image_cri_shim.config.sockets import without_scheme
from image_cri_shim.errors import ConfigError

# Seconds that a pull may be held up by an admin interface that does not answer.
_ADMIN_PATIENCE = 2.0


def add_parser(commands: Any) -> None:
    """Add the command to the program's."""
    command = commands.add_parser(
        "pull",
        help="pull an image through the shim, as a kubelet would",
        description=(
            "Pulls an image over the CRI, and shows what is decided meanwhile and what the "
            "runtime then has. "
            "Exit status: 0 pulled, 1 not pulled, 2 the configuration or the command line is "
            "wrong, 3 nobody answers on the socket."
        ),
    )
    command.add_argument(
        "image",
        type=as_unicode,
        metavar="IMAGE",
        help="an image reference, such as nginx:1.25",
    )
    add_config_option(command)
    command.add_argument(
        *("--socket", "--shim"),
        dest="socket",
        type=socket_name,
        metavar="SOCKET",
        help="the shim's own socket, that of the CRI, in place of the configuration's `shim`; "
        "with other commands --socket is the admin socket, which is --admin-socket here",
    )
    command.add_argument(
        "--admin-socket",
        type=socket_name,
        metavar="SOCKET",
        help="the daemon's admin socket, in place of the configuration's `adminSocket`; only "
        "for showing what is decided",
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
    command.add_argument("--json", action="store_true", help="write JSON: one object")
    command.set_defaults(
        run=run,
        config_instead="`pull` has its own: image-cri-shim pull --config FILE IMAGE",
        shim_instead="`pull` has its own: image-cri-shim pull --shim SOCKET IMAGE",
    )


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
    socket, admin = options.socket, options.admin_socket
    # Who names the shim's socket alone has not said that it is the one of this configuration.
    options.quiet = socket is not None and admin is None and options.configuration is None
    if options.quiet:
        admin = Config().admin_socket
    elif socket is None or admin is None:
        try:
            config = read_configuration(options.configuration).config
        except ConfigError as error:
            complain("the configuration is refused (--socket SOCKET does without it):")
            for problem in error.problems:
                streams.write_error(one_line(str(problem)))
            if options.json:
                streams.write(as_json({"problems": problems_as_objects(error.problems)}))
            return UNUSABLE
        socket, admin = socket or config.shim, admin or config.admin_socket
    password = None if options.user is None else _password()
    return _pull(options, socket, password, admin)


def _pull(options: argparse.Namespace, socket: str, password: str | None, admin: str | None) -> int:
    # Imported here: the other commands need neither gRPC nor asyncio.
    import asyncio  # noqa: PLC0415

    from image_cri_shim.cli.admin_client import AdminClient  # noqa: PLC0415
    from image_cri_shim.cli.pull_follower import PullFollower  # noqa: PLC0415
    from image_cri_shim.cli.pull_progress import PullProgress, Screen  # noqa: PLC0415
    from image_cri_shim.cli.pulling import pull  # noqa: PLC0415

    screen = Screen(write=_nowhere) if options.json else Screen.standard_error()
    progress = PullProgress(options.image, screen)

    def follow() -> PullFollower | None:
        if not admin:
            return None
        client = AdminClient(without_scheme(admin), _ADMIN_PATIENCE, option="--admin-socket")
        return PullFollower(client, options.image, progress.note)

    if not admin:
        complain("the decision cannot be shown: the configuration turns the admin interface off")
    return asyncio.run(pull(options, socket, password, progress, follow))


def _nowhere(_line: str) -> None:
    """Write nothing."""
