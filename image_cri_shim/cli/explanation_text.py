"""Explanations for the operator's eyes: plain text in columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from image_cri_shim.cli.explanation import Asked, Explanation
from image_cri_shim.cli.terminal import columns, one_line
from image_cri_shim.decision import Outcome
from image_cri_shim.policy import Plan
from image_cri_shim.reason import explain, shown_duration
from image_cri_shim.reference import DEFAULT_DOMAIN, DEFAULT_TAG, ImageReference

# Where the values begin.
_INDENT = 15
_GAP = "  "
_CREDENTIALS = {
    True: "with credentials",
    False: "without credentials",
    None: "credentials cannot be had",
}


def as_text(explanation: Explanation) -> str:
    """Write everything about one image, without a line break at the end."""
    plan = explanation.plan
    rows = {
        "registry": [plan.reference.domain],
        "repository": [plan.reference.repository],
        "tag": [_tag(plan.reference)],
        "digest": [plan.reference.digest or "none"],
        "rule": [_rule(plan)],
        "excluded": [f"by {plan.excluded}: left alone" if plan.excluded else "no"],
        "candidates": list(_candidates(explanation.candidates)) or ["none"],
        "not asked": [f"{one.registry.name}: {one.why}" for one in plan.left_out],
        "origin": list(_origin(explanation)),
        "found": [_found(explanation)],
        "decision": [_decision(explanation)],
    }
    rows["if it fails"] = [candidate.name for candidate in explanation.attempts[1:]]
    lines = [one_line(explanation.image)]
    for label, values in rows.items():
        for number, value in enumerate(values):
            lines.append(f"{'' if number else f'  {label}':<{_INDENT}}{one_line(value)}")
    return "\n".join(lines)


def reason(explanation: Explanation) -> str:
    """Say in the words of the log why the decision is what it is."""
    return one_line(explain(explanation.decision))


def _rule(plan: Plan) -> str:
    if plan.rule is not None:
        return plan.rule.label
    if plan.as_written.registry is not None and plan.reference.domain != DEFAULT_DOMAIN:
        return "none names this host: a configured registry's own name"
    return "none matches: the default order"


def _tag(reference: ImageReference) -> str:
    if reference.digest is not None:
        return f"{reference.tag}, but the digest counts" if reference.tag is not None else "none"
    return reference.tag if reference.tag is not None else f"none, which means {DEFAULT_TAG}"


def _candidates(asked: Sequence[Asked]) -> Iterator[str]:
    cells = [
        (f"{number}", one.candidate.name, *_answer(one)) for number, one in enumerate(asked, 1)
    ]
    for one, line in zip(asked, columns(cells), strict=True):
        yield line
        if one.look_up.digest is not None:
            yield f"{'':<{len(str(len(asked)))}}{_GAP}{one.look_up.digest}"


def _answer(asked: Asked) -> tuple[str, str, str]:
    look_up = asked.look_up
    detail = f" ({look_up.detail})" if look_up.detail else ""
    return (
        f"{look_up.outcome.value}{detail}",
        "cached" if look_up.cached else shown_duration(look_up.elapsed) if look_up.asked else "-",
        _CREDENTIALS[asked.credentials],
    )


def _origin(explanation: Explanation) -> Iterator[str]:
    plan, own = explanation.plan, explanation.own
    domain = plan.as_written.reference.domain
    if not plan.origin_allowed:
        yield f"{domain}, not allowed"
    elif own is None:
        yield f"{domain}, allowed; never asked"
    else:
        yield f"{domain}, allowed; a configured registry: {', '.join(_answer(own))}"
        if own.look_up.digest is not None:
            yield own.look_up.digest


def _found(explanation: Explanation) -> str:
    if explanation.found:
        return "yes"
    asked = [*explanation.candidates, *([explanation.own] if explanation.own is not None else [])]
    doubt = any(one.look_up.outcome is Outcome.UNKNOWN for one in asked)
    answer = "not known" if doubt else "no"
    if not explanation.plan.origin_allowed:
        return f"{answer}; the origin is not allowed"
    return answer if explanation.own is not None else f"{answer}; the origin may have it"


def _decision(explanation: Explanation) -> str:
    attempts = explanation.decision.attempts
    return f"{attempts[0].name if attempts else 'nothing'} ({reason(explanation)})"
