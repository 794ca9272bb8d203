"""``image-cri-shim log-level``: show, or change, how much the daemon logs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from image_cri_shim.cli import streams
from image_cri_shim.cli.admin_access import add_admin_options, ask, set_run, strange
from image_cri_shim.cli.status import FOUND
from image_cri_shim.cli.terminal import as_json, columns
from image_cri_shim.config.settings import COMPONENTS, LEVELS

if TYPE_CHECKING:
    from image_cri_shim.cli.admin_client import AdminClient

_ALL = "all"
# What the configuration says, which has no word for that.
_CONFIGURED = "configured"
_LEVELS = (*LEVELS, _CONFIGURED)


def add_parser(commands: Any) -> None:
    """Add the command to the program's."""
    command = commands.add_parser(
        "log-level",
        help="show, or change, how much the daemon logs",
        description=(
            "Shows the levels of what the daemon logs, or changes one until the daemon is "
            "restarted, or reloaded with other levels. Exit status: 0 these are the levels, "
            "1 the daemon refuses, or this cannot be written, 2 wrong command line, "
            "3 nobody answers on the admin socket."
        ),
    )
    command.add_argument(
        "component",
        nargs="?",
        choices=(*COMPONENTS, _ALL),
        metavar="COMPONENT",
        help=f"a part of the daemon: {', '.join((*COMPONENTS, _ALL))}",
    )
    command.add_argument(
        "level",
        nargs="?",
        choices=_LEVELS,
        metavar="LEVEL",
        help=f"what to log from now on: {', '.join(_LEVELS)}",
    )
    add_admin_options(command)
    set_run(command, run, "log-level COMPONENT LEVEL")


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    return ask(options, lambda client: _show(client, options))


def _show(client: AdminClient, options: argparse.Namespace) -> int:
    try:
        if options.level is not None:
            level = "" if options.level == _CONFIGURED else options.level
            wanted = {"component": options.component, "level": level}
            levels = dict(client.post("/log-levels", wanted)["levels"])
        else:
            levels = dict(client.get("/status")["logging"]["levels"])
        if options.component not in (None, _ALL):
            levels = {options.component: levels[options.component]}
        lines = columns((str(name), str(level)) for name, level in levels.items())
    except (KeyError, TypeError, ValueError) as error:
        raise strange(error) from error
    if options.json:
        streams.write(as_json({"levels": levels}))
    else:
        streams.write("\n".join(lines))
    return FOUND
