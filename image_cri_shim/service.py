"""The daemon, wired together: the only file that knows all the parts."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from image_cri_shim.admin.service import AdminService
from image_cri_shim.backend import Backend
from image_cri_shim.bridge import AsyncioService, to_deferred
from image_cri_shim.config import Config
from image_cri_shim.cri.self_check import why_silent
from image_cri_shim.daemon import Daemon, locate
from image_cri_shim.descriptors import raise_limit
from image_cri_shim.errors import ConfigError, Problem, SocketError
from image_cri_shim.file_watch import FileWatch
from image_cri_shim.fingerprint import Files
from image_cri_shim.listeners import Listeners
from image_cri_shim.logs import finish, flush, logger, lost
from image_cri_shim.measurements import Measurements, Reloads, RuntimeState
from image_cri_shim.pull_record import Document
from image_cri_shim.registry.names import install_names
from image_cri_shim.reload import ReloadService
from image_cri_shim.report import Report
from image_cri_shim.sd_notify import Notifier
from image_cri_shim.supervision import Supervision
from image_cri_shim.unix_socket import Served

# Seconds between two looks at whether the socket is still there.
_LOOK = 2.0

_log = logger("daemon")
_config_log = logger("config")


def make_shim_service(
    config: Config,
    read: Callable[[], Config],
    files: Files,
    reactor: Any,
    *,
    seen: bytes,
    notifier: Notifier | None = None,
    inherited: Sequence[Served] = (),
) -> MultiService:
    """Return the daemon as a service that owns everything long-lived.

    :param config: the configuration to start with.
    :param read: reads the configuration again; raises ConfigError if it is bad.
    :param files: what it is read from.
    :param reactor: the asyncio reactor.
    :param seen: the fingerprint of the files from before it was read.
    :param notifier: tells the service manager how the daemon is.
    :param inherited: the listening sockets that systemd has passed.
    """
    raise_limit()
    install_names(reactor)
    own = [one.path for one in inherited]
    listeners = Listeners(
        inherited, lambda config: config.cri or locate(config, lambda: own)(), _log
    )
    measurements = Measurements(time.time)
    daemon = Daemon(config, listeners, reactor, measurements)
    watch: FileWatch

    def apply(config: Config, anew: bool) -> None:  # noqa: FBT001 - see ReloadService
        try:
            daemon.apply(config, anew)
        except SocketError as error:
            raise ConfigError([Problem("", 0, 0, "shim", str(error))]) from error
        watch.look_every(config.reload_interval)
        admin.apply(config)

    def look() -> None:
        flush()
        reload.try_again()
        admin.look()

    def describe() -> str:
        refusal = reload.refusal
        return daemon.state if refusal is None else f"{refusal}; {daemon.state}"

    def check(patience: float) -> Deferred[str]:
        paths = listeners.paths
        if daemon.full or not paths:
            # It would refuse this client too, or has no place to which one could come: the log and
            # the status say so, and another start would not change it.
            return succeed("")
        return to_deferred(why_silent(paths[0], patience))

    reload = ReloadService(
        read, apply, reactor, _config_log, fingerprint=files.fingerprint, seen=seen
    )
    watch = FileWatch(files.places, reload.look, config.reload_interval, reactor, _config_log)

    def describe_admin() -> Document:
        return {"addresses": list(admin.addresses), "trouble": admin.trouble}

    report = Report(daemon, reload, measurements, files, admin=describe_admin)
    admin = AdminService(Backend(daemon, reload, report, measurements), reactor, logger("admin"))
    admin.apply(config)
    connect(measurements, daemon, reload)
    supervision = Supervision(notifier or Notifier(), describe, check, reactor, _log)
    reload.before, reload.after = supervision.reloading, supervision.reloaded
    daemon.changed = supervision.changed
    reload.listen_for_signal()
    # Twisted takes the signals that stop it when it starts to run; this takes them from it.
    reactor.callWhenRunning(
        stop_on_signals, reactor, lambda: supervision.stopping(daemon.config.shutdown_grace)
    )
    service = MultiService()
    serving = ListenerService(daemon, listeners, supervision.ready, look, reactor)
    for part in (serving, supervision, reload, watch, admin):
        part.setServiceParent(service)  # type: ignore[no-untyped-call]
    return service


def connect(measurements: Measurements, daemon: Daemon, reload: ReloadService) -> None:
    """Let the measurements read what changes by itself."""

    def breakers() -> dict[str, str]:
        resolution = daemon.resolution
        if resolution is None:
            return {}
        names = (one.name for one in daemon.config.all_registries)
        return {name: resolution.health.condition(name.lower()).state.value for name in names}

    def runtime() -> RuntimeState | None:
        upstream = daemon.upstream
        if upstream is None:
            return None
        return RuntimeState(daemon.runtime_answers, *upstream.program, upstream.version)

    measurements.breakers = breakers
    measurements.runtime = runtime
    measurements.clients = lambda: None if daemon.server is None else daemon.server.clients
    measurements.running = lambda: None if daemon.server is None else daemon.server.calls
    measurements.lines_lost = lost
    measurements.history = lambda: {"off": None, "ok": True}.get(daemon.history.state, False)
    measurements.reloads = lambda: Reloads(
        reload.taken, reload.refused, reload.loaded_at, reload.refusal is None
    )


def stop_on_signals(reactor: Any, stopping: Callable[[], None]) -> None:
    """Let SIGTERM and SIGINT end the program in good order and with status 0.

    twistd would end it in the same order, but then by the same signal: a failure in the eyes of
    many who start programs. A second signal changes nothing.

    :param stopping: is told of the first one.
    """
    stopped = False

    def stop(name: str) -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            _log.info("stopping ({name})", name=name)
            stopping()
            reactor.stop()

    def signalled(number: int, _frame: FrameType | None) -> None:
        reactor.callFromThread(stop, signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signalled)


class ListenerService(AsyncioService):
    """Owns the shim's sockets: binds them, serves on them, removes them.

    :param daemon: what is served.
    :param served: is called when it is.
    :param looked: is called after each look at whether the sockets are still there.
    """

    def __init__(
        self,
        daemon: Daemon,
        listeners: Listeners,
        served: Callable[[], None],
        looked: Callable[[], None],
        reactor: Any,
    ) -> None:
        super().__init__(self, reactor, self._start_failed)
        self._daemon = daemon
        self._listeners = listeners
        self._served = served
        self._looked = looked
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor
        self._made_in = os.getpid()

    def privilegedStartService(self) -> None:  # noqa: N802 - Twisted's name
        """Bind the socket, before privileges are dropped.

        :raises SystemExit: it cannot be served; the message says why.
        :raises SocketError: the same, in a process that twistd has made a daemon.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        try:
            self._listeners.bind(self._daemon.config)
        except SocketError as error:
            if os.getpid() != self._made_in:
                # In a daemon, twistd passes on to the waiting foreground what is an Exception.
                raise
            raise SystemExit(f"image-cri-shim: {error}") from error

    async def start(self) -> None:
        """Serve on the bound sockets."""
        await self._daemon.begin()
        self._looking.start(_LOOK, now=False)
        self._served()

    async def stop(self) -> None:
        """Finish what runs, then remove the socket if it is still ours."""
        if self._looking.running:
            self._looking.stop()
        await self._daemon.finish()

    def stopService(self) -> Deferred[None]:  # noqa: N802 - Twisted's name
        """Stop serving; the Deferred fires when everything is over."""
        stopped = super().stopService()
        stopped.addBoth(self._removed)
        return stopped

    def _look(self) -> None:
        try:
            self._listeners.look()
            self._looked()
            self._daemon.look()
            self._daemon.changed()
        except Exception:  # noqa: BLE001 - whatever it is, it is looked at again
            _log.failure("cannot look after everything")

    def _start_failed(self, failure: Failure) -> None:
        """End the program: a daemon that cannot serve must be seen to have failed."""
        _log.failure("cannot serve", failure)
        # Once the reactor runs, this is the only way to a status other than 0.
        self._reactor.addSystemEventTrigger("after", "shutdown", _exit, 1)
        self._reactor.stop()

    def _removed(self, outcome: object) -> object:
        self._listeners.remove()
        return outcome


def _exit(status: int) -> None:
    """End at once with a status; what the log still has is written before."""
    finish()
    os._exit(status)
