"""Make the root directory of a small Debian, once, from the packages of the archive."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PLACE = Path(__file__).resolve().parents[3] / "build" / "deb"
# Beside Debian's smallest system: what boots it, what shows manuals, and what pulls images.
PACKAGES = (
    "ca-certificates",
    "containerd",
    "dbus",
    "man-db",
    "procps",
    "runc",
    "systemd-sysv",
)
KEPT_SECONDS = 12 * 3600.0  # lists of packages grow old
# What these trees are made for; in the key of the kept ones.
FORMAT = "1"


@dataclass(frozen=True)
class Release:
    """Name one release of Debian; `number` is what people call it."""

    suite: str
    number: int


RELEASES = (Release("bookworm", 12), Release("trixie", 13))


def base(release: Release) -> Path:
    """Return the release's root directory, which nobody may write to; made where there is none.

    It carries the lists of packages and the settings of this machine's apt.
    """
    words = (FORMAT, release.suite, *PACKAGES)
    key = hashlib.sha256(" ".join(words).encode()).hexdigest()[:12]
    path = PLACE / f"{release.suite}-{key}"
    if path.exists() and time.time() - path.stat().st_mtime < KEPT_SECONDS:
        return path
    PLACE.mkdir(parents=True, exist_ok=True)
    for old in PLACE.glob(f"{release.suite}-*"):
        _remove(old)
    made = Path(tempfile.mkdtemp(dir=PLACE, prefix=f"{release.suite}-new-"))
    settings = PLACE / f"{release.suite}.apt.conf"
    settings.write_text(_settings())
    done = subprocess.run(
        [
            "mmdebstrap",
            "--variant=minbase",
            f"--include={','.join(PACKAGES)}",
            "--skip=cleanup/apt/lists,check/empty",
            f"--aptopt={settings}",
            release.suite,
            str(made),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
    )
    if done.returncode:
        _remove(made)
        raise RuntimeError(f"mmdebstrap {release.suite}:\n{done.stderr[-4000:]}")
    shutil.copy("/etc/resolv.conf", made / "etc" / "resolv.conf")
    # Each machine shall be one of its own.
    (made / "etc" / "machine-id").write_text("")
    os.utime(made)
    made.chmod(0o755)
    made.rename(path)
    return path


def _settings() -> str:
    """Return what this machine's apt was told about how it reaches the archive."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True)
    lines = [line for line in dump.stdout.splitlines() if line.startswith("Acquire::")]
    return "\n".join(["# Of the machine that this was made on.", *lines]) + "\n"


def _remove(tree: Path) -> None:
    subprocess.run(["rm", "-rf", "--one-file-system", str(tree)], check=True)
