"""Whether a registry holds a manifest (OCI distribution specification, "Pulling manifests")."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from image_cri_shim.clock import Clock
from image_cri_shim.reference import ImageReference
from image_cri_shim.registry.answer import HEAD_REFUSED, UNAUTHORIZED, Finding, judge
from image_cri_shim.registry.authorization import Access, Authorization, Authorizer
from image_cri_shim.registry.exchange import Exchange, Reply, origin
from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.guard import Guard

# What is accepted as a manifest: OCI image specification, "Media types"; Docker's image manifest
# version 2, schema 2; and schema 1, which only very old images have.
_MEDIA_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
)
ACCEPT = ", ".join(_MEDIA_TYPES)


def manifest_url(registry: str, reference: ImageReference) -> str:
    """Return the address of a reference's manifest in a registry, whose base URL is given."""
    return f"{registry}/v2/{reference.repository}/manifests/{reference.selector}"


class Manifests:
    """Asks one registry for manifests' heads.

    :param exchange: makes the requests.
    :param authorizer: meets the registry's challenges.
    :param ttl: seconds that it is remembered that the registry refuses HEAD; 0 not at all.
    """

    def __init__(
        self, exchange: Exchange, authorizer: Authorizer, clock: Clock, ttl: float
    ) -> None:
        self._exchange = exchange
        self._authorizer = authorizer
        self._clock = clock
        self._ttl = ttl
        self._without_head_until = 0.0

    @inlineCallbacks
    def find(
        self, access: Access, reference: ImageReference, wait_for: Callable[[str], None]
    ) -> Generator[Deferred[Any], Any, Finding]:
        """Find out whether the registry holds a reference's manifest.

        :param wait_for: is told whose answer is awaited, if not the registry's; empty if it is.
        :raises Unanswered: it cannot be found out.
        :raises Forbidden: it leads to a host that may not be asked.
        """
        url = manifest_url(access.registry, reference)
        reply, authorization = yield self._authorizer.ask(
            access, lambda shown: self._head(url, access.guard, shown), wait_for
        )
        finding = _judged(reply, access, authorization, reference.digest)
        if finding is None:
            reply = yield self._request("GET", url, access.guard, authorization)
            finding = _judged(reply, access, authorization, reference.digest)
        if finding is None:
            raise Unanswered(str(reply.status))
        return finding

    @inlineCallbacks
    def _head(
        self, url: str, guard: Guard, authorization: Authorization | None
    ) -> Generator[Deferred[Any], Any, Reply]:
        """Ask for a manifest's head; by GET where the registry refuses HEAD."""
        if self._without_head_until > self._clock.seconds():
            reply = yield self._request("GET", url, guard, authorization)
            return reply  # type: ignore[no-any-return]
        reply = yield self._request("HEAD", url, guard, authorization)
        if reply.status in HEAD_REFUSED:
            self._without_head_until = self._clock.seconds() + self._ttl
            reply = yield self._request("GET", url, guard, authorization)
        return reply  # type: ignore[no-any-return]

    def _request(
        self, method: str, url: str, guard: Guard, authorization: Authorization | None
    ) -> Deferred[Reply]:
        value = authorization.value if authorization is not None else None
        return self._exchange.request(method, url, accept=ACCEPT, guard=guard, authorization=value)


def _judged(
    reply: Reply, access: Access, authorization: Authorization | None, digest: str | None
) -> Finding | None:
    if origin(reply.url) == origin(access.registry):
        return judge(reply, authorization, digest)
    # Another server replied, and it was shown nothing.
    if reply.status == UNAUTHORIZED:
        host = access.guard.clean(origin(reply.url)[1])
        raise Unanswered(f"redirects to {host}, which answers 401")
    return judge(reply, None, digest)
