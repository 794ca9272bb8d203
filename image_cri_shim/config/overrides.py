"""What the command line says instead of the file."""

from __future__ import annotations

import attrs

from image_cri_shim.config.document import Kind, Scalar
from image_cri_shim.config.excerpt import excerpt
from image_cri_shim.config.fields import SOCKET
from image_cri_shim.config.settings import Config
from image_cri_shim.config.sockets import same_path
from image_cri_shim.errors import ConfigError, Problem


def override(
    config: Config, *, shim: str | None = None, cri: str | None = None, debug: bool | None = None
) -> Config:
    """Return ``config`` with the options that were given; None for one that was not.

    :param shim: what ``--shim`` says.
    :param cri: what ``--cri`` says.
    :param debug: whether ``--debug`` was given.
    :raises ConfigError: an option's value is wrong; the problem's path is the option.
    """
    problems: list[Problem] = []
    chosen = attrs.evolve(
        config,
        shim=config.shim if shim is None else _socket("--shim", shim, problems),
        cri=config.cri if cri is None else _socket("--cri", cri, problems),
        debug=config.debug if debug is None else debug,
    )
    if not problems and chosen.cri is not None and same_path(chosen.shim, chosen.cri):
        option, other = ("--cri", "shim") if cri is not None else ("--shim", "cri")
        problems.append(_problem(option, _shared(other, chosen.cri)))
    admin = chosen.admin_socket
    if not problems and admin is not None:
        for option, path in (("--shim", shim and chosen.shim), ("--cri", cri and chosen.cri)):
            if path and same_path(path, admin):
                problems.append(_problem(option, _shared("adminSocket", path)))
    if problems:
        raise ConfigError(problems)
    return chosen


def _socket(option: str, text: str, problems: list[Problem]) -> str:
    try:
        return str(SOCKET.read(Scalar(0, 0, Kind.STRING, text)))
    except ValueError as error:
        problems.append(_problem(option, f"expected {SOCKET.expected}, {error}"))
        return text


def _shared(key: str, path: str) -> str:
    return f"expected another file than that of `{key}`, found {excerpt(path)} for both"


def _problem(option: str, message: str) -> Problem:
    return Problem("", 0, 0, option, message)
