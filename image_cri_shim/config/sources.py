"""Which registries a rule asks, and how a sentence names several of them."""

from __future__ import annotations

from image_cri_shim.decision import Registry
from image_cri_shim.policy import is_docker_hub
from image_cri_shim.rules import Rule

# How many a sentence names.
_NAMED = 3


def asks(rule: Rule, registry: Registry) -> bool:
    """Tell whether a registry is among those that a rule asks."""
    if rule.registries is None:
        return is_default_source(registry)
    return registry.name.lower() in (name.lower() for name in rule.registries)


def is_default_source(registry: Registry) -> bool:
    """Tell whether a registry is asked where none is named; Docker Hub is not."""
    return not is_docker_hub(registry)


def listed(names: list[str]) -> str:
    """Write the first few names."""
    return " and ".join(names[:_NAMED]) + (" and others" if len(names) > _NAMED else "")
