"""The admin interface's site: its bounds, and what becomes of it when it is moved or stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any, cast

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPFactory

from image_cri_shim.admin.addresses import Addresses
from image_cri_shim.admin.answer import shown
from image_cri_shim.admin.backend import Backend
from image_cri_shim.admin.channel import PATIENCE, AdminChannel
from image_cri_shim.admin.hosts import host_check
from image_cri_shim.admin.request import AdminRequest
from image_cri_shim.clock import Clock

# Connections at a time.
CONNECTION_LIMIT = 32
# Kinds of errors that have been logged; after so many, there is nothing new in another one.
_COMPLAINTS = 32


class AdminSite(HTTPFactory):
    """A site for the few who look after a node.

    Twisted's own, ``twisted.web.server.Site``, takes two megabytes that nothing here needs.

    :param addresses: what answers.
    :param clock: the reactor.
    :param log: where is said what went wrong here, once each.
    """

    protocol = AdminChannel  # type: ignore[assignment]
    noisy = False

    def __init__(self, addresses: Addresses, clock: Clock, log: Logger) -> None:
        super().__init__(timeout=PATIENCE, reactor=cast("Any", clock))
        self.addresses = addresses
        self._log = log
        self._channels: dict[AdminChannel, None] = {}
        self._complaints: set[str] = set()
        self._leaving = False

    def startFactory(self) -> None:  # noqa: N802 - Twisted's name
        """Write no log of requests, and so need no time of day each second."""

    def stopFactory(self) -> None:  # noqa: N802 - Twisted's name
        """Stop what has not been started."""

    def log(self, request: Any) -> None:
        """Write no log of requests."""

    def buildProtocol(self, addr: IAddress | None) -> Any:  # noqa: N802 - Twisted's name
        """Return a connection; None, which closes it, if there are too many.

        When there are, one that waits for its client's next request makes room.
        """
        if self._leaving:
            return None
        if len(self._channels) >= CONNECTION_LIMIT:
            idle = next((one for one in self._channels if not one.busy), None)
            if idle is None:
                return None
            idle.abort()
            self._channels.pop(idle, None)
        channel: Any = super().buildProtocol(addr)
        channel.requestFactory = AdminRequest
        channel.site = self
        return channel

    def connected(self, channel: AdminChannel) -> None:
        """Take note of a connection."""
        self._channels[channel] = None

    def disconnected(self, channel: AdminChannel) -> None:
        """Take note of a connection's end."""
        self._channels.pop(channel, None)

    def answer(self, request: AdminRequest) -> None:
        """Answer a request, now or later."""
        self.addresses.answer(request)

    def leave(self) -> None:
        """Take no connections any more, and close each when its request has been answered.

        What follows the pulls ends.
        """
        self._leaving = True
        self.addresses.leave()
        for channel in tuple(self._channels):
            channel.leave()

    def failed(self, request: AdminRequest, failure: Failure) -> None:
        """Say in the log what went wrong with a request; the same thing only once."""
        error = failure.value
        # Of each frame: the function's name, the file, the line.
        place = f" ({failure.frames[-1][1]}:{failure.frames[-1][2]})" if failure.frames else ""
        what = f"{type(error).__name__}: {' '.join(str(error).split())}{place}"
        if what in self._complaints or len(self._complaints) >= _COMPLAINTS:
            return
        self._complaints.add(what)
        self._log.error(
            "the admin interface cannot answer {address}: {what}",
            address=shown(request.path),
            what=what,
        )


def make_site(
    backend: Backend,
    clock: Clock,
    log: Logger,
    *,
    read_only: bool = False,
    names: Collection[str] | None = None,
    now: Callable[[], float] = time.time,
) -> AdminSite:
    """Return the admin interface as a site.

    :param read_only: nothing can be changed through it, only looked at.
    :param names: this machine's names; who uses another one is refused. None for no such check,
        where no browser can come from elsewhere.
    :param now: returns the seconds since 1970.
    """
    is_ours = None if names is None else host_check(names)
    addresses = Addresses(backend, clock, read_only=read_only, is_ours=is_ours, now=now)
    return AdminSite(addresses, clock, log)
