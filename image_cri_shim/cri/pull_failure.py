"""Pulls that failed: whether another source may cure it, and what the client is told."""

from __future__ import annotations

from collections.abc import Sequence

from image_cri_shim.cri.status import Answer, Code, RpcError, encode_message
from image_cri_shim.decision import Attempt, Decision, LookUp, Outcome
from image_cri_shim.redaction import Redactor

# With less time left, in seconds, a runtime that ran out of time did so by the client's deadline.
_NO_TIME = 1.0
# What a disk says that is full, over its quota or read-only (ENOSPC, EDQUOT, EROFS), in lower case.
_DISK = ("no space left on device", "disk quota exceeded", "read-only file system")
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
    :param remaining: seconds until the client's deadline; None for ever.
    """
    message, code = answer.message, answer.code
    if code == Code.INVALID_ARGUMENT:
        return _BEGUN not in message
    if code in (Code.DEADLINE_EXCEEDED, Code.CANCELLED):
        # Alone it is the call's own end. At the end of a chain (``what: why: i/o timeout``) it is
        # that of a step in it, to which the runtime itself has set a time.
        return ": " not in message or (remaining is not None and remaining < _NO_TIME)
    message = message.lower()
    return any(words in message for words in _DISK)


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
