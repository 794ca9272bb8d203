"""Connections to registries: opened within a budget, kept for the next request, then closed."""

from __future__ import annotations

import inspect
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit

import attrs
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, _HTTP11ClientFactory
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory
from zope.interface import implementer  # type: ignore[import-untyped]

from image_cri_shim.clock import Clock
from image_cri_shim.registry.trust import Trust

# A node pulls a few images at a time; the default of 2 would open connections all over again.
_KEPT_PER_HOST = 16
# Seconds. Shorter than the idle time-outs of common proxies (nginx: 75), and short enough that a
# connection whose other end silently vanished is seldom tried.
_KEPT_FOR = 50.0
# Seconds between attempts on the addresses of one host; the least that RFC 8305 advises. A refused
# connection is known only after that time, even if there is one address.
_ATTEMPT_DELAY = 0.1


@attrs.frozen
class Budgets:
    """How long a look-up may take, in seconds.

    :ivar connect: to find the host and to connect to it.
    :ivar total: for everything, tokens and redirects included.
    """

    connect: float = 3.0
    total: float = 10.0


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

    def request(self, method: str, url: str, headers: Headers) -> Deferred[Response]:
        """Make a request without a body; fails with whatever Twisted fails with.

        Cancelling the Deferred aborts the connection.

        :raises ValueError: ``url`` cannot be asked for.
        """
        response: Deferred[Response] = self._agent.request(
            method.encode("ascii"), url.encode("ascii"), headers, None
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


def make_agent(reactor: Clock, budgets: Budgets, trust: Trust) -> PoolingAgent:
    """Make the agent that talks to real registries.

    :param reactor: Twisted's, for TCP, names and time.
    """
    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.maxPersistentPerHost = _KEPT_PER_HOST
    pool.cachedConnectionTimeout = _KEPT_FOR  # type: ignore[assignment]
    # A kept connection that the registry closed in the same moment is replaced by a new one.
    pool.retryAutomatically = True
    pool._factory = _QuietFactory  # noqa: SLF001 - the only way; without it there is just more log
    endpoints = _Endpoints(reactor, budgets.connect, trust)
    agent = Agent.usingEndpointFactory(reactor, endpoints, pool)
    return PoolingAgent(agent, pool, reactor, trust)


class _QuietFactory(_HTTP11ClientFactory):
    """Does not log every connection."""

    noisy = False


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Says how a URL's host is reached."""

    def __init__(self, reactor: Clock, connect: float, trust: Trust) -> None:
        self._reactor = reactor
        self._connect = connect
        self._trust = trust

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: N802 - Twisted's name
        endpoint: Any = _BoundedEndpoint(self._host(uri), self._connect, self._reactor)
        if uri.scheme == b"https":
            creator = self._trust.creatorForNetloc(uri.host, uri.port)
            endpoint = _TLSEndpoint(endpoint, creator, self._reactor)
        return endpoint  # type: ignore[no-any-return]

    def _host(self, uri: URI) -> IStreamClientEndpoint:
        endpoint: Any = HostnameEndpoint(
            self._reactor,
            uri.host.decode("ascii"),
            uri.port,
            timeout=self._connect,
            attemptDelay=_ATTEMPT_DELAY,
        )
        return endpoint  # type: ignore[no-any-return]


@implementer(IStreamClientEndpoint)
class _BoundedEndpoint:
    """Connects within a budget that covers the name's resolution and all of its addresses."""

    def __init__(self, endpoint: IStreamClientEndpoint, seconds: float, clock: Clock) -> None:
        self._endpoint: Any = endpoint
        self._seconds = seconds
        self._clock: Any = clock

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        connecting: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        return connecting.addTimeout(self._seconds, self._clock, _too_late)


def _too_late(_: IProtocol | Failure, __: float) -> NoReturn:
    raise error.TimeoutError


@implementer(IStreamClientEndpoint)
class _TLSEndpoint:
    """Connects with TLS: Twisted's own would import the global reactor to know the time."""

    def __init__(self, endpoint: Any, creator: Any, clock: Clock) -> None:
        self._endpoint = endpoint
        self._creator = creator
        self._clock = clock

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        factory = TLSMemoryBIOFactory(
            self._creator, isClient=True, wrappedFactory=protocolFactory, **tls_clock(self._clock)
        )
        connecting: Deferred[Any] = self._endpoint.connect(factory)
        return connecting.addCallback(lambda secured: secured.wrappedProtocol)


def tls_clock(clock: Clock) -> dict[str, Any]:
    """Return the argument that makes Twisted's TLS use a clock, where it uses one (23.10)."""
    if "clock" in inspect.signature(TLSMemoryBIOFactory.__init__).parameters:
        return {"clock": clock}
    return {}
