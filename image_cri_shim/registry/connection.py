"""Connections to registries: opened within a budget, and bounded in what they can cost."""

from __future__ import annotations

import inspect
from typing import Any, NoReturn

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import (
    IHostnameResolver,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IStreamClientEndpoint,
)
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.web._newclient import HTTP11ClientProtocol
from twisted.web.client import URI, _HTTP11ClientFactory
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer  # type: ignore[import-untyped]

from image_cri_shim.clock import Clock
from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.trust import Trust

# What a response may have before its headers are complete, in bytes and in lines: far more than
# registries send. Twisted bounds the length of a line, but not how many there are; and in 22.4 the
# time that it takes for headers of one name grows with the square of their number.
HEAD_LIMIT = 64 * 1024
LINE_LIMIT = 500
# Bytes that are read before they are counted.
_PIECE = 1024
# Seconds between attempts on the addresses of one host; the least that RFC 8305 advises. A refused
# connection is known only after that time, even if there is one address.
_ATTEMPT_DELAY = 0.1


class BoundedFactory(_HTTP11ClientFactory):
    """Makes the client's side of HTTP connections, and does not log each of them."""

    noisy = False

    def buildProtocol(self, addr: object) -> HTTP11ClientProtocol:  # noqa: ARG002, N802
        """Make the protocol of one connection."""
        return _BoundedProtocol(self._quiescentCallback)  # type: ignore[no-untyped-call]


class _BoundedProtocol(HTTP11ClientProtocol):
    """Gives up a response whose headers do not end, interim responses (1xx) included."""

    _awaits_head = False
    _bytes = 0
    _lines = 0

    def request(self, request: Any) -> Deferred[Any]:
        self._awaits_head = True
        self._bytes = self._lines = 0
        return super().request(request).addBoth(self._has_head)

    def dataReceived(self, bytes: bytes) -> None:  # noqa: N802, A002 - Twisted's names
        parser = self._parser
        at = 0
        while self._awaits_head and self._parser is parser and at < len(bytes):
            piece = bytes[at : at + _PIECE]
            at += len(piece)
            self._bytes += len(piece)
            self._lines += piece.count(b"\n")
            super().dataReceived(piece)  # type: ignore[no-untyped-call]
            if self._awaits_head and self._is_endless():
                transport: Any = self.transport
                transport.abortConnection()
                return
        # What follows a complete response is nobody's, as always with Twisted.
        if at < len(bytes) and self._parser is parser:
            super().dataReceived(bytes[at:])  # type: ignore[no-untyped-call]

    def _is_endless(self) -> bool:
        return self._bytes > HEAD_LIMIT or self._lines > LINE_LIMIT

    def _has_head(self, outcome: object) -> object:
        self._awaits_head = False
        if isinstance(outcome, Failure) and self._is_endless():
            return Failure(Unanswered("answered with endless headers"))
        return outcome


@implementer(IAgentEndpointFactory)
class Endpoints:
    """Says how a URL's host is reached."""

    def __init__(self, reactor: Clock, connect: float, trust: Trust) -> None:
        self._reactor = reactor
        self._connect = connect
        self._trust = trust

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: N802 - Twisted's name
        """Return what connects to it.

        :raises Unanswered: a file that TLS needs cannot be used.
        """
        endpoint: Any = _BoundedEndpoint(uri, self._connect, self._reactor)
        if uri.scheme == b"https":
            creator = self._trust.creatorForNetloc(uri.host, uri.port)
            endpoint = _TLSEndpoint(endpoint, creator, self._reactor)
        return endpoint  # type: ignore[no-any-return]


@implementer(IStreamClientEndpoint)
class _BoundedEndpoint:
    """Connects within a budget that covers the name's resolution and all of its addresses."""

    def __init__(self, uri: URI, seconds: float, reactor: Any) -> None:
        self._uri = uri
        self._seconds = seconds
        self._reactor = reactor

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        watched: Any = _Watched(self._reactor)
        endpoint: Any = HostnameEndpoint(
            watched,
            self._uri.host.decode("ascii"),
            self._uri.port,
            timeout=self._seconds,
            attemptDelay=_ATTEMPT_DELAY,
        )

        def too_late(_: IProtocol | Failure, seconds: float) -> NoReturn:
            if watched.found:
                raise error.TimeoutError
            raise Unanswered(f"finding the host timed out after {seconds:g}s", timed_out=True)

        connecting: Deferred[IProtocol] = endpoint.connect(protocolFactory)
        return connecting.addTimeout(self._seconds, self._reactor, too_late)


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
class _Watched:
    """A reactor that notes whether it has found the one host that it is asked for.

    :ivar found: whether its name has been answered.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.found = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    @property
    def nameResolver(self) -> Any:  # noqa: N802 - Twisted's name
        return self

    def resolveHostName(self, receiver: Any, *asked: Any, **how: Any) -> Any:  # noqa: N802
        return self._reactor.nameResolver.resolveHostName(_Receiver(receiver, self), *asked, **how)


class _Receiver:
    """Passes a host's addresses on, and notes that they were all (IResolutionReceiver)."""

    def __init__(self, receiver: Any, watched: _Watched) -> None:
        self._watched = watched
        self.resolutionBegan = receiver.resolutionBegan
        self.addressResolved = receiver.addressResolved
        self._complete = receiver.resolutionComplete

    def resolutionComplete(self) -> None:  # noqa: N802 - Twisted's name
        self._watched.found = True
        self._complete()


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
