"""Decisions for the operator's eyes: each pull as it was, or as it goes on."""

from __future__ import annotations

from collections.abc import Iterator

from image_cri_shim.cli.colours import Colours
from image_cri_shim.cli.moments import local, span
from image_cri_shim.cli.terminal import one_line
from image_cri_shim.pull_record import Phase, PullRecord

_UNDER = "  "


def led_to(record: PullRecord) -> str:
    """Say what was asked for and what it led to: ``nginx:1.25 -> sealos.hub:5000/...``."""
    if record.name:
        after = f", after {record.attempts[0].name} failed" if _went_on(record) else ""
        return one_line(f"{record.image} -> {record.name}{after}")
    if record.phase is Phase.LOOKING_UP and not record.reason:
        return one_line(record.image)
    # Without a decision it went to the runtime as it was: it is no image reference.
    return one_line(f"{record.image} -> {'nothing' if record.reason else 'as it is'}")


def reason_of_name(record: PullRecord) -> str:
    """Return why the name was chosen that it led to; empty if the reason is another name's."""
    # While a pull runs, its attempts are not known, but of which kind each name is.
    kinds = {"offline", "registry", "origin"} - {record.kind}
    went_on = not record.over and record.reason.startswith(tuple(f"{one}, " for one in kinds))
    return "" if _went_on(record) or (went_on and record.kind) else record.reason


def _went_on(record: PullRecord) -> bool:
    return len(record.attempts) > 1


def outcome(record: PullRecord, seconds: float) -> str:
    """Say what came of it: ``pulled in 1.4 s``.

    :param seconds: how long it took, or has taken so far.
    """
    took = span(seconds)
    return {
        Phase.LOOKING_UP: f"looking up for {took}",
        Phase.PULLING: f"pulling for {took}",
        Phase.PULLED: f"pulled in {took}",
        Phase.FAILED: f"failed after {took}",
    }[record.phase]


def why(record: PullRecord) -> str:
    """Say in parentheses why it was decided so, and behind them for whom."""
    reason = f"({reason_of_name(record)})" if reason_of_name(record) else ""
    client = f"for {record.client}" if record.client is not None else ""
    return one_line(" ".join(filter(None, (reason, client))))


def failures(record: PullRecord) -> Iterator[str]:
    """Yield what the runtime, or the shim, said of what failed.

    Why the first name was chosen stands beside it where the pull went on to another one.
    """
    failed = [one for one in record.attempts if one.error]
    for number, one in enumerate(failed):
        chosen = f" ({record.reason})" if not number and _went_on(record) and record.reason else ""
        yield one_line(f"{one.name}{chosen}: {one.error} (after {span(one.seconds)})")
    if record.error and not any(one.error in record.error for one in failed):
        yield one_line(record.error)


def entry(record: PullRecord, seconds: float, colours: Colours) -> list[str]:
    """Return the lines of one pull.

    :param seconds: how long it took, or has taken so far.
    """
    result = outcome(record, seconds)
    if record.phase is Phase.FAILED:
        result = colours.bad(result)
    elif record.phase is Phase.PULLED:
        result = colours.good(result)
    return [
        f"{local(record.began)}  {colours.strong(led_to(record))}",
        f"{_UNDER}{result} {why(record)}".rstrip(),
        *(f"{_UNDER}{line}" for line in failures(record)),
    ]


class Ticker:
    """Says what happens to pulls, a change at a time; each line says of which pull it is.

    :param colours: those of where it is written.
    """

    def __init__(self, colours: Colours) -> None:
        self._colours = colours
        # The pulls that run and have been told of, by their numbers, with what is pulled.
        self._told: dict[int, str] = {}

    def lines(self, record: PullRecord, seconds: float) -> list[str]:
        """Return the lines for a change; none if there is nothing new.

        :param seconds: how long the pull took, or has taken so far.
        """
        known = self._told.get(record.number)
        if record.over:
            self._told.pop(record.number, None)
            if known is None:
                return entry(record, seconds, self._colours)
            return [self._ended(record, seconds), *(f"{_UNDER}{one}" for one in failures(record))]
        if not record.reason or known == record.name:
            return []
        self._told[record.number] = record.name
        if known is not None:
            name = one_line(record.name)
            return [f"{_now(record, seconds)}: that failed, now {name}"]
        head = f"{local(record.began)}  {self._colours.strong(led_to(record))}"
        return [head, f"{_UNDER}{why(record)}"]

    def _ended(self, record: PullRecord, seconds: float) -> str:
        if record.phase is Phase.FAILED:
            said = self._colours.bad(outcome(record, seconds))
        else:
            name = one_line(record.name) or "as it is"
            said = self._colours.good(f"pulled {name} in {span(seconds)}")
        return f"{_now(record, seconds)}: {said}"


def _now(record: PullRecord, seconds: float) -> str:
    return f"{local(record.began + seconds)}  {one_line(record.image)}"
