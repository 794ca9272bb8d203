"""The program's commands, as its parser has them."""

from __future__ import annotations

import argparse

from image_cri_shim.cli.main import parser


def subcommands() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command by the command's name, in the order of the help."""
    return {
        name: sub
        for action in parser()._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, sub in action.choices.items()
    }
