"""What runs according to one configuration, until another one is applied."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from image_cri_shim.bridge import loop_name, to_future
from image_cri_shim.cache_log import CacheLog
from image_cri_shim.config import Config, describe, detect_runtime_socket, differences, warnings
from image_cri_shim.credentials import DIRECTORY_VARIABLE, Credentials
from image_cri_shim.cri.memory import Memory
from image_cri_shim.cri.pull import Routing
from image_cri_shim.cri.server import CriServer
from image_cri_shim.cri.upstream import Upstream
from image_cri_shim.decision import Candidate, Decision, Registry
from image_cri_shim.listeners import Listeners
from image_cri_shim.logs import logger, set_debug
from image_cri_shim.pull_log import PullLog
from image_cri_shim.resolution import Resolution

_log = logger("image-cri-shim")
# What may change without anything that is known of the registries becoming untrue.
_ASIDE = (
    "shim",
    "shim_mode",
    "shim_owner",
    "shim_group",
    "cri",
    "force",
    "debug",
    "image",
    "version",
    "timeout",
    "reload_interval",
    "shutdown_grace",
    "original_names",
)
_DEFAULTS = Config()


class Daemon:
    """What runs according to one configuration, until another one is applied.

    :param listeners: the sockets; they are bound before it begins.
    :param reactor: the asyncio reactor.
    :ivar changed: is called when ``state`` may have changed.
    """

    def __init__(self, config: Config, listeners: Listeners, reactor: Any) -> None:
        self.changed: Callable[[], None] = lambda: None
        self._listeners = listeners
        self._reactor = reactor
        self._pulls = PullLog(_log)
        self.config = config
        self._resolution: Resolution | None = None
        self._cache_log: CacheLog | None = None
        self._upstream: Upstream | None = None
        self._routing: Routing | None = None
        self._memory = Memory(config.image)
        self._server: CriServer | None = None

    @property
    def state(self) -> str:
        """How it is, in one line for the operator."""
        parts = [f"serving on {', '.join(self._listeners.paths) or 'nothing'}"]
        if self._listeners.trouble:
            parts.append(self._listeners.trouble)
        if self._upstream is not None:
            parts.append(self._upstream.state)
        return "; ".join(parts)

    @property
    def full(self) -> bool:
        """Whether a client that comes is refused, for there are too many."""
        return self._server is not None and self._server.full

    async def begin(self) -> None:
        """Put the first configuration to work and serve."""
        self._log_effect(self.config)
        self._upstream = self._reach(self.config)
        self._resolution = self._resolve_by(self.config)
        self._routing = self._route(self.config, self._resolution, self._upstream)
        self._upstream.start()
        self._memory.load()
        self._server = CriServer(self._current, self._pulls, self._memory)
        self._listeners.serve(self._server)
        _log.debug("event loop: {name}", name=loop_name(asyncio.get_running_loop()))

    def apply(self, config: Config, anew: bool) -> None:  # noqa: FBT001 - a reload says how
        """Put another configuration to work; calls that run go on under theirs.

        :param anew: forget what is known of the registries even if nothing is said of them.
        :raises SocketError: its socket cannot be served; nothing has changed.
        """
        self._listeners.bind(config)
        before, self.config = self.config, config
        if self._upstream is None or self._resolution is None:
            return
        changes = differences(before, config)
        for change in changes:
            _log.info("reload: {change}", change=change)
        if not changes:
            _log.info("reload: nothing has changed")
        if changes or anew:
            self._log_effect(config)
        self._memory.move(config.image)
        resolution, upstream = self._resolution, self._upstream
        if (config.cri, config.version, config.shim) != (before.cri, before.version, before.shim):
            self._upstream = self._reach(config)
        if anew or _of_registries(config) != _of_registries(before):
            self._resolution = self._resolve_by(config)
        self._routing = self._route(config, self._resolution, self._upstream)
        if self._upstream is not upstream:
            self._upstream.start()
            upstream.retire()
        if self._resolution is not resolution:
            resolution.close()
        self.changed()

    async def finish(self) -> None:
        """Let pulls finish, then close every connection."""
        if self._server is not None:
            await self._server.stop(self.config.shutdown_grace)
        if self._upstream is not None:
            self._upstream.close()
        await self._memory.saved()
        if self._cache_log is not None:
            self._cache_log.stop()
        if self._resolution is not None:
            await to_future(self._resolution.close(abort=True))

    def _log_effect(self, config: Config) -> None:
        set_debug(config.debug)
        for key, value in describe(config):
            _log.info("{key}: {value}", key=key, value=value)
        for sentence in warnings(config):
            _log.warn("{sentence}", sentence=sentence)

    def _reach(self, config: Config) -> Upstream:
        upstream = Upstream(locate(config, self._own_paths), config.version)
        upstream.watch(self._note_change)
        return upstream

    def _own_paths(self) -> tuple[str, ...]:
        return (self.config.shim, *self._listeners.paths)

    def _note_change(self) -> None:
        self.changed()

    def _resolve_by(self, config: Config) -> Resolution:
        # What is known of the registries is forgotten: what ailed one may be mended now.
        directory = os.environ.get(DIRECTORY_VARIABLE)
        resolution = Resolution(config, self._reactor, credentials_directory=directory)
        if self._cache_log is not None:
            self._cache_log.stop()
        self._cache_log = CacheLog(resolution.cache, config.cache, self._reactor, _log)
        return resolution

    def _route(self, config: Config, resolution: Resolution, upstream: Upstream) -> Routing:
        given = (r.credentials for r in config.all_registries if r.credentials is not None)
        # Pulls that run go on under the configuration before, and are logged with this one.
        redactor = self._pulls.redactor.extended(s for one in given for s in one.spellings())
        self._pulls.redactor = redactor

        def resolve(
            image: str, earlier: Decision | None = None, failed: Sequence[Candidate] = ()
        ) -> Awaitable[Decision]:
            return to_future(resolution.resolver.resolve(image, earlier, failed))

        def credentials(registry: Registry) -> Awaitable[Credentials | None]:
            return to_future(resolution.keyring.credentials(registry))

        return Routing(
            policy=resolution.policy,
            resolve=resolve,
            credentials=credentials,
            forget=resolution.forget,
            exhausted=resolution.put_behind,
            timeout=config.timeout,
            upstream=upstream,
            redactor=redactor,
            original_names=config.original_names,
        )

    def _current(self) -> Routing:
        if self._routing is None:
            raise AssertionError("no call is served before begin()")
        return self._routing


def _of_registries(config: Config) -> Config:
    """Return a configuration without what says nothing of registries."""
    return attrs.evolve(config, **{name: getattr(_DEFAULTS, name) for name in _ASIDE})


def _is_one_file(one: str, other: str) -> bool:
    """Tell whether two paths lead to one file, through links or mounts of either kind."""
    try:
        return Path(one).samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def locate(config: Config, own: Callable[[], Sequence[str]]) -> Callable[[], str]:
    """Return what tells where the runtime's socket is now: the configured place, or a known one.

    :param own: returns the shim's own sockets. A runtime's place may lead to one of them, by a
        symbolic link such as an old dockershim.sock, or because systemd has made it there.
    """

    def is_own(path: str) -> bool:
        return any(_is_one_file(path, one) for one in own())

    if config.cri is not None:
        path = config.cri

        def configured() -> str:
            if is_own(path):
                raise OSError(errno.ELOOP, "it is the shim's own socket", path)
            return path

        return configured

    def exists(path: str) -> bool:
        # A Path would raise where a directory may not be searched.
        return os.path.exists(path) and not is_own(path)  # noqa: PTH110

    return lambda: detect_runtime_socket(exists, config.shim) or ""
