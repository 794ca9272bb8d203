"""What a call of a client leaves behind when it is over: numbers, and a note if it failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from image_cri_shim.cri.status import Code, decode_message, header
from image_cri_shim.cri.stream import Headers, RawStream
from image_cri_shim.cri.versions import KNOWN, Method
from image_cri_shim.measurements import OTHER, CallMeasurements, FailedCall, MethodCalls
from image_cri_shim.redaction import Redactor, told
from image_cri_shim.status_codes import NAMES

# What the shim's own commands call themselves (gRPC over HTTP/2, "User-Agent").
OWN_AGENT = b"image-cri-shim/"

# gRPC's status codes as they stand on the wire ("Status codes and their use"); others are UNKNOWN.
_CODES = {b"%d" % code: code for code in range(len(NAMES))}
# Seconds by which a client's clock may be ahead when its deadline is over.
_AHEAD = 0.1
# Statuses that say nothing of the node: clients give up, and ask for what a runtime does not have.
_HARMLESS = (Code.OK, Code.CANCELLED, Code.UNIMPLEMENTED)
# Methods for which "not found" is more than an answer: what they need is missing.
_NEEDY = frozenset({"RunPodSandbox", "CreateContainer", "StartContainer"})
# Methods whose messages are about the node; in others' are commands and variables of pods.
_OF_THE_NODE = frozenset(
    {"RunPodSandbox", "Version", "Status"}
    | {"ListImages", "ImageStatus", "ImageFsInfo", "RemoveImage"}
)
_OWN_WORDS = "image-cri-shim: "
# Pulls have a book of their own.
_PULL = "PullImage"


def account(  # noqa: PLR0917 - a call is all of these
    measurements: CallMeasurements,
    stream: RawStream,
    headers: Headers,
    method: Method,
    started: float,
    redactor: Callable[[], Redactor],
) -> None:
    """Take note of a call that is over.

    :param headers: the request's.
    :param started: when it began, on ``time.monotonic``'s clock: event loops' may be coarse.
    :param redactor: keeps secrets out of what is kept of its message.
    """
    outcome = stream.outcome
    code = _given_up(stream.deadline) if outcome is None else _code(outcome)
    calls = measurements.methods.get(method.path)
    if calls is None:
        calls = _calls(measurements, method)
    calls.note(code, time.monotonic() - started, stream.in_runtime)
    if (header(headers, b"user-agent") or b"").startswith(OWN_AGENT):
        measurements.own[calls.service] += 1
        return
    measurements.last = now = time.time()
    if not code:
        calls.well = now
    elif _is_failure(code, calls.name):
        message = _message(outcome, calls.name, redactor)
        measurements.note_failure(FailedCall(now, calls.name, code, message))


def _is_failure(code: int, name: str) -> bool:
    """Tell whether a call's end is something to look after."""
    if code in _HARMLESS or name == _PULL:
        return False
    return code != Code.NOT_FOUND or name in _NEEDY


def _message(outcome: Headers | None, name: str, redactor: Callable[[], Redactor]) -> str:
    """Return what is kept of a failed call's message; nothing if pods' secrets may be in it."""
    if outcome is None:
        return "no answer before the client's deadline"
    text = decode_message(header(outcome, b"grpc-message"))
    if name not in _OF_THE_NODE and not text.startswith(_OWN_WORDS):
        return ""
    return told(text, redactor())


def _calls(measurements: CallMeasurements, method: Method) -> MethodCalls:
    """Return where a method's calls are counted that was not called before, or is unknown."""
    if method.version is not None and (method.service, method.name) in KNOWN:
        found = MethodCalls(method.version, method.service, method.name, timed=method.finite)
        return measurements.methods.setdefault(method.path, found)
    version = method.version or OTHER
    # No path that is known looks like this.
    path = f"{OTHER} {version}".encode("ascii")
    return measurements.methods.setdefault(path, MethodCalls(version, OTHER, OTHER, timed=False))


def _given_up(deadline: float | None) -> int:
    """Return the status of a call whose client waited for none: it gave up, or had to.

    :param deadline: on the event loop's clock.
    """
    over = deadline is not None and asyncio.get_running_loop().time() >= deadline - _AHEAD
    return Code.DEADLINE_EXCEEDED if over else Code.CANCELLED


def _code(outcome: Headers) -> int:
    """Return the status code that a client was given."""
    for key, value in outcome:
        if key == b"grpc-status":
            return _CODES.get(value, Code.UNKNOWN)
    return Code.UNKNOWN
