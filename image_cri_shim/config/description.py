"""The effective configuration in lines for the log."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from image_cri_shim.config.durations import format_duration
from image_cri_shim.config.excerpt import visible
from image_cri_shim.config.keys import OFFLINE_KEYS
from image_cri_shim.config.settings import Config, LogLevels
from image_cri_shim.decision import Registry
from image_cri_shim.rules import Rewrite, Rule

_LIKE = "as the runtime's socket"
_PLAIN = {field.name: field.default for field in attrs.fields(Registry)}


def describe(config: Config) -> tuple[tuple[str, str], ...]:
    """Return the names and values to log, in their order; never a password.

    What would not be seen in a value, or would turn the line around, is escaped. The names up to
    ``Password`` are those that existing installations' logs have.
    """
    return tuple((name, visible(value)) for name, value in _lines(config))


def _lines(config: Config) -> tuple[tuple[str, str], ...]:
    offline = config.offline
    others = (f"{one.name} (priority {one.priority})" for one in config.registries)
    cache = config.cache
    return (
        ("shim-socket", config.shim),
        ("cri-socket", config.cri if config.cri is not None else "detected"),
        ("hub-address", offline.url if offline is not None else "none"),
        ("RegistryDomain", offline.domain if offline is not None else "none"),
        ("Force", _truth(config.force)),
        ("Debug", _truth(config.debug)),
        ("ImageDir", config.image),
        ("Timeout", format_duration(config.timeout)),
        ("CRIVersion", config.version),
        ("Username", _user(offline) or "not set"),
        ("Password", "set" if _has_password(offline) else "not set"),
        ("ShimMode", f"{config.shim_mode:04o}" if config.shim_mode is not None else _LIKE),
        ("ShimOwner", config.shim_owner if config.shim_owner is not None else _LIKE),
        ("ShimGroup", config.shim_group if config.shim_group is not None else _LIKE),
        ("ShutdownGrace", format_duration(config.shutdown_grace)),
        ("ReloadInterval", _interval(config.reload_interval)),
        ("OfflinePriority", str(offline.priority) if offline is not None else "none"),
        ("Registries", ", ".join(others) or "none"),
        *_settings_of(config.all_registries),
        ("Rules", str(len(config.rules)) if config.rules else "none"),
        *((f"Rule {rule.number}", _described(rule)) for rule in config.rules),
        ("LookupGrace", _grace(config.lookup_grace)),
        ("OriginalNames", config.original_names),
        ("ImageCacheSize", str(cache.image_cache_size)),
        ("ImageCacheTTL", _interval(cache.image_cache_ttl)),
        ("AbsentTTL", _interval(cache.absent_ttl)),
        ("DomainCacheTTL", _interval(cache.domain_cache_ttl)),
        ("StatsLogInterval", _interval(cache.stats_log_interval)),
        ("DisableStats", _truth(cache.disable_stats)),
        ("AdminSocket", config.admin_socket if config.admin_socket is not None else "none"),
        ("AdminListen", config.admin_listen if config.admin_listen is not None else "none"),
        ("LogFormat", config.log_format),
        ("LogLevels", _levels(config.log_levels)),
        ("HistorySize", str(config.history_size) if config.history_size else "0 (no history)"),
        ("HistoryAge", format_duration(config.history_age) if config.history_age else "no limit"),
    )


def _settings_of(registries: tuple[Registry, ...]) -> Iterator[tuple[str, str]]:
    """Yield a line for each registry of which more is said than its address and priority."""
    for registry in registries:
        settings = [
            f"{key.name} {_written(getattr(registry, key.attribute))}"
            for key in OFFLINE_KEYS
            if getattr(registry, key.attribute) != _PLAIN[key.attribute]
        ]
        if not registry.offline:
            # The offline registry's user has lines of its own.
            user = _user(registry)
            password = "set" if _has_password(registry) else "not set"
            settings[:0] = [f"user {user} (password {password})"] if user else []
            settings[:0] = ["http"] if registry.plain_http else []
        if settings:
            yield f"Registry {registry.name}", ", ".join(settings)


def _described(rule: Rule) -> str:
    """Say what a rule does: ``docker.io -> harbor.corp; exclude *:latest; origin not allowed``."""
    about = ", ".join(map(str, rule.match))
    if rule.tags:
        about += f" (tags {', '.join(rule.tags)})"
    to = "all registries" if rule.registries is None else ", ".join(rule.registries) or "none"
    parts = [f"{about} -> {to}"]
    if rule.exclude:
        parts.append(f"exclude {', '.join(map(str, rule.exclude))}")
    if rule.rewrite:
        parts.append(f"rewrite {', '.join(map(_rewritten, rule.rewrite))}")
    if not rule.origin_allowed:
        parts.append("origin not allowed")
    return "; ".join(parts)


def _rewritten(rewrite: Rewrite) -> str:
    path = rewrite.path
    if not rewrite.origin.path or rewrite.origin.path.endswith("*"):
        path = f"{path}/*" if path else "*"
    return f"{rewrite.origin} -> {path}"


def _user(registry: Registry | None) -> str:
    credentials = registry.credentials if registry is not None else None
    return credentials.username if credentials is not None else ""


def _has_password(registry: Registry | None) -> bool:
    credentials = registry.credentials if registry is not None else None
    return credentials is not None and bool(credentials.password)


def _levels(levels: LogLevels) -> str:
    """Say what is said of single components: ``registry debug, admin warn``."""
    said = attrs.asdict(levels)
    return ", ".join(f"{name} {level}" for name, level in said.items() if level) or "as Debug says"


def _written(value: object) -> str:
    """Write a setting's value as the file has it."""
    if isinstance(value, bool):
        return _truth(value)
    return format_duration(value) if isinstance(value, float) else str(value)


def _truth(value: bool) -> str:  # noqa: FBT001 - it is the value itself
    return "true" if value else "false"


def _grace(seconds: float) -> str:
    return format_duration(seconds) if seconds else "0s (strict order)"


def _interval(seconds: float) -> str:
    return format_duration(seconds) if seconds else "off"
