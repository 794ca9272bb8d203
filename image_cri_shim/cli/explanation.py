"""Why an image comes from where it does: the decision that a pull would make, and all around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore, maybeDeferred, succeed
from twisted.python.failure import Failure

from image_cri_shim.cli.gathering import gather
from image_cri_shim.cli.secrecy import FindCredentials, Secrets, secrets_of
from image_cri_shim.config import Config
from image_cri_shim.decision import Candidate, Decision, LookUp, Outcome, Registry
from image_cri_shim.policy import Plan, Policy
from image_cri_shim.redaction import Redactor
from image_cri_shim.reference import InvalidReferenceError
from image_cri_shim.resolution import Resolution
from image_cri_shim.resolver import Registries, attempts

# How many images are explained at the same time: no more than a registry is asked at once by
# default, so that none waits for its turn until its time is over.
_AT_ONCE = 16


@attrs.frozen
class Asked:
    """A candidate whose registry was asked.

    :ivar look_up: what it answered; without secrets.
    :ivar credentials: whether there are any for it; None if that cannot be found out.
    """

    look_up: LookUp
    credentials: bool | None = False

    @property
    def candidate(self) -> Candidate:
        """What was asked for."""
        return self.look_up.candidate


@attrs.frozen
class Explanation:
    """Everything about one image reference.

    :ivar image: the reference as it was given.
    :ivar plan: what the configuration says about it.
    :ivar candidates: all of its candidates, in order, each with its answer.
    :ivar own: the same for the name as it was written if that names a configured registry.
    :ivar decision: what a pull would decide; without secrets.
    """

    image: str
    plan: Plan
    candidates: tuple[Asked, ...]
    own: Asked | None
    decision: Decision

    @property
    def attempts(self) -> tuple[Candidate, ...]:
        """What a pull would try, in order: the decision's, and what it would then find out."""
        answers = {one.candidate.name: one.look_up for one in self.candidates}
        first = self.decision.attempts[:1]
        then = attempts(answers.values(), self.plan)
        return (*first, *(one for one in then if one not in first))

    @property
    def found(self) -> bool:
        """Whether a configured registry has it."""
        asked = (*self.candidates, *(() if self.own is None else (self.own,)))
        return any(one.look_up.outcome is Outcome.PRESENT for one in asked)


@attrs.frozen
class Unusable:
    """What is no image reference.

    :ivar image: as it was given.
    :ivar error: why it is none.
    """

    image: str
    error: str


class Decides(Protocol):
    """Whoever decides what is pulled: the resolver."""

    def resolve(self, text: str) -> Deferred[Decision]:
        """Decide."""


class Explainer:
    """Explains image references.

    :param policy: which candidates a reference has.
    :param resolver: decides what would be pulled.
    :param registries: are asked about the candidates: the same that the resolver asks.
    :param find_credentials: finds those of a registry.
    """

    def __init__(
        self,
        policy: Policy,
        resolver: Decides,
        registries: Registries,
        find_credentials: FindCredentials,
    ) -> None:
        self._policy = policy
        self._resolver = resolver
        self._registries = registries
        self._find_credentials = find_credentials
        # A helper that fails takes its time, and none of the images after the first needs to wait.
        self._secrets: dict[Registry, Secrets] = {}

    def explain(self, image: str) -> Deferred[Explanation]:
        """Decide as a pull would, and wait for what it would not wait for.

        A name that points at a configured registry is looked up too, which no pull does; that of
        another origin never is, nor is one that may not be pulled.

        :returns: a Deferred that fails with InvalidReferenceError if ``image`` is no reference.
        """
        return maybeDeferred(self._explain, image)

    def _explain(self, image: str) -> Deferred[Explanation]:
        plan = self._policy.plan(image)
        deciding = self._resolver.resolve(image)
        # At once, so that the look-ups are those of the decision: they are shared while they run,
        # and what fails is not remembered.
        asked = [self._ask(candidate) for candidate in plan.candidates]
        own = plan.as_written
        if own.registry is not None and plan.origin_allowed:
            asked.append(self._ask(own))
        everything: Deferred[list[Any]] = gather([deciding, *asked])

        def finish(results: list[Any]) -> Explanation:
            decision, *answers = results
            redactors = {one.candidate.name: secrets.redactor for one, secrets in answers}
            look_ups = (_clean(one, redactors[one.candidate.name]) for one in decision.look_ups)
            found = [
                Asked(_clean(one, secrets.redactor), secrets.known) for one, secrets in answers
            ]
            count = len(plan.candidates)
            return Explanation(
                image,
                plan,
                tuple(found[:count]),
                found[count] if len(found) > count else None,
                attrs.evolve(decision, look_ups=tuple(look_ups)),
            )

        return everything.addCallback(finish)

    def _ask(self, candidate: Candidate) -> Deferred[list[Any]]:
        """Ask; the Deferred fires with the LookUp and the registry's Secrets."""
        registry = candidate.registry
        if registry is None:
            raise AssertionError("only configured registries are asked")

        def remember(secrets: Secrets) -> Secrets:
            return self._secrets.setdefault(registry, secrets)

        known = self._secrets.get(registry)
        if known is None:
            hiding = secrets_of(registry, self._find_credentials).addCallback(remember)
        else:
            hiding = succeed(known)
        return gather([self._registries.look_up(candidate), hiding])


def _clean(look_up: LookUp, redactor: Redactor) -> LookUp:
    """Return a look-up whose detail, which may be the registry's own words, can be shown."""
    return attrs.evolve(look_up, detail=redactor.clean(look_up.detail))


def explain_all(
    config: Config, images: Sequence[str], reactor: Any
) -> Deferred[list[Explanation | Unusable]]:
    """Explain images by a configuration, several at a time; the answers are in their order.

    :returns: a Deferred that fails only if it is cancelled.
    """
    parts = Resolution(config, reactor)
    explainer = Explainer(parts.policy, parts.resolver, parts.look_ups, parts.keyring.credentials)
    turns = DeferredSemaphore(_AT_ONCE)

    def explain(image: str) -> Deferred[Explanation | Unusable]:
        def refuse(failure: Failure) -> Unusable:
            failure.trap(InvalidReferenceError)
            return Unusable(image, str(failure.value))

        return explainer.explain(image).addErrback(refuse)

    def finish(results: Any) -> Any:
        # Nobody need wait for the connections: they end with the program.
        parts.close(abort=True)
        return results

    return gather([turns.run(explain, image) for image in images]).addBoth(finish)
