"""What has changed from one configuration to another, in lines for the log."""

from __future__ import annotations

from image_cri_shim.config.description import describe
from image_cri_shim.config.settings import Config
from image_cri_shim.decision import Registry

# What a registry or a rule has that only one of the two configurations describes.
_NOTHING = "none"
_ARROW = " -> "


def differences(before: Config, after: Config) -> tuple[str, ...]:
    """Return a line for each setting that has changed, ``Timeout: 15m0s -> 20m0s``; never a secret.

    They have the words and the order of ``describe``. What only ``before`` describes comes last.
    """
    old, new = dict(describe(before)), dict(describe(after))
    passwords = _changed_passwords(before, after)
    lines = []
    for name in (*new, *(name for name in old if name not in new)):
        one, other = old.get(name, _NOTHING), new.get(name, _NOTHING)
        if one != other:
            lines.append(f"{name}: {_quoted(one)}{_ARROW}{_quoted(other)}")
        if name in passwords:
            lines.append(passwords[name])
    return tuple(lines)


def _changed_passwords(before: Config, after: Config) -> dict[str, str]:
    """Return what to say of passwords that are set in both, by the line that they go with."""
    old = {_identity(one): one for one in before.all_registries}
    lines = {}
    for registry in after.all_registries:
        one, other = _password(old.get(_identity(registry))), _password(registry)
        if one and other and one != other:
            name = "Password" if registry.offline else f"Registry {registry.name}"
            lines[name] = f"{name}: {'changed' if registry.offline else 'password changed'}"
    return lines


def _identity(registry: Registry) -> tuple[bool, str]:
    """Return what a registry is told apart by: there is one that is offline, whatever its name."""
    return registry.offline, "" if registry.offline else registry.name


def _password(registry: Registry | None) -> str:
    credentials = registry.credentials if registry is not None else None
    return credentials.password if credentials is not None else ""


def _quoted(value: str) -> str:
    """Return a value in quotes if it has an arrow itself, as rules have."""
    return f'"{value}"' if _ARROW in value else value
