"""What runs according to one configuration, until another one is applied."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from image_cri_shim.bridge import loop_name, to_deferred, to_future
from image_cri_shim.cache_log import CacheLog
from image_cri_shim.config import (
    Config,
    describe,
    detect_runtime_socket,
    differences,
    format_duration,
    warnings,
)
from image_cri_shim.credentials import DIRECTORY_VARIABLE, Credentials
from image_cri_shim.cri.memory import Memory
from image_cri_shim.cri.pull import Routing
from image_cri_shim.cri.server import CriServer
from image_cri_shim.cri.upstream import Upstream
from image_cri_shim.decision import Candidate, Decision, Registry
from image_cri_shim.history.recorder import History
from image_cri_shim.listeners import Listeners
from image_cri_shim.logs import configure, logger
from image_cri_shim.measurements import Measurements
from image_cri_shim.pull_book import PullBook
from image_cri_shim.pull_log import PullLog
from image_cri_shim.resolution import Resolution
from image_cri_shim.runtime_check import RuntimeCheck

_log = logger("daemon")
_config_log = logger("config")
_pull_log = logger("pull")
_registry_log = logger("registry")
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
    "admin_socket",
    "admin_listen",
    "log_format",
    "log_levels",
    "history_size",
    "history_age",
)
_DEFAULTS = Config()
# Seconds that a runtime gets to answer when it is asked whether it does.
_PATIENCE = 5.0


class Daemon:
    """What runs according to one configuration, until another one is applied.

    :param listeners: the sockets; they are bound before it begins.
    :param reactor: the asyncio reactor.
    :param measurements: what is counted and timed.
    :ivar changed: is called when ``state`` may have changed.
    :ivar pulls: what is known of the pulls.
    :ivar history: keeps them.
    :ivar upstream: the runtime; None before it begins, like the others.
    :ivar resolution: what decides.
    :ivar server: who serves the CRI.
    :ivar changes: what the last reload has changed, a line each.
    :ivar changed_at: when something about registries or the runtime was changed last, or at first,
        in seconds since 1970.
    """

    def __init__(
        self,
        config: Config,
        listeners: Listeners,
        reactor: Any,
        measurements: Measurements,
    ) -> None:
        self.changed: Callable[[], None] = lambda: None
        self.listeners = listeners
        self._reactor = reactor
        self._measurements = measurements
        self.pulls = PullBook(reactor, time.time, complain=_complain)
        self.pulls.watch(PullLog(_pull_log).note)
        self.pulls.watch(measurements.note_pull)
        self.history = History(config, reactor, logger("admin"))
        self.pulls.watch(self.history.note)
        self.config = config
        self.changes: tuple[str, ...] = ()
        self.changed_at = time.time()
        self.resolution: Resolution | None = None
        self._cache_log: CacheLog | None = None
        self.upstream: Upstream | None = None
        self._connected_since: float | None = None
        self._connected = False
        self._check = RuntimeCheck(self._ask_runtime, self._told, logger("runtime"), time.time)
        self._routing: Routing | None = None
        self._memory = Memory(config.image)
        self.server: CriServer | None = None

    @property
    def state(self) -> str:
        """How it is, in one line for the operator."""
        parts = [f"serving on {', '.join(self.listeners.paths) or 'nothing'}"]
        if self.listeners.trouble:
            parts.append(self.listeners.trouble)
        if self.upstream is not None:
            parts.append(self.runtime_state)
        return "; ".join(parts)

    @property
    def runtime_answers(self) -> bool:
        """Whether the runtime is connected, and has answered when it was asked last."""
        connected = self.upstream is not None and self.upstream.connected
        return connected and self._check.silent_since is None

    @property
    def runtime_state(self) -> str:
        """How the runtime is, in words for the operator."""
        if self.upstream is None:
            return "starting"
        silent = self._check.silent_since
        if silent is None or not self.upstream.connected:
            return self.upstream.state
        waited = max(time.time() - silent, 0.0)
        return (
            f"the runtime at {self.upstream.path} does not answer (it is connected, and was asked "
            f"in vain {format_duration(round(waited))} ago for the first time)"
        )

    @property
    def runtime_since(self) -> float | None:
        """Since when the runtime is as it is, in seconds since 1970; None before it is known."""
        silent = self._check.silent_since
        return self._connected_since if silent is None else silent

    @property
    def full(self) -> bool:
        """Whether a client that comes is refused, for there are too many."""
        return self.server is not None and self.server.full

    async def begin(self) -> None:
        """Put the first configuration to work and serve."""
        self._log_effect(self.config)
        self.upstream = self._reach(self.config)
        self.resolution = self._resolve_by(self.config)
        self._routing = self._route(self.config, self.resolution, self.upstream)
        self.upstream.start()
        self._memory.load()
        self.server = CriServer(
            self._current,
            self.pulls,
            self._memory,
            measurements=self._measurements.calls,
            recorded=lambda: to_future(self.history.recorded()),
        )
        self.history.start()
        self.listeners.serve(self.server)
        _log.debug("event loop: {name}", name=loop_name(asyncio.get_running_loop()))

    def apply(self, config: Config, anew: bool) -> None:  # noqa: FBT001 - a reload says how
        """Put another configuration to work; calls that run go on under theirs.

        :param anew: forget what is known of the registries even if nothing is said of them.
        :raises SocketError: its socket cannot be served; nothing has changed.
        """
        self.listeners.bind(config)
        before, self.config = self.config, config
        if self.upstream is None or self.resolution is None:
            return
        self.changes = changes = differences(before, config)
        for change in changes:
            _config_log.info("reload: {change}", change=change)
        if not changes:
            _config_log.info("reload: nothing has changed")
        if changes or anew:
            self._log_effect(config)
        self._memory.move(config.image)
        self.history.apply(config)
        resolution, upstream = self.resolution, self.upstream
        if (config.cri, config.version, config.shim) != (before.cri, before.version, before.shim):
            self.upstream = self._reach(config)
        others = _of_registries(config) != _of_registries(before)
        if anew or others:
            self.resolution = self._resolve_by(config)
        if others or self.upstream is not upstream:
            self.changed_at = time.time()
        self._routing = self._route(config, self.resolution, self.upstream)
        if self.upstream is not upstream:
            self.upstream.start()
            upstream.retire()
        if self.resolution is not resolution:
            resolution.close()
        self.changed()

    def look(self) -> None:
        """Look after what nobody tells of by itself; called every two seconds."""
        self._check.look()

    async def finish(self) -> None:
        """Let pulls finish, then close every connection."""
        self._check.stop()
        if self.server is not None:
            await self.server.stop(self.config.shutdown_grace)
        if self.upstream is not None:
            self.upstream.close()
        await self._memory.saved()
        if self._cache_log is not None:
            self._cache_log.stop()
        if self.resolution is not None:
            await to_future(self.resolution.close(abort=True))
        await to_future(self.history.stop())

    def _log_effect(self, config: Config) -> None:
        configure(config)
        for key, value in describe(config):
            _config_log.info("{key}: {value}", key=key, value=value)
        for sentence in warnings(config):
            _config_log.warn("{sentence}", sentence=sentence)

    def _reach(self, config: Config) -> Upstream:
        upstream = Upstream(locate(config, self._own_paths), config.version)
        upstream.watch(self._note_change)
        return upstream

    def _own_paths(self) -> tuple[str, ...]:
        admin = self.config.admin_socket
        return (self.config.shim, *self.listeners.paths, *([admin] if admin else []))

    def _note_change(self) -> None:
        connected = self.upstream is not None and self.upstream.connected
        if connected != self._connected or self._connected_since is None:
            self._connected, self._connected_since = connected, time.time()
            self._check.forget()
        if self.upstream is not None and connected:
            to_deferred(self._introduce(self.upstream)).addErrback(_not_introduced)
        self.changed()

    def _ask_runtime(self) -> Deferred[bool | None]:
        if self.upstream is None or not self.upstream.connected:
            return succeed(None)
        return to_deferred(self._alive(self.upstream))

    async def _alive(self, upstream: Upstream) -> bool | None:
        if not await upstream.reachable(_PATIENCE):
            # One that was lost meanwhile is not silent, but gone.
            return False if upstream.connected else None
        # It may have been starting when it was asked first.
        await self._introduce(upstream)
        return True

    @staticmethod
    async def _introduce(upstream: Upstream) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await upstream.introduce()

    def _told(self) -> None:
        self.changed()

    def _resolve_by(self, config: Config) -> Resolution:
        # What is known of the registries is forgotten: what ailed one may be mended now.
        directory = os.environ.get(DIRECTORY_VARIABLE)
        note = self._measurements.note_look_up
        resolution = Resolution(config, self._reactor, credentials_directory=directory, note=note)
        self._measurements.cache.follow(resolution.cache)
        if self._cache_log is not None:
            self._cache_log.stop()
        self._cache_log = CacheLog(resolution.cache, config.cache, self._reactor, _registry_log)
        return resolution

    def _route(self, config: Config, resolution: Resolution, upstream: Upstream) -> Routing:
        given = (r.credentials for r in config.all_registries if r.credentials is not None)
        # Pulls that run go on under the configuration before, and are logged with this one.
        redactor = self.pulls.redactor.extended(s for one in given for s in one.spellings())
        self.pulls.redactor = redactor

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


def _not_introduced(failure: Failure) -> None:
    """Log what went wrong; it is only for people."""
    _log.failure("the runtime was not asked what it is", failure)


def _complain(_error: Exception) -> None:
    """Log, where it is caught, what went wrong with what is told of pulls."""
    _log.failure("a pull was not noted everywhere")


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
