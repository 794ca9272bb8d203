"""What is known of one pull, from its beginning to its end, and how that is written as JSON.

Everything here can be shown: secrets are masked before it comes here, and texts have a bound.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import attrs

from image_cri_shim.call_identity import Client

# A JSON object.
Document: TypeAlias = dict[str, Any]


class Phase(enum.Enum):
    """How far a pull is."""

    LOOKING_UP = "looking up"
    PULLING = "pulling"
    PULLED = "pulled"
    FAILED = "failed"


@attrs.frozen
class Asked:
    """One look-up of a pull.

    :ivar registry: the registry's name.
    :ivar name: the candidate.
    :ivar outcome: ``present``, ``absent`` or ``unknown``.
    :ivar detail: why, in the operator's words; empty if present.
    :ivar cached: whether the answer is one from before.
    :ivar seconds: from question to answer.
    """

    registry: str
    name: str
    outcome: str
    detail: str = ""
    cached: bool = False
    seconds: float = 0.0


@attrs.frozen
class Tried:
    """One pull that the runtime was asked for.

    :ivar name: the candidate.
    :ivar registry: its registry's name.
    :ivar error: what the runtime answered, ``UNKNOWN: message``; empty if it pulled.
    """

    name: str
    registry: str
    error: str
    seconds: float


@attrs.frozen
class PullRecord:
    """One pull.

    :ivar number: from 1 in the order of the pulls of one run of the daemon.
    :ivar call: the id of the client's call.
    :ivar image: what the client asked for.
    :ivar began: seconds since 1970.
    :ivar client: who asked; None if that is not known.
    :ivar trace: the trace that the call is a part of, 32 hexadecimal digits; empty for none.
    :ivar name: what is pulled now, or was last; empty before the decision, and if it is nothing.
    :ivar registry: that name's registry.
    :ivar kind: ``offline``, ``registry`` or ``origin``; empty as the name is.
    :ivar reason: why it was decided so, as in the log; empty before the decision.
    :ivar rule: the rule that decided; empty if none matched.
    :ivar look_ups: what was asked, in order.
    :ivar attempts: what the runtime was asked for, in order.
    :ivar digest: the manifest's digest, where it is known.
    :ivar image_ref: what the runtime calls the image that it pulled.
    :ivar error: why it failed; empty if it did not.
    :ivar seconds: from the request to the answer; None while it runs.
    """

    number: int
    call: str
    image: str
    began: float
    client: Client | None = None
    trace: str = ""
    phase: Phase = Phase.LOOKING_UP
    name: str = ""
    registry: str = ""
    kind: str = ""
    reason: str = ""
    rule: str = ""
    look_ups: tuple[Asked, ...] = ()
    attempts: tuple[Tried, ...] = ()
    digest: str = ""
    image_ref: str = ""
    error: str = ""
    seconds: float | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.phase in (Phase.PULLED, Phase.FAILED)


def as_document(record: PullRecord, now: float) -> Document:
    """Return a record as it is written in JSON.

    :param now: seconds since 1970; a pull that runs has taken until then.
    """
    client = record.client
    seconds = record.seconds
    if seconds is None:
        # The system's clock may have been set back meanwhile.
        seconds = max(now - record.began, 0.0)
    return {
        "number": record.number,
        "call": record.call,
        "image": record.image,
        "client": None if client is None else attrs.asdict(client),
        "trace": record.trace,
        "began": moment(record.began),
        "phase": record.phase.value,
        "name": record.name,
        "registry": record.registry,
        "kind": record.kind,
        "reason": record.reason,
        "rule": record.rule,
        "lookUps": [_in_short(attrs.asdict(one)) for one in record.look_ups],
        "attempts": [_in_short(attrs.asdict(one)) for one in record.attempts],
        "digest": record.digest,
        "imageRef": record.image_ref,
        "error": record.error,
        "seconds": round(seconds, 6),
    }


def from_document(document: Mapping[str, Any]) -> PullRecord:
    """Return the record that ``as_document`` has written.

    :raises ValueError: it is none.
    """
    try:
        client = document["client"]
        phase = Phase(document["phase"])
        over = phase in (Phase.PULLED, Phase.FAILED)
        return PullRecord(
            number=int(document["number"]),
            call=str(document["call"]),
            image=str(document["image"]),
            began=seconds_since_1970(document["began"]),
            client=None if client is None else Client(**client),
            trace=str(document["trace"]),
            phase=phase,
            name=str(document["name"]),
            registry=str(document["registry"]),
            kind=str(document["kind"]),
            reason=str(document["reason"]),
            rule=str(document["rule"]),
            look_ups=tuple(Asked(**one) for one in document["lookUps"]),
            attempts=tuple(Tried(**one) for one in document["attempts"]),
            digest=str(document["digest"]),
            image_ref=str(document["imageRef"]),
            error=str(document["error"]),
            seconds=float(document["seconds"]) if over else None,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no record of a pull: {error!r}") from error


def moment(seconds: float) -> str:
    """Write seconds since 1970 as a time in UTC (RFC 3339): ``2026-01-31T03:04:05.678Z``."""
    if not math.isfinite(seconds):
        raise ValueError("no moment")
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def seconds_since_1970(text: str) -> float:
    """Return the seconds since 1970 of what ``moment`` has written.

    :raises ValueError: it is no time.
    """
    return datetime.fromisoformat(str(text)).timestamp()


def _in_short(values: Document) -> Document:
    return values | {"seconds": round(values["seconds"], 6)}
