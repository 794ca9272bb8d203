"""Run Debian's own checkers of packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from tests.deb.support.chroot import Chroot
from tests.deb.support.layer import Layer
from tests.deb.support.release import Release

ROOT = Path(__file__).resolve().parents[3]
Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Results:
    """What the checkers will have said; `autopkgtest` by release."""

    lintian: Future[Done]
    piuparts: Future[Done]
    autopkgtest: Mapping[str, Future[Done]]
    second_build: Future[Path]


def lintian(deb: Path) -> Done:
    """Examine the package and what it was built from."""
    (changes,) = deb.parent.glob("image-cri-shim_*.changes")
    options = ("--allow-root", "--info", "--pedantic", "--tag-display-limit", "0")
    return _run("lintian", *options, str(changes))


def piuparts(deb: Path, directory: Path, release: Release, below: Sequence[Path]) -> Done:
    """Install and purge the package in a copy of a release, and look for what is left."""
    with Layer(directory, below) as layer:
        temporary = directory / "piuparts"
        temporary.mkdir()
        return _run(
            "piuparts",
            f"--distribution={release.suite}",
            f"--existing-chroot={layer.root}",
            f"--tmpdir={temporary}",
            str(deb),
        )


def autopkgtest(deb: Path, directory: Path, below: Sequence[Path]) -> Done:
    """Run the package's own tests (debian/tests) on the installed package."""
    source = directory / "source"
    shutil.copytree(ROOT / "debian", source / "debian")
    output = f"--output-dir={directory / 'output'}"
    with Chroot(directory, below) as chroot:
        where = ("--", "chroot", str(chroot.root))
        return _run("autopkgtest", "--no-built-binaries", output, str(deb), f"{source}/", *where)


def build_again(directory: Path) -> Path:
    """Build the package of a copy of the tree, by another user's habits; return its path."""
    tree = directory / "elsewhere" / "the tree"
    tree.parent.mkdir()
    names = ("ls-files", "-coz", "--exclude-standard")
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", *names], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    shutil.copytree(ROOT / "build" / "debian-private", tree / "build" / "debian-private")
    habits = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "HOME": "/nonexistent"}
    done = _run("sh", "-c", "umask 077 && exec scripts/deb", cwd=tree, extra=habits)
    if done.returncode:
        raise RuntimeError(done.stdout[-4000:])
    (made,) = (tree / "dist").glob("*.deb")
    return made


def _run(*command: str, cwd: Path | None = None, extra: Mapping[str, str] | None = None) -> Done:
    return subprocess.run(
        command,
        cwd=cwd,
        # With its proxies: some ask the archive.
        env={**os.environ, **(extra or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=400,
    )
