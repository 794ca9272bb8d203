"""Why an image comes from where it does: the decision that a pull would make, and all around it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import attrs
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure

from image_cri_shim.cli.gathering import gather
from image_cri_shim.cli.leniency import Lenient
from image_cri_shim.cli.terminal import one_line
from image_cri_shim.cli.turns import Turns
from image_cri_shim.config import Config
from image_cri_shim.credentials import DIRECTORY_VARIABLE, Credentials
from image_cri_shim.decision import Candidate, Decision, LookUp, Outcome, Registry
from image_cri_shim.policy import Plan, Policy
from image_cri_shim.reference import InvalidReferenceError
from image_cri_shim.resolution import Resolution
from image_cri_shim.resolver import Registries, attempts

# How many images are explained at the same time, unless a registry wants to be asked for fewer.
_AT_ONCE = 16
# How many look-ups there are altogether with those that wait for silent registries: each has a
# connection, and a program may usually have 1024.
_AT_MOST = 512

# Finds a registry's credentials; the Deferred fails if that cannot be done.
FindCredentials: TypeAlias = Callable[[Registry], Deferred[Credentials | None]]


@attrs.frozen
class Asked:
    """A candidate whose registry was asked.

    :ivar look_up: what it answered; on one line.
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
    :ivar decision: what a pull would decide; on one line, too.
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
        # Whether there are any, by registry. A helper that fails takes its time, and none of the
        # images after the first needs to wait.
        self._credentials: dict[Registry, bool | None] = {}
        # Registries that the last time did not answer in time.
        self._silent: set[Registry | None] = set()

    def explain(
        self, image: str, only_silent: Callable[[], None] = lambda: None
    ) -> Deferred[Explanation]:
        """Decide as a pull would, and wait for what it would not wait for.

        A name that points at a configured registry is looked up too, which no pull does; that of
        another origin never is, nor is one that may not be pulled.

        :param only_silent: is called when only registries are awaited that have let others wait
            in vain; perhaps more than once.
        :returns: a Deferred that fails with InvalidReferenceError if ``image`` is no reference.
        """
        return maybeDeferred(self._explain, image, only_silent)

    def _explain(self, image: str, only_silent: Callable[[], None]) -> Deferred[Explanation]:
        plan = self._policy.plan(image)
        deciding = self._resolver.resolve(image)
        # At once, so that the look-ups are those of the decision: they are shared while they run,
        # and what fails is not remembered.
        asking = list(plan.candidates)
        own = plan.as_written
        if own.registry is not None and plan.origin_allowed:
            asking.append(own)
        awaited = {candidate.registry for candidate in asking}

        def answered(asked: Asked) -> Asked:
            registry = asked.candidate.registry
            awaited.discard(registry)
            if asked.look_up.timed_out:
                self._silent.add(registry)
            else:
                self._silent.discard(registry)
            tell()
            return asked

        def tell() -> None:
            if awaited <= self._silent:
                only_silent()

        asked = [self._ask(candidate).addCallback(answered) for candidate in asking]
        tell()

        def finish(results: list[Any]) -> Explanation:
            decision, *answers = results
            look_ups = tuple(_on_one_line(one) for one in decision.look_ups)
            count = len(plan.candidates)
            return Explanation(
                image,
                plan,
                tuple(answers[:count]),
                answers[count] if len(answers) > count else None,
                attrs.evolve(decision, look_ups=look_ups),
            )

        return gather([deciding, *asked]).addCallback(finish)

    def _ask(self, candidate: Candidate) -> Deferred[Asked]:
        registry = candidate.registry
        if registry is None:
            raise AssertionError("only configured registries are asked")

        def finish(results: list[Any]) -> Asked:
            look_up, credentials = results
            return Asked(_on_one_line(look_up), credentials)

        both: list[Deferred[Any]] = [
            self._registries.look_up(candidate),
            self._has_credentials(registry),
        ]
        return gather(both).addCallback(finish)

    def _has_credentials(self, registry: Registry) -> Deferred[bool | None]:
        """Find out whether there are credentials; the Deferred fails only if it is cancelled."""
        if registry in self._credentials:
            return succeed(self._credentials[registry])

        def found(credentials: Credentials | None) -> bool | None:
            return self._credentials.setdefault(registry, credentials is not None)

        def lost(failure: Failure) -> bool | None:
            if failure.check(CancelledError):
                return failure  # type: ignore[return-value]
            # Whatever is wrong with one registry's credentials, the look-up says it.
            return self._credentials.setdefault(registry, None)

        finding: Deferred[Any] = maybeDeferred(self._find_credentials, registry)
        return finding.addCallbacks(found, lost)


def _on_one_line(look_up: LookUp) -> LookUp:
    """Return a look-up whose detail, which may be the registry's own words, can be shown."""
    return attrs.evolve(look_up, detail=one_line(look_up.detail))


def explain_all(
    config: Config, images: Sequence[str], reactor: Any
) -> Deferred[list[Explanation | Unusable]]:
    """Explain images by a configuration, several at a time; the answers are in their order.

    :returns: a Deferred that fails only if it is cancelled.
    """
    most = max(_AT_MOST // max(len(config.all_registries), 1), _AT_ONCE)
    once = min((_AT_ONCE, *(one.max_connections for one in config.all_registries)))
    directory = os.environ.get(DIRECTORY_VARIABLE)
    parts = Resolution(_without_queues(config, 2 * most), reactor, Lenient(reactor), directory)
    explainer = Explainer(parts.policy, parts.resolver, parts.look_ups, parts.keyring.credentials)

    def explain(image: str, only_silent: Callable[[], None]) -> Deferred[Explanation | Unusable]:
        def refuse(failure: Failure) -> Unusable:
            failure.trap(InvalidReferenceError)
            return Unusable(image, str(failure.value))

        return explainer.explain(image, only_silent).addErrback(refuse)

    def finish(results: Any) -> Any:
        # Nobody need wait for the connections: they end with the program.
        parts.close(abort=True)
        return results

    return Turns(reactor, explain, once, most).run(images).addBoth(finish)


def _without_queues(config: Config, number: int) -> Config:
    """Return a configuration by which nobody waits for a registry's turn.

    Whoever waits has less time for the answer, so what is found out about an image would depend on
    those before it. Images wait for theirs instead.
    """

    def open_to_all(registry: Registry) -> Registry:
        return attrs.evolve(registry, max_connections=number)

    return attrs.evolve(
        config,
        offline=None if config.offline is None else open_to_all(config.offline),
        registries=tuple(map(open_to_all, config.registries)),
    )
