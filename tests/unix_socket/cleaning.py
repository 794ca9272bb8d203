"""Cleaning up, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from image_cri_shim.stale_sockets import PAUSE, clean


def cleaned(
    *paths: Path | str, meanwhile: Callable[[], object] = lambda: None, dry_run: bool = False
) -> list[str]:
    """Clean up, with something that happens in the pause; return what is said, without the path."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        meanwhile()

    found = clean(map(str, paths), pause, dry_run=dry_run)
    assert pauses in ([], [PAUSE])
    for one, path in zip(found, paths, strict=True):
        assert str(one).startswith(str(path))
    return [str(one).removeprefix(str(path)) for one, path in zip(found, paths, strict=True)]
