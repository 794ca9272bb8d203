"""How a registry's challenge is met: Basic (RFC 7617) or with a token (RFC 6750)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NoReturn

import attrs
from twisted.internet.defer import Deferred, inlineCallbacks

from image_cri_shim.clock import Clock
from image_cri_shim.credentials import Credentials
from image_cri_shim.registry.challenge import Challenge, parse_challenges
from image_cri_shim.registry.exchange import Exchange, Reply, origin
from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.guard import Guard
from image_cri_shim.registry.token import TokenRequest, Tokens

BASIC = "basic"
BEARER = "bearer"
_BEARER_PREFIX = "Bearer "
_UNAUTHORIZED = 401
# How often a 401 is met for one question: with a token that was kept, and with a new one.
_MOST_RENEWALS = 2


@attrs.frozen
class Authorization:
    """What a request carries to be let in.

    :ivar scheme: BASIC or BEARER.
    :ivar value: of the ``Authorization`` header.
    :ivar anonymous: whether no credentials stand behind it.
    :ivar kept: whether it is a token from before, which may have become invalid.
    """

    scheme: str
    value: str = attrs.field(repr=False)
    anonymous: bool = False
    kept: bool = False


@attrs.frozen
class Access:
    """What someone wants to be let in to.

    :ivar registry: the registry's base URL.
    :ivar repository: the path of what is asked about; empty for the registry itself.
    :ivar credentials: what is configured for it.
    :ivar guard: judges where others lead us.
    """

    registry: str
    repository: str
    credentials: Credentials | None
    guard: Guard = attrs.field(factory=Guard)


class Authorizer:
    """Meets a registry's challenges, and remembers the last so that the next request needs none.

    :param exchange: asks token servers.
    :param ttl: seconds that a challenge is remembered; 0 to wait for one every time. Tokens are
        kept for as long as they are valid.
    """

    def __init__(self, exchange: Exchange, clock: Clock, ttl: float) -> None:
        self._tokens = Tokens(exchange, clock)
        self._clock = clock
        self._ttl = ttl
        self._challenge: Challenge | None = None
        self._until = 0.0

    @property
    def scheme(self) -> str:
        """What the registry wanted last: BASIC, BEARER, or empty if it has not asked."""
        return "" if self._challenge is None else self._challenge.scheme

    @inlineCallbacks
    def ask(
        self,
        access: Access,
        send: Callable[[Authorization | None], Deferred[Reply]],
        wait_for: Callable[[str], None],
    ) -> Generator[Deferred[Any], Any, tuple[Reply, Authorization | None]]:
        """Make a request, and again with what its 401 asks for.

        Only the registry's own server is shown anything.

        :param send: makes the request.
        :param wait_for: is told whose answer is awaited, if not the registry's; empty if it is.
        :returns: the last reply, and what the request for it carried.
        :raises Unanswered: what the registry asks for cannot be given.
        :raises Forbidden: it leads to a host that may not be asked.
        """
        authorization = self._remembered(access)
        reply: Reply = yield send(authorization)
        for _ in range(_MOST_RENEWALS):
            if reply.status != _UNAUTHORIZED or origin(reply.url) != origin(access.registry):
                break
            means = self._meet(access, reply, authorization)
            if means is None:
                break
            if isinstance(means, TokenRequest):
                wait_for(f"the token server {means.server}")
                means = yield self._fetch(means)
                wait_for("")
            authorization = means
            reply = yield send(authorization)
        return reply, authorization

    def _remembered(self, access: Access) -> Authorization | None:
        """Return what can be sent without being asked for it again, if anything."""
        challenge = self._known()
        if challenge is None:
            return None
        if challenge.scheme == BASIC:
            return _basic(access)
        # One whose guard is another has had none, so that the registry is asked what it wants now.
        return self._kept(_token_request(access, challenge, scope=""))

    def _known(self) -> Challenge | None:
        return self._challenge if self._until > self._clock.seconds() else None

    def _meet(
        self, access: Access, reply: Reply, refused: Authorization | None
    ) -> Authorization | TokenRequest | None:
        """Say what to do about a 401.

        :param refused: what the request carried.
        :returns: what to send instead; or the token to fetch for that; or None if there is
            nothing else to send, so that the 401 is the registry's last word.
        :raises Unanswered: what the registry asks for cannot be given.
        :raises Forbidden: it leads to a host that may not be asked.
        """
        challenge = _chosen(reply) or (self._known() if refused is None else self._challenge)
        if challenge is None:
            raise Unanswered("401, and asks for nothing that is known here")
        if refused is not None and refused.scheme == challenge.scheme and not refused.kept:
            return None
        _check_realm(access, challenge)
        self._challenge = challenge
        self._until = self._clock.seconds() + self._ttl
        if challenge.scheme == BASIC:
            return _basic(access) or _without_password(access)
        request = _token_request(access, challenge, scope=challenge.parameters.get("scope", ""))
        kept = self._kept(request)
        # The one that has just been refused is no use; one that others have fetched since is.
        return request if kept is None or kept == refused else kept

    def _fetch(self, request: TokenRequest) -> Deferred[Authorization]:
        """Get a new token.

        :raises Unanswered: there is none.
        """
        return self._tokens.fetch(request).addCallback(_bearer, request)

    def _kept(self, request: TokenRequest) -> Authorization | None:
        token = self._tokens.kept(request)
        return _bearer(token, request, kept=True) if token is not None else None


def _chosen(reply: Reply) -> Challenge | None:
    """Return the challenge to meet: tokens before passwords, as other clients do."""
    found = parse_challenges(reply.values("WWW-Authenticate"))
    for scheme in (BEARER, BASIC):
        for challenge in found:
            if challenge.scheme == scheme:
                return challenge
    return None


def _basic(access: Access) -> Authorization | None:
    if access.credentials is None or access.credentials.identity_token:
        return None
    return Authorization(BASIC, access.credentials.basic())


def _without_password(access: Access) -> NoReturn:
    why = "401 and no credentials are configured"
    if access.credentials is not None:
        why = "401, and wants a password: an identity token is none"
    raise Unanswered(why, refused=True)


def _bearer(token: str, request: TokenRequest, *, kept: bool = False) -> Authorization:
    return Authorization(BEARER, _BEARER_PREFIX + token, request.credentials is None, kept)


def _check_realm(access: Access, challenge: Challenge) -> None:
    """Make sure that a challenge's token server may be asked; others name none.

    :raises Unanswered: it may not.
    :raises Forbidden: the same, because of where it is.
    """
    if challenge.scheme == BEARER:
        access.guard.check(_realm(challenge), "its token server has")


def _realm(challenge: Challenge) -> str:
    return challenge.parameters.get("realm", "")


def _token_request(access: Access, challenge: Challenge, *, scope: str) -> TokenRequest:
    """Say what token a Bearer challenge asks for.

    :param scope: of the challenge, with blanks between several; empty where it names none, or if
        it was about another repository.
    """
    scopes = tuple(scope.split())
    if not scopes and access.repository:
        scopes = (f"repository:{access.repository}:pull",)
    return TokenRequest(
        access.registry,
        _realm(challenge),
        challenge.parameters.get("service", ""),
        scopes,
        access.credentials,
        access.guard,
    )
