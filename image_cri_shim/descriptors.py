"""The process's descriptors: how many it may have open, and the three that it begins with."""

from __future__ import annotations

import os
import resource

# More than the clients that are let in, the registries and files together; a table of descriptors
# that may grow without end would only delay the moment when a leak is noticed.
ENOUGH = 8192


def raise_limit(enough: int = ENOUGH) -> tuple[int, int]:
    """Raise the soft limit of open descriptors (RLIMIT_NOFILE) towards the hard one.

    The usual soft limit of 1,024 is for programs that use select(2); this one does not. A limit
    that is high enough already stays.

    :param enough: what it is raised to at most.
    :returns: the soft limit before and after.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = enough if hard == resource.RLIM_INFINITY else min(enough, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft, soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        # A security module may forbid it; what there is must do.
        return soft, soft
    return soft, wanted


def occupy_standard_descriptors() -> None:
    """Open /dev/null in place of standard descriptors that are closed.

    Otherwise the next file or connection gets the number, and what is written for it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest that is free: this one.
            os.open(os.devnull, os.O_RDWR)
