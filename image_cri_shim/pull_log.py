"""What the log says of pulls: one line for a decision, one for what came of it."""

from __future__ import annotations

import attrs
from twisted.logger import Logger

from image_cri_shim.decision import Candidate, Decision, LookUp, Outcome, Pull
from image_cri_shim.redaction import Redactor

# What is shown of a name; few image references are longer.
_SHOWN = 600
_ONE_LINE = Redactor()


class PullLog:
    """Writes decisions and pulls to the log.

    :param log: where to.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log
        self.redactor = Redactor()

    def decided(self, image: str, decision: Decision) -> None:
        """Log what is pulled first, and why; or why nothing can be."""
        self._log.info(
            "PullImage {image} -> {name} ({why})",
            image=image,
            name=decision.attempts[0].name if decision.attempts else "nothing",
            # Masking its own words would give a secret away; but they may name what others named.
            why=_ONE_LINE.clean(explain(decision)),
        )

    def pulled(self, pull: Pull) -> None:
        """Log how a pull ended, with every attempt that failed."""
        failures = [f"{a.candidate.name}: {a.error}" for a in pull.attempts if a.error]
        if pull.error and not (pull.attempts and pull.attempts[-1].error == pull.error):
            # Given up, or gone wrong, before an attempt or after one.
            failures.append(pull.error)
        failed = "; ".join(failures)
        image = self.redactor.clean(pull.image)
        if len(image) > _SHOWN:
            image = f"{image[:_SHOWN]}..."
        if not pull.error:
            after = f", after {failed}" if failed else ""
            # A source that could not be pulled from is something to look after.
            write = self._log.warn if failed else self._log.info
            write(
                "PullImage {image}: pulled {name} in {elapsed}{after}",
                image=image,
                name=pull.attempts[-1].candidate.name if pull.attempts else "as it is",
                elapsed=_duration(pull.elapsed),
                after=self.redactor.clean(after),
            )
        else:
            self._log.warn(
                "PullImage {image}: failed after {elapsed}: {why}",
                image=image,
                elapsed=_duration(pull.elapsed),
                why=self.redactor.clean(failed),
            )


def explain(decision: Decision) -> str:
    """Say in a few words why a decision is what it is: ``offline, present, 12 ms``."""
    first = decision.attempts[0] if decision.attempts else None
    found = None if first is None else decision.look_up(first)
    words = [] if first is None else _chosen(first, found)
    words += [_answered(answer) for answer in decision.look_ups if answer is not found]
    words += [_duration(decision.elapsed)] if decision.look_ups else []
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


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
