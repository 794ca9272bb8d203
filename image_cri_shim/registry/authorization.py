"""How a registry's challenge is met: Basic (RFC 7617) or with a token (RFC 6750)."""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred

from image_cri_shim.clock import Clock
from image_cri_shim.credentials import Credentials
from image_cri_shim.registry.challenge import Challenge, parse_challenges
from image_cri_shim.registry.exchange import Exchange, Reply
from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.token import TokenRequest, Tokens

BASIC = "basic"
BEARER = "bearer"
_BEARER_PREFIX = "Bearer "


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
    """What a look-up wants to be let in to.

    :ivar registry: the registry's base URL.
    :ivar credentials: what is configured for it.
    """

    registry: str
    repository: str
    credentials: Credentials | None


class Authorizer:
    """Meets challenges, and remembers them so that the next request needs none."""

    def __init__(self, exchange: Exchange, clock: Clock) -> None:
        self._tokens = Tokens(exchange, clock)
        # What the registries asked for last, by base URL.
        self._challenges: dict[str, Challenge] = {}

    def remembered(self, access: Access) -> Authorization | None:
        """Return what can be sent without being asked for it again, if anything."""
        challenge = self._challenges.get(access.registry)
        if challenge is None:
            return None
        if challenge.scheme == BASIC:
            return _basic(access)
        return self._kept(_token_request(access, challenge, scope=""))

    def meet(
        self, access: Access, reply: Reply, refused: Authorization | None
    ) -> Authorization | TokenRequest | None:
        """Say what to do about a 401.

        :param refused: what the request carried.
        :returns: what to send instead; or the token to fetch for that; or None if there is
            nothing else to send, so that the 401 is the registry's last word.
        :raises Unanswered: what the registry asks for cannot be given.
        """
        challenge = _chosen(reply) or self._challenges.get(access.registry)
        if challenge is None:
            if refused is not None:
                return None
            raise Unanswered("401, and asks for nothing that is known here", failing=False)
        if refused is not None and refused.scheme == challenge.scheme and not refused.kept:
            return None
        self._challenges[access.registry] = challenge
        if challenge.scheme == BASIC:
            authorization = _basic(access)
            if authorization is None:
                raise Unanswered("401 and no credentials are configured", failing=False)
            return authorization
        request = _token_request(access, challenge, scope=challenge.parameters.get("scope", ""))
        if refused is not None and refused.scheme == BEARER:
            # The kept token has just been refused.
            return request
        return self._kept(request) or request

    def fetch(self, request: TokenRequest) -> Deferred[Authorization]:
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
    if access.credentials is None:
        return None
    return Authorization(BASIC, access.credentials.basic())


def _bearer(token: str, request: TokenRequest, *, kept: bool = False) -> Authorization:
    return Authorization(BEARER, _BEARER_PREFIX + token, request.credentials is None, kept)


def _token_request(access: Access, challenge: Challenge, *, scope: str) -> TokenRequest:
    """Say what token a Bearer challenge asks for.

    :param scope: of the challenge, with blanks between several; empty where it names none, or if
        it was about another repository.
    """
    scopes = tuple(scope.split()) or (f"repository:{access.repository}:pull",)
    return TokenRequest(
        access.registry,
        challenge.parameters.get("realm", ""),
        challenge.parameters.get("service", ""),
        scopes,
        access.credentials,
    )
