"""Hosts' names: found in threads, because the system may take its time, and nobody waits for it.

The system's resolver cannot be interrupted, and takes half a minute where a name server is silent.
So a name has one thread, however many ask for it; dead names leave threads for the others; and the
program ends without them.
"""

from __future__ import annotations

import functools
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver, IHostResolution
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer  # type: ignore[import-untyped]

from image_cri_shim.singleflight import SingleFlight

# How many names are looked for at the same time; the others wait.
THREADS = 32

Address: TypeAlias = IPv4Address | IPv6Address
# Takes a host, a port, a family and a kind of socket, and returns what getaddrinfo(3) does.
GetAddresses: TypeAlias = Callable[[str, int, int, int], Sequence[tuple[Any, ...]]]

_KINDS = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}
_ADDRESSES: dict[int, Callable[..., Address]] = {
    socket.AF_INET: IPv4Address,
    socket.AF_INET6: IPv6Address,
}


class UnattendedThreads(ThreadPool):
    """Threads for which nobody waits when the program ends."""

    threadFactory = functools.partial(threading.Thread, daemon=True)  # type: ignore[assignment]  # noqa: N815


@implementer(IHostResolution)
@attrs.frozen
class _Resolution:
    """One question.

    :ivar name: the host that is looked for.
    """

    name: str

    def cancel(self) -> None:
        """Say that it cannot be cancelled, as with Twisted's own resolver."""
        raise NotImplementedError


@implementer(IHostnameResolver)
class NameResolver:
    """Finds hosts' addresses, in threads of its own.

    :param reactor: gets the answers.
    :param threads: where the system is asked.
    :param ask: asks it.
    """

    def __init__(
        self, reactor: Any, threads: ThreadPool, ask: GetAddresses = socket.getaddrinfo
    ) -> None:
        self._reactor = reactor
        self._threads = threads
        self._ask = ask
        # A thread that has begun ends when the system says so, whoever still waits.
        self._running: SingleFlight[tuple[str, str], list[Address]] = SingleFlight(lambda _: True)

    def resolveHostName(  # noqa: N802 - Twisted's name
        self,
        resolutionReceiver: Any,  # noqa: N803 - Twisted's name
        hostName: str,  # noqa: N803 - Twisted's name
        portNumber: int = 0,  # noqa: N803 - Twisted's name
        addressTypes: Sequence[type[Any]] | None = None,  # noqa: N803 - Twisted's name
        transportSemantics: str = "TCP",  # noqa: N803 - Twisted's name
    ) -> IHostResolution:
        """Tell a receiver the addresses of a host (IHostnameResolver); none if it has none."""
        resolution: Any = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)

        def tell(found: list[Address] | Failure) -> None:
            for address in [] if isinstance(found, Failure) else found:
                if addressTypes is None or isinstance(address, tuple(addressTypes)):
                    resolutionReceiver.addressResolved(attrs.evolve(address, port=portNumber))
            resolutionReceiver.resolutionComplete()

        literal = _literal(hostName, transportSemantics)
        if literal is not None:
            tell([literal])
        else:
            key = hostName.lower(), transportSemantics
            self._running.join(key, lambda: self._find(*key)).addBoth(tell)
        return resolution  # type: ignore[no-any-return]

    def _find(self, host: str, kind: str) -> Deferred[list[Address]]:
        asking: Deferred[Sequence[tuple[Any, ...]]] = deferToThreadPool(
            self._reactor, self._threads, self._ask, host, 0, socket.AF_UNSPEC, _KINDS[kind]
        )
        return asking.addCallback(_addresses, kind)


def install_names(reactor: Any) -> None:
    """Let a reactor find names by a NameResolver; its threads begin with the first name.

    :param reactor: Twisted's.
    """
    threads = UnattendedThreads(0, THREADS, "names")
    # There is none yet, so this may be done before the program becomes a daemon.
    threads.start()
    reactor.installNameResolver(NameResolver(reactor, threads))


def _literal(host: str, kind: str) -> Address | None:
    """Return the address that a host's name is already, if it is one."""
    if isIPAddress(host):
        return _ADDRESSES[socket.AF_INET](kind, host, 0)
    # What is behind a percent sign is the name of an interface, which the system knows.
    if "%" not in host and isIPv6Address(host):
        return _ADDRESSES[socket.AF_INET6](kind, host, 0)
    return None


def _addresses(found: Sequence[tuple[Any, ...]], kind: str) -> list[Address]:
    """Read what getaddrinfo(3) returns: (family, type, protocol, name, address)."""
    return [
        _ADDRESSES[family](kind, *address)
        for family, _, _, _, address in found
        if family in _ADDRESSES
    ]
