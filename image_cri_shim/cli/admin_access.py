"""How commands reach the daemon: which socket, and what they say if nobody answers there."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from image_cri_shim.cli import streams
from image_cri_shim.cli.configuration import add_config_option, read_configuration
from image_cri_shim.cli.status import FAILED, UNREACHABLE
from image_cri_shim.cli.terminal import as_json, complain
from image_cri_shim.config import DEFAULT_CONFIG, Config, files
from image_cri_shim.config.content import last_said
from image_cri_shim.config.sockets import without_scheme
from image_cri_shim.errors import ConfigError

if TYPE_CHECKING:
    from image_cri_shim.cli.admin_client import AdminClient


class TurnedOff(Exception):
    """There is no admin interface; the message is for the operator."""


def socket_name(text: str) -> str:
    """Return an argument that names a socket.

    :raises argparse.ArgumentTypeError: it is empty, as a shell's variable that is not set.
    """
    if not without_scheme(text):
        raise argparse.ArgumentTypeError("expected the path of a socket, found nothing")
    return text


def add_admin_options(command: argparse.ArgumentParser) -> None:
    """Add the options that say which daemon is asked, and ``--json``."""
    add_config_option(command)
    command.add_argument(
        "--socket",
        dest="admin",
        type=socket_name,
        metavar="SOCKET",
        help="the daemon's admin socket, in place of the configuration's `adminSocket`; not the "
        "shim's own, which `pull --socket` names",
    )
    command.add_argument("--json", action="store_true", help="write JSON")


def set_run(
    command: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int], example: str
) -> None:
    """Say what the command does, and what to write instead of the daemon's options before it.

    :param example: the command with what else it needs, ``flush IMAGE``.
    """
    name, _, rest = example.partition(" ")
    usage = f"image-cri-shim {name} --config FILE {rest}".strip()
    command.set_defaults(
        run=run,
        config_instead=f"`{name}` has its own: {usage}",
        shim_instead=f"`{name}` asks the admin socket: see --socket",
    )


def admin_socket(file: str | None) -> str:
    """Return the path of the socket that a configuration names.

    :param file: the configuration's; None for the daemon's.
    :raises TurnedOff: it names none.
    """
    try:
        path = read_configuration(file).config.admin_socket
    except ConfigError as error:
        # The daemon goes on without it, and is most likely where it has been.
        name = DEFAULT_CONFIG if file is None else file
        said = last_said(files(name), "adminSocket")
        path = said if said and without_scheme(said).startswith("/") else Config().admin_socket
        complain(f"the configuration is refused ({error.problems[0]}); asking {path}")
    if not path:
        raise TurnedOff(
            "the configuration turns the admin interface off (adminSocket is empty), which "
            "this command needs; set adminSocket to a path"
        )
    return path


def ask(options: argparse.Namespace, action: Callable[[AdminClient], int]) -> int:
    """Do something with the daemon, and return the exit status.

    :param options: the command line, with what ``add_admin_options`` has added.
    :param action: returns the status if the daemon answers.
    """
    # Imported here: whoever asks for help need not wait for HTTP.
    from image_cri_shim.cli.admin_client import (  # noqa: PLC0415
        AdminClient,
        Refused,
        Unreachable,
    )

    try:
        path = options.admin or admin_socket(options.configuration)
        return action(AdminClient(without_scheme(path)))
    except (TurnedOff, Unreachable) as error:
        return failed(options, str(error), UNREACHABLE)
    except Refused as error:
        return failed(options, f"the daemon refuses: {error}", FAILED)


def failed(options: argparse.Namespace, why: str, status: int) -> int:
    """Say why there is nothing to say, to machines too, and return the exit status."""
    complain(why)
    if options.json:
        streams.write(as_json({"error": why}))
    return status


def strange(error: Exception) -> Exception:
    """Return what to raise when an answer is not what this command knows."""
    from image_cri_shim.cli.admin_client import Unreachable  # noqa: PLC0415

    return Unreachable(
        f"the daemon answers what this command does not understand ({error!r}); are they of the "
        "same version? Restart the daemon after an upgrade"
    )


def documents(found: Any) -> list[dict[str, Any]]:
    """Return what is to be a list of JSON objects.

    :raises ValueError: it is none.
    """
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError("no list of objects")
    return found
