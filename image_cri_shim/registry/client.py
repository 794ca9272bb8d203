"""The registry client: asks registries whether they hold a manifest."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger
from twisted.python.failure import Failure

from image_cri_shim.clock import Clock
from image_cri_shim.decision import Candidate, LookUp, Outcome, Registry
from image_cri_shim.registry.agent import Budgets, PoolingAgent, make_agent
from image_cri_shim.registry.answer import (
    HEAD_REFUSED,
    UNAUTHORIZED,
    Answer,
    Finding,
    judge,
)
from image_cri_shim.registry.authorization import Access, Authorization, Authorizer
from image_cri_shim.registry.exchange import Exchange, Reply, origin
from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.token import TokenRequest
from image_cri_shim.registry.trust import Trust

# What is accepted as a manifest: OCI image specification, "Media types"; Docker's image manifest
# version 2, schema 2; and schema 1, which only very old images have.
_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
)
ACCEPT = ", ".join(_MANIFESTS)
# The one registry whose name is not that of its server.
_SERVERS = {"docker.io": "registry-1.docker.io"}
# How often a 401 is met in one look-up: with a token that was kept, and with a new one.
_MOST_RENEWALS = 2


def registry_of(candidate: Candidate) -> Registry:
    """Return the registry that is asked about a candidate: an origin is asked anonymously."""
    if candidate.registry is not None:
        return candidate.registry
    return Registry(candidate.reference.domain)


@attrs.define(eq=False)
class _Question:
    """A look-up while it runs."""

    candidate: Candidate
    registry: Registry
    started: float
    # Whose answer it waits for, if not the registry's.
    waiting_for: str = ""
    timed_out: bool = False
    cancelled: bool = False

    @property
    def base(self) -> str:
        """The registry's base URL, without a slash at the end."""
        domain = _SERVERS.get(self.registry.domain, self.registry.domain)
        return f"{'http' if self.registry.plain_http else 'https'}://{domain}"

    @property
    def url(self) -> str:
        """What is asked for."""
        reference = self.candidate.reference
        return f"{self.base}/v2/{reference.repository}/manifests/{reference.selector}"


class RegistryClient:
    """Looks up manifests (OCI distribution specification, "Pulling manifests").

    Every look-up ends with an answer within the total budget, whatever the registry does.

    :param clock: measures and bounds look-ups.
    :param agent: makes the requests; its connections are the client's to close.
    """

    _log = Logger()

    def __init__(self, clock: Clock, agent: PoolingAgent, budgets: Budgets | None = None) -> None:
        self._clock = clock
        self._agent = agent
        self._budgets = budgets if budgets is not None else Budgets()
        self._exchange = Exchange(agent, self._budgets.connect)
        self._authorizer = Authorizer(self._exchange, clock)
        # Base URLs of registries that serve manifests to GET only.
        self._without_head: set[str] = set()
        self._running = 0
        self._when_idle: list[Deferred[None]] = []

    def look_up(self, candidate: Candidate) -> Deferred[LookUp]:
        """Ask a candidate's registry whether it holds the manifest.

        :returns: a Deferred that fails only if it is cancelled, which aborts the connection.
            Everything that goes wrong is an unknown outcome with a detail.
        """
        return self.ask(candidate).addCallback(lambda answer: answer.look_up)

    def ask(self, candidate: Candidate) -> Deferred[Answer]:
        """Do the same, and say in addition what it means for the registry's health."""
        question = _Question(candidate, registry_of(candidate), self._clock.seconds())

        def finish(result: Finding | Failure) -> None:
            if answered.called:
                return
            if timer.active():
                timer.cancel()
            self._ended()
            if not question.cancelled:
                answered.callback(self._answer(question, result))

        def expire() -> None:
            question.timed_out = True
            asking.cancel()

        def cancel(_: Deferred[Answer]) -> None:
            question.cancelled = True
            asking.cancel()

        self._running += 1
        answered: Deferred[Answer] = Deferred(cancel)
        timer = self._clock.callLater(self._budgets.total, expire)
        asking = self._ask(question)
        asking.addBoth(finish)
        return answered

    def close(self) -> Deferred[None]:
        """Let the running look-ups end, then close the connections.

        Whoever cannot wait for the look-ups cancels them first.
        """
        idle: Deferred[None] = Deferred()
        if self._running:
            self._when_idle.append(idle)
        else:
            idle.callback(None)
        return idle.addCallback(lambda _: self._agent.close(self._budgets.connect))

    def _ended(self) -> None:
        self._running -= 1
        if not self._running:
            waiting, self._when_idle = self._when_idle, []
            for idle in waiting:
                idle.callback(None)

    def _answer(self, question: _Question, result: Finding | Failure) -> Answer:
        finding = result if isinstance(result, Finding) else self._failed(question, result)
        return Answer(
            LookUp(
                question.candidate,
                finding.outcome,
                finding.detail,
                elapsed=self._clock.seconds() - question.started,
                digest=finding.digest,
                timed_out=finding.timed_out,
            ),
            failing=finding.failing,
            retry_after=finding.retry_after,
        )

    def _failed(self, question: _Question, failure: Failure) -> Finding:
        if question.timed_out:
            detail = f"timed out after {self._budgets.total:g}s"
            if question.waiting_for:
                detail += f", waiting for {question.waiting_for}"
            return Finding(Outcome.UNKNOWN, detail, timed_out=True, failing=True)
        reason = failure.value
        if isinstance(reason, Unanswered):
            return Finding(
                Outcome.UNKNOWN,
                reason.detail,
                timed_out=reason.timed_out,
                failing=reason.failing,
                retry_after=reason.retry_after,
            )
        self._log.failure("look-up of {name} failed", failure, name=question.candidate.name)
        return Finding(Outcome.UNKNOWN, f"failed: {type(reason).__name__}", failing=True)

    @inlineCallbacks
    def _ask(self, question: _Question) -> Generator[Deferred[Any], Any, Finding]:
        """Find out.

        :raises Unanswered: it cannot be found out.
        """
        access = Access(
            question.base, question.candidate.reference.repository, question.registry.credentials
        )
        authorization = self._authorizer.remembered(access)
        reply = yield self._manifest(question, authorization)
        for _ in range(_MOST_RENEWALS):
            if reply.status != UNAUTHORIZED or origin(reply.url) != origin(question.url):
                break
            means = self._authorizer.meet(access, reply, authorization)
            if means is None:
                break
            if isinstance(means, TokenRequest):
                question.waiting_for = f"the token server {means.server}"
                means = yield self._authorizer.fetch(means)
                question.waiting_for = ""
            authorization = means
            reply = yield self._manifest(question, authorization)
        finding = _judged(question, reply, authorization)
        if finding is None:
            reply = yield self._manifest(question, authorization, method="GET")
            finding = _judged(question, reply, authorization)
        if finding is None:
            raise Unanswered(str(reply.status), failing=False)
        return finding

    @inlineCallbacks
    def _manifest(
        self, question: _Question, authorization: Authorization | None, method: str = "HEAD"
    ) -> Generator[Deferred[Any], Any, Reply]:
        """Ask for the manifest's head; by GET where the registry refuses HEAD."""
        value = authorization.value if authorization is not None else None
        if question.base in self._without_head:
            method = "GET"
        reply = yield self._exchange.request(
            method, question.url, accept=ACCEPT, authorization=value
        )
        if reply.method == "HEAD" and reply.status in HEAD_REFUSED:
            self._without_head.add(question.base)
            reply = yield self._exchange.request(
                "GET", question.url, accept=ACCEPT, authorization=value
            )
        return reply  # type: ignore[no-any-return]


def _judged(
    question: _Question, reply: Reply, authorization: Authorization | None
) -> Finding | None:
    digest = question.candidate.reference.digest
    if origin(reply.url) == origin(question.url):
        return judge(reply, authorization, digest)
    # Another server replied, and it was shown nothing.
    if reply.status == UNAUTHORIZED:
        host = origin(reply.url)[1]
        raise Unanswered(f"redirects to {host}, which answers 401", failing=False)
    return judge(reply, None, digest)


def make_registry_client(
    reactor: Clock, *, budgets: Budgets | None = None, ca_file: Path | None = None
) -> RegistryClient:
    """Make a client for real registries.

    :param reactor: Twisted's, for TCP, names and time.
    :param ca_file: PEM file with the only certificates to trust; None for the system's.
    """
    budgets = budgets if budgets is not None else Budgets()
    return RegistryClient(reactor, make_agent(reactor, budgets, Trust(ca_file)), budgets)
