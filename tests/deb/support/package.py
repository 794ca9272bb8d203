"""Look into a .deb, and make an older one of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

NAME = "image-cri-shim"
OLDER = "0~older"


def field(deb: Path, name: str) -> str:
    """Return a field of the package's control file."""
    return _run("dpkg-deb", "--field", str(deb), name).strip()


def contents(deb: Path) -> set[str]:
    """Return the absolute paths of the package's files, without directories."""
    lines = _run("dpkg-deb", "--contents", str(deb)).splitlines()
    words = (line.split(None, 5) for line in lines if not line.startswith("d"))
    return {word[5].partition(" -> ")[0].removeprefix(".") for word in words}


def older(deb: Path, directory: Path) -> Path:
    """Make the same package in an older version; returns its path."""
    return _built(deb, directory, OLDER)


def changed(deb: Path, directory: Path, file: str, more: str) -> Path:
    """Make a newer version of the package in which a file has something more at its end."""
    version = f"{field(deb, 'Version')}+changed"
    return _built(deb, directory, version, file, more)


def _built(deb: Path, directory: Path, version: str, file: str = "", more: str = "") -> Path:
    tree = directory / "tree"
    _run("dpkg-deb", "--raw-extract", str(deb), str(tree))
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text()))
    if file:
        with (tree / file.lstrip("/")).open("a") as extended:
            extended.write(more)
    made = directory / f"{NAME}_{version}_all.deb"
    # Packed by the quickest program: it is installed once.
    _run("dpkg-deb", "-Znone", "--root-owner-group", "--build", str(tree), str(made))
    return made


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout
