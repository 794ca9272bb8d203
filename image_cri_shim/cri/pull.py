"""PullImage: decide where to pull from, pull, and go on to the next source if that failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import attrs
from google.protobuf.message import DecodeError

from image_cri_shim.call_identity import CallIdentity
from image_cri_shim.config.settings import OriginalNames
from image_cri_shim.credentials import Credentials
from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.cri.attempts import Attempts, FindCredentials
from image_cri_shim.cri.call import Call
from image_cri_shim.cri.local import pulled_image
from image_cri_shim.cri.naming import Naming
from image_cri_shim.cri.pull_failure import describe, is_final, unreadable
from image_cri_shim.cri.pull_request import read_pull_request
from image_cri_shim.cri.status import Answer, Code, RpcError, frame
from image_cri_shim.cri.upstream import Upstream
from image_cri_shim.decision import Candidate, Decision, Pull, Registry
from image_cri_shim.policy import Policy
from image_cri_shim.redaction import Redactor
from image_cri_shim.reference import (
    DEFAULT_DOMAIN,
    InvalidReferenceError,
    is_image_id,
    is_usual_short_id,
)


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


def _ignore(_: Candidate) -> None:
    return None


@attrs.frozen
class Routing:
    """What one call is decided by, from its beginning to its end; a reload makes a new one.

    :ivar policy: which names a reference stands for.
    :ivar resolve: asks the registries about the candidates of a reference (its text).
    :ivar timeout: seconds that a call may take whose client set no deadline.
    :ivar upstream: the runtime.
    :ivar redactor: keeps the configured secrets out of what is said of failed attempts, and out of
        what the runtime says to the client.
    :ivar credentials: finds a registry's credentials; raises an Exception with a message for the
        operator where they exist and cannot be had.
    :ivar forget: is told of every candidate whose pull failed and may succeed from another source,
        or was ended by a deadline or a cancellation, and of all if none was left, so that what is
        remembered of them can be dropped; their registry may be None.
    :ivar exhausted: is told, after ``forget``, of the candidate whose pull was still running when
        ``timeout`` was over, so that the next pull need not end in the same place; its registry may
        be None. Never because of a client's own deadline or cancellation.
    :ivar original_names: which names clients see of images that were pulled under another one.
    """

    policy: Policy
    resolve: Resolve
    timeout: float
    upstream: Upstream
    redactor: Redactor = attrs.field(factory=Redactor)
    credentials: FindCredentials = configured_credentials
    forget: Callable[[Candidate], None] = _ignore
    exhausted: Callable[[Candidate], None] = _ignore
    original_names: OriginalNames = "keep"


class Watched(Protocol):
    """Who wants to know what becomes of one pull."""

    def decided(self, decision: Decision) -> None:
        """Take note of the first decision, before anything is pulled."""

    def trying(self, candidate: Candidate, decision: Decision) -> None:
        """Take note of what the runtime is asked for now, and of the last decision."""

    def ended(self, pull: Pull) -> None:
        """Take note of the end, whichever it is."""


class Observer(Protocol):
    """Who wants to know what is pulled from where."""

    def began(self, image: str, identity: CallIdentity) -> Watched:
        """Take note of a pull that begins."""


async def _recorded() -> None:
    return None


class Puller:
    """Pulls images from where the policy and the registries say.

    :param observer: is told of decisions and outcomes.
    :param recorded: waits, but never for long, until what the observer was told is on the disk.
    """

    def __init__(
        self, observer: Observer, recorded: Callable[[], Awaitable[None]] = _recorded
    ) -> None:
        self._observer = observer
        self._recorded = recorded

    async def pull_image(
        self, call: Call, identity: CallIdentity, routing: Routing, naming: Naming
    ) -> Answer:
        """Answer PullImage.

        A pull that succeeds, fails for good or was the only attempt is answered as the runtime
        answered it, but for configured secrets in it. After several attempts, and in strict mode,
        what else was tried and asked is appended to the last answer's message.

        :param naming: is told under which name the image was pulled.
        :raises RpcError: nothing could be pulled, or the runtime cannot be reached.
        """
        request = read_pull_request(call)
        started = _now()
        watched = self._observer.began(request.image, identity)
        attempts = Attempts(call, request, routing.credentials, routing.redactor, identity.call)
        error = ""
        failure: Exception | None = None
        try:
            if _is_for_the_runtime(attempts, routing.policy):
                answer = await call.unary(call.message)
                error = "" if answer.code == Code.OK else describe(answer, attempts.redactor)
                attempts.image_ref = "" if error else _told(answer).image_ref
                answer = attempts.for_client(answer)
            else:
                answer = await self._pull(attempts, watched, routing, naming)
                error = attempts.error
        except asyncio.CancelledError:
            error = attempts.interrupted()
            raise
        except Exception as failed:  # noqa: BLE001 - it is raised again once it is recorded
            error = str(failed) or type(failed).__name__
            failure = failed
        finally:
            made, took = tuple(attempts.made), _now() - started
            watched.ended(Pull(request.image, made, error, took, attempts.image_ref))
        await self._recorded()
        if failure is not None:
            raise failure
        return answer

    async def _pull(
        self, attempts: Attempts, watched: Watched, routing: Routing, naming: Naming
    ) -> Answer:
        """Pull one candidate after the other until one succeeds or none is left.

        After each that failed it is decided again what is next: the registries behind it were
        perhaps not asked yet.
        """
        image = attempts.request.image
        decision = await routing.resolve(image)
        watched.decided(decision)
        failed: list[Candidate] = []
        asked = {one.candidate.name: one for one in decision.look_ups}
        while (candidate := _next(decision, failed)) is not None:
            watched.trying(candidate, decision)
            try:
                answer = await attempts.pull(candidate)
            except (asyncio.CancelledError, RpcError):
                _note_end(attempts, candidate, routing)
                raise
            if answer is not None:
                if answer.code == Code.OK:
                    told = _told(answer)
                    attempts.image_ref = told.image_ref
                    configured = candidate.registry is not None
                    # Its digests are not told, and nobody may ask before its tag has moved on.
                    status = None
                    if naming.changes and configured:
                        status = await pulled_image(attempts.call, candidate.name)
                    naming.pulled(
                        image, candidate.name, told.image_ref, status, configured=configured
                    )
                    await naming.memory.saved()
                    return _shown(answer, told, naming)
                if is_final(answer, attempts.remaining):
                    _note_end(attempts, candidate, routing)
                    return attempts.for_client(answer)
            routing.forget(candidate)
            failed.append(candidate)
            decision = await routing.resolve(image, earlier=decision, failed=tuple(failed))
            asked |= {one.candidate.name: one for one in decision.look_ups}
        in_vain = [asked[name] for name in asked if name not in _names(failed)]
        for look_up in in_vain:
            # Whoever pushes the image now need not wait until "absent" no longer holds.
            routing.forget(look_up.candidate)
        return attempts.give_up(decision, in_vain)


def _is_for_the_runtime(attempts: Attempts, policy: Policy) -> bool:
    """Tell whether an image is no reference: an ID, or what the runtime itself must refuse.

    So is the beginning of an ID in its usual length. Less than that is a name: a runtime that is
    asked to pull it takes it for one, whatever it holds.

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
    return plan.origin_allowed and is_usual_short_id(image)


def _told(answer: Answer) -> cri_pb2.PullImageResponse:
    try:
        return cri_pb2.PullImageResponse.FromString(answer.payload)
    except (DecodeError, UnicodeDecodeError):
        # It is pulled all the same, and the client sees what the runtime said.
        return cri_pb2.PullImageResponse()


def _shown(answer: Answer, told: cri_pb2.PullImageResponse, naming: Naming) -> Answer:
    """Return a pull's answer as clients see it; some runtimes tell a name in it, not an ID."""
    shown = naming.reference(told.image_ref)
    if shown == told.image_ref:
        return answer
    told.image_ref = shown
    return attrs.evolve(answer, frame=frame(told.SerializeToString()))


def _note_end(attempts: Attempts, candidate: Candidate, routing: Routing) -> None:
    """See to it that the next pull does not end in the same place as one that was cut short."""
    if attempts.cut_short:
        routing.forget(candidate)
    if attempts.used_up:
        routing.exhausted(candidate)


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
