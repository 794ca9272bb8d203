"""The configuration as commands read it: from the file that the daemon reads, or another."""

from __future__ import annotations

import argparse
import os

import attrs

from image_cri_shim.cli import streams
from image_cri_shim.config import DEFAULT_CONFIG, Config, drop_ins, files, load, parse_bytes
from image_cri_shim.config.document import SIZE_LIMIT

# The name that means standard input, and what messages call it then.
STANDARD_INPUT = "-"
_ITS_NAME = "<stdin>"


@attrs.frozen
class Source:
    """Where a configuration comes from.

    :ivar name: what messages call it: the file itself, whether it exists or not.
    :ivar note: what the operator should know about it before anything else; empty for nothing.
    :ivar files: the files that were read, in their order; none for standard input.
    """

    name: str
    config: Config
    note: str = ""
    files: tuple[str, ...] = ()


def file_name(text: str) -> str:
    """Return an argument that names a file.

    :raises argparse.ArgumentTypeError: it is empty, as a shell's variable that is not set.
    """
    if not text:
        raise argparse.ArgumentTypeError("expected the name of a file, found nothing")
    return text


def add_config_option(command: argparse.ArgumentParser) -> None:
    """Add the option that names the file; it has the spellings that the daemon's has."""
    command.add_argument(
        *("-c", "-f", "--config", "--file"),
        dest="configuration",
        type=file_name,
        metavar="FILE",
        help="the configuration file, - for standard input [default: the daemon's]",
    )


def read_configuration(file: str | None, default: str = DEFAULT_CONFIG) -> Source:
    """Read a file; None for the one that is read by default, which may be absent.

    :param default: that one.
    :raises ConfigError: the configuration is refused.
    :raises NoInputError: it was to come from standard input, which cannot be read.
    """
    if file == STANDARD_INPUT:
        return Source(_ITS_NAME, parse_bytes(streams.read_input(SIZE_LIMIT + 1), _ITS_NAME))
    if file is not None:
        return Source(file, load(file), files=files(file))
    if not os.path.lexists(default) and not drop_ins(default):
        return Source(default, Config(), f"{default} does not exist; the defaults apply")
    return Source(default, load(default), files=files(default))


def source_name(file: str | None, default: str = DEFAULT_CONFIG) -> str:
    """Return what messages call the configuration that ``read_configuration`` reads."""
    if file is None:
        return default
    return _ITS_NAME if file == STANDARD_INPUT else file
