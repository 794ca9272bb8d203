"""The configuration as the program uses it: validated, complete, unchangeable."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import attrs

from image_cri_shim.decision import Registry
from image_cri_shim.rules import Rule

# The CRI version to speak to the runtime; ``auto`` finds out.
VersionChoice: TypeAlias = Literal["auto", "v1", "v1alpha2"]
# The names that clients see of images that were pulled under another one.
OriginalNames: TypeAlias = Literal["keep", "add", "only"]
# How log lines are written; ``auto`` finds out who reads them.
LogFormat: TypeAlias = Literal["auto", "text", "json", "journal"]
# What a component logs: this and what is graver.
Level: TypeAlias = Literal["debug", "info", "warn", "error"]
LEVELS: tuple[Level, ...] = get_args(Level)

_OFFLINE = Registry("sealos.hub:5000", plain_http=True, priority=1000, offline=True)


@attrs.frozen
class CacheConfig:
    """What look-ups may be remembered.

    :ivar image_cache_size: images, at most; 0 remembers none.
    :ivar image_cache_ttl: seconds that a registry's "present" holds.
    :ivar absent_ttl: seconds that its "absent" holds.
    :ivar domain_cache_ttl: seconds that what is known about a registry itself holds: how it wants
        to be shown who asks, and what a credential helper said.
    :ivar stats_log_interval: seconds between two lines of statistics; 0 for none.
    :ivar disable_stats: whether nothing is counted.
    """

    image_cache_size: int = 1024
    image_cache_ttl: float = 1800.0
    absent_ttl: float = 30.0
    domain_cache_ttl: float = 600.0
    stats_log_interval: float = 60.0
    disable_stats: bool = False


@attrs.frozen
class LogLevels:
    """What single components log, apart from what ``debug`` says; None where nothing is said.

    :ivar daemon: start, stop, sockets and the state as a whole.
    :ivar cri: clients and their calls.
    :ivar pull: what is decided about pulls, and how they end.
    :ivar runtime: the connection to the runtime.
    :ivar registry: look-ups, credentials, breakers, and what is remembered.
    :ivar config: the configuration's files and reloads.
    :ivar admin: the admin interface and the history.
    """

    daemon: Level | None = None
    cri: Level | None = None
    pull: Level | None = None
    runtime: Level | None = None
    registry: Level | None = None
    config: Level | None = None
    admin: Level | None = None

    def effective(self, debug: bool) -> dict[str, Level]:  # noqa: FBT001 - it is a key
        """Return what each component logs: as is said here, or else as ``debug`` says."""
        return {name: getattr(self, name) or default_level(debug) for name in COMPONENTS}


def default_level(debug: bool) -> Level:  # noqa: FBT001 - it is a key
    """Return the level of everything of which nothing is said."""
    return "debug" if debug else "info"


# The components that have a level of their own, in the order in which they are told.
COMPONENTS = tuple(field.name for field in attrs.fields(LogLevels))


@attrs.frozen
class Config:
    """The whole configuration; without arguments, what an empty file means.

    :ivar shim: the absolute path of the socket to serve.
    :ivar shim_mode: that socket's mode; None for that of the runtime's.
    :ivar shim_owner: its owner, a name or a number; None for that of the runtime's.
    :ivar shim_group: its group, in the same way.
    :ivar cri: the absolute path of the runtime's socket; None to detect it.
    :ivar offline: the offline registry with its credentials and priority, or None.
    :ivar registries: the other registries, as they stand in the file.
    :ivar rules: what holds for some image references in place of the default.
    :ivar lookup_grace: seconds to wait for a registry when one behind it has the image; 0 to wait
        until it has answered.
    :ivar original_names: which names clients see of images that were pulled under rewritten ones.
    :ivar force: whether to start although the runtime's socket does not exist yet.
    :ivar debug: whether to log for debugging.
    :ivar image: the absolute path of the state directory.
    :ivar version: the CRI version to speak to the runtime.
    :ivar timeout: seconds that one CRI call may take.
    :ivar shutdown_grace: seconds that calls that run may go on once the shim is told to stop.
    :ivar reload_interval: seconds between two looks at the file; 0 to look only when told to.
    :ivar admin_socket: the absolute path of the admin interface's socket; None for none.
    :ivar admin_listen: where it listens on TCP besides, ``host:port``; None for nowhere.
        ``parse_listen`` takes it apart.
    :ivar log_format: how log lines are written.
    :ivar log_levels: what single components log; ``levels`` has what that comes to.
    :ivar history_size: the pulls that the history keeps, at most; 0 for no history.
    :ivar history_age: seconds that it keeps them; 0 for no limit.
    """

    shim: str = "/var/run/image-cri-shim.sock"
    shim_mode: int | None = None
    shim_owner: str | None = None
    shim_group: str | None = None
    cri: str | None = None
    offline: Registry | None = _OFFLINE
    registries: tuple[Registry, ...] = ()
    rules: tuple[Rule, ...] = ()
    lookup_grace: float = 1.0
    original_names: OriginalNames = "keep"
    force: bool = False
    debug: bool = False
    image: str = "/var/lib/image-cri-shim"
    version: VersionChoice = "auto"
    timeout: float = 900.0
    shutdown_grace: float = 30.0
    reload_interval: float = 15.0
    cache: CacheConfig = CacheConfig()
    admin_socket: str | None = "/run/image-cri-shim/admin.sock"
    admin_listen: str | None = None
    log_format: LogFormat = "auto"
    log_levels: LogLevels = LogLevels()
    history_size: int = 10_000
    history_age: float = 90 * 24 * 3600.0

    @property
    def levels(self) -> dict[str, Level]:
        """What each of ``COMPONENTS`` logs: as ``log_levels`` says, or else as ``debug`` does."""
        return self.log_levels.effective(self.debug)

    @property
    def all_registries(self) -> tuple[Registry, ...]:
        """The offline registry, if there is one, and the others."""
        return self.registries if self.offline is None else (self.offline, *self.registries)
