"""One place at which the admin interface is served, or shall be."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Protocol

import attrs
from twisted.logger import Logger

from image_cri_shim import unix_socket
from image_cri_shim.config.sockets import format_listen, same_path
from image_cri_shim.errors import SocketError
from image_cri_shim.socket_permissions import Permissions

# Connections that wait to be accepted.
_BACKLOG = 32
# For whoever owns the socket: the daemon's user.
_PRIVATE = Permissions(mode=0o600)
# Looks between two tries, at most: what is in the way may be there for long.
_MOST_LOOKS = 16


class Listening(Protocol):
    """A socket that listens."""

    sock: socket.socket

    def in_place(self) -> bool:
        """Tell whether clients get here."""

    def remove(self) -> None:
        """Stop listening."""


@attrs.frozen
class UnixAddress:
    """A path, as ``adminSocket`` has it."""

    path: str

    def __str__(self) -> str:
        """Say it as the operator would write it."""
        return self.path

    def listen(self) -> Listening:
        """Listen there.

        :raises SocketError: that cannot be.
        """
        try:
            return unix_socket.listen(self.path, permissions=_PRIVATE)
        except SocketError as error:
            # It knows one key of the configuration, and this is another socket.
            raise SocketError(str(error).replace("`shim`", "`adminSocket`")) from error

    def overlaps(self, other: object) -> bool:
        """Tell whether both cannot be served at the same time."""
        return isinstance(other, UnixAddress) and same_path(self.path, other.path)


@attrs.define
class _TcpListening:
    sock: socket.socket

    def in_place(self) -> bool:
        return True

    def remove(self) -> None:
        self.sock.close()


@attrs.frozen
class TcpAddress:
    """An IP address and a port, as ``adminListen`` has them."""

    host: str
    port: int

    def __str__(self) -> str:
        """Say it as the operator would write it."""
        return format_listen(self.host, self.port)

    def listen(self) -> Listening:
        """Listen there.

        :raises SocketError: that cannot be.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with contextlib.ExitStack() as undo:
            try:
                sock = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
                # What has been served before on this port may still be closing.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((self.host, self.port))
                sock.listen(_BACKLOG)
                sock.setblocking(False)
            except OSError as error:
                why = os.strerror(error.errno) if error.errno else str(error)
                raise SocketError(
                    f"cannot listen on {self}: {why.lower()}; "
                    "free that port, or set `adminListen` to another one"
                ) from error
            undo.pop_all()
        return _TcpListening(sock)

    def overlaps(self, other: object) -> bool:
        """Tell whether both cannot be served at the same time."""
        return isinstance(other, TcpAddress) and self.port == other.port


class Served(Protocol):
    """What serves on one listening socket."""

    def stop(self) -> None:
        """Serve no longer; requests that run are answered."""


class Place:
    """Keeps an address served while it is wanted, and says so when that cannot be.

    :param serve: serves on a listening socket.
    """

    def __init__(
        self,
        serve: Callable[[Listening, UnixAddress | TcpAddress], Served],
        log: Logger,
    ) -> None:
        self._serve = serve
        self._log = log
        self._wanted: UnixAddress | TcpAddress | None = None
        self._current: tuple[UnixAddress | TcpAddress, Listening, Served] | None = None
        self._complained = ""
        self._tries = 0
        self._looks_left = 0

    @property
    def trouble(self) -> str:
        """Why it is not served where it should be; empty if it is, or should not be."""
        return self._complained

    @property
    def address(self) -> str:
        """Where it is served; empty for nowhere."""
        return "" if self._current is None else str(self._current[0])

    def want(self, address: UnixAddress | TcpAddress | None) -> None:
        """Serve at an address from now on; None for nowhere."""
        if address == self._wanted and self._in_place():
            return
        self._wanted = address
        self._try()

    def look(self) -> None:
        """Try again where it could not be served, or no longer is."""
        if self._in_place():
            return
        if self._looks_left > 0:
            self._looks_left -= 1
            return
        self._try()

    def leave(self) -> None:
        """Serve nowhere, and do not say so."""
        self._wanted = None
        self._complained = ""
        self._give_up()

    def _in_place(self) -> bool:
        if self._wanted is None:
            return self._current is None
        if self._current is None:
            return False
        address, listening, _served = self._current
        return address == self._wanted and listening.in_place()

    def _try(self) -> None:
        wanted = self._wanted
        if wanted is None:
            self.leave()
            return
        if self._current is not None and wanted.overlaps(self._current[0]):
            # Both at once cannot be; otherwise the new one is there before the old one goes.
            self._give_up()
        try:
            listening = wanted.listen()
        except Exception as error:  # noqa: BLE001 - the daemon has more important things to do
            self._complain(error)
            return
        try:
            served = self._serve(listening, wanted)
        except Exception as error:  # noqa: BLE001 - the same
            listening.remove()
            self._complain(error)
            return
        self._give_up()
        self._current = (wanted, listening, served)
        self._complained, self._tries, self._looks_left = "", 0, 0
        self._log.info("the admin interface is at {address}", address=str(wanted))

    def _complain(self, error: Exception) -> None:
        known = isinstance(error, SocketError)
        said = str(error) if known else f"internal error: {type(error).__name__}: {error}"
        sentence = f"the admin interface is not at {self._wanted}: {said}"
        self._looks_left = min(2**self._tries, _MOST_LOOKS) - 1
        self._tries += 1
        if sentence != self._complained:
            self._complained = sentence
            self._log.warn("{sentence}", sentence=sentence)

    def _give_up(self) -> None:
        current, self._current = self._current, None
        if current is not None:
            _address, listening, served = current
            served.stop()
            listening.remove()
