"""Answers of the admin interface, as values."""

from __future__ import annotations

import json
from collections.abc import Mapping

import attrs

JSON = b"application/json"
LINES_OF_JSON = b"application/x-ndjson"
TEXT = b"text/plain; charset=utf-8"
HTML = b"text/html; charset=utf-8"

# What is repeated of what a client sent.
_SHOWN = 200


@attrs.frozen
class Answer:
    """One whole answer.

    :ivar code: HTTP's status code.
    :ivar kind: the content type.
    :ivar headers: further headers.
    """

    code: int
    kind: bytes
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


def compact(document: Mapping[str, object]) -> bytes:
    """Write JSON on one line; whatever characters there are, the bytes are ASCII."""
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def document(value: Mapping[str, object], code: int = 200) -> Answer:
    """Answer with a JSON document, for programs and for people."""
    return Answer(code, JSON, json.dumps(value, indent=1).encode("ascii") + b"\n")


def text(value: str, code: int = 200) -> Answer:
    """Answer with lines of text."""
    return Answer(code, TEXT, value.encode("utf-8", "backslashreplace") + b"\n")


def refusal(code: int, sentence: str, *headers: tuple[bytes, bytes]) -> Answer:
    """Answer that it cannot be, and why."""
    return attrs.evolve(document({"error": sentence}, code), headers=headers)


def shown(value: bytes) -> str:
    """Return what a client sent as it can be shown in a sentence: no more than some of it."""
    said = value[:_SHOWN].decode("utf-8", "replace")
    clean = "".join(c if c.isprintable() else "?" for c in said)
    return clean if len(value) <= _SHOWN else f"{clean}..."
