"""``image-cri-shim decisions``: what was decided for the last pulls, and why."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from image_cri_shim.cli import streams
from image_cri_shim.cli.admin_access import (
    add_admin_options,
    ask,
    documents,
    set_run,
    strange,
)
from image_cri_shim.cli.colours import colours_for
from image_cri_shim.cli.decision_text import Ticker, entry
from image_cri_shim.cli.status import FAILED, FOUND
from image_cri_shim.cli.terminal import as_json, as_unicode, compact_json, complain
from image_cri_shim.pull_record import from_document

if TYPE_CHECKING:
    from image_cri_shim.cli.admin_client import AdminClient

_ADDRESS = "/decisions"
# What is shown of the past before the following begins.
_BEFORE = 10


def add_parser(commands: Any) -> None:
    """Add the command to the program's."""
    command = commands.add_parser(
        "decisions",
        help="show what was decided for the last pulls, and why",
        description=(
            "Shows the daemon's last 1000 pulls, the latest at the end: when, what was asked for, "
            "what was pulled, why, for whom, and what came of it. Exit status: 0 they are shown, "
            "1 they cannot be, 2 wrong command line, 3 nobody answers on the admin socket."
        ),
    )
    add_admin_options(command)
    command.add_argument(
        "--follow", action="store_true", help="go on with what happens, until interrupted"
    )
    command.add_argument(
        "--image",
        type=as_unicode,
        metavar="GLOB",
        help="only of images that this pattern matches as a whole, such as '*/nginx:*'",
    )
    command.add_argument(
        "--limit",
        type=_number,
        metavar="N",
        help=f"the last N pulls; 0 for all [default: 0, with --follow {_BEFORE}]",
    )
    set_run(command, run, "decisions")


def _number(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}")
    return number


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    return ask(options, lambda client: (_follow if options.follow else _show)(client, options))


def _query(options: argparse.Namespace) -> dict[str, str | int]:
    query: dict[str, str | int] = {}
    if options.image is not None:
        query["image"] = options.image
    limit = (_BEFORE if options.follow else 0) if options.limit is None else options.limit
    if limit:
        query["limit"] = limit
    return query


def _show(client: AdminClient, options: argparse.Namespace) -> int:
    answer = client.get(_ADDRESS, **_query(options))
    colours = colours_for(sys.stdout)
    try:
        found = documents(answer["decisions"])
        if options.json:
            streams.write(as_json(found))
            return FOUND
        lines = [
            line for one in found for line in entry(from_document(one), one["seconds"], colours)
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise strange(error) from error
    for line in lines:
        streams.write(line)
    if not lines:
        complain(
            "no pull of such an image is known" if options.image else "no pull since the start"
        )
    return FOUND


def _follow(client: AdminClient, options: argparse.Namespace) -> int:
    ticker = Ticker(colours_for(sys.stdout))
    for document in client.follow(_ADDRESS, **_query(options), follow=1):
        if document is None:
            # A sign of life, and the occasion to see whether anybody listens.
            if streams.reader_has_gone():
                return FOUND
            continue
        try:
            if document.keys() == {"error"}:
                return _ended(options, str(document["error"]))
            if options.json:
                lines = [compact_json(document)]
            else:
                lines = ticker.lines(from_document(document), document["seconds"])
        except (ValueError, KeyError, TypeError) as error:
            raise strange(error) from error
        if lines and not streams.write_now("\n".join(lines)):
            return FOUND
    return FOUND


def _ended(options: argparse.Namespace, why: str) -> int:
    """Say why the daemon tells nothing more, to machines on a line as all others."""
    if options.json:
        streams.write(compact_json({"error": why}))
    complain(f"the daemon tells nothing more: {why}")
    return FAILED
