"""The registry client: asks one registry whether it holds a manifest."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.python.failure import Failure

from image_cri_shim.clock import Clock
from image_cri_shim.decision import Candidate, LookUp, Outcome, Registry
from image_cri_shim.logs import logger
from image_cri_shim.reference import ImageReference
from image_cri_shim.registry.agent import PoolingAgent, make_agent
from image_cri_shim.registry.answer import Answer, Finding
from image_cri_shim.registry.authorization import Access, Authorizer
from image_cri_shim.registry.credential_helper import Processes
from image_cri_shim.registry.exchange import Exchange
from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.guard import Forbidden, Guard
from image_cri_shim.registry.keyring import Keyring
from image_cri_shim.registry.manifests import Manifests, manifest_url
from image_cri_shim.registry.probe import Probe, Tls, Verdict, ask_base, verdict_on
from image_cri_shim.registry.server import server_url

T = TypeVar("T")
R = TypeVar("R")

# Seconds that a look-up has, however long it has waited for its turn.
LEAST_TIME = 0.1


@attrs.define(eq=False)
class _Question:
    """A look-up or a probe while it runs."""

    # When the waiting began, on the clock.
    started: float
    # Whose answer it waits for, if not the registry's.
    waiting_for: str = ""
    answered: bool = False
    timed_out: bool = False
    cancelled: bool = False

    def wait_for(self, whom: str) -> None:
        """Note whose answer is awaited."""
        self.waiting_for = whom

    def hear(self) -> None:
        """Note that the registry's server has answered."""
        self.answered = True


class RegistryClient:
    """Looks up manifests in one registry.

    Every look-up ends with an answer within the registry's time-out, whatever the registry does.

    :param clock: measures and bounds look-ups.
    :param agent: makes the requests; its connections are the client's to close.
    :param registry: whom to ask, and how.
    :param keyring: has its credentials.
    :param ttl: seconds that it is remembered how the registry wants to be shown who asks, and that
        it refuses HEAD; 0 not at all.
    """

    _log = logger("registry")

    def __init__(
        self, clock: Clock, agent: PoolingAgent, registry: Registry, keyring: Keyring, ttl: float
    ) -> None:
        self._clock = clock
        self._agent = agent
        self._registry = registry
        self._keyring = keyring
        self._exchange = Exchange(agent, registry.connect_timeout)
        self._authorizer = Authorizer(self._exchange, clock, ttl)
        self._manifests = Manifests(self._exchange, self._authorizer, clock, ttl)
        self._running = 0
        self._when_idle: list[Deferred[None]] = []

    def ask(self, candidate: Candidate, waited: float = 0.0) -> Deferred[Answer]:
        """Ask whether the registry holds a candidate's manifest.

        :param waited: seconds that the look-up has waited for its turn. They are part of its time,
            of which at least LEAST_TIME is left.
        :returns: a Deferred that fails only if it is cancelled, which aborts the connection.
            Everything that goes wrong is an unknown outcome with a detail.
        """
        return self._bounded(
            lambda question: self._look_up(candidate, question),
            lambda question, result: self._answer(candidate, question, result),
            waited,
        )

    def probe(self) -> Deferred[Probe]:
        """Find out whether the registry can be used as it is configured.

        :returns: a Deferred that fails only if it is cancelled, which aborts the connection.
        """
        return self._bounded(self._ask_base, self._probed)

    def close(self) -> Deferred[None]:
        """Let the running look-ups end, then close the connections.

        Whoever cannot wait for the look-ups cancels them first.
        """
        idle: Deferred[None] = Deferred()
        if self._running:
            self._when_idle.append(idle)
        else:
            idle.callback(None)
        return idle.addCallback(lambda _: self._agent.close(self._registry.connect_timeout))

    def _bounded(
        self,
        start: Callable[[_Question], Deferred[T]],
        conclude: Callable[[_Question, T | Unanswered], R],
        waited: float = 0.0,
    ) -> Deferred[R]:
        """Run something for no longer than the registry's time-out.

        :param start: begins it.
        :param conclude: says what its result means, or what has kept it from one.
        :param waited: seconds of that time that are over already.
        """
        question = _Question(self._clock.seconds() - waited)

        def finish(result: T | Failure) -> None:
            if answered.called:
                return
            if timer.active():
                timer.cancel()
            self._ended()
            if question.cancelled:
                return
            if isinstance(result, Failure):
                answered.callback(conclude(question, self._reason(question, result)))
            else:
                answered.callback(conclude(question, result))

        def expire() -> None:
            question.timed_out = True
            asking.cancel()

        def cancel(_: Deferred[R]) -> None:
            question.cancelled = True
            asking.cancel()

        self._running += 1
        answered: Deferred[R] = Deferred(cancel)
        rest = max(self._registry.timeout - waited, LEAST_TIME)
        timer = self._clock.callLater(rest, expire)
        asking = start(question)
        asking.addBoth(finish)
        return answered

    def _ended(self) -> None:
        self._running -= 1
        if not self._running:
            waiting, self._when_idle = self._when_idle, []
            for idle in waiting:
                idle.callback(None)

    def _reason(self, question: _Question, failure: Failure) -> Unanswered:
        if question.timed_out:
            detail = f"timed out after {self._registry.timeout:g}s"
            if question.waiting_for:
                detail += f", waiting for {question.waiting_for}"
            return Unanswered(detail, timed_out=True)
        if isinstance(failure.value, Unanswered):
            return failure.value
        self._log.failure("asking {name} failed", failure, name=self._registry.name)
        return Unanswered(f"failed: {type(failure.value).__name__}")

    @inlineCallbacks
    def _access(
        self, question: _Question, reference: ImageReference | None = None, forbidden: str = ""
    ) -> Generator[Deferred[Any], Any, Access]:
        """Return what is asked for, with the credentials as they are now.

        :param reference: None for the registry itself.
        :param forbidden: the domain that nobody may be led to, or empty.
        :raises Unanswered: they cannot be had.
        """
        question.wait_for("its credentials")
        credentials = yield self._keyring.credentials(self._registry)
        question.wait_for("")
        server = server_url(self._registry)
        guard = Guard(
            server if reference is None else manifest_url(server, reference),
            forbidden,
            () if credentials is None else credentials.spellings(),
        )
        return Access(server, reference.repository if reference else "", credentials, guard)

    @inlineCallbacks
    def _look_up(
        self, candidate: Candidate, question: _Question
    ) -> Generator[Deferred[Any], Any, Finding]:
        access = yield self._access(question, candidate.reference, candidate.forbidden)
        try:
            finding = yield self._manifests.find(access, candidate.reference, question.wait_for)
        except Forbidden as reason:
            # Nobody may try by pulling what this is: the runtime would follow.
            return Finding(Outcome.ABSENT, str(reason))
        return finding  # type: ignore[no-any-return]

    def _answer(
        self, candidate: Candidate, question: _Question, result: Finding | Unanswered
    ) -> Answer:
        if isinstance(result, Unanswered):
            outcome, digest = Outcome.UNKNOWN, None
        else:
            outcome, digest = result.outcome, result.digest
        if result.refused:
            self._keyring.forget(self._registry)
        return Answer(
            LookUp(
                candidate,
                outcome,
                result.detail,
                elapsed=self._clock.seconds() - question.started,
                digest=digest,
                timed_out=result.timed_out,
            ),
            retry_after=result.retry_after,
        )

    @inlineCallbacks
    def _ask_base(self, question: _Question) -> Generator[Deferred[Any], Any, Verdict]:
        access = yield self._access(question)
        verdict = yield ask_base(
            self._exchange, self._authorizer, access, question.hear, question.wait_for
        )
        return verdict  # type: ignore[no-any-return]

    def _probed(self, question: _Question, result: Verdict | Unanswered) -> Probe:
        verdict = verdict_on(result) if isinstance(result, Unanswered) else result
        if verdict.refused:
            self._keyring.forget(self._registry)
        return Probe(
            self._registry,
            question.answered,
            self._tls(question),
            verdict.authentication,
            self._authorizer.scheme,
            verdict.detail,
            self._clock.seconds() - question.started,
        )

    def _tls(self, question: _Question) -> Tls:
        if self._registry.plain_http:
            return "none"
        if not question.answered:
            return "unknown"
        return "not verified" if self._registry.insecure_skip_verify else "verified"


def make_registry_client(
    reactor: Processes, registry: Registry, keyring: Keyring, ttl: float
) -> RegistryClient:
    """Make the client for a registry.

    :param reactor: Twisted's, for TCP, names and time.
    :param keyring: has its credentials.
    :param ttl: seconds that it is remembered how the registry wants to be shown who asks, and that
        it refuses HEAD; 0 not at all.
    """
    return RegistryClient(reactor, make_agent(reactor, registry), registry, keyring, ttl)
