"""PullImage: decide where to pull from, pull, and go on to the next source if that failed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

import attrs

from image_cri_shim.credentials import Credentials
from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.cri.call import Call
from image_cri_shim.cri.local import Images, LocalNames
from image_cri_shim.cri.status import Answer, Code, frame
from image_cri_shim.cri.upstream import RuntimeUnavailable, Upstream
from image_cri_shim.decision import Attempt, Candidate, Decision, Pull
from image_cri_shim.policy import Policy
from image_cri_shim.redaction import Redactor
from image_cri_shim.reference import InvalidReferenceError, is_image_id

_log = logging.getLogger(__name__)

# What no other source cures: the request itself is wrong, or out of time, or given up.
_FINAL = frozenset({Code.INVALID_ARGUMENT, Code.DEADLINE_EXCEEDED, Code.CANCELLED})
_FINAL_WORDS = ("no space left on device",)


@attrs.frozen
class Routing:
    """What one call is decided by, from its beginning to its end; a reload makes a new one.

    :ivar policy: which names a reference stands for.
    :ivar resolve: asks the registries about the candidates of a reference (its text).
    :ivar timeout: seconds that a call may take whose client set no deadline.
    :ivar upstream: the runtime.
    :ivar redactor: keeps the configured secrets out of what is said of failed attempts.
    """

    policy: Policy
    resolve: Callable[[str], Awaitable[Decision]]
    timeout: float
    upstream: Upstream
    redactor: Redactor = attrs.field(factory=Redactor)


class Observer(Protocol):
    """Who wants to know what is pulled from where."""

    def decided(self, image: str, decision: Decision) -> None:
        """Take note of a decision, before anything is pulled."""

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

        A single attempt's answer goes back as the runtime gave it. After several, the last one's
        does, with what failed before appended to its message.
        """
        request = cri_pb2.PullImageRequest.FromString(call.payload)
        image = request.image.image
        started = _now()
        redactor = routing.redactor.extended(_secrets(request))
        attempts: list[Attempt] = []
        error = ""
        try:
            if await self._is_for_the_runtime(call, image, routing.policy):
                answer = await call.unary(call.message)
                error = "" if answer.code == Code.OK else _error(answer, redactor)
            else:
                decision = await routing.resolve(image)
                self._observer.decided(image, decision)
                answer = await self._try_all(call, request, decision, attempts, redactor)
                error = attempts[-1].error
        except asyncio.CancelledError:
            out_of_time = call.deadline is not None and _now() >= call.deadline
            error = "deadline exceeded" if out_of_time else "cancelled"
            raise
        except Exception as failure:
            error = str(failure)
            raise
        finally:
            self._observer.pulled(Pull(image, tuple(attempts), error, _now() - started))
        return answer

    async def _is_for_the_runtime(self, call: Call, image: str, policy: Policy) -> bool:
        """Tell whether an image is no reference: an ID, or what the runtime itself must refuse."""
        if is_image_id(image) or await self._images.knows_as_id(call, policy, image):
            return True
        try:
            policy.candidates(image)
        except InvalidReferenceError:
            # The runtime says in its own words what is wrong with it.
            return True
        return False

    async def _try_all(
        self,
        call: Call,
        request: cri_pb2.PullImageRequest,
        decision: Decision,
        attempts: list[Attempt],
        redactor: Redactor,
    ) -> Answer:
        image = request.image.image
        answer: Answer | None = None
        for candidate in decision.attempts:
            started = _now()
            try:
                answer = await call.unary(_message(call, request, candidate))
            except RuntimeUnavailable as error:
                attempts.append(Attempt(candidate, str(error), _now() - started))
                raise
            if answer.code == Code.OK:
                attempts.append(Attempt(candidate, "", _now() - started))
                self._names.remember(image, candidate.name)
                return answer
            attempts.append(Attempt(candidate, _error(answer, redactor), _now() - started))
            if _is_final(answer):
                break
        if answer is None:
            raise AssertionError("a decision has at least one attempt")
        return answer if len(attempts) == 1 else _with_history(answer, attempts)


def _message(call: Call, request: cri_pb2.PullImageRequest, candidate: Candidate) -> bytes:
    """Return the request for one candidate.

    Credentials never travel to another host: the client's belong to the name as it was written, the
    configured ones to their registry.
    """
    registry = candidate.registry
    credentials = None if registry is None else registry.credentials
    if not candidate.rewritten and (credentials is None or _has_credentials(request)):
        return call.message
    changed = cri_pb2.PullImageRequest()
    changed.CopyFrom(request)
    changed.image.image = candidate.name
    changed.ClearField("auth")
    if credentials is not None:
        changed.auth.username = credentials.username
        changed.auth.password = credentials.password
    return frame(changed.SerializeToString())


def _has_credentials(request: cri_pb2.PullImageRequest) -> bool:
    auth = request.auth
    return any((auth.username, auth.password, auth.auth, auth.identity_token, auth.registry_token))


def _is_final(answer: Answer) -> bool:
    message = answer.message
    return answer.code in _FINAL or any(words in message for words in _FINAL_WORDS)


def _secrets(request: cri_pb2.PullImageRequest) -> Iterator[str]:
    """Return what a runtime may echo of the client's credentials."""
    auth = request.auth
    yield from Credentials(auth.username, auth.password).spellings() if auth.password else ()
    yield from (auth.auth, auth.auth.rstrip("="), auth.identity_token, auth.registry_token)


def _error(answer: Answer, redactor: Redactor) -> str:
    try:
        name = Code(answer.code).name
    except ValueError:
        name = f"code {answer.code}"
    return f"{name}: {redactor.clean(answer.message)}"


def _with_history(answer: Answer, attempts: list[Attempt]) -> Answer:
    earlier = "; ".join(f"{a.candidate.name}: {a.error}" for a in attempts[:-1])
    return answer.with_message(f"{answer.message} (image-cri-shim tried before: {earlier})")


def _now() -> float:
    return asyncio.get_running_loop().time()
