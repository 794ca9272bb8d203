"""What the log says of pulls: one line for a decision, one for what came of it."""

from __future__ import annotations

from twisted.logger import Logger

from image_cri_shim.pull_book import Event
from image_cri_shim.pull_record import PullRecord
from image_cri_shim.reason import shown_duration


class PullLog:
    """Writes decisions and pulls to the log.

    Events have the record itself in them, as ``pull``, for logs with fields of their own.

    :param log: where to.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log

    def note(self, event: Event, pull: PullRecord) -> None:
        """Log what has happened to a pull; see ``PullBook.watch``."""
        if event is Event.DECIDED:
            self._decided(pull)
        elif event is Event.ENDED:
            self._ended(pull)

    def _decided(self, pull: PullRecord) -> None:
        """Log what is pulled first, and why; or why nothing can be."""
        self._log.info(
            "PullImage {image} -> {name} ({why}) {about}",
            image=pull.image,
            name=pull.name or "nothing",
            why=pull.reason,
            about=_about(pull),
            pull=pull,
        )

    def _ended(self, pull: PullRecord) -> None:
        """Log how a pull ended, with every attempt that failed."""
        failures = [f"{one.name}: {one.error}" for one in pull.attempts if one.error]
        if pull.error and not (pull.attempts and pull.attempts[-1].error == pull.error):
            # Given up, or gone wrong, before an attempt or after one.
            failures.append(pull.error)
        failed = "; ".join(failures)
        elapsed = shown_duration(pull.seconds or 0.0)
        if not pull.error:
            # A source that could not be pulled from is something to look after.
            write = self._log.warn if failed else self._log.info
            write(
                "PullImage {image}: pulled {name} in {elapsed}{after} {about}",
                image=pull.image,
                name=pull.attempts[-1].name if pull.attempts else "as it is",
                elapsed=elapsed,
                after=f", after {failed}" if failed else "",
                about=_about(pull),
                pull=pull,
            )
        else:
            self._log.warn(
                "PullImage {image}: failed after {elapsed}: {why} {about}",
                image=pull.image,
                elapsed=elapsed,
                why=failed,
                about=_about(pull),
                pull=pull,
            )


def _about(pull: PullRecord) -> str:
    """Say whose pull it is: ``[4f1c-12, kubelet (pid 812, uid 0)]``."""
    parts = [pull.call]
    if pull.client is not None:
        parts.append(str(pull.client))
    if pull.trace:
        parts.append(f"trace {pull.trace}")
    return f"[{', '.join(parts)}]"
