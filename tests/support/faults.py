"""Name what a MemoryRegistry can be made to do wrong, one frozen value per kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Status:
    """Answer with this status and these headers, whatever was asked."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Hang:
    """Read the request and never answer it, until the client goes or the registry stops."""


@dataclass(frozen=True)
class Drop:
    """Close the connection in the middle of the response; `after` bytes of its head are sent.

    The default ends inside of a header, so the response is cut for HEAD and GET alike.
    """

    after: int = 30


@dataclass(frozen=True)
class RefuseHead:
    """Answer HEAD with 405 and everything else as usual."""

    code: int = 405


@dataclass(frozen=True)
class Redirect:
    """Answer with a redirect: to the URL `to`, or to `to` plus the path where it ends in none."""

    to: str
    code: int = 307


@dataclass(frozen=True)
class Slow:
    """Wait `seconds`, then answer as usual; a stopping registry waits no longer."""

    seconds: float


Fault = Status | Hang | Drop | RefuseHead | Redirect | Slow
# Called with method, path and the number of requests before this one with the same two.
Plan = Callable[[str, str, int], Fault | None]


def always(fault: Fault) -> Plan:
    """Plan `fault` for every request."""
    return lambda method, path, count: fault


def first(times: int, fault: Fault) -> Plan:
    """Plan `fault` for the first `times` requests of each method and path."""
    return lambda method, path, count: fault if count < times else None
