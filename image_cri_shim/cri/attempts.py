"""The attempts of one pull: one candidate after the other, each with the credentials it may see."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import attrs

from image_cri_shim.credentials import Credentials
from image_cri_shim.cri.call import Call
from image_cri_shim.cri.pull_failure import describe, refusal, remark, with_account
from image_cri_shim.cri.pull_request import PullRequest
from image_cri_shim.cri.status import Answer, Code, RpcError
from image_cri_shim.decision import Attempt, Candidate, Decision, LookUp, Registry
from image_cri_shim.redaction import Redactor

_log = logging.getLogger(__name__)

FindCredentials = Callable[[Registry], Awaitable[Credentials | None]]


@attrs.define(eq=False)
class Attempts:
    """What one pull has tried so far.

    :ivar find_credentials: finds those that a registry was configured with.
    :ivar redactor: keeps secrets out of what is said of it: also those that it comes to know.
    :ivar made: the attempts.
    :ivar error: why the last one failed, or all of them did; empty if it pulled.
    """

    call: Call
    request: PullRequest
    find_credentials: FindCredentials
    redactor: Redactor
    made: list[Attempt] = attrs.field(factory=list)
    error: str = ""
    _answer: Answer | None = None
    _answered: int = -1

    async def pull(self, candidate: Candidate) -> Answer | None:
        """Pull one candidate; return None if the runtime could not be asked to.

        :raises RpcError: the runtime cannot be reached or did not answer properly.
        """
        started = _now()
        self.error = "given up"
        answer: Answer | None = None
        try:
            answer = await self.call.unary(await self._message(candidate))
            self._answer, self._answered = answer, len(self.made)
            self.error = "" if answer.code == Code.OK else describe(answer, self.redactor)
        except _NoCredentials as reason:
            self.error = str(reason)
        except RpcError as failure:
            self.error = str(failure)
            raise
        finally:
            self.made.append(Attempt(candidate, self.error, _now() - started))
        return answer

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
        return with_account(self._answer, self.made, self._answered, why, self.redactor)

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
            _log.warning("%s is pulled without credentials: %s", candidate.name, why)
        if credentials is not None:
            self.redactor = self.redactor.extended(credentials.spellings())
        return self.request.for_candidate(candidate, credentials)


class _NoCredentials(Exception):
    """A candidate's credentials cannot be had; the message says why."""


def _now() -> float:
    return asyncio.get_running_loop().time()
