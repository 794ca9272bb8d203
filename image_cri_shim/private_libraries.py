"""Finds the libraries that travel with the package where the system has none of its own.

Debian 12 has no grpclib, so the Debian package brings a copy that only this program sees. This is
imported before anything that imports grpclib, and does nothing where grpclib is installed.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from pathlib import Path

# Where debian/rules puts them.
DIRECTORY = "/usr/share/image-cri-shim"


def find(name: str, directory: str, path: list[str]) -> None:
    """Let a library be imported from a directory if it is nowhere else.

    :param name: the top-level package.
    :param directory: what holds the copy; it may be absent.
    :param path: the import path (``sys.path``), which may get the directory as its last entry.
    """
    if PathFinder.find_spec(name, path) is None and Path(directory, name).is_dir():
        path.append(directory)


find("grpclib", DIRECTORY, sys.path)
