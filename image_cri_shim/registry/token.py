"""Bearer tokens: fetched from a registry's token server, kept as long as they are valid.

Sources: the distribution project's "Token Authentication Specification", and for identity tokens
its "OAuth2 Token Authentication".
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from typing import Any
from urllib.parse import quote, urlencode

import attrs
from twisted.internet.defer import Deferred, inlineCallbacks

from image_cri_shim.clock import Clock
from image_cri_shim.credentials import Credentials
from image_cri_shim.registry.exchange import Exchange, Reply, origin
from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.guard import Guard
from image_cri_shim.singleflight import SingleFlight

# Seconds: what the specification says for a token that does not say it.
_DEFAULT_LIFETIME = 60.0
# A token is not used in the last tenth of its life, at most these seconds: it could expire on the
# way.
_MARGIN = 10.0
_MARGIN_SHARE = 0.1
_LONGEST_LIFETIME = 86400.0
_MOST_TOKENS = 1024
# What we call ourselves to a token server that is shown an identity token.
_CLIENT_ID = "image-cri-shim"
_OK = 200
_BAD_REQUEST = 400
_DENIED = frozenset({401, 403})
# They may say when to come back.
_BUSY = frozenset({429, 503})
# What can stand in a header without ending it (RFC 6750 allows even less).
_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]*")


@attrs.frozen
class TokenRequest:
    """What a token is for; equal requests are served by one token.

    :ivar registry: the base URL of the registry that asks for it.
    :ivar realm: the token server's URL, as the registry's challenge has it.
    :ivar credentials: None to ask anonymously.
    :ivar guard: judges where the token server leads; it has let the realm pass.
    """

    registry: str
    realm: str
    service: str
    scopes: tuple[str, ...]
    credentials: Credentials | None = None
    guard: Guard = attrs.field(factory=Guard)

    @property
    def server(self) -> str:
        """The token server's ``host[:port]``, for messages; nothing else of what was said."""
        host = _HOST.match(self.realm.partition("://")[2])
        return "" if host is None else self.guard.clean(host[0])

    @property
    def form(self) -> str | None:
        """What is posted to get a token for an identity token; None for a plain GET.

        It holds a secret.
        """
        if self.credentials is None or not self.credentials.identity_token:
            return None
        fields = {
            "grant_type": "refresh_token",
            "service": self.service,
            "client_id": _CLIENT_ID,
            "scope": " ".join(self.scopes),
            "refresh_token": self.credentials.identity_token,
        }
        return urlencode(fields, quote_via=quote, safe="")

    @property
    def url(self) -> str:
        """What is asked.

        :raises Unanswered: the realm is no URL that may be asked.
        """
        try:
            scheme, _, _ = origin(self.realm)
        except ValueError:
            scheme = ""
        # RFC 3986 has neither blanks nor control characters; some end up in requests and logs.
        if (
            not scheme
            or not (self.realm.isascii() and self.realm.isprintable())
            or " " in self.realm
        ):
            raise Unanswered("its token server has no valid address")
        if scheme == "http" and self.registry.startswith("https:"):
            raise Unanswered(
                f"its token server {self.server} is asked over plain http, "
                "which is not done for a registry that is asked over https",
            )
        base = self.realm.partition("#")[0]
        fields = [("service", self.service)] if self.service else []
        fields += [("scope", scope) for scope in self.scopes]
        if self.form is not None or not fields:
            return base
        return f"{base}{'&' if '?' in base else '?'}{urlencode(fields, quote_via=quote)}"


@attrs.frozen
class _Token:
    value: str = attrs.field(repr=False)
    # On the clock; until then it is used.
    until: float


class Tokens:
    """Fetches tokens and keeps them."""

    def __init__(self, exchange: Exchange, clock: Clock) -> None:
        self._exchange = exchange
        self._clock = clock
        self._kept: dict[TokenRequest, _Token] = {}
        self._running: SingleFlight[TokenRequest, str] = SingleFlight()

    def kept(self, request: TokenRequest) -> str | None:
        """Return the token for a request if there is one that has not expired."""
        token = self._kept.get(request)
        if token is None or token.until <= self._clock.seconds():
            return None
        return token.value

    def fetch(self, request: TokenRequest) -> Deferred[str]:
        """Get a new token in place of any kept one; callers who want it at the same time share it.

        :raises Unanswered: there is none; and it says why, naming the token server.
        :raises Forbidden: the token server leads to a host that may not be asked.
        """
        return self._running.join(request, lambda: self._fetch(request))

    @inlineCallbacks
    def _fetch(self, request: TokenRequest) -> Generator[Deferred[Any], Any, str]:
        url, form = request.url, request.form
        credentials = request.credentials
        basic = credentials.basic() if credentials is not None and form is None else None
        started = self._clock.seconds()
        try:
            reply = yield self._exchange.request(
                "GET" if form is None else "POST",
                url,
                accept="application/json",
                guard=request.guard,
                authorization=basic,
                form=form,
                want_body=True,
            )
            value, lifetime = _granted(reply, credentials)
        except Unanswered as reason:
            raise Unanswered(
                f"token server {request.server}: {reason.detail}",
                timed_out=reason.timed_out,
                retry_after=reason.retry_after,
                refused=reason.refused,
            ) from None
        self._keep(request, _Token(value, started + lifetime))
        return value

    def _keep(self, request: TokenRequest, token: _Token) -> None:
        if len(self._kept) >= _MOST_TOKENS:
            now = self._clock.seconds()
            self._kept = {key: kept for key, kept in self._kept.items() if kept.until > now}
        if len(self._kept) >= _MOST_TOKENS:
            self._kept.clear()
        self._kept[request] = token


def _granted(reply: Reply, credentials: Credentials | None) -> tuple[str, float]:
    """Return the token in a token server's reply and for how many seconds it is used.

    :param credentials: what was shown to it.
    :raises Unanswered: there is none in it.
    """
    status = reply.status
    if credentials is not None and credentials.identity_token:
        if status in _DENIED or _is_invalid_grant(reply):
            raise Unanswered(f"{status} identity token refused", refused=True)
    elif status in _DENIED and credentials is not None:
        raise Unanswered(f"{status} wrong credentials", refused=True)
    elif status in _DENIED:
        raise Unanswered(f"{status} and no credentials are configured", refused=True)
    if status in _BUSY:
        raise Unanswered(str(status), retry_after=reply.retry_after)
    if status != _OK:
        raise Unanswered(str(status))
    if not reply.whole:
        raise Unanswered("answered with far more than a token")
    content = _content(reply)
    value = content.get("token") or content.get("access_token")
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise Unanswered("answered without a token")
    return value, _used_for(content.get("expires_in"))


def _is_invalid_grant(reply: Reply) -> bool:
    """Tell whether a token server refuses an identity token (RFC 6749, section 5.2)."""
    return reply.status == _BAD_REQUEST and _content(reply).get("error") == "invalid_grant"


def _content(reply: Reply) -> dict[str, object]:
    """Return the JSON object in a reply, empty if there is none."""
    try:
        content = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _used_for(lifetime: object) -> float:
    """Return for how many seconds a token is used that says it lives for ``lifetime``.

    :raises Unanswered: that is no number of seconds.
    """
    # Some servers say 0 and mean that they do not say.
    if lifetime is None or lifetime == 0:
        lifetime = _DEFAULT_LIFETIME
    # A boolean is a number in Python; and NaN is not even equal to itself.
    if isinstance(lifetime, bool) or not isinstance(lifetime, (int, float)) or not lifetime > 0:
        raise Unanswered("answered with a token of an unreadable lifetime")
    seconds = float(min(lifetime, _LONGEST_LIFETIME))
    return seconds - min(_MARGIN, seconds * _MARGIN_SHARE)
