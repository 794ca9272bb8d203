"""Requests to registries, over connections that are kept for the next one, and then closed."""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, IProtocol
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer
from zope.interface import implementer  # type: ignore[import-untyped]

from image_cri_shim.clock import Clock
from image_cri_shim.decision import Registry
from image_cri_shim.registry.connection import BoundedFactory, Endpoints
from image_cri_shim.registry.trust import Trust

# Seconds. Shorter than the idle time-outs of common proxies (nginx: 75), and short enough that a
# connection whose other end silently vanished is seldom tried.
_KEPT_FOR = 50.0


class Response(Protocol):
    """What of Twisted's IResponse is used, as a type that checkers understand."""

    code: int
    headers: Headers

    def deliverBody(self, protocol: IProtocol) -> None:  # noqa: N802 - Twisted's name
        """Hand the body to a protocol."""


class PoolingAgent:
    """An HTTP agent whose connections can be closed.

    :param agent: makes the requests.
    :param pool: where it keeps its connections.
    :param clock: bounds the closing.
    :param trust: who verified its certificates, if any were.
    """

    def __init__(
        self, agent: IAgent, pool: HTTPConnectionPool, clock: Clock, trust: Trust | None = None
    ) -> None:
        self._agent: Any = agent
        self._pool = pool
        self._clock = clock
        self._trust = trust

    def request(
        self, method: str, url: str, headers: Headers, body: bytes | None = None
    ) -> Deferred[Response]:
        """Make a request; fails with whatever Twisted fails with.

        Cancelling the Deferred aborts the connection.

        :raises ValueError: ``url`` cannot be asked for.
        """
        content = None if body is None else _Body(body)
        response: Deferred[Response] = self._agent.request(
            method.encode("ascii"), url.encode("ascii"), headers, content
        )
        return response

    def complaint(self, url: str) -> str:
        """Return what was wrong with the certificate of a URL's host, if that is known."""
        parts = urlsplit(url)
        if self._trust is None or parts.scheme != "https":
            return ""
        return self._trust.complaint(parts.hostname or "", parts.port or 443)

    def close(self, patience: float) -> Deferred[None]:
        """Close the idle connections, and keep none from now on.

        :param patience: seconds after which the Deferred fires although the other side has not
            closed its end.
        """
        self._pool.persistent = False
        closed: Deferred[None] = Deferred()

        def finish(_: object = None) -> None:
            if timer.active():
                timer.cancel()
            if not closed.called:
                closed.callback(None)

        timer = self._clock.callLater(patience, finish)
        self._pool.closeCachedConnections().addBoth(finish)
        return closed


def make_agent(reactor: Clock, registry: Registry) -> PoolingAgent:
    """Make the agent that talks to a registry, and to whom it sends us.

    :param reactor: Twisted's, for TCP, names and time.
    """
    pool = HTTPConnectionPool(reactor, persistent=True)
    # As many as are asked at the same time; the default of 2 would open connections again and
    # again.
    pool.maxPersistentPerHost = registry.max_connections
    pool.cachedConnectionTimeout = _KEPT_FOR  # type: ignore[assignment]
    # A kept connection that the registry closed in the same moment is replaced by a new one.
    pool.retryAutomatically = True
    pool._factory = BoundedFactory  # noqa: SLF001 - the only way
    trust = Trust(registry)
    endpoints = Endpoints(reactor, registry.connect_timeout, trust)
    agent = Agent.usingEndpointFactory(reactor, endpoints, pool)
    return PoolingAgent(agent, pool, reactor, trust)


@implementer(IBodyProducer)
class _Body:
    """A request's body that is at hand; nobody else gets to see it."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length = len(content)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:  # noqa: N802
        """Write all of it."""
        receiver: Any = consumer
        receiver.write(self._content)
        return succeed(None)

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Do nothing: all has been written."""

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Do nothing: all has been written."""

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Do nothing: all has been written."""
