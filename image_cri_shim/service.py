"""The daemon, wired together: the only file that knows all the parts."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from image_cri_shim import unix_socket
from image_cri_shim.bridge import AsyncioService, loop_name, to_future
from image_cri_shim.cache_log import CacheLog
from image_cri_shim.config import Config, describe, detect_runtime_socket, warnings
from image_cri_shim.config.sockets import same_path
from image_cri_shim.credentials import Credentials
from image_cri_shim.cri.memory import Memory
from image_cri_shim.cri.pull import Routing
from image_cri_shim.cri.server import CriServer
from image_cri_shim.cri.upstream import Upstream
from image_cri_shim.decision import Candidate, Decision, Registry
from image_cri_shim.descriptors import raise_limit
from image_cri_shim.logs import logger, set_debug
from image_cri_shim.pull_log import PullLog
from image_cri_shim.registry.names import install_names
from image_cri_shim.reload import ReloadService
from image_cri_shim.resolution import Resolution

# Seconds that pulls get to finish when the daemon stops.
SHUTDOWN_GRACE = 30.0

_log = logger("image-cri-shim")


def make_shim_service(config: Config, read: Callable[[], Config], reactor: Any) -> MultiService:
    """Return the daemon as a service that owns everything long-lived.

    :param config: the configuration to start with.
    :param read: reads the configuration again; raises ConfigError if it is bad.
    :param reactor: the asyncio reactor.
    """
    raise_limit()
    install_names(reactor)
    daemon = Daemon(config, reactor)
    reload = ReloadService(read, daemon.apply, reactor, _log)
    reload.listen_for_signal()
    # Twisted takes the signals that stop it when it starts to run; this takes them from it.
    reactor.callWhenRunning(stop_on_signals, reactor)
    service = MultiService()
    for part in (ListenerService(daemon, reactor), reload):
        part.setServiceParent(service)  # type: ignore[no-untyped-call]
    return service


def stop_on_signals(reactor: Any) -> None:
    """Let SIGTERM and SIGINT end the program in good order and with status 0.

    twistd would end it in the same order, but then by the same signal: a failure in the eyes of
    many who start programs. A second signal changes nothing.
    """
    stopping = False

    def stop(name: str) -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            _log.info("stopping ({name})", name=name)
            reactor.stop()

    def signalled(number: int, _frame: FrameType | None) -> None:
        reactor.callFromThread(stop, signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signalled)


class Daemon:
    """What runs according to one configuration, until another one is applied.

    :param reactor: the asyncio reactor.
    """

    def __init__(self, config: Config, reactor: Any) -> None:
        self._reactor = reactor
        self._pulls = PullLog(_log)
        self.config = config
        self._resolution: Resolution | None = None
        self._cache_log: CacheLog | None = None
        self._upstream: Upstream | None = None
        self._routing: Routing | None = None
        self._memory = Memory(config.image)
        self._server: CriServer | None = None
        self._served = config.shim

    async def begin(self, listener: unix_socket.Listener) -> None:
        """Put the first configuration to work and serve on a listening socket."""
        self._served = listener.path
        self._upstream = Upstream(_locate(self.config), self.config.version)
        self._routing = self._route(self.config, self._upstream)
        self._upstream.start()
        self._memory.load()
        self._server = CriServer(self._current, self._pulls, self._memory)
        await self._server.start(listener.sock)
        _log.debug("event loop: {name}", name=loop_name(asyncio.get_running_loop()))

    def apply(self, config: Config) -> None:
        """Put another configuration to work; calls that run go on under theirs."""
        before, self.config = self.config, config
        if self._upstream is None:
            return
        if not same_path(config.shim, self._served):
            _log.warn(
                "shim: {served} is served until the restart, and {path} after it",
                path=config.shim,
                served=self._served,
            )
        resolution, upstream = self._resolution, self._upstream
        if (config.cri, config.version) != (before.cri, before.version):
            self._upstream = Upstream(_locate(config), config.version)
        self._memory.move(config.image)
        self._routing = self._route(config, self._upstream)
        if self._upstream is not upstream:
            self._upstream.start()
            upstream.retire()
        if resolution is not None:
            resolution.close()

    async def finish(self) -> None:
        """Let pulls finish, then close every connection."""
        if self._server is not None:
            await self._server.stop(SHUTDOWN_GRACE)
        if self._upstream is not None:
            self._upstream.close()
        await self._memory.saved()
        if self._cache_log is not None:
            self._cache_log.stop()
        if self._resolution is not None:
            await to_future(self._resolution.close(abort=True))

    def _route(self, config: Config, upstream: Upstream) -> Routing:
        set_debug(config.debug)
        for key, value in describe(config):
            _log.info("{key}: {value}", key=key, value=value)
        for sentence in warnings(config):
            _log.warn("{sentence}", sentence=sentence)
        given = (r.credentials for r in config.all_registries if r.credentials is not None)
        # Pulls that run go on under the configuration before, and are logged with this one.
        redactor = self._pulls.redactor.extended(s for one in given for s in one.spellings())
        self._pulls.redactor = redactor
        # What is known of the registries is forgotten: what ailed one may be mended now.
        resolution = self._resolution = Resolution(config, self._reactor)
        if self._cache_log is not None:
            self._cache_log.stop()
        self._cache_log = CacheLog(resolution.cache, config.cache, self._reactor, _log)

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


class ListenerService(AsyncioService):
    """Owns the shim's socket: binds it, serves on it, removes it.

    :param daemon: what is served.
    """

    def __init__(self, daemon: Daemon, reactor: Any) -> None:
        super().__init__(self, reactor, self._start_failed)
        self._daemon = daemon
        self._listener: unix_socket.Listener | None = None
        self._made_in = os.getpid()

    def privilegedStartService(self) -> None:  # noqa: N802 - Twisted's name
        """Bind the socket, before privileges are dropped.

        :raises SystemExit: it cannot be served; the message says why.
        :raises SocketError: the same, in a process that twistd has made a daemon.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        config = self._daemon.config
        try:
            self._listener = unix_socket.listen(config.shim, like=config.cri or _locate(config)())
        except unix_socket.SocketError as error:
            if os.getpid() != self._made_in:
                # In a daemon, twistd passes on to the waiting foreground what is an Exception.
                raise
            raise SystemExit(f"image-cri-shim: {error}") from error

    async def start(self) -> None:
        """Serve on the bound socket."""
        if self._listener is None:
            raise AssertionError("the socket is bound before it is served")
        await self._daemon.begin(self._listener)
        _log.info("serving on {path}", path=self._listener.path)

    async def stop(self) -> None:
        """Finish what runs, then remove the socket if it is still ours."""
        await self._daemon.finish()

    def stopService(self) -> Deferred[None]:  # noqa: N802 - Twisted's name
        """Stop serving; the Deferred fires when everything is over."""
        stopped = super().stopService()
        stopped.addBoth(self._removed)
        return stopped

    def _start_failed(self, failure: Failure) -> None:
        """End the program: a daemon that cannot serve must be seen to have failed."""
        _log.failure("cannot serve", failure)
        # Once the reactor runs, this is the only way to a status other than 0.
        self._reactor.addSystemEventTrigger("after", "shutdown", os._exit, 1)
        self._reactor.stop()

    def _removed(self, outcome: object) -> object:
        if self._listener is not None:
            self._listener.remove()
            self._listener = None
        return outcome


def _is_one_file(one: str, other: str) -> bool:
    """Tell whether two paths lead to one file, through links or mounts of either kind."""
    try:
        return Path(one).samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def _locate(config: Config) -> Callable[[], str]:
    """Return what tells where the runtime's socket is now: the configured place, or a known one."""
    if config.cri is not None:
        path = config.cri

        def locate() -> str:
            # A symbolic link, such as an old dockershim.sock, may lead back here.
            if _is_one_file(path, config.shim):
                raise OSError(errno.ELOOP, "it is the shim's own socket", path)
            return path

        return locate
    return lambda: detect_runtime_socket(os.path.exists, config.shim) or ""
