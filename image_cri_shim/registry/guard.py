"""Look-ups that leave failing registries alone."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from image_cri_shim.decision import Candidate, LookUp, Outcome
from image_cri_shim.registry.answer import Answer
from image_cri_shim.registry.health import Health, Leave, Skip


class Asker(Protocol):
    """Whoever asks registries and says what it means for their health."""

    def ask(self, candidate: Candidate) -> Deferred[Answer]:
        """Ask; fails only by being cancelled."""

    def close(self) -> Deferred[None]:
        """Close the connections."""


class GuardedClient:
    """Asks registries unless they are failing.

    :param client: the registry client.
    :param health: what is known of the registries; it may outlive this client.
    """

    def __init__(self, client: Asker, health: Health) -> None:
        self._client = client
        self._health = health

    def look_up(self, candidate: Candidate) -> Deferred[LookUp]:
        """Ask a candidate's registry, or say at once that it is failing.

        :returns: a Deferred that fails only if it is cancelled.
        """
        match self._health.admit(candidate.reference.domain.lower()):
            case Skip() as skip:
                return succeed(_skipped(candidate, skip))
            case Leave() as leave:
                asking = self._client.ask(candidate).addCallbacks(
                    self._answered, self._given_up, callbackArgs=(leave,), errbackArgs=(leave,)
                )
        if leave.meanwhile is None or not leave.meanwhile.timed_out:
            return asking
        # It may be silent still: whether it is back is found out beside the pull, not by it.
        return succeed(_skipped(candidate, leave.meanwhile))

    def close(self) -> Deferred[None]:
        """Close the client."""
        return self._client.close()

    def _answered(self, answer: Answer, leave: Leave) -> LookUp:
        self._health.record(leave, answer)
        return answer.look_up

    def _given_up(self, failure: Failure, leave: Leave) -> Failure:
        self._health.withdraw(leave)
        return failure


def _skipped(candidate: Candidate, skip: Skip) -> LookUp:
    return LookUp(candidate, Outcome.UNKNOWN, skip.detail, timed_out=skip.timed_out, asked=False)
