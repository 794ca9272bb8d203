"""The registry clients: one for each registry, made when it is first asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred, DeferredList

from image_cri_shim.decision import Candidate, Registry
from image_cri_shim.registry.answer import Answer


class Client(Protocol):
    """Whoever asks registries and says what it means for their health."""

    def ask(self, candidate: Candidate, waited: float = 0.0) -> Deferred[Answer]:
        """Ask; fails only by being cancelled.

        :param waited: seconds of the time for a look-up that are over already.
        """

    def close(self) -> Deferred[None]:
        """Close the connections once no look-up runs."""


def registry_of(candidate: Candidate) -> Registry:
    """Return the registry that is asked about a candidate: an origin is asked anonymously."""
    if candidate.registry is not None:
        return candidate.registry
    return Registry(candidate.reference.domain)


class Clients:
    """Asks each registry by a client of its own: settings and connections are not shared.

    :param make: makes the client of a registry.
    """

    def __init__(self, make: Callable[[Registry], Client]) -> None:
        self._make = make
        self._clients: dict[Registry, Client] = {}

    def of(self, registry: Registry) -> Client:
        """Return the client of a registry."""
        client = self._clients.get(registry)
        if client is None:
            client = self._clients[registry] = self._make(registry)
        return client

    def ask(self, candidate: Candidate, waited: float = 0.0) -> Deferred[Answer]:
        """Ask a candidate's registry; fails only by being cancelled."""
        return self.of(registry_of(candidate)).ask(candidate, waited)

    def close(self) -> Deferred[None]:
        """Close all connections once no look-up runs."""
        closing = DeferredList([client.close() for client in self._clients.values()])
        return closing.addCallback(lambda _: None)
