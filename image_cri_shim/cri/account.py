"""What a call of a client leaves behind when it is over: numbers, and a note if it failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from image_cri_shim.cri.status import Code, decode_message, header
from image_cri_shim.cri.stream import Headers, RawStream
from image_cri_shim.cri.versions import KNOWN, Method
from image_cri_shim.measurements import OTHER, CallMeasurements, FailedCall, MethodCalls, is_failure
from image_cri_shim.redaction import Redactor

# As they stand on the wire; any other is UNKNOWN (gRPC, "Status codes and their use").
_CODES = {b"%d" % code: code for code in range(17)}
# What is kept of a message.
_SHOWN = 600
_PULL = "PullImage"


def account(
    measurements: CallMeasurements,
    stream: RawStream,
    method: Method,
    started: float,
    redactor: Callable[[], Redactor],
) -> None:
    """Take note of a call that is over.

    :param started: when it began, on the event loop's clock.
    :param redactor: keeps secrets out of what is kept of its message.
    """
    outcome = stream.outcome
    # Whoever does not wait for a status has given up.
    code = 1 if outcome is None else _code(outcome)
    calls = measurements.methods.get(method.path)
    if calls is None:
        calls = _calls(measurements, method)
    calls.note(code, asyncio.get_running_loop().time() - started, stream.in_runtime)
    measurements.last = now = time.time()
    # Pulls have a book of their own.
    if code and is_failure(code) and calls.name != _PULL:
        text = redactor().clean(decode_message(header(outcome or [], b"grpc-message")))
        message = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        measurements.failed.append(FailedCall(now, calls.name, code, message))


def _calls(measurements: CallMeasurements, method: Method) -> MethodCalls:
    """Return where a method's calls are counted that was not called before, or is unknown."""
    if method.version is not None and (method.service, method.name) in KNOWN:
        found = MethodCalls(method.version, method.service, method.name, timed=method.finite)
        return measurements.methods.setdefault(method.path, found)
    version = method.version or OTHER
    # No path that is known looks like this.
    path = f"{OTHER} {version}".encode("ascii")
    return measurements.methods.setdefault(path, MethodCalls(version, OTHER, OTHER, timed=False))


def _code(outcome: Headers) -> int:
    """Return the status code that a client was given."""
    for key, value in outcome:
        if key == b"grpc-status":
            return _CODES.get(value, Code.UNKNOWN)
    return Code.UNKNOWN
