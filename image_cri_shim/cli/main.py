"""``image-cri-shim``: the daemon in the foreground, and what operators run beside it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from image_cri_shim import __version__
from image_cri_shim.cli import pull

DESCRIPTION = """\
Without a command, serves the CRI in the foreground, as `twistd -n image-cri-shim` does.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="image-cri-shim",
        description=DESCRIPTION,
        epilog="SIGHUP makes the daemon read its configuration again.",
    )
    top.add_argument(
        "-c",
        "-f",
        "--config",
        "--file",
        metavar="FILE",
        help="the configuration file [default: /etc/image-cri-shim.yaml]",
    )
    top.add_argument("--shim", metavar="SOCKET", help="the socket to serve")
    top.add_argument("--cri", metavar="SOCKET", help="the container runtime's socket")
    top.add_argument("--debug", action="store_true", help="log for debugging")
    top.add_argument("-v", "--version", action="version", version=f"image-cri-shim {__version__}")
    commands = top.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    pull.add_parser(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    :raises SystemExit: always, with the program's status.
    """
    options = parser().parse_args(arguments)
    if options.command is None:
        serve(options)
    else:
        sys.exit(options.run(options))


def serve(options: argparse.Namespace) -> None:
    """Serve in the foreground: hand over to twistd, without a pid file in the directory."""
    daemon = ["image-cri-shim"]
    for name in ("config", "shim", "cri"):
        value = getattr(options, name)
        if value is not None:
            daemon += [f"--{name}", value]
    if options.debug:
        daemon.append("--debug")
    # Imported here: twistd is not needed by the commands.
    from image_cri_shim.reload import hold_hangups  # noqa: PLC0415

    hold_hangups()
    from twisted.scripts.twistd import run  # noqa: PLC0415

    sys.argv = ["twistd", "--nodaemon", "--pidfile=", *daemon]
    run()
