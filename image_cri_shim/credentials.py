"""What proves to a registry who asks, held so that it cannot be printed by accident."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import attrs


@attrs.frozen
class Credentials:
    """A user's name and password for one registry.

    The password is in no repr; read it only where it is sent.
    """

    username: str
    password: str = attrs.field(repr=False)

    def basic(self) -> str:
        """Return the value of an ``Authorization`` header for them (RFC 7617, UTF-8)."""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")

    def spellings(self) -> tuple[str, ...]:
        """Return every text that betrays them: plain, in a header, in a URL, in JSON."""
        pair = self.basic().removeprefix("Basic ")
        return (
            self.password,
            pair,
            pair.rstrip("="),
            quote(self.password, safe=""),
            json.dumps(self.password)[1:-1],
        )


def parse_credentials(text: str) -> Credentials:
    """Read ``user:password``; only the first colon separates.

    :raises ValueError: there is no colon, or no user; the message does not repeat the text.
    """
    username, colon, password = text.partition(":")
    if not colon:
        raise ValueError("expected user:password, but there is no colon in it")
    if not username:
        raise ValueError("expected user:password, but the user is empty")
    return Credentials(username, password)
