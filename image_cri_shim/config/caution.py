"""What a correct configuration had better not say, in sentences for the log."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Iterator
from pathlib import Path

from image_cri_shim.config.settings import Config
from image_cri_shim.decision import Registry, TrustFor
from image_cri_shim.reference import DEFAULT_DOMAIN
from image_cri_shim.rules import Rule

_KINDS: dict[TrustFor, tuple[str, ...]] = {
    "all": ("tag", "digest"),
    "tag": ("tag",),
    "digest": ("digest",),
}


def warnings(config: Config) -> tuple[str, ...]:
    """Return what to warn the operator of, at start and after each reload; never a secret.

    Each is one sentence that names the registry or the rule, the danger and the way out.
    """
    found: list[str] = []
    for registry in config.all_registries:
        found += _exposed(registry)
    found += _idle_hub(config)
    for rule in config.rules:
        found += _unservable(rule, config)
    return tuple(found)


def exposure(path: str, config: Config) -> str:
    """Return what to warn of if everybody on the machine can read the passwords in a file."""
    if all(registry.credentials is None for registry in config.all_registries):
        return ""
    try:
        readable = Path(path).stat().st_mode & stat.S_IROTH
    except OSError:
        return ""
    return (
        f"{path} holds a password and everybody can read it: chmod 600 {path}" if readable else ""
    )


def _exposed(registry: Registry) -> Iterator[str]:
    """Yield what others on the network can do."""
    name = registry.name
    secret = registry.credentials is not None or registry.auth_file is not None
    if registry.insecure_skip_verify:
        gain = "gets its credentials and decides" if secret else "decides"
        yield (
            f"registry {name}: its certificate is not verified (insecureSkipVerify), so whoever "
            f"can answer in its place {gain} what it is said to have; "
            "name its CA as caFile instead"
        )
    if registry.plain_http and secret and not _is_loopback(registry.domain):
        yield (
            f"registry {name}: its credentials go over the network in clear text (http://); "
            "give it TLS and an address with https://"
        )


def _idle_hub(config: Config) -> Iterator[str]:
    """Yield it if Docker Hub is listed for nothing."""
    named = {name.lower() for rule in config.rules for name in rule.registries or ()}
    for registry in config.all_registries:
        if (
            registry.domain.lower() == DEFAULT_DOMAIN
            and registry.credentials is None
            and registry.auth_file is None
            and registry.name.lower() not in named
        ):
            yield (
                f"registry {registry.name}: it has no credentials and no rule names it, so it is "
                "never used; Docker Hub's images are pulled from it as from any origin"
            )


def _unservable(rule: Rule, config: Config) -> Iterator[str]:
    """Yield it if a rule refuses images although that was perhaps not meant."""
    if rule.origin_allowed or rule.registries == ():
        # To name no registry at all is plain enough.
        return
    named = {name.lower() for name in rule.registries or ()}
    sources = [
        one
        for one in config.all_registries
        if (one.name.lower() in named if named else one.domain.lower() != DEFAULT_DOMAIN)
    ]
    served = {kind for one in sources for kind in _KINDS[one.trust_for]}
    if not served:
        yield (
            f"{rule.label}: it does not allow the origin, and there is no registry that it may "
            "ask, so it refuses every image"
        )
        return
    for kind, words in (("digest", "with a digest"), ("tag", "without a digest")):
        if kind not in served:
            yield (
                f"{rule.label}: it does not allow the origin, and no registry that it may ask is "
                f"trusted for references {words}, so it refuses those"
            )


def _is_loopback(domain: str) -> bool:
    host = domain.rpartition(":")[0] or domain
    if domain.startswith("["):
        host = domain[1 : domain.index("]")]
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
