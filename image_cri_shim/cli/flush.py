"""``image-cri-shim flush``: let the daemon forget what registries have answered."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from image_cri_shim.cli import streams
from image_cri_shim.cli.admin_access import add_admin_options, ask, failed, set_run, strange
from image_cri_shim.cli.status import FAILED, FOUND, UNUSABLE
from image_cri_shim.cli.terminal import as_json
from image_cri_shim.wording import counted

if TYPE_CHECKING:
    from image_cri_shim.cli.admin_client import AdminClient

_BAD_REQUEST = 400


def add_parser(commands: Any) -> None:
    """Add the command to the program's."""
    command = commands.add_parser(
        "flush",
        help="let the daemon forget what registries have answered",
        description=(
            "Lets the daemon forget what the registries have answered, so that they are asked "
            "again; also those that were left alone because they failed. Exit status: 0 it has "
            "forgotten, 1 there is no such registry, or this cannot be written, 2 that is no "
            "image reference, or wrong command line, 3 nobody answers on the admin socket."
        ),
    )
    command.add_argument(
        "image", nargs="?", metavar="IMAGE", help="only what was answered about this image"
    )
    add_admin_options(command)
    command.add_argument(
        "--registry", metavar="REGISTRY", help="only what this registry has answered"
    )
    set_run(command, run, "flush IMAGE")


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    if options.image is not None and options.registry is not None:
        return failed(options, "expected an image or --registry REGISTRY, found both", UNUSABLE)
    return ask(options, lambda client: _flush(client, options))


def _flush(client: AdminClient, options: argparse.Namespace) -> int:
    from image_cri_shim.cli.admin_client import Refused  # noqa: PLC0415 - see ``ask``

    chosen = {"image": options.image, "registry": options.registry}
    try:
        document = client.post("/flush", {k: v for k, v in chosen.items() if v is not None})
    except Refused as refused:
        return failed(options, str(refused), UNUSABLE if refused.code == _BAD_REQUEST else FAILED)
    try:
        forgotten = f"forgot {counted(document['answers'], 'answer')}"
        breakers = document["breakers"]
        again = counted(breakers, "registry", "registries")
    except (KeyError, TypeError, ValueError) as error:
        raise strange(error) from error
    said = f"{forgotten}; {again} that failed may be asked again" if breakers else forgotten
    streams.write(as_json(document) if options.json else said)
    return FOUND
