"""The sockets that the daemon serves: those that systemd has passed to it, and the configured one.

The configured one is the daemon's to make, to watch and to remove; the others are systemd's.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import attrs
from twisted.logger import Logger

from image_cri_shim import unix_socket
from image_cri_shim.config import Config
from image_cri_shim.config.sockets import same_path
from image_cri_shim.errors import SocketError
from image_cri_shim.socket_permissions import AS_IT_IS, Permissions
from image_cri_shim.unix_socket import Served

if TYPE_CHECKING:
    from image_cri_shim.activation import Activated

    # Both kinds are served alike.
    _KINDS: tuple[type[Served], ...] = (unix_socket.Listener, Activated)


class Server(Protocol):
    """What serves on sockets."""

    def serve_on(self, listener: socket.socket) -> None:
        """Serve on one more socket."""

    def leave(self, listener: socket.socket) -> None:
        """Serve no longer on a socket, and close it."""


@attrs.frozen
class Wish:
    """Which socket a configuration wants.

    :ivar like: the socket whose owner and mode it has where ``permissions`` do not say.
    """

    path: str
    like: str | None
    permissions: Permissions


def permissions_of(config: Config) -> Permissions:
    """Return who may use the socket under a configuration."""
    return Permissions(config.shim_mode, config.shim_owner, config.shim_group)


class Listeners:
    """All sockets of the daemon.

    :param inherited: those that systemd has passed.
    :param like: returns the runtime's socket under a configuration, which may not exist.
    """

    def __init__(
        self, inherited: Sequence[Served], like: Callable[[Config], str | None], log: Logger
    ) -> None:
        self._inherited = tuple(inherited)
        self._like = like
        self._log = log
        self._own: unix_socket.Listener | None = None
        self._wish: Wish | None = None
        self._server: Server | None = None
        self._complained = ""

    @property
    def paths(self) -> tuple[str, ...]:
        """Where clients get here: the configured path first if its socket is the daemon's own."""
        own = () if self._own is None else (self._own,)
        return tuple(one.path for one in (*own, *self._inherited) if one.in_place())

    @property
    def passed(self) -> tuple[str, ...]:
        """Those of them that systemd has passed."""
        return tuple(one.path for one in self._inherited)

    @property
    def trouble(self) -> str:
        """Why the configured socket is not served at the moment; empty if it is."""
        return self._complained

    def bind(self, config: Config) -> None:
        """Make the configured socket, unless systemd has passed it.

        :raises SocketError: it cannot be served; nothing has changed.
        """
        wish = self._wished(config)
        if wish == self._wish and self._in_place():
            return
        before, kept = self._own, self._wish
        same = kept is not None and same_path(kept.path, wish.path)
        if same and not self._in_place():
            # It is being looked after; that is no reason to refuse everything else.
            self._wish = wish
            self.look()
            return
        made: unix_socket.Listener | None = None
        trouble = ""
        try:
            made = self._made(wish, before if same else None, anew=kept is None)
        except SocketError as error:
            if kept is not None or not any(one.in_place() for one in self._inherited):
                raise
            # At the start, what systemd has passed is served whatever becomes of the rest.
            trouble = str(error)
            self._log.error("{error}", error=trouble)
        self._own, self._wish, self._complained = made, wish, trouble
        if self._server is not None and made is not None and made is not before:
            self._server.serve_on(made.sock)
            self._log.info("serving on {path}", path=made.path)
        if before is not None and before is not made:
            self._give_up(before)

    def _made(
        self, wish: Wish, same: unix_socket.Listener | None, *, anew: bool
    ) -> unix_socket.Listener | None:
        """Return the daemon's own socket for a wish; None if systemd has passed it.

        :param same: its own socket at the wished path, of which only who may connect is another.
        :param anew: whether there was no wish before.
        :raises SocketError: it cannot be had.
        """
        given = self._given(wish)
        if given is not None:
            if wish.permissions != AS_IT_IS or not anew:
                given.permit(wish.permissions, wish.like)
            return None
        if same is not None:
            same.permit(wish.permissions, wish.like)
            return same
        return unix_socket.listen(wish.path, wish.like, wish.permissions)

    def serve(self, server: Server) -> None:
        """Serve on all of them; needs a running event loop."""
        self._server = server
        if self._own is not None:
            server.serve_on(self._own.sock)
            self._log.info("serving on {path}", path=self._own.path)
        for one in self._inherited:
            server.serve_on(one.sock)
            if one.in_place():
                self._log.info("serving on {path}, which systemd has passed", path=one.path)
            else:
                self._log.warn(
                    "systemd has passed {path}, but what is there now is something else; "
                    "restart the socket unit",
                    path=one.path,
                )

    def look(self) -> None:
        """Make the configured socket again if somebody has removed it."""
        wish = self._wish
        if wish is None or self._server is None or self._in_place():
            return
        if not self._complained:
            self._log.warn("{path} is gone; it is made again", path=wish.path)
        # Its lock must be free for the next one.
        own, self._own = self._own, None
        if own is not None:
            self._give_up(own)
        try:
            self._own = unix_socket.listen(wish.path, wish.like, wish.permissions)
        except SocketError as error:
            if str(error) != self._complained:
                self._complained = str(error)
                self._log.error("{error}", error=str(error))
            return
        self._complained = ""
        self._server.serve_on(self._own.sock)
        self._log.info("serving on {path}", path=wish.path)

    def remove(self) -> None:
        """Remove the daemon's own socket if it is still that; give the others up."""
        own, self._own = self._own, None
        self._server = None
        if own is not None:
            own.remove()
        for one in self._inherited:
            one.remove()

    def _give_up(self, listener: unix_socket.Listener) -> None:
        # In this order, for what is closed must not be waited for.
        if self._server is not None:
            self._server.leave(listener.sock)
        listener.remove()

    def _in_place(self) -> bool:
        """Tell whether clients that connect to the configured path get here."""
        if self._own is not None:
            return self._own.in_place()
        return self._wish is not None and self._given(self._wish) is not None

    def _given(self, wish: Wish) -> Served | None:
        """Return the socket from systemd that is the wished one; its file may have gone since."""
        return next(
            (one for one in self._inherited if same_path(one.path, wish.path) and one.in_place()),
            None,
        )

    def _wished(self, config: Config) -> Wish:
        return Wish(config.shim, self._like(config), permissions_of(config))
