"""Explanations for machines; image-cri-shim(8) has the fields."""

from __future__ import annotations

from collections.abc import Sequence

from image_cri_shim.cli.explanation import Asked, Explanation, Unusable
from image_cri_shim.cli.explanation_text import reason
from image_cri_shim.cli.terminal import microseconds
from image_cri_shim.decision import Candidate


def as_objects(results: Sequence[Explanation | Unusable]) -> list[dict[str, object]]:
    """Return one object for each image, in order, of what JSON knows."""
    return [_explained(one) if isinstance(one, Explanation) else _unusable(one) for one in results]


def _unusable(result: Unusable) -> dict[str, object]:
    return {"image": result.image, "found": False, "error": result.error}


def _explained(result: Explanation) -> dict[str, object]:
    plan, decision = result.plan, result.decision
    reference = plan.reference
    return {
        "image": result.image,
        "found": result.found,
        "reference": {
            "registry": reference.domain,
            "repository": reference.repository,
            "tag": reference.tag,
            "digest": reference.digest,
        },
        "rule": None
        if plan.rule is None
        else {"number": plan.rule.number, "match": [str(one) for one in plan.rule.match]},
        "excluded": plan.excluded or None,
        "candidates": [_asked(one) for one in result.candidates],
        "left_out": [{"registry": one.registry.name, "why": one.why} for one in plan.left_out],
        "origin": {
            "registry": plan.as_written.reference.domain,
            "allowed": plan.origin_allowed,
            "answered": None if result.own is None else _asked(result.own),
        },
        "decision": {
            "attempts": [_attempt(one) for one in result.attempts],
            "reason": reason(result),
            "seconds": microseconds(decision.elapsed),
        },
    }


def _asked(asked: Asked) -> dict[str, object]:
    look_up = asked.look_up
    return {
        "name": look_up.candidate.name,
        "registry": look_up.candidate.source,
        "outcome": look_up.outcome.value,
        "detail": look_up.detail or None,
        "digest": look_up.digest,
        "seconds": microseconds(look_up.elapsed) if look_up.asked and not look_up.cached else None,
        "asked": look_up.asked,
        "cached": look_up.cached,
        "credentials": asked.credentials,
    }


def _attempt(candidate: Candidate) -> dict[str, object]:
    return {"name": candidate.name, "registry": candidate.source, "source": candidate.label}
