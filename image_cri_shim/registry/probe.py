"""Whether a registry can be used as it is configured, without asking it for any image."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Literal, TypeAlias

import attrs
from twisted.internet.defer import Deferred, inlineCallbacks

from image_cri_shim.decision import Registry
from image_cri_shim.registry.authorization import Access, Authorization, Authorizer
from image_cri_shim.registry.exchange import Exchange, Reply, origin
from image_cri_shim.registry.failure import Unanswered

# Whether its certificate was verified; ``none`` for plain http.
Tls: TypeAlias = Literal["none", "verified", "not verified", "unknown"]
# What came of showing it what it asked for.
Authentication: TypeAlias = Literal["none needed", "accepted", "refused", "unknown"]

_OK = 200
_UNAUTHORIZED = 401
_NOT_FOUND = 404
_ACCEPT = "application/json, */*;q=0.5"


@attrs.frozen
class Probe:
    """What came of asking a registry for the base of its API.

    :ivar reachable: whether its server gave an HTTP reply that leads somewhere.
    :ivar tls: unknown if it did not come to that.
    :ivar authentication: unknown if it did not come to that.
    :ivar scheme: how the registry wants to be shown who asks: ``basic``, ``bearer``, or empty.
    :ivar detail: what is wrong, or worth knowing, in the operator's words; may be empty.
    :ivar elapsed: seconds from question to answer, tokens included.
    """

    registry: Registry
    reachable: bool
    tls: Tls
    authentication: Authentication
    scheme: str = ""
    detail: str = ""
    elapsed: float = 0.0

    @property
    def usable(self) -> bool:
        """Whether look-ups can be answered."""
        return self.authentication in ("none needed", "accepted")


@attrs.frozen
class Verdict:
    """What a reply to the probe says.

    :ivar refused: whether the configured credentials were not accepted.
    """

    authentication: Authentication
    detail: str = ""
    refused: bool = False


@inlineCallbacks
def ask_base(
    exchange: Exchange,
    authorizer: Authorizer,
    access: Access,
    answered: Callable[[], None],
    wait_for: Callable[[str], None],
) -> Generator[Deferred[Any], Any, Verdict]:
    """Ask for ``/v2/`` (OCI distribution specification, "Determining Support").

    :param answered: is called when the registry's server has answered.
    :param wait_for: is told whose answer is awaited, if not the registry's; empty if it is.
    :raises Unanswered: there is no reply; and it says why.
    """
    url = f"{access.registry}/v2/"

    @inlineCallbacks
    def send(shown: Authorization | None) -> Generator[Deferred[Any], Any, Reply]:
        value = None if shown is None else shown.value
        reply = yield exchange.request(
            "GET", url, accept=_ACCEPT, guard=access.guard, authorization=value
        )
        answered()
        return reply  # type: ignore[no-any-return]

    reply, authorization = yield authorizer.ask(access, send, wait_for)
    return _judged(reply, access, authorization)


def _judged(reply: Reply, access: Access, shown: Authorization | None) -> Verdict:
    if reply.status == _UNAUTHORIZED:
        if origin(reply.url) != origin(access.registry):
            host = access.guard.clean(origin(reply.url)[1])
            return Verdict("unknown", f"redirects to {host}, which answers 401")
        why = "anonymous access is refused" if shown and shown.anonymous else "wrong credentials"
        return Verdict("refused", f"401 {why}", refused=True)
    if reply.status != _OK:
        what = "not a registry: 404" if reply.status == _NOT_FOUND else str(reply.status)
        https = reply.url.startswith("http:") and b"https" in reply.body.lower()
        hint = ", it seems to speak https only" if https else ""
        return Verdict("unknown", f"{what} for /v2/{hint}")
    if (reply.value("Content-Type") or "").lower().startswith("text/html"):
        return Verdict("unknown", "not a registry: answered with a web page")
    if shown is None:
        why = "asks for no credentials here, so the configured ones are untried"
        return Verdict("none needed", why if access.credentials is not None else "")
    return Verdict("accepted", "anonymously" if shown.anonymous else "")


def verdict_on(reason: Unanswered) -> Verdict:
    """Return what a probe says that ended without a last reply."""
    return Verdict("refused" if reason.refused else "unknown", reason.detail, reason.refused)
