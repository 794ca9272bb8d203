"""Resolution: everything between an image reference and a decision, for one configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from image_cri_shim.config import Config
from image_cri_shim.decision import Candidate, LookUp, Registry
from image_cri_shim.policy import Policy
from image_cri_shim.registry.cache import LookUpCache
from image_cri_shim.registry.client import RegistryClient, make_registry_client
from image_cri_shim.registry.clients import Clients
from image_cri_shim.registry.health import Health
from image_cri_shim.registry.keyring import Keyring
from image_cri_shim.registry.look_ups import LookUps, key_of
from image_cri_shim.resolver import Resolver


class Resolution:
    """Owns what one configuration needs to decide about image references.

    :param reactor: Twisted's, for connections, processes and time.
    :param health: what is known of the registries beforehand; None for nothing.
    :param credentials_directory: where systemd has put the service's credentials; None for none.
    :param note: is told of look-ups; see ``LookUps``.
    :ivar policy: which candidates a reference has.
    :ivar keyring: which credentials a registry gets.
    :ivar health: which registries are failing.
    :ivar cache: what registries have answered.
    :ivar clients: ask the registries, whatever is known of them.
    :ivar look_ups: ask them as seldom as possible.
    :ivar resolver: decides.
    """

    def __init__(
        self,
        config: Config,
        reactor: Any,
        health: Health | None = None,
        credentials_directory: str | None = None,
        note: Callable[[LookUp], None] = lambda _: None,
    ) -> None:
        known_for = config.cache.domain_cache_ttl

        def make(registry: Registry) -> RegistryClient:
            return make_registry_client(reactor, registry, self.keyring, known_for)

        self.policy = Policy(config.all_registries, config.rules)
        self.keyring = Keyring(reactor, known_for, credentials_directory)
        self.health = Health(reactor) if health is None else health
        self.cache = LookUpCache(reactor, config.cache)
        self.clients = Clients(make)
        self.look_ups = LookUps(reactor, self.clients, self.health, self.cache, note)
        self.resolver = Resolver(self.policy, self.look_ups, reactor, config.lookup_grace)

    def forget(self, candidate: Candidate) -> None:
        """Drop what is remembered about a candidate that could not be pulled."""
        if candidate.registry is not None:
            self.look_ups.forget(candidate)

    def put_behind(self, candidate: Candidate) -> None:
        """Put a candidate behind the others that could not be pulled in all the time there was."""
        if candidate.registry is not None:
            self.look_ups.put_behind(candidate)

    def flush(self, image: str | None = None, registry: str | None = None) -> tuple[int, int]:
        """Forget what registries have answered, so that they are asked again.

        :param image: what is known of this reference's candidates only.
        :param registry: what is known of the registry with this name only, its failures as well.
        :returns: how many answers were dropped, and how many breakers closed.
        :raises InvalidReferenceError: the image is no reference.
        """
        if image is not None:
            keys = {key_of(candidate) for candidate in self.policy.plan(image).candidates}
            return self.cache.flush(keys.__contains__), 0
        if registry is not None:
            name = registry.lower()
            return self.cache.flush(lambda key: key[0] == name), self.health.forgive(name)
        return self.cache.flush(lambda _: True), self.health.forgive()

    def close(self, *, abort: bool = False) -> Deferred[None]:
        """Close all connections once no look-up runs.

        :param abort: whether look-ups that run are ended instead.
        """
        return self.look_ups.close(abort=abort)
