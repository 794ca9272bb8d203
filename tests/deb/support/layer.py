"""Copy root directories at no cost: a writable layer over one that is only read (overlayfs)."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self


class Layer:
    """A root directory of one's own in `directory` that begins as `below` is.

    `below` has the topmost directory first. What is written stays in `upper`; `root` is the whole,
    while it is open.
    """

    def __init__(self, directory: Path, below: Sequence[Path]) -> None:
        self.directory = directory
        self.below = tuple(below)
        self.upper = directory / "upper"
        self.root = directory / "root"

    @property
    def frozen(self) -> tuple[Path, ...]:
        """What a copy of this layer, which is closed for good, has below it."""
        return (self.upper, *self.below)

    def open(self) -> Self:
        """Mount it; also again, with what was written before."""
        work = self.directory / "work"
        for part in (self.upper, work, self.root):
            part.mkdir(parents=True, exist_ok=True)
        below = ":".join(str(one) for one in self.below)
        options = f"lowerdir={below},upperdir={self.upper},workdir={work}"
        mount("-t", "overlay", "-o", options, "overlay", str(self.root))
        return self

    def close(self) -> None:
        """Take the mounts away; idempotent."""
        points = Path("/proc/self/mountinfo").read_text().splitlines()
        mine = [line.split()[4] for line in points]
        for point in reversed([p for p in mine if Path(p).is_relative_to(self.root)]):
            subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)

    def path(self, inside: str) -> Path:
        """Return where a path inside is outside; symbolic links inside are not for it."""
        return self.root / inside.lstrip("/")

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def mount(*arguments: str) -> None:
    """Mount; raises RuntimeError with what mount(8) said."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"mount {' '.join(arguments)}: {done.stderr.strip()}")
