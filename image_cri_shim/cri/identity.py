"""Who made a call: its id, the client's process, and the trace that it belongs to."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import socket
import struct
from pathlib import Path

from image_cri_shim.call_identity import CallIdentity, Client, next_call_id
from image_cri_shim.cri.status import header
from image_cri_shim.cri.stream import Headers, RawStream

# struct ucred (unix(7)): the process ID, the user ID, the group ID.
_CREDENTIALS = struct.Struct("=iII")
# W3C Trace Context, "traceparent": version, trace-id, parent-id, flags. Later versions may go on.
_TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_NO_TRACE = "0" * 32
# OpenCensus' binary format in gRPC's "grpc-trace-bin": version 0, then field 0, 16 bytes of ID.
_TRACE_BIN = b"\0\0"
_TRACE_ID = slice(2, 18)


def identity_of(stream: RawStream, headers: Headers) -> CallIdentity:
    """Return who made a call to us; the first time, it gets its id."""
    identity = stream.identity
    if identity is None:
        identity = CallIdentity(next_call_id(), _client(stream), trace_of(headers))
        stream.identity = identity
    return identity


def trace_of(headers: Headers) -> str:
    """Return the trace that a call is a part of, 32 hexadecimal digits; empty for none.

    Source: W3C Trace Context, section 3.2; gRPC's header of old for the same.
    """
    parent = _TRACE_PARENT.fullmatch(header(headers, b"traceparent") or b"")
    if parent is not None:
        trace = parent[1].decode("ascii")
        return "" if trace == _NO_TRACE else trace
    text = header(headers, b"grpc-trace-bin")
    if text is None:
        return ""
    try:
        # gRPC leaves the padding out.
        value = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return ""
    if value[:2] != _TRACE_BIN or len(value[_TRACE_ID]) != _TRACE_ID.stop - _TRACE_ID.start:
        return ""
    trace = value[_TRACE_ID].hex()
    return "" if trace == _NO_TRACE else trace


def _client(stream: RawStream) -> Client | None:
    """Return the process that has connected; None if the system does not tell."""
    descriptor = stream.connection.descriptor()
    if descriptor is None:
        return None
    try:
        # A duplicate: what event loops hand out for a socket lacks this option.
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            value = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return None
    pid, uid, gid = _CREDENTIALS.unpack(value)
    name = ""
    with contextlib.suppress(OSError):
        # It may have ended since, and another one have its number; it is a hint for people.
        name = Path(f"/proc/{pid}/comm").read_text(errors="replace")
    return Client(pid, uid, gid, "".join(c for c in name if c.isprintable()))
