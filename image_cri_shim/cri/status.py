"""gRPC's statuses, deadlines and headers as they stand on the wire.

Source: the gRPC project's "gRPC over HTTP2" (names and formats) and "Status codes and their use".
"""

from __future__ import annotations

import enum
import re
from urllib.parse import quote, unquote_to_bytes

import attrs

from image_cri_shim.cri.stream import PREFIX_LENGTH, Headers

CONTENT_TYPE = b"application/grpc"
# Space and the printable ASCII characters but "%".
_PLAIN = "".join(chr(c) for c in range(0x20, 0x7F) if chr(c) != "%")

_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_NUMBER = re.compile(rb"[0-9]{1,9}")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
# The most digits that a grpc-timeout may have say the most that one unit can carry.
_TIMEOUT_LIMIT = 99_999_999


class Code(enum.IntEnum):
    """The status codes that the shim gives or tells apart."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class RpcError(Exception):
    """A call ends with this status instead of an answer.

    :ivar code: the status code.
    :ivar message: what to tell the client.
    :ivar headers: what else to tell it.
    """

    def __init__(self, code: Code, message: str, headers: Headers | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.headers = headers or []

    def __str__(self) -> str:
        """Write it as logs show statuses: ``UNAVAILABLE: message``."""
        return f"{self.code.name}: {self.message}"


@attrs.frozen
class Answer:
    """What the upstream answered to a unary call, as it came.

    :ivar headers: the first headers; in a trailers-only answer they are the trailers too.
    :ivar frame: the message with its prefix, or None if there was none.
    :ivar trailers: empty in a trailers-only answer.
    """

    headers: Headers
    frame: bytes | None = None
    trailers: Headers = attrs.field(factory=list)

    @property
    def code(self) -> int:
        """The status code; 2 (UNKNOWN) if the upstream did not say one that is a number."""
        value = header(self.trailers or self.headers, b"grpc-status")
        return int(value) if value is not None and _NUMBER.fullmatch(value) else Code.UNKNOWN

    @property
    def message(self) -> str:
        """The status message, decoded; empty if there is none."""
        return decode_message(header(self.trailers or self.headers, b"grpc-message"))

    @property
    def payload(self) -> bytes:
        """The message without its prefix."""
        return b"" if self.frame is None else self.frame[PREFIX_LENGTH:]

    @property
    def compressed(self) -> bool:
        """Whether the message is compressed."""
        return self.frame is not None and self.frame[0] != 0

    def with_message(self, message: str) -> Answer:
        """Return the same answer with another status message."""
        encoded = (b"grpc-message", encode_message(message))

        def replaced(headers: Headers) -> Headers:
            kept = [(k, v) for k, v in headers if k != b"grpc-message"]
            return [*kept, encoded] if header(kept, b"grpc-status") is not None else kept

        return attrs.evolve(self, headers=replaced(self.headers), trailers=replaced(self.trailers))


def header(headers: Headers, name: bytes) -> bytes | None:
    """Return the first value of a header, or None."""
    return next((value for key, value in headers if key == name), None)


def frame(payload: bytes) -> bytes:
    """Return an uncompressed message with its prefix."""
    return b"\0" + len(payload).to_bytes(4, "big") + payload


def encode_message(message: str) -> bytes:
    """Percent-encode a status message ("Status-Message")."""
    return quote(message, safe=_PLAIN).encode("ascii")


def decode_message(value: bytes | None) -> str:
    """Return a status message as it is meant; empty if there is none."""
    return "" if value is None else unquote_to_bytes(value).decode("utf-8", "replace")


def error_headers(error: RpcError) -> Headers:
    """Return the headers of a trailers-only answer with this status."""
    return [
        (b":status", b"200"),
        (b"content-type", CONTENT_TYPE),
        *error.headers,
        *error_trailers(error),
    ]


def error_trailers(error: RpcError) -> Headers:
    """Return the trailers with this status."""
    return [
        (b"grpc-status", b"%d" % error.code),
        (b"grpc-message", encode_message(error.message)),
    ]


def parse_timeout(headers: Headers) -> float | None:
    """Return the seconds of the request's ``grpc-timeout``, or None.

    :raises RpcError: it is malformed.
    """
    value = header(headers, b"grpc-timeout")
    if value is None:
        return None
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        raise RpcError(Code.INTERNAL, "malformed grpc-timeout header")
    return int(match[1]) * _UNITS[match[2]]


def format_timeout(seconds: float) -> bytes:
    """Write seconds as a ``grpc-timeout``, as fine as its eight digits allow."""
    for unit in (b"u", b"m", b"S", b"M", b"H"):
        count = int(seconds / _UNITS[unit])
        if count <= _TIMEOUT_LIMIT:
            return b"%d%s" % (max(count, 1), unit)
    return b"%dH" % _TIMEOUT_LIMIT
