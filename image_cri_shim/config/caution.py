"""What a correct configuration had better not say, in sentences for the log."""

from __future__ import annotations

import ipaddress
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from image_cri_shim.config.content import holds_password
from image_cri_shim.config.coverage import Effort
from image_cri_shim.config.drop_ins import files
from image_cri_shim.config.pattern_fields import fixed_part
from image_cri_shim.config.settings import Config
from image_cri_shim.config.sockets import parse_listen
from image_cri_shim.config.sources import asks, is_default_source, listed
from image_cri_shim.config.strictness import leaking, unservable
from image_cri_shim.decision import Registry
from image_cri_shim.pattern import Pattern
from image_cri_shim.policy import is_docker_hub
from image_cri_shim.rules import Rule

# Comparisons that all rules of a file are worth together.
_COMPARED = 1_000_000
# A path's first part that is read as a host's name or address; a version, v1.2, is not.
_HOST = re.compile(r"localhost|.+\.[a-z]{2,}|[0-9]+(?:\.[0-9]+){3}", re.ASCII)


def warnings(config: Config) -> tuple[str, ...]:
    """Return what to warn the operator of, at start and after each reload; never a secret.

    Each is one sentence that names the registry or the rule, the danger and the way out.
    """
    found = [*_open_to_all(config), *_public(config)]
    for registry in config.all_registries:
        found += _exposed(registry)
    found += _idle_hub(config)
    found += _mixed(config)
    effort = Effort(_COMPARED)
    for rule in config.rules:
        found += unservable(rule, config)
        found += leaking(rule, config, effort)
        found += _misdirected(rule, config)
    return tuple(found)


def exposure(path: str, config: Config) -> str:
    """Return what to warn of if everybody on the machine can read the configuration's passwords.

    :param path: where the configuration was read from: that file, and its drop-ins.
    """
    if all(registry.credentials is None for registry in config.all_registries):
        return ""
    said = (public_secret(file, "a password") for file in files(path) if holds_password(file))
    return "; ".join(filter(None, said))


def public_secret(path: str, what: str) -> str:
    """Return what to warn of if everybody on the machine can read a file with a secret.

    :param what: the secret, for the operator.
    """
    try:
        readable = Path(path).stat().st_mode & stat.S_IROTH
    except (OSError, ValueError):
        return ""
    return f"{path} holds {what} and everybody can read it: chmod 600 {path}" if readable else ""


def _open_to_all(config: Config) -> Iterator[str]:
    """Yield it if everybody on the machine can connect to the socket (unix(7): who may write)."""
    mode = config.shim_mode
    if mode is not None and mode & stat.S_IWOTH:
        yield (
            f"shimMode {mode:04o} lets everybody on this machine connect to {config.shim}, and who "
            "can do that can run any container, as root; let the group alone write "
            "(0660, shimGroup)"
        )


def _public(config: Config) -> Iterator[str]:
    """Yield it if others than this machine can reach the admin interface."""
    if config.admin_listen is None:
        return
    host, port = parse_listen(config.admin_listen)
    if not _is_loopback_address(host):
        local = "[::1]" if ":" in host else "127.0.0.1"
        yield (
            f"adminListen {config.admin_listen}: whoever reaches this address can read the status, "
            "and with it the names of images and registries, without a password and in clear text; "
            f"write {local}:{port} unless the network in front of it keeps others out"
        )


def _exposed(registry: Registry) -> Iterator[str]:
    """Yield what others on the network can do."""
    name = registry.name
    secret = registry.has_credentials
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
            is_docker_hub(registry)
            and not registry.has_credentials
            and registry.name.lower() not in named
        ):
            yield (
                f"registry {registry.name}: it has no credentials and no rule names it, so it is "
                "never used; Docker Hub's images are pulled from it as from any origin"
            )


def _mixed(config: Config) -> Iterator[str]:
    """Yield it if nothing below a registry's prefix tells the images of several origins apart."""
    scopes = [(rule, _origins(rule)) for rule in config.rules]
    catches_all = any(
        not rule.tags and any(one.host == "*" and not fixed_part(one) for one in rule.match)
        for rule in config.rules
    )
    for registry in config.all_registries:
        # What has the digest that was asked for is the image that was meant.
        if not registry.prefix or registry.keep_host or registry.trust_for == "digest":
            continue
        places = _asking_for_several(registry, scopes)
        if not catches_all and is_default_source(registry):
            places.append("the default")
        if places:
            yield (
                f"registry {registry.name}: images of several origins are looked for there (by "
                f"{listed(places)}), and its paths do not say from which one an image is, so "
                "another one than meant may be pulled; let only rules for the origin that it holds "
                'ask it, and a last rule with match: "*" the others, or set keepHost if its paths '
                "begin with the origin's host"
            )


def _asking_for_several(registry: Registry, scopes: list[tuple[Rule, frozenset[str]]]) -> list[str]:
    """Return the rules that make a registry be asked for images of several origins.

    A rule that is about one origin and names the registry says that this one is there; such rules
    alone are no reason.

    :param scopes: all rules, and the hosts of those images whose paths they leave as they are.
    """
    several, single = [], []
    origins: set[str] = set()
    for rule, hosts in scopes:
        if not asks(rule, registry):
            continue
        others = hosts - {registry.domain.lower()}
        if len(others) > 1 or any("*" in host for host in others):
            several.append(rule.label)
        elif others and rule.registries is None:
            single.append(rule.label)
        origins |= others
    return several or (single if len(origins) > 1 else [])


def _origins(rule: Rule) -> frozenset[str]:
    """Return the hosts of the images that a rule is about, but not where it writes the path."""
    return frozenset(one.host for one in rule.match if not _is_rewritten(one, rule))


def _is_rewritten(pattern: Pattern, rule: Rule) -> bool:
    """Tell whether a rule writes a path for all that one of its patterns means."""
    return pattern.names_one_host and any(
        one.origin.host == pattern.host
        and f"{pattern.path}/".startswith(f"{fixed_part(one.origin)}/".lstrip("/"))
        for one in rule.rewrite
    )


def _misdirected(rule: Rule, config: Config) -> Iterator[str]:
    """Yield it if a rule's path looks like a registry that it would be asked at."""
    for rewrite in rule.rewrite:
        host = rewrite.path.partition("/")[0]
        if _HOST.fullmatch(host) is None or host == rewrite.origin.host:
            continue
        asked = (one for one in config.all_registries if asks(rule, one) and not one.keep_host)
        flat = next(asked, None)
        if flat is not None:
            yield (
                f"{rule.label}: it rewrites to {rewrite.path}, which is a path "
                f"({flat.name}/{rewrite.path}) and not another registry; write the path alone and "
                "name the registry under `registries`, or set keepHost for a registry whose paths "
                "begin with a host"
            )


def _is_loopback(domain: str) -> bool:
    host = domain.rpartition(":")[0] or domain
    if domain.startswith("["):
        host = domain[1 : domain.index("]")]
    return host.lower() == "localhost" or _is_loopback_address(host)


def _is_loopback_address(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # Before Python 3.13 ::ffff:127.0.0.1 says of itself that it is none.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
