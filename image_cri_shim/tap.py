"""The Twisted application plugin's two halves: its options, and the service that they make."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

from twisted.application.service import IService
from twisted.python import usage

from image_cri_shim import __version__, activation, unix_socket
from image_cri_shim.bridge import WrongReactor, install_reactor
from image_cri_shim.config import (
    DEFAULT_CONFIG,
    NOTHING_SAID,
    Config,
    detect_runtime_socket,
    drop_in_directory,
    drop_ins,
    exposure,
    files,
    load,
    override,
)
from image_cri_shim.config.sockets import KNOWN_SOCKETS
from image_cri_shim.descriptors import occupy_standard_descriptors
from image_cri_shim.errors import ConfigError, Problem
from image_cri_shim.fingerprint import Files
from image_cri_shim.listeners import permissions_of
from image_cri_shim.logs import configure, connect_standard_logging, logger, observer
from image_cri_shim.reload import hold_hangups
from image_cri_shim.sd_notify import Notifier

# sysexits.h: "something was found in an unconfigured or misconfigured state".
EX_CONFIG = 78
# Seconds for which a bad configuration is looked at under a service manager, and between two looks.
_MENDING = 5.0
_GLANCE = 0.2


class Options(usage.Options):
    """What ``twistd image-cri-shim`` takes."""

    synopsis = "[--config FILE] [--shim SOCKET] [--cri SOCKET] [--debug]"
    longdesc = (
        "Serves the Kubernetes CRI on a socket of its own and pulls images from the registries "
        "of its configuration that have them. The kubelet's containerRuntimeEndpoint points here; "
        "SIGHUP reads the configuration again."
    )
    optParameters = [  # noqa: RUF012 - Twisted reads a plain list
        ["config", "c", None, f"the configuration file [default: {DEFAULT_CONFIG}]"],
        ["shim", None, None, "the socket to serve, in place of the configuration's `shim`"],
        ["cri", None, None, "the runtime's socket, in place of the configuration's `cri`"],
    ]
    optFlags = [["debug", None, "log for debugging, whatever the configuration says"]]  # noqa: RUF012

    def opt_version(self) -> None:
        """Print the version and exit."""
        print(f"image-cri-shim {__version__}")
        sys.exit(0)

    def postOptions(self) -> None:
        """Install the reactor: this runs before anything else can have made one.

        It is also the earliest moment at which the program can protect itself from SIGHUP.

        :raises SystemExit: another one is installed. A UsageError would end in status 0 on
            Twisted 22.4.
        """
        hold_hangups()
        # Before anything is opened for good.
        occupy_standard_descriptors()
        # twistd's own options; a command line that is parsed without it has none.
        parent = cast("usage.Options | None", getattr(self, "parent", None))
        try:
            install_reactor(forks=parent is not None and not parent.get("nodaemon", True))
        except WrongReactor as error:
            sys.exit(str(error))
        if parent is not None:
            _choose_log(parent)


def _choose_log(twistd: usage.Options) -> None:
    """Let twistd write our log, unless it was told about one, or keeps one as a daemon."""
    told = any(twistd.get(option) for option in ("logfile", "syslog", "logger"))
    if not told and (twistd.get("nodaemon") or twistd.get("debug")):
        # twistd looks for what has this name when all options are read.
        twistd["logger"] = f"{observer.__module__}.{observer.__name__}"


def makeService(
    options: Options,
) -> IService:
    """Return the daemon for a command line.

    :raises SystemExit: it cannot start. Status 78 (EX_CONFIG) if the configuration is bad, 1 if a
        socket is in the way or the runtime is absent; the reason is on standard error.
    """
    connect_standard_logging()
    notifier = Notifier.from_environment(os.environ, os.getpid())
    watched = Files(partial(_files, config_path(options)))
    seen = watched.fingerprint()
    read = reader(options)
    try:
        config = read()
    except ConfigError as error:
        print(f"image-cri-shim: the configuration is refused:\n{error}", file=sys.stderr)
        if notifier.address:
            notifier.status(f"the configuration is refused: {error.problems[0]}")
            _wait_for_change(watched, seen)
        raise SystemExit(EX_CONFIG) from error
    # What was logged until now is written when twistd has a log, so in this format as well.
    configure(config)
    _check_runtime(config)
    try:
        inherited = activation.take(os.environ, os.getpid())
        if not inherited:
            unix_socket.check(config.shim, permissions_of(config))
    except unix_socket.SocketError as error:
        sys.exit(f"image-cri-shim: {error}")

    from twisted.internet import reactor  # noqa: PLC0415, TID251 - it is installed now

    from image_cri_shim.service import make_shim_service  # noqa: PLC0415 - needs the reactor

    service = make_shim_service(
        config, read, watched, reactor, seen=seen, notifier=notifier, inherited=inherited
    )
    return cast("IService", service)


def _wait_for_change(watched: Files, seen: bytes) -> None:
    """Wait until the files say something else, for some time.

    A service manager starts the daemon again as soon as it has ended, for ever: not twice a second,
    and at once when the files are mended.
    """
    until = time.monotonic() + _MENDING
    while time.monotonic() < until and watched.fingerprint() == seen:
        time.sleep(_GLANCE)


def _files(path: str) -> tuple[str, ...]:
    """Return what a configuration is read from, and where more of it may come to be."""
    return (path, drop_in_directory(path), *files(path))


def config_path(options: Options, default: str = DEFAULT_CONFIG) -> str:
    """Return the absolute path of the configuration file that a command line means."""
    named = options["config"]
    # twistd changes its directory when it becomes a daemon.
    return default if named is None else str(Path(named).absolute())


def reader(options: Options, default: str = DEFAULT_CONFIG) -> Callable[[], Config]:
    """Return what reads the configuration that a command line means.

    The default file may be absent, which means all defaults; one that was asked for, or was there
    before, may not: it may be about to be replaced.

    :param default: the file to read if the command line names none.
    """
    required = options["config"] is not None
    path = config_path(options, default)
    running: Config | None = None

    def read() -> Config:
        nonlocal required, running
        required = required or os.path.lexists(path)
        if not required and not drop_ins(path):
            logger("config").warn("{path} does not exist; the defaults apply", path=path)
            config = Config()
        else:
            config = load(path, required=required)
            exposed = exposure(path, config)
            if exposed:
                logger("config").warn("{exposed}", exposed=exposed)
        if required and config is NOTHING_SAID and running not in (None, config):
            # Written in two steps, or cut off: nobody goes back to all defaults this way.
            problem = "it is empty now; if the defaults are meant, write one of them, or restart"
            raise ConfigError([Problem(path, 0, 0, "", problem)])
        running = config
        return override(
            config,
            shim=options["shim"],
            cri=options["cri"],
            debug=True if options["debug"] else None,
        )

    return read


def _check_runtime(config: Config) -> None:
    """Exit if the runtime is not there and nobody said that it may come later."""
    if config.force:
        return
    if config.cri is None and detect_runtime_socket(os.path.exists, config.shim) is None:
        places = ", ".join(KNOWN_SOCKETS)
        sys.exit(
            f"image-cri-shim: no container runtime found (looked for {places}); "
            "start one, set `cri` to its socket, or set `force: true` to wait for it"
        )
    # A Path would raise where a directory may not be searched.
    if config.cri is not None and not os.path.exists(config.cri):  # noqa: PTH110
        sys.exit(
            f"image-cri-shim: the runtime's socket {config.cri} does not exist; "
            "start the runtime, correct `cri`, or set `force: true` to wait for it"
        )
