"""All registries of a configuration, tried at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure

from image_cri_shim.cli.gathering import gather
from image_cri_shim.cli.terminal import one_line
from image_cri_shim.config import Config
from image_cri_shim.decision import Registry
from image_cri_shim.registry.client import make_registry_client
from image_cri_shim.registry.keyring import Keyring
from image_cri_shim.registry.probe import Probe


def probe_all(
    registries: Sequence[Registry],
    config: Config,
    reactor: Any,
    credentials_directory: str | None = None,
) -> Deferred[list[Probe]]:
    """Probe registries; the answers are in their order.

    :param registries: some of the configuration's.
    :param credentials_directory: where systemd has put credentials; None for none.
    :returns: a Deferred that fails only if it is cancelled.
    """
    ttl = config.cache.domain_cache_ttl
    keyring = Keyring(reactor, ttl, credentials_directory)

    def probe(registry: Registry) -> Deferred[Probe]:
        client = make_registry_client(reactor, registry, keyring, ttl)
        return client.probe()

    def try_it(registry: Registry) -> Deferred[Probe]:
        def give_up(failure: Failure) -> Probe:
            if failure.check(CancelledError):
                return failure  # type: ignore[return-value]
            # The others' answers are worth as much as before.
            return _hopeless(registry, f"failed: {type(failure.value).__name__}")

        return maybeDeferred(probe, registry).addErrback(give_up).addCallback(_on_one_line)

    return gather([try_it(registry) for registry in registries])


def _hopeless(registry: Registry, detail: str) -> Probe:
    return Probe(registry, reachable=False, tls="unknown", authentication="unknown", detail=detail)


def _on_one_line(probe: Probe) -> Probe:
    """Return a probe whose detail, which may be the registry's own words, can be shown."""
    return attrs.evolve(probe, detail=one_line(probe.detail))
