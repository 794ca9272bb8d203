"""Pulls that failed: whether another source may cure it, and what the client is told."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Sequence

import attrs

from image_cri_shim.cri.status import Answer, Code, RpcError, encode_message
from image_cri_shim.cri.stream import Headers
from image_cri_shim.decision import Attempt, Decision, LookUp, Outcome
from image_cri_shim.redaction import Redactor

# With less time left, in seconds, a runtime that ran out of time did so by the call's deadline.
_NO_TIME = 1.0
# What a disk says that is full, over its quota or read-only (ENOSPC, EDQUOT, EROFS), in lower case;
# it is the cause of all that stands before it, so it comes last, but for what programs put around.
_DISK = re.compile(
    r"(?:^|: )(?:no space left on device|disk quota exceeded|read-only file system)"
    r"(?:\)|: unknown|: exit status [0-9]+)*\s*$"
)
# What runtimes put in front of a registry's words, in lower case: a disk that is named behind it is
# not this node's. At the end, the codes of registries' errors (OCI distribution specification,
# "Error Codes") as they begin a message.
_QUOTING = re.compile(
    r"server message|status ?code|unexpected (?:http )?status|response body|error from registry"
    r"|\"https?:|malformed"
    r"|\b(?:unknown|unsupported|unauthorized|denied|unavailable|toomanyrequests|invalid"
    r"|unverified): "
)
# What containerd says, with code UNKNOWN, until its CRI is up: of all sources.
_STARTING = "server is not initialized yet"
# What containerd puts in front of everything that goes wrong after it has read the reference.
_BEGUN = "failed to pull"

# The longest message, in bytes as it is sent; gRPC's implementations take trailers up to 8 KiB.
_MESSAGE_LIMIT = 6000
# What each of its parts may take (the runtime's words, the attempts, the look-ups), and a rule.
_PART_LIMIT = 1800
_RULE_LIMIT = 400
# With less, an entry in a list would say nothing.
_LEAST_SHARE = 60
_ONE_LINE = Redactor()


def is_final(answer: Answer, remaining: float | None) -> bool:
    """Tell whether a failed pull is one that no other source cures.

    A status code alone does not say so. For containerd, an empty manifest is an invalid argument, a
    registry that drops packets exceeds a deadline, and a transfer without progress is cancelled;
    for CRI-O the last is, too.

    :param answer: the runtime's; not OK.
    :param remaining: seconds until the call's deadline; None for ever.
    """
    message = answer.message
    if answer.code == Code.INVALID_ARGUMENT:
        return _BEGUN not in message
    if is_cut_short(answer.code, message):
        # Alone it is the call's own end. At the end of a chain (``what: why: i/o timeout``) it is
        # that of a step in it, to which the runtime itself has set a time.
        alone = answer.code != Code.UNKNOWN and ": " not in message
        return alone or is_over(remaining)
    if message == _STARTING:
        return True
    message = message.lower()
    full = _DISK.search(message)
    return full is not None and _QUOTING.search(message, 0, full.start()) is None


def is_cut_short(code: int, message: str) -> bool:
    """Tell whether a pull's status says that it was ended, by a deadline or a cancellation.

    :param code: cri-dockerd has no code for that.
    """
    if code == Code.UNKNOWN:
        return message.endswith("context deadline exceeded")
    return code in (Code.DEADLINE_EXCEEDED, Code.CANCELLED)


def is_over(remaining: float | None) -> bool:
    """Tell whether the time that a call has left is as good as none: ``None`` is for ever."""
    return remaining is not None and remaining < _NO_TIME


def without_secrets(answer: Answer, redactor: Redactor) -> Answer:
    """Return an answer without the secrets that a registry made the runtime repeat.

    They are masked in the message; binary trailers that have one, such as the status' details,
    are dropped. An answer that has none is returned as it came.
    """

    def kept(headers: Headers) -> Headers:
        return [
            (key, value)
            for key, value in headers
            if not (key.endswith(b"-bin") and _betrays(_binary(value), redactor))
        ]

    answer = attrs.evolve(answer, headers=kept(answer.headers), trailers=kept(answer.trailers))
    if not _betrays(answer.message, redactor):
        return answer
    return answer.with_message(redactor.clean(answer.message))


def _betrays(text: str, redactor: Redactor) -> bool:
    return redactor.clean(text) != _ONE_LINE.clean(text)


def _binary(value: bytes) -> str:
    """Return the texts in a header with bytes: Base64, perhaps without its padding."""
    with contextlib.suppress(binascii.Error):
        value = b"\0".join(base64.b64decode(one + b"==") for one in value.split(b","))
    return value.decode("utf-8", "replace")


def describe(answer: Answer, redactor: Redactor) -> str:
    """Write a runtime's answer as the reason of a failed attempt: ``NOT_FOUND: message``."""
    try:
        name = Code(answer.code).name
    except ValueError:
        name = f"code {answer.code}"
    return f"{name}: {redactor.clean(answer.message)}"


def refusal(
    image: str, decision: Decision, look_ups: Sequence[LookUp], attempts: Sequence[Attempt]
) -> RpcError:
    """Return the status for an image that the runtime was never asked to pull.

    :param look_ups: what was asked about it in vain.
    :param attempts: what was to be pulled and could not even be tried.
    """
    if decision.excluded:
        why = f"is left alone by {decision.excluded} of {_rule(decision)}"
        if not decision.origin_allowed:
            why += ", which does not allow the origin"
    else:
        clauses = ["could not be pulled: " + _tried(attempts)] if attempts else []
        clauses += _asked(look_ups)
        clauses = clauses or ["has no registry to be pulled from"]
        why = "; ".join((*clauses, *_strict(decision)))
    absent = not attempts and all(one.outcome is Outcome.ABSENT for one in look_ups)
    code = Code.NOT_FOUND if absent else Code.UNAVAILABLE
    return RpcError(code, shortened(f"image-cri-shim: {image} {why}"))


def remark(decision: Decision, look_ups: Sequence[LookUp]) -> str:
    """Say what else there is to know of a pull that failed: empty where that is nothing.

    In strict mode it is why nothing else was tried. Else it is which registries could not say
    whether they have the image: perhaps only because of that the origin was asked.

    :param look_ups: what was asked in vain.
    """
    if not decision.origin_allowed:
        return "; ".join((*_asked(look_ups), *_strict(decision)))
    unknown = [one for one in look_ups if one.outcome is Outcome.UNKNOWN]
    return "; ".join(_asked(unknown, "could not be looked up on"))


def with_account(
    answer: Answer, attempts: Sequence[Attempt], answered: int, remark: str, redactor: Redactor
) -> Answer:
    """Return the runtime's last answer with what else there is to tell in its message.

    :param answered: the index of the attempt that ended in this answer.
    :param remark: why nothing else was tried, or empty.
    """
    others = [*attempts[:answered], *attempts[answered + 1 :]]
    before = "before" if answered == len(attempts) - 1 else "too"
    told = [f" tried {before}: {_tried(others)}"] if others else []
    told += [f"{'' if others else ':'} {remark}"] if remark else []
    if not told:
        return answer
    said = shortened(redactor.clean(answer.message), _PART_LIMIT)
    return answer.with_message(shortened(f"{said} (image-cri-shim{';'.join(told)})"))


def unreadable(image_error: str, rule: str, redactor: Redactor) -> RpcError:
    """Return the status for what is no image reference where strict mode keeps it from the runtime.

    :param image_error: what is wrong with it.
    :param rule: the rule that may be about what the runtime would take it for.
    """
    what = redactor.clean(image_error)
    why = f"origin not allowed by {shortened(rule, _RULE_LIMIT)}"
    message = f"image-cri-shim: {what}; the runtime may read it otherwise: {why}"
    return RpcError(Code.INVALID_ARGUMENT, shortened(message))


def shortened(text: str, limit: int = _MESSAGE_LIMIT) -> str:
    """Return a status message that takes at most ``limit`` bytes as it is sent.

    What is too much goes from the middle: a name stands at the beginning, and a reason at the end.
    """
    if len(encode_message(text)) <= limit:
        return text
    half = (limit - 3) // 2
    return f"{_head(text, half)}...{_head(text[::-1], half)[::-1]}"


def _head(text: str, limit: int) -> str:
    size = 0
    for count, character in enumerate(text[:limit]):
        size += len(encode_message(character))
        if size > limit:
            return text[:count]
    return text[:limit]


def _tried(attempts: Sequence[Attempt]) -> str:
    return _listed("; ", [f"{one.candidate.name}: {one.error}" for one in attempts])


def _asked(look_ups: Sequence[LookUp], words: str = "not found on") -> list[str]:
    reasons = ((one.candidate.source, one.detail or one.outcome.value) for one in look_ups)
    asked = [_ONE_LINE.clean(f"{source} ({reason})") for source, reason in reasons]
    return [f"{words} {_listed(', ', asked)}"] if asked else []


def _strict(decision: Decision) -> list[str]:
    return [] if decision.origin_allowed else [f"origin not allowed by {_rule(decision)}"]


def _rule(decision: Decision) -> str:
    return shortened(decision.rule, _RULE_LIMIT)


def _listed(separator: str, entries: Sequence[str]) -> str:
    """Join entries so that each has its share of the space, and count those that have none."""
    listed = separator.join(entries)
    if len(encode_message(listed)) <= _PART_LIMIT:
        return listed
    share = max(_PART_LIMIT // len(entries), _LEAST_SHARE)
    shown = entries[: _PART_LIMIT // share]
    more = [f"and {len(entries) - len(shown)} more"] if len(shown) < len(entries) else []
    return separator.join([*(shortened(one, share - len(separator)) for one in shown), *more])
