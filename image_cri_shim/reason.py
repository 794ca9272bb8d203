"""Why a decision is what it is, in the operator's words."""

from __future__ import annotations

import attrs

from image_cri_shim.decision import Candidate, Decision, LookUp, Outcome


def explain(decision: Decision) -> str:
    """Say in a few words why a decision is what it is: ``offline, present, 12 ms``."""
    first = decision.attempts[0] if decision.attempts else None
    found = None if first is None else decision.look_up(first)
    words = [] if first is None else _chosen(first, found)
    words += [_answered(answer) for answer in decision.look_ups if answer is not found]
    words += [shown_duration(decision.elapsed)] if decision.look_ups else []
    if decision.excluded:
        words.append(f"left alone by {decision.excluded} of {decision.rule}")
    elif decision.rule and decision.attempts:
        words.append(f"by {decision.rule}")
    forbidden = [] if decision.attempts else [f"origin not allowed by {decision.rule}"]
    return "; ".join(filter(None, (", ".join(words), *forbidden)))


def _chosen(candidate: Candidate, found: LookUp | None) -> list[str]:
    """Say what kind of source was chosen, and what is known of it."""
    if found is None:
        return [_as_written(candidate)]
    if found.outcome is not Outcome.PRESENT:
        return [candidate.label, "tried although unknown", _answered(found)]
    cached = ["cached"] if found.cached else []
    return [candidate.label, found.outcome.value, *cached]


def _answered(look_up: LookUp) -> str:
    """Say what a registry answered: ``sealos.hub:5000: absent (404, cached)``."""
    if look_up.slow:
        return f"{look_up.candidate.source}: slow"
    if not look_up.cached:
        return str(look_up)
    return str(attrs.evolve(look_up, detail=", ".join(filter(None, (look_up.detail, "cached")))))


def _as_written(candidate: Candidate) -> str:
    registry = candidate.registry
    if registry is None:
        return candidate.label
    has = "with" if registry.has_credentials else "without"
    return f"a configured registry's own name, {has} configured credentials"


def shown_duration(seconds: float) -> str:
    """Write a duration as a person reads it: ``12 ms``, ``3.4 s``."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
