"""The attempts of one pull: one candidate after the other, each with the credentials it may see."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import attrs

from image_cri_shim.credentials import Credentials
from image_cri_shim.cri.call import Call
from image_cri_shim.cri.pull_failure import (
    describe,
    is_cut_short,
    is_over,
    refusal,
    remark,
    with_account,
    without_secrets,
)
from image_cri_shim.cri.pull_request import PullRequest
from image_cri_shim.cri.status import Answer, Code, RpcError, parse_timeout
from image_cri_shim.decision import GIVEN_UP, Attempt, Candidate, Decision, LookUp, Registry
from image_cri_shim.redaction import Redactor

_log = logging.getLogger(__name__)
_OUT_OF_TIME = "deadline exceeded"
# Seconds by which an event loop's timers may come early: its clock may tick in milliseconds.
_TICK = 0.005

FindCredentials = Callable[[Registry], Awaitable[Credentials | None]]


@attrs.define(eq=False)
class Attempts:
    """What one pull has tried so far.

    :ivar find_credentials: finds those that a registry was configured with.
    :ivar configured: keeps the configured secrets from the client: also those that it comes to
        know.
    :ivar call_id: tells the call's lines of the log.
    :ivar made: the attempts.
    :ivar error: why the last one failed, or all of them did; empty if it pulled.
    :ivar cut_short: whether the last one was ended, by a deadline or a cancellation.
    :ivar used_up: whether it was the shim's own deadline, in place of one that the client set.
    :ivar image_ref: what the runtime calls the image once it is pulled.
    """

    call: Call
    request: PullRequest
    find_credentials: FindCredentials
    configured: Redactor
    call_id: str = ""
    made: list[Attempt] = attrs.field(factory=list)
    error: str = ""
    cut_short: bool = False
    used_up: bool = False
    image_ref: str = ""
    _answer: Answer | None = None
    _answered: int = -1
    _interruption: str = ""

    @property
    def redactor(self) -> Redactor:
        """What keeps all secrets, the client's too, out of what is said of the pull."""
        return self.configured.extended(self.request.secrets())

    @property
    def remaining(self) -> float | None:
        """The seconds until the call's deadline; None for ever."""
        return None if self.call.deadline is None else self.call.deadline - _now()

    async def pull(self, candidate: Candidate) -> Answer | None:
        """Pull one candidate; return None if the runtime could not be asked to.

        :raises RpcError: the runtime cannot be reached or did not answer properly.
        """
        started = _now()
        self.cut_short = self.used_up = False
        answer: Answer | None = None
        try:
            answer = await self.call.unary(await self._message(candidate))
            self._answer, self._answered = answer, len(self.made)
            self.error = "" if answer.code == Code.OK else describe(answer, self.redactor)
            self._ended(answer.code, answer.message)
        except _NoCredentials as reason:
            self.error = str(reason)
        except asyncio.CancelledError:
            self.error = self.interrupted()
            self.cut_short = True
            self.used_up = self._own_deadline and self.error == _OUT_OF_TIME
            raise
        except RpcError as failure:
            self.error = str(failure)
            self._ended(failure.code, failure.message)
            raise
        except Exception as defect:
            self.error = str(defect) or type(defect).__name__
            raise
        finally:
            self.made.append(Attempt(candidate, self.error, _now() - started))
        return answer

    def interrupted(self) -> str:
        """Say why the task was cancelled: always the same."""
        if not self._interruption:
            out_of_time = self.remaining is not None and self.remaining <= _TICK
            self._interruption = _OUT_OF_TIME if out_of_time else GIVEN_UP
        return self._interruption

    def for_client(self, answer: Answer) -> Answer:
        """Return a runtime's answer as the client may see it: without configured secrets."""
        return answer if answer.code == Code.OK else without_secrets(answer, self.configured)

    def give_up(self, decision: Decision, look_ups: Sequence[LookUp]) -> Answer:
        """Return the answer to a pull for which nothing is left to be tried.

        :param decision: the last one.
        :param look_ups: what was asked in vain.
        :raises RpcError: the runtime has not answered anything.
        """
        if self._answer is None:
            raise refusal(self.request.image, decision, look_ups, self.made)
        why = remark(decision, look_ups)
        self.error = why or self.error
        answer = self.for_client(self._answer)
        return with_account(answer, self.made, self._answered, why, self.redactor)

    @property
    def _own_deadline(self) -> bool:
        return self.call.deadline is not None and parse_timeout(self.call.headers) is None

    def _ended(self, code: int, message: str) -> None:
        """Take note of a status: a runtime's own clock may be a moment ahead of the deadline."""
        self.cut_short = is_cut_short(code, message)
        self.used_up = self.cut_short and self._own_deadline and is_over(self.remaining)

    async def _message(self, candidate: Candidate) -> bytes:
        """Return the request for one candidate, with the credentials that belong to it.

        For a rewritten name these are the configured ones or none; for the name as it was written
        they are the client's or, if it sent none, the configured ones.

        :raises _NoCredentials: there are configured ones, and they cannot be had. Without them the
            runtime's answer would mislead; the name as it was written goes as the client sent it.
        """
        registry = candidate.registry
        if registry is None or (not candidate.rewritten and self.request.has_credentials):
            return self.request.for_candidate(candidate, None)
        credentials = None
        try:
            credentials = await self.find_credentials(registry)
        except Exception as error:
            why = self.redactor.clean(str(error) or type(error).__name__)
            if candidate.rewritten:
                raise _NoCredentials(f"no credentials for {registry.name}: {why}") from error
            _log.warning(
                "%s is pulled without credentials: %s [%s]",
                candidate.name,
                why,
                self.call_id,
                extra={"call": self.call_id},
            )
        if credentials is not None:
            self.configured = self.configured.extended(credentials.spellings())
        return self.request.for_candidate(candidate, credentials)


class _NoCredentials(Exception):
    """A candidate's credentials cannot be had; the message says why."""


def _now() -> float:
    return asyncio.get_running_loop().time()
