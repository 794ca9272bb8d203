"""Several things waited for at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.python.failure import Failure


def gather(deferreds: Sequence[Deferred[Any]]) -> Deferred[list[Any]]:
    """Wait for all; once one fails, or nobody waits any more, the others are cancelled.

    Twisted's own function leaves the others alone that have not been cancelled when one fails,
    also where it fails because it is cancelled with them.

    :returns: a Deferred with their results, in order; or with the failure of the first that fails,
        as a FirstError.
    """

    def abandon(failure: Failure) -> Failure:
        for deferred in deferreds:
            deferred.cancel()
        return failure

    return gatherResults(deferreds, consumeErrors=True).addErrback(abandon)
