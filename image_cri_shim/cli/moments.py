"""Times as an operator reads them, who compares them with those of a log."""

from __future__ import annotations

import time

from image_cri_shim import wording
from image_cri_shim.pull_record import seconds_since_1970


def span(seconds: float) -> str:
    """Write how long something took: ``12 ms``, ``2 h 5 min``."""
    return wording.duration(seconds).replace(wording.GAP, " ") or "0 ms"


def between(earlier: str, later: str) -> str:
    """Write how long it was from one moment to another, both as the daemon writes them.

    :raises ValueError: one of them is no time.
    """
    return span(seconds_since_1970(later) - seconds_since_1970(earlier))


def ago(moment: str, at: str) -> str:
    """Write how long before ``at`` a moment was; as for ``between``."""
    return wording.ago(moment, at).replace(wording.GAP, " ")


def local(moment: float) -> str:
    """Write a moment, in seconds since 1970, in the node's time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
