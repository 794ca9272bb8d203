"""All registries of a configuration, tried at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from image_cri_shim.cli.gathering import gather
from image_cri_shim.cli.secrecy import Secrets, secrets_of
from image_cri_shim.config import Config
from image_cri_shim.decision import Registry
from image_cri_shim.registry.client import make_registry_client
from image_cri_shim.registry.keyring import Keyring
from image_cri_shim.registry.probe import Probe


def probe_all(
    registries: Sequence[Registry], config: Config, reactor: Any
) -> Deferred[list[Probe]]:
    """Probe registries; the answers are in their order and without secrets.

    :param registries: some of the configuration's.
    :returns: a Deferred that fails only if it is cancelled.
    """
    ttl = config.cache.domain_cache_ttl
    keyring = Keyring(reactor, ttl)

    def probe(registry: Registry) -> Deferred[Probe]:
        client = make_registry_client(reactor, registry, keyring, ttl)
        both: list[Deferred[Any]] = [secrets_of(registry, keyring.credentials), client.probe()]
        return gather(both).addCallback(_clean)

    return gather([probe(registry) for registry in registries])


def _clean(results: list[Any]) -> Probe:
    """Return a probe whose detail, which may be the registry's own words, can be shown."""
    secrets: Secrets = results[0]
    probe: Probe = results[1]
    return attrs.evolve(probe, detail=secrets.redactor.clean(probe.detail))
