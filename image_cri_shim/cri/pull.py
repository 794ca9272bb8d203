"""PullImage: decide where to pull from, pull, and go on to the next source if that failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import attrs

from image_cri_shim.credentials import Credentials
from image_cri_shim.cri.attempts import Attempts, FindCredentials
from image_cri_shim.cri.call import Call
from image_cri_shim.cri.local import Images, LocalNames
from image_cri_shim.cri.pull_failure import describe, is_final, unreadable
from image_cri_shim.cri.pull_request import read_pull_request
from image_cri_shim.cri.status import Answer, Code
from image_cri_shim.cri.upstream import Upstream
from image_cri_shim.decision import Candidate, Decision, Pull, Registry
from image_cri_shim.policy import Policy
from image_cri_shim.redaction import Redactor
from image_cri_shim.reference import DEFAULT_DOMAIN, InvalidReferenceError, is_image_id


class Resolve(Protocol):
    """Asks the registries about the candidates of a reference."""

    def __call__(
        self, image: str, earlier: Decision | None = None, failed: Sequence[Candidate] = ()
    ) -> Awaitable[Decision]:
        """Decide what is pulled for a reference.

        :param earlier: the decision before, if what it said could not be pulled.
        :param failed: what could not be pulled so far.
        """


async def configured_credentials(registry: Registry) -> Credentials | None:
    """Return the credentials that a registry was configured with."""
    return registry.credentials


def _forget_nothing(_: Candidate) -> None:
    return None


@attrs.frozen
class Routing:
    """What one call is decided by, from its beginning to its end; a reload makes a new one.

    :ivar policy: which names a reference stands for.
    :ivar resolve: asks the registries about the candidates of a reference (its text).
    :ivar timeout: seconds that a call may take whose client set no deadline.
    :ivar upstream: the runtime.
    :ivar redactor: keeps the configured secrets out of what is said of failed attempts.
    :ivar credentials: finds a registry's credentials; raises an Exception with a message for the
        operator where they exist and cannot be had.
    :ivar forget: is told of every candidate whose pull failed and may succeed from another source,
        and of all if none was left, so that what is remembered of them can be dropped; their
        registry may be None.
    """

    policy: Policy
    resolve: Resolve
    timeout: float
    upstream: Upstream
    redactor: Redactor = attrs.field(factory=Redactor)
    credentials: FindCredentials = configured_credentials
    forget: Callable[[Candidate], None] = _forget_nothing


class Observer(Protocol):
    """Who wants to know what is pulled from where."""

    def decided(self, image: str, decision: Decision) -> None:
        """Take note of the first decision of a pull, before anything is pulled."""

    def pulled(self, pull: Pull) -> None:
        """Take note of a pull that is over, one way or the other."""


class Puller:
    """Pulls images from where the policy and the registries say.

    :param images: knows which names are image IDs.
    :param names: is told under which name an image was pulled.
    :param observer: is told of decisions and outcomes.
    """

    def __init__(self, images: Images, names: LocalNames, observer: Observer) -> None:
        self._images = images
        self._names = names
        self._observer = observer

    async def pull_image(self, call: Call, routing: Routing) -> Answer:
        """Answer PullImage.

        A pull that succeeds, fails for good or was the only attempt is answered as the runtime
        answered it. After several attempts, and in strict mode, what else was tried and asked is
        appended to the last answer's message.

        :raises RpcError: nothing could be pulled, or the runtime cannot be reached.
        """
        request = read_pull_request(call)
        started = _now()
        redactor = routing.redactor.extended(request.secrets())
        attempts = Attempts(call, request, routing.credentials, redactor)
        error = ""
        try:
            if await self._is_for_the_runtime(attempts, routing.policy):
                answer = await call.unary(call.message)
                error = "" if answer.code == Code.OK else describe(answer, redactor)
            else:
                answer = await self._pull(attempts, routing)
                error = attempts.error
        except asyncio.CancelledError:
            out_of_time = call.deadline is not None and _now() >= call.deadline
            error = "deadline exceeded" if out_of_time else "cancelled"
            raise
        except Exception as failure:
            error = str(failure)
            raise
        finally:
            pull = Pull(request.image, tuple(attempts.made), error, _now() - started)
            self._observer.pulled(pull)
        return answer

    async def _is_for_the_runtime(self, attempts: Attempts, policy: Policy) -> bool:
        """Tell whether an image is no reference: an ID, or what the runtime itself must refuse.

        :raises RpcError: it is none, and the runtime might take it for one that it may not pull.
        """
        image = attempts.request.image
        try:
            plan = policy.plan(image)
        except InvalidReferenceError as error:
            rule = _forbidding_rule(policy, image)
            if rule:
                raise unreadable(str(error), rule, attempts.redactor) from error
            # The runtime says in its own words what is wrong with it.
            return True
        if not plan.origin_allowed:
            # What begins like an ID is a name for runtimes that are asked to pull it.
            return False
        return await self._images.knows_as_id(attempts.call, policy, image)

    async def _pull(self, attempts: Attempts, routing: Routing) -> Answer:
        """Pull one candidate after the other until one succeeds or none is left.

        After each that failed it is decided again what is next: the registries behind it were
        perhaps not asked yet.
        """
        image, deadline = attempts.request.image, attempts.call.deadline
        decision = await routing.resolve(image)
        self._observer.decided(image, decision)
        failed: list[Candidate] = []
        asked = {one.candidate.name: one for one in decision.look_ups}
        while (candidate := _next(decision, failed)) is not None:
            answer = await attempts.pull(candidate)
            if answer is not None:
                if answer.code == Code.OK:
                    self._names.remember(image, candidate.name)
                    return answer
                if is_final(answer, None if deadline is None else deadline - _now()):
                    return answer
            routing.forget(candidate)
            failed.append(candidate)
            decision = await routing.resolve(image, earlier=decision, failed=tuple(failed))
            asked |= {one.candidate.name: one for one in decision.look_ups}
        in_vain = [asked[name] for name in asked if name not in _names(failed)]
        for look_up in in_vain:
            # Whoever pushes the image now need not wait until "absent" no longer holds.
            routing.forget(look_up.candidate)
        return attempts.give_up(decision, in_vain)


def _next(decision: Decision, failed: Sequence[Candidate]) -> Candidate | None:
    """Return what is pulled next: never what has failed, nor an origin that is not allowed."""
    for candidate in decision.attempts:
        allowed = candidate.rewritten or decision.origin_allowed
        if allowed and candidate.name not in _names(failed):
            return candidate
    return None


def _names(candidates: Sequence[Candidate]) -> set[str]:
    return {candidate.name for candidate in candidates}


def _forbidding_rule(policy: Policy, image: str) -> str:
    """Return the rule that forbids the origin of what is no reference, or nothing.

    Runtimes pull ``sha256:...`` as a tag of Docker Hub's image ``sha256``; and nobody knows what
    they make of a text that the shim cannot read.
    """
    if is_image_id(image):
        plan = policy.plan(f"{DEFAULT_DOMAIN}/library/{image}")
        return "" if plan.rule is None or plan.origin_allowed else plan.rule.label
    return next((rule.label for rule in policy.rules if not rule.origin_allowed), "")


def _now() -> float:
    return asyncio.get_running_loop().time()
