"""``image-cri-shim status``: how the daemon and what it depends on are."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from image_cri_shim.cli import streams
from image_cri_shim.cli.admin_access import add_admin_options, ask, set_run, strange
from image_cri_shim.cli.colours import colours_for
from image_cri_shim.cli.status import FAILED, FOUND
from image_cri_shim.cli.status_text import as_text
from image_cri_shim.cli.terminal import as_json

if TYPE_CHECKING:
    from image_cri_shim.cli.admin_client import AdminClient

_OK = "ok"
# Of the document; another one has another meaning.
_SCHEMA = 1


def add_parser(commands: Any) -> None:
    """Add the command to the program's."""
    command = commands.add_parser(
        "status",
        help="show how the daemon is: what is wrong and what to do about it, then the rest",
        description=(
            "Shows how the daemon, the container runtime and the registries are; what is wrong, "
            "and what to do about it, comes first. Exit status: 0 ok, 1 degraded or failing, or "
            "this cannot be written, 2 wrong command line, 3 nobody answers on the admin socket."
        ),
    )
    add_admin_options(command)
    set_run(command, run, "status")


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    return ask(options, lambda client: _show(client, as_machine=options.json))


def _show(client: AdminClient, *, as_machine: bool) -> int:
    document = client.get("/status")
    try:
        if document["schema"] != _SCHEMA:
            raise ValueError(f"schema {document['schema']}")  # noqa: TRY301 - told as the others
        text = as_json(document) if as_machine else as_text(document, colours_for(sys.stdout))
        status = FOUND if document["state"] == _OK else FAILED
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise strange(error) from error
    streams.write(text)
    return status
