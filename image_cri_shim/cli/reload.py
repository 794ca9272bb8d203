"""``image-cri-shim reload``: let the daemon read its configuration again, and await the outcome."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from image_cri_shim.cli import streams
from image_cri_shim.cli.admin_access import add_admin_options, ask, set_run, strange
from image_cri_shim.cli.moments import local
from image_cri_shim.cli.status import FAILED, FOUND
from image_cri_shim.cli.terminal import as_json, complain, one_line
from image_cri_shim.pull_record import seconds_since_1970

if TYPE_CHECKING:
    from image_cri_shim.cli.admin_client import AdminClient

# Seconds that the daemon gets to read files, and to serve another socket.
_PATIENCE = 60.0
_CONFLICT = 409


def add_parser(commands: Any) -> None:
    """Add the command to the program's."""
    command = commands.add_parser(
        "reload",
        help="let the daemon read its configuration again, and show what came of it",
        description=(
            "Lets the daemon read its configuration again, waits for the outcome, and shows what "
            "has changed or what is wrong. Exit status: 0 the new configuration runs, 1 it is "
            "refused, or this cannot be written, 2 wrong command line, "
            "3 nobody answers on the admin socket."
        ),
    )
    add_admin_options(command)
    set_run(command, run, "reload")


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    return ask(options, lambda client: _reload(client, as_machine=options.json))


def _reload(client: AdminClient, *, as_machine: bool) -> int:
    from image_cri_shim.cli.admin_client import Refused  # noqa: PLC0415 - see ``ask``

    try:
        document = client.post("/reload", {}, _PATIENCE)
    except Refused as refused:
        if refused.code != _CONFLICT or "ok" not in refused.document:
            raise
        document = refused.document
    try:
        taken, outcome = bool(document["ok"]), str(document["outcome"])
        problems = [str(one) for one in document["problems"]]
        changes = [str(one) for one in document["changes"]]
        nothing = _nothing(document.get("loadedAt"))
    except (KeyError, TypeError, ValueError) as error:
        raise strange(error) from error
    if as_machine:
        streams.write(as_json(document))
    elif taken:
        streams.write(one_line(outcome))
        for change in changes or [nothing]:
            streams.write(f"  {one_line(change)}")
    elif problems:
        complain("the new configuration is refused, the one before runs:")
        for problem in problems:
            streams.write_error(one_line(problem))
    else:
        complain(outcome)
    return FOUND if taken else FAILED


def _nothing(loaded_at: object) -> str:
    """Say that nothing has changed, and since when: the daemon may have noticed what was changed.

    :param loaded_at: when the daemon read its files before; None if it is too old to say so.
    :raises ValueError: it is no time.
    """
    if loaded_at is None:
        return "nothing has changed"
    when = local(seconds_since_1970(str(loaded_at)))
    return f"nothing has changed since {when}, when it was read last"
