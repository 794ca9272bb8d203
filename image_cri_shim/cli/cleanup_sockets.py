"""``image-cri-shim cleanup-sockets``: take away the sockets that dead programs have left."""

from __future__ import annotations

import argparse
import time
from typing import Any

from image_cri_shim.cli import streams
from image_cri_shim.cli.status import FAILED, FOUND
from image_cri_shim.cli.terminal import one_line
from image_cri_shim.config import KNOWN_SOCKETS, Config
from image_cri_shim.config.sockets import without_scheme
from image_cri_shim.stale_sockets import clean


def add_parser(commands: Any) -> None:
    """Add the command to the program's."""
    places = ", ".join(default_sockets())
    command = commands.add_parser(
        "cleanup-sockets",
        help="remove the sockets that dead container runtimes have left behind",
        description=(
            "Removes stale sockets: those on which nobody accepts connections. Live ones, and what "
            "is no socket, are left alone. It may be run at any time and reads no configuration. "
            "Exit status: 0 no stale socket is left, 1 one could not be removed or examined, "
            "2 the command line is wrong."
        ),
    )
    command.add_argument(
        "sockets",
        nargs="*",
        type=_socket,
        metavar="SOCKET",
        help=f"the path of a socket, unix:// in front is allowed [default: {places}]",
    )
    command.add_argument(
        *("-n", "--dry-run"), action="store_true", help="remove nothing, say what would be removed"
    )
    command.set_defaults(
        run=run,
        config_instead="`cleanup-sockets` reads no configuration",
        shim_instead="name the socket: image-cri-shim cleanup-sockets SOCKET",
        cri_instead="name the socket: image-cri-shim cleanup-sockets SOCKET",
    )


def default_sockets() -> tuple[str, ...]:
    """Return what is cleaned up without arguments: the runtimes' places and the shim's own."""
    return (*KNOWN_SOCKETS, Config().shim)


def _socket(text: str) -> str:
    """Return a path; refuse what names none, as a shell's variable that is not set."""
    path = without_scheme(text)
    if not path or "\0" in path:
        raise argparse.ArgumentTypeError("expected the path of a socket, found nothing")
    if "://" in path:
        raise argparse.ArgumentTypeError(f"expected the path of a unix socket, found {text!r}")
    if path.endswith("/"):
        raise argparse.ArgumentTypeError(
            f"expected the path of a socket, found a directory: {text!r}"
        )
    return path


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    cleaned = clean(options.sockets or default_sockets(), time.sleep, dry_run=options.dry_run)
    for one in cleaned:
        streams.write(one_line(str(one)))
    return FAILED if any(one.failed for one in cleaned) else FOUND
