"""A network in memory: real agents, real connections' worth of bytes, no sockets and no time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import attrs
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IHostnameResolver, IReactorPluggableNameResolver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test import iosim
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Candidate, LookUp, Registry
from image_cri_shim.reference import parse_reference
from image_cri_shim.registry.answer import Answer
from image_cri_shim.registry.client import RegistryClient, make_registry_client
from image_cri_shim.registry.clients import registry_of
from image_cri_shim.registry.connection import tls_clock
from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.keyring import Keyring


@dataclass(frozen=True)
class Seen:
    """One request as a server saw it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")


@dataclass(frozen=True)
class Says:
    """What a server answers; `headers` values may be lists."""

    status: int = 200
    headers: Mapping[str, Any] = field(default_factory=dict)
    body: bytes = b""


Handle: TypeAlias = Callable[[Seen], "Says | str | Deferred[Says]"]
# The server reads the request and never answers.
HANG = "hang"
# The server sends the head and the beginning of the body, no more.
STALL = "stall"
# The same, and then the server closes the connection.
BREAK = "break"
# The server closes the connection instead of answering.
DROP = "drop"


def json_body(content: object) -> bytes:
    return json.dumps(content).encode()


def oci_error(code: str) -> bytes:
    return json_body({"errors": [{"code": code, "message": "as the specification says"}]})


def result_of(deferred: Deferred[Any]) -> Any:
    """Return what a Deferred has fired with; raise what it has failed with."""
    results: list[Any] = []
    deferred.addBoth(results.append)
    assert results, "there is no result yet"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


def fired(deferred: Deferred[Any]) -> bool:
    """Tell whether a Deferred has a result, which it keeps."""
    results: list[Any] = []

    def keep(result: Any) -> Any:
        results.append(result)
        return result

    deferred.addBoth(keep)
    return bool(results)


class Server(Resource):
    """An HTTP server; `handle` says what it answers to what it has seen, or will answer."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, handle: Handle) -> None:
        super().__init__()
        self.handle = handle
        self.seen: list[Seen] = []
        # Connections that were lost while a request hung.
        self.lost = 0
        self.stall_status = 200

    def render(self, request: Any) -> bytes | int:
        headers = {
            name.decode().lower(): b", ".join(values).decode()
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        body = request.content.read()
        seen = Seen(request.method.decode(), request.uri.decode(), headers, body)
        self.seen.append(seen)
        request.defaultContentType = None
        answer = self.handle(seen)
        if answer == DROP:
            request.channel.transport.loseConnection()
            return NOT_DONE_YET
        if isinstance(answer, Deferred):
            answer.addCallback(lambda said: request.write(_say(said, request)))
            answer.addCallback(lambda _: request.finish())
            return NOT_DONE_YET
        if isinstance(answer, Says):
            return _say(answer, request)
        if answer in (STALL, BREAK):
            request.setResponseCode(self.stall_status)
            request.responseHeaders.setRawHeaders("content-length", ["1000"])
            request.write(b"begin")
            if answer == BREAK:
                request.channel.transport.loseConnection()
        request.notifyFinish().addErrback(self._lost)
        return NOT_DONE_YET

    def _lost(self, failure: Failure) -> None:
        self.lost += 1


def _say(answer: Says, request: Any) -> bytes:
    request.setResponseCode(answer.status)
    for name, value in answer.headers.items():
        values = list(value) if isinstance(value, list) else [value]
        request.responseHeaders.setRawHeaders(name, values)
    return answer.body


class Bytes(Protocol):
    """A server that answers whatever it gets with fixed bytes, and then closes."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(self.answer)
        self.transport.loseConnection()


class Ring:
    """A keyring that holds what a test says."""

    def __init__(self, held: Credentials | Unanswered | None = None) -> None:
        self.held = held
        self.asked = 0
        self.forgotten: list[str] = []

    def credentials(self, registry: Registry) -> Deferred[Credentials | None]:
        self.asked += 1
        return fail(self.held) if isinstance(self.held, Unanswered) else succeed(self.held)

    def forget(self, registry: Registry) -> None:
        self.forgotten.append(registry.name)


class Client:
    """The clients of all registries that are asked: one each."""

    def __init__(self, make: Callable[[Registry], RegistryClient]) -> None:
        self._make = make
        self.clients: dict[Registry, RegistryClient] = {}

    def of(self, registry: Registry) -> RegistryClient:
        if registry not in self.clients:
            self.clients[registry] = self._make(registry)
        return self.clients[registry]

    def ask(self, candidate: Candidate, waited: float = 0.0) -> Deferred[Answer]:
        return self.of(registry_of(candidate)).ask(candidate, waited)

    def look_up(self, candidate: Candidate) -> Deferred[LookUp]:
        return self.ask(candidate).addCallback(lambda answer: answer.look_up)

    def close(self) -> Deferred[Any]:
        return DeferredList([client.close() for client in self.clients.values()])


class _End(iosim.FakeTransport):
    """The client's end of a connection; aborting it is the end of the server's too."""

    def __init__(self, protocol: Any, server: iosim.FakeTransport) -> None:
        super().__init__(protocol, isServer=False)
        self._server = server

    def abortConnection(self) -> None:
        super().abortConnection()
        self._server.disconnecting = True
        self._server.stream.clear()


@implementer(IHostnameResolver)
class _Names:
    """Knows the hosts of a network."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self.addresses = addresses
        # Names that are asked for and not answered before the test says so.
        self.mute: set[str] = set()
        self.asked: list[str] = []
        self._waiting: list[tuple[Any, str, int]] = []

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        resolutionReceiver.resolutionBegan(None)
        host = hostName.lower()
        self.asked.append(host)
        if host in self.mute:
            self._waiting.append((resolutionReceiver, host, portNumber))
        else:
            self._tell(resolutionReceiver, host, portNumber)
        return None

    def answer(self) -> None:
        """Answer all that was asked for."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            self._tell(*one)

    def _tell(self, receiver: Any, host: str, port: int) -> None:
        if host in self.addresses:
            receiver.addressResolved(IPv4Address("TCP", self.addresses[host], port))
        receiver.resolutionComplete()


@implementer(IReactorPluggableNameResolver)
class _Reactor(MemoryReactorClock):
    """The one of Twisted 22.4 resolves no names."""

    def __init__(self, names: _Names) -> None:
        super().__init__()
        self.nameResolver = names

    def installNameResolver(self, resolver: Any) -> Any:
        raise NotImplementedError


class Network:
    """Hosts, what listens on them, and the clock.

    Hosts that are added without a server swallow connections; ports nobody listens on refuse.
    """

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}
        self.names = _Names(self._addresses)
        self.reactor = _Reactor(self.names)
        self._listening: dict[tuple[str, int], Any] = {}
        self._swallowing: set[str] = set()
        self._begun = 0
        self.pumps: list[Any] = []
        self.connections = 0

    def address(self, host: str) -> str:
        return self._addresses.setdefault(host, f"10.0.0.{len(self._addresses) + 1}")

    def swallow(self, host: str) -> None:
        """Add a host that never answers to an attempt to connect."""
        self._swallowing.add(self.address(host))

    def serve(self, place: str, handle: Handle, tls: Any = None) -> Server:
        """Add an HTTP server at `host:port`."""
        server = Server(handle)
        site: Any = Site(server, reactor=self.reactor)
        if tls is not None:
            site = TLSMemoryBIOFactory(tls, False, site, **tls_clock(self.reactor))
        self.listen(place, site)
        return server

    def answer_bytes(self, place: str, answer: bytes) -> None:
        """Add a server at `host:port` that speaks something else."""
        factory = Factory.forProtocol(lambda: Bytes(answer))  # type: ignore[arg-type]
        self.listen(place, factory)

    def listen(self, place: str, factory: Any) -> None:
        host, _, port = place.rpartition(":")
        self._listening[self.address(host), int(port)] = factory

    def close(self, place: str) -> None:
        host, _, port = place.rpartition(":")
        del self._listening[self.address(host), int(port)]

    def client(self, *, ttl: float = 600.0, keyring: Any = None, **settings: Any) -> Client:
        """Make what asks each candidate's registry; `settings` are put into the registries."""
        keyring = keyring or Keyring(self.reactor, ttl)  # type: ignore[arg-type]

        def make(registry: Registry) -> RegistryClient:
            registry = attrs.evolve(registry, **settings)
            return make_registry_client(self.reactor, registry, keyring, ttl)  # type: ignore[arg-type]

        return Client(make)

    def settle(self) -> None:
        """Let everything happen that can happen without time passing."""
        busy = True
        while busy:
            busy = self._connect() or self._run_due()
            for pump in list(self.pumps):
                busy = bool(pump.flush()) or busy

    def advance(self, seconds: float) -> None:
        self.settle()
        self.reactor.advance(seconds)
        self.settle()

    def ask(self, deferred: Deferred[Any]) -> Any:
        """Return what comes of something that needs no time."""
        self.settle()
        return result_of(deferred)

    @property
    def open_connections(self) -> int:
        return sum(not (p.clientIO.disconnected or p.clientIO.disconnecting) for p in self.pumps)

    def _run_due(self) -> bool:
        now = self.reactor.seconds()
        due = any(call.getTime() <= now for call in self.reactor.getDelayedCalls())
        self.reactor.advance(0)
        return due

    def _connect(self) -> bool:
        attempts = self.reactor.tcpClients[self._begun :]
        connectors = self.reactor.connectors[self._begun :]
        for (host, port, factory, *_), connector in zip(attempts, connectors, strict=True):
            self._begun += 1
            if host in self._swallowing:
                continue
            listening = self._listening.get((host, port))
            if listening is None:
                factory.clientConnectionFailed(
                    connector, Failure(error.ConnectionRefusedError(111))
                )
                continue
            self.connections += 1
            server = listening.buildProtocol(IPv4Address("TCP", "10.0.0.100", 40000))
            client = factory.buildProtocol(None)
            server_end = iosim.FakeTransport(server, isServer=True)
            client_end = _End(client, server_end)
            self.pumps.append(iosim.connect(server, server_end, client, client_end))
        return bool(attempts)


def candidate(
    name: str, registry: Registry | None = None, *, forbidden: str = "", **settings: Any
) -> Candidate:
    """Make the candidate for a full reference; its registry is plain http unless said otherwise."""
    reference = parse_reference(name)
    if registry is None:
        registry = Registry(reference.domain, **{"plain_http": True, **settings})
    return Candidate(name, reference, registry, rewritten=True, forbidden=forbidden)
