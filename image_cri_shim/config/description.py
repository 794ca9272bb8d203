"""The effective configuration in lines for the log."""

from __future__ import annotations

from image_cri_shim.config.durations import format_duration
from image_cri_shim.config.settings import Config


def describe(config: Config) -> tuple[tuple[str, str], ...]:
    """Return the names and values to log, in their order; never a password.

    The names up to ``Password`` are those that existing installations' logs have.
    """
    offline = config.offline
    credentials = offline.credentials if offline is not None else None
    others = (f"{one.domain} (priority {one.priority})" for one in config.registries)
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
        ("Username", credentials.username if credentials is not None else "not set"),
        ("Password", "set" if credentials is not None and credentials.password else "not set"),
        ("ReloadInterval", _interval(config.reload_interval)),
        ("OfflinePriority", str(offline.priority) if offline is not None else "none"),
        ("Registries", ", ".join(others) or "none"),
        ("ImageCacheSize", str(cache.image_cache_size)),
        ("ImageCacheTTL", _interval(cache.image_cache_ttl)),
        ("DomainCacheTTL", _interval(cache.domain_cache_ttl)),
        ("StatsLogInterval", _interval(cache.stats_log_interval)),
        ("DisableStats", _truth(cache.disable_stats)),
    )


def _truth(value: bool) -> str:  # noqa: FBT001 - it is the value itself
    return "true" if value else "false"


def _interval(seconds: float) -> str:
    return format_duration(seconds) if seconds else "off"
