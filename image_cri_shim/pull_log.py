"""What the log says of pulls: one line for a decision, one for what came of it."""

from __future__ import annotations

from twisted.logger import Logger

from image_cri_shim.decision import Candidate, Decision, Outcome, Pull
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
        """Log what is pulled first, and why."""
        self._log.info(
            "PullImage {image} -> {name} ({why})",
            image=image,
            name=decision.attempts[0].name,
            # Masking its own words would give a secret away; but they may name what others named.
            why=_ONE_LINE.clean(explain(decision)),
        )

    def pulled(self, pull: Pull) -> None:
        """Log how a pull ended, with every attempt that failed."""
        failures = [f"{a.candidate.name}: {a.error}" for a in pull.attempts if a.error]
        if pull.error and not (pull.attempts and pull.attempts[-1].error == pull.error):
            # Given up, or gone wrong, during or before an attempt.
            failures.append(pull.error)
        failed = "; ".join(failures)
        image = self.redactor.clean(pull.image)
        if len(image) > _SHOWN:
            image = f"{image[:_SHOWN]}..."
        if not pull.error:
            after = f", after {failed}" if failed else ""
            self._log.info(
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
    first = decision.attempts[0]
    found = decision.look_up(first)
    if found is not None and found.outcome is Outcome.PRESENT:
        own = [first.label, found.outcome.value]
    elif found is not None:
        own = [first.label, "tried although unknown"]
    else:
        own = [_as_written(first)]
    asked = [str(answer) for answer in decision.look_ups if answer is not found]
    if found is not None and found.outcome is not Outcome.PRESENT:
        asked.insert(0, str(found))
    took = [_duration(decision.elapsed)] if decision.look_ups else []
    return ", ".join([*own, *asked, *took])


def _as_written(candidate: Candidate) -> str:
    if candidate.registry is None:
        return candidate.label
    has = "with" if candidate.registry.credentials is not None else "without"
    return f"a configured registry's own name, {has} configured credentials"


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
