"""What proves to a registry who asks, held so that it cannot be printed by accident."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import attrs

# The user name that docker writes beside an identity token.
IDENTITY_USERNAME = "<token>"
# Says where systemd has put a service's credentials (systemd.exec(5)).
DIRECTORY_VARIABLE = "CREDENTIALS_DIRECTORY"


@attrs.frozen
class Credentials:
    """A user's name and password for one registry, or an identity token in their place.

    The password and the token are in no repr; read them only where they are sent.

    :ivar identity_token: what a token server gives tokens for in place of a password (an OAuth 2
        refresh token); empty for a user with a password.
    """

    username: str
    password: str = attrs.field(repr=False)
    identity_token: str = attrs.field(default="", repr=False)

    def basic(self) -> str:
        """Return the value of an ``Authorization`` header for them (RFC 7617, UTF-8).

        An identity token cannot be sent so.
        """
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")

    def spellings(self) -> tuple[str, ...]:
        """Return every text that betrays them: plain, in a header, in a URL, in JSON."""
        pair = self.basic().removeprefix("Basic ")
        secrets = [secret for secret in (self.password, self.identity_token) if secret]
        return (
            *secrets,
            pair,
            pair.rstrip("="),
            *(quote(secret, safe="") for secret in secrets),
            *(quote_plus(secret) for secret in secrets),
            *(json.dumps(secret)[1:-1] for secret in secrets),
        )


def identity(token: str) -> Credentials:
    """Return the credentials that an identity token is."""
    return Credentials(IDENTITY_USERNAME, "", token)


def is_sendable(text: str) -> bool:
    """Tell whether UTF-8 can hold a text: JSON can name half a character, which nothing can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


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
