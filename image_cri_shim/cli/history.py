"""``image-cri-shim history``: the pulls of the past, also of a daemon that is no more."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import datetime
from typing import Any

from image_cri_shim.cli import streams
from image_cri_shim.cli.admin_access import failed
from image_cri_shim.cli.check_report import problems_as_objects
from image_cri_shim.cli.colours import colours_for
from image_cri_shim.cli.configuration import add_config_option, read_configuration
from image_cri_shim.cli.status import FOUND, UNREACHABLE, UNUSABLE
from image_cri_shim.cli.terminal import as_json, complain, one_line
from image_cri_shim.config.durations import parse_duration
from image_cri_shim.errors import ConfigError

_LIMIT = 20


def add_parser(commands: Any) -> None:
    """Add the command to the program's."""
    command = commands.add_parser(
        "history",
        help="show the pulls of the past: when, for whom, from where, and what came of them",
        description=(
            "Shows the pulls that the daemon has written down in its state directory, the newest "
            "first. It needs no daemon. Exit status: 0 they are shown, even if there are none, "
            "1 this cannot be written, 2 the configuration or the command line is wrong, 3 there "
            "is no history, or it cannot be read."
        ),
    )
    add_config_option(command)
    command.add_argument(
        "--state",
        type=_directory,
        metavar="DIRECTORY",
        help="the state directory, in place of the configuration's",
    )
    command.add_argument(
        "--limit",
        type=_limit,
        default=_LIMIT,
        metavar="N",
        help=f"the newest N pulls; 0 for all [default: {_LIMIT}]",
    )
    command.add_argument(
        "--image",
        default="",
        metavar="GLOB",
        help="only images that were asked for, or pulled, by such a name: 'nginx:*'",
    )
    command.add_argument("--failed", action="store_true", help="only pulls that failed")
    command.add_argument(
        "--since",
        type=_since,
        default=0.0,
        metavar="TIME",
        help="only pulls that began then or later: 2h ago, or a time such as 2026-01-31T03:00",
    )
    command.add_argument("--json", action="store_true", help="write JSON: a list of objects")
    command.set_defaults(
        run=run,
        config_instead="`history` has its own: image-cri-shim history --config FILE",
        shim_instead="`history` reads the state directory: see --state",
    )


def _directory(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("expected the name of a directory, found nothing")
    return text


def _limit(text: str) -> int:
    # int() takes more than this; and SQLite counts with 64 bits.
    if not (text.isascii() and text.isdigit()) or len(text) > len("1000000000"):
        raise argparse.ArgumentTypeError(f"expected a number, or 0 for all, found {text!r}")
    return int(text)


def _since(text: str) -> float:
    """Return the seconds since 1970 of a time, or of a duration ago."""
    try:
        ago = parse_duration(text)
    except ValueError:
        pass
    else:
        if ago >= 0:
            return time.time() - ago
    try:
        # Without an offset it is the time of who writes it.
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            "expected a duration, such as 2h or 30m, or a time, such as 2026-01-31T03:00, "
            f"found {text!r}"
        ) from None


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    try:
        # Python may lack SQLite.
        from image_cri_shim.history.reading import HistoryError  # noqa: PLC0415
    except ImportError as error:
        return failed(options, f"this Python cannot read SQLite files: {error}", UNREACHABLE)
    try:
        return _show(options, options.state or _state_directory(options.configuration))
    except ConfigError as error:
        complain("the configuration is refused; name its state directory with --state:")
        for problem in error.problems:
            streams.write_error(one_line(str(problem)))
        if options.json:
            streams.write(as_json({"problems": problems_as_objects(error.problems)}))
        return UNUSABLE
    except HistoryError as error:
        return failed(options, str(error), UNREACHABLE)


def _show(options: argparse.Namespace, directory: str) -> int:
    # Imported here: whoever asks for help need not wait for SQLite.
    from image_cri_shim.cli.history_table import as_table, terminal_width  # noqa: PLC0415
    from image_cri_shim.history.reading import Wanted, as_object, read  # noqa: PLC0415

    wanted = Wanted(options.limit, options.image, options.failed, options.since)
    found = read(directory, wanted)
    now = time.time()
    if options.json:
        streams.write(as_json([as_object(one, now) for one in found.entries]))
    elif found.entries:
        for line in as_table(found.entries, now, terminal_width(), colours_for(sys.stdout)):
            streams.write(line)
    if found.strange:
        complain(f"{found.strange} more make no sense: the file is damaged")
    elif not found.entries and not options.json:
        chosen = options.image or options.failed or options.since
        complain("the history has no such pull" if chosen else "the history has no pulls yet")
    return FOUND


def _state_directory(file: str | None) -> str:
    """Return the state directory that a configuration names.

    :raises ConfigError: it is refused.
    """
    source = read_configuration(file)
    if source.note:
        complain(source.note)
    return source.config.image
