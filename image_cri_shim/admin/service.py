"""The admin interface as a part of the daemon: served where the configuration says."""

from __future__ import annotations

import socket
from typing import Any, Protocol

import attrs
from twisted.application.service import Service
from twisted.logger import Logger

from image_cri_shim.admin.acceptor import Acceptor
from image_cri_shim.admin.backend import Backend
from image_cri_shim.admin.place import Listening, Place, Served, TcpAddress, UnixAddress
from image_cri_shim.admin.site import AdminSite, make_site
from image_cri_shim.config.sockets import parse_listen


class Wish(Protocol):
    """What of the configuration matters here."""

    @property
    def admin_socket(self) -> str | None:
        """The path of the socket; None for none."""

    @property
    def admin_listen(self) -> str | None:
        """The address and port for TCP; None for none."""


@attrs.frozen
class _Site:
    """A site that is served on one socket."""

    site: AdminSite
    acceptor: Acceptor

    def stop(self) -> None:
        self.acceptor.stop()
        self.site.leave()


class AdminService(Service):
    """Serves the admin interface: all of it on a unix socket, what can be read also on TCP.

    Whatever goes wrong here is a warning in the log and ``trouble``, and nothing else.

    :param reactor: one that can watch sockets and adopt connections.
    """

    def __init__(self, backend: Backend, reactor: Any, log: Logger) -> None:
        self._backend = backend
        self._reactor = reactor
        self._log = log
        self._socket = Place(self._serve, log)
        self._listen = Place(self._serve, log)
        self._wish: Wish | None = None
        self._begun = False

    @property
    def trouble(self) -> str:
        """What is not served as it should be; empty if all is."""
        return "; ".join(one.trouble for one in (self._socket, self._listen) if one.trouble)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it is served."""
        return tuple(one.address for one in (self._socket, self._listen) if one.address)

    def apply(self, config: Wish) -> None:
        """Serve where a configuration says; before the service has started, remember it."""
        self._wish = config
        if not self._begun:
            return
        path, listen = config.admin_socket, config.admin_listen
        self._socket.want(UnixAddress(path) if path else None)
        self._listen.want(TcpAddress(*parse_listen(listen)) if listen else None)

    def look(self) -> None:
        """Try again what could not be done, and make what somebody has removed."""
        if self._begun:
            self._socket.look()
            self._listen.look()

    def privilegedStartService(self) -> None:  # noqa: N802 - Twisted's name
        """Serve, before privileges are dropped."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self._begin()

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Serve."""
        super().startService()  # type: ignore[no-untyped-call]
        self._begin()

    def stopService(self) -> None:  # noqa: N802 - Twisted's name
        """Serve no longer; whoever follows the pulls hears that it is over."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._begun = False
        self._socket.leave()
        self._listen.leave()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            if self._wish is not None:
                self.apply(self._wish)

    def _serve(self, listening: Listening, address: UnixAddress | TcpAddress) -> Served:
        if isinstance(address, UnixAddress):
            site = make_site(self._backend, self._reactor, self._log)
        else:
            names = (address.host, socket.gethostname())
            site = make_site(self._backend, self._reactor, self._log, read_only=True, names=names)
        acceptor = Acceptor(listening.sock, site, self._reactor)
        acceptor.start()
        return _Site(site, acceptor)
