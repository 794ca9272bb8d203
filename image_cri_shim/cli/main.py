"""``image-cri-shim``: the daemon in the foreground, and what operators run beside it."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence

from image_cri_shim import __version__
from image_cri_shim.cli import (
    check,
    cleanup_sockets,
    decisions,
    flush,
    history,
    log_level,
    node_status,
    pull,
    reload,
    resolve,
    streams,
)
from image_cri_shim.cli.status import FAILED, FOUND, UNUSABLE
from image_cri_shim.cli.terminal import complain

DESCRIPTION = """\
Without a command, serves the CRI in the foreground, as `twistd -n image-cri-shim` does.
"""

# What a shell makes of a program that SIGINT has ended.
_INTERRUPTED = 130
_DAEMON_OPTIONS = ("config", "shim", "cri")
# In the order in which they are needed when something is wrong.
_COMMANDS = (
    node_status,
    decisions,
    history,
    resolve,
    pull,
    check,
    reload,
    flush,
    log_level,
    cleanup_sockets,
)


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
    top.add_argument(
        "--shim", metavar="SOCKET", help="the socket to serve, in place of the configuration's"
    )
    top.add_argument(
        "--cri",
        metavar="SOCKET",
        help="the container runtime's socket, in place of the configuration's",
    )
    top.add_argument("--debug", action="store_true", help="log for debugging")
    top.add_argument("-v", "--version", action="version", version=f"image-cri-shim {__version__}")
    commands = top.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for command in _COMMANDS:
        command.add_parser(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    :raises SystemExit: always, with the program's status.
    """
    try:
        options = _options(sys.argv[1:] if arguments is None else arguments)
    except SystemExit as end:
        # It was asked for help, or is wrong.
        sys.exit(_guarded(streams.finish) or end.code)
    if options.command is None:
        serve(options)
        return
    streams.prepare()
    status = _guarded(lambda: options.run(options))
    sys.exit(_guarded(streams.finish) or status)


def _guarded(step: Callable[[], int | None]) -> int:
    """Return what a step of a command returns, or the status for what keeps it from that."""
    try:
        return step() or FOUND
    except streams.OutputError as error:
        complain(str(error))
        return FAILED
    except streams.NoInputError as error:
        complain(str(error))
        return UNUSABLE
    except KeyboardInterrupt:
        complain("interrupted")
        return _INTERRUPTED


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; one that is wrong ends the program."""
    top = parser()
    unknown = _unknown_option(top, arguments)
    if unknown is not None:
        # argparse would take what follows it for a command, and complain about that.
        top.error(unknown)
    options = top.parse_args(arguments)
    if options.command is None:
        return options
    for name in (*_DAEMON_OPTIONS, "debug"):
        if getattr(options, name):
            # Ignored, it would be taken for obeyed: another socket would be asked.
            hint = getattr(options, f"{name}_instead", f"`{options.command}` does not take it")
            top.error(f"--{name} is an option of the daemon; {hint}")
    return options


def _unknown_option(top: argparse.ArgumentParser, arguments: Sequence[str]) -> str | None:
    """Return what is wrong with the first option if there is no such option."""
    known = [option for action in top._actions for option in action.option_strings]  # noqa: SLF001
    if not arguments or not arguments[0].startswith("-") or arguments[0] == "--":
        return None
    name = arguments[0].partition("=")[0]
    if name.startswith("--") and not any(option.startswith(name) for option in known):
        nearest = difflib.get_close_matches(name, known, n=1)
        return f"unrecognized option {name}" + (f" (did you mean {nearest[0]}?)" if nearest else "")
    return None


def serve(options: argparse.Namespace) -> None:
    """Serve in the foreground: hand over to twistd, without a pid file in the directory."""
    daemon = ["image-cri-shim"]
    for name in _DAEMON_OPTIONS:
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
