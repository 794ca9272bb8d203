"""A client of the daemon's admin interface: HTTP on a unix socket, one connection a question."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPResponse,
    IncompleteRead,
    RemoteDisconnected,
)
from typing import Any
from urllib.parse import urlencode

from image_cri_shim.pull_record import Document

# Seconds in which the daemon answers, unless it has to do something first.
PATIENCE = 10.0
# Seconds of silence after which a daemon that is followed is given up; it says something every 15.
_SILENCE = 60.0
_NOT_FOUND = 404
_GOOD = 200

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (
        FileNotFoundError,
        "there is no such socket; is the daemon running? (another socket: {option} SOCKET)",
    ),
    (
        ConnectionRefusedError,
        "nobody listens; is the daemon running (systemctl status image-cri-shim)?",
    ),
    (PermissionError, "permission denied; it is for root alone"),
    (RemoteDisconnected, "the connection was closed without an answer; is the daemon ending?"),
    (HTTPException, "what answers is no admin interface; is it the socket of adminSocket?"),
    (ValueError, "what answers is no admin interface; is it the socket of adminSocket?"),
)


class Unreachable(Exception):
    """Nobody answers as the admin interface does; the message says why, for the operator."""


class Refused(Exception):
    """The daemon has answered that it cannot be; the message says why, for the operator.

    :ivar code: HTTP's status code.
    :ivar document: all of the answer.
    """

    def __init__(self, code: int, why: str, document: Document) -> None:
        super().__init__(why)
        self.code = code
        self.document = document


class AdminClient:
    """Asks the daemon.

    :param path: the admin interface's socket.
    :param patience: seconds to connect, and between two signs of life.
    :param option: the option of the command that names another socket.
    """

    def __init__(self, path: str, patience: float = PATIENCE, *, option: str = "--socket") -> None:
        self.path = path
        self._patience = patience
        self._option = option
        self._followed: HTTPConnection | None = None

    def get(self, address: str, **query: str | int) -> Document:
        """Get a document.

        :param address: ``/status``.
        :raises Unreachable: nobody answers.
        :raises Refused: the daemon cannot answer that.
        """
        return self._ask("GET", f"{address}?{urlencode(query)}" if query else address, None)

    def post(
        self, address: str, body: Mapping[str, str], patience: float | None = None
    ) -> Document:
        """Let something be done, and wait for its outcome; as for ``get``."""
        return self._ask("POST", address, json.dumps(dict(body)).encode("ascii"), patience)

    def follow(self, address: str, **query: str | int) -> Iterator[Document | None]:
        """Yield documents as they come, and None for a mere sign of life, until ``close``.

        :raises Unreachable: nobody answers, or nobody does any longer.
        :raises Refused: the daemon cannot answer that.
        """
        connection = self._followed = _Connection(self.path, self._patience)
        try:
            with self._explained(self._patience):
                response = _answer(connection, "GET", f"{address}?{urlencode(query)}", None)
                if connection.sock is not None:
                    connection.sock.settimeout(_SILENCE)
            # Who is too slow is cut off, in the middle of a line too.
            with self._explained(_SILENCE), contextlib.suppress(IncompleteRead):
                while line := response.readline():
                    yield _document(line) if line.strip() else None
        finally:
            self._followed = None
            connection.close()
        raise Unreachable(
            f"the daemon on {self.path} has ended, or was told to serve elsewhere, or this command "
            "was too slow to read what it told"
        )

    def close(self) -> None:
        """Let ``follow``, in whatever thread it is, end soon with Unreachable."""
        connection = self._followed
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _ask(
        self, method: str, address: str, body: bytes | None, patience: float | None = None
    ) -> Document:
        patience = patience or self._patience
        with (
            self._explained(patience),
            contextlib.closing(_Connection(self.path, patience)) as connection,
        ):
            return _document(_answer(connection, method, address, body).read())

    @contextlib.contextmanager
    def _explained(self, patience: float) -> Iterator[None]:
        """Say in the operator's words why there is no answer."""
        try:
            yield
        except (OSError, HTTPException, ValueError) as error:
            why = _why(error, patience, self._option)
            raise Unreachable(f"nobody answers on {self.path}: {why}") from error


class _Connection(HTTPConnection):
    """A connection to a unix socket."""

    def __init__(self, path: str, patience: float) -> None:
        super().__init__("localhost", timeout=patience)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _answer(
    connection: HTTPConnection, method: str, address: str, body: bytes | None
) -> HTTPResponse:
    """Return an answer that is good; its body has yet to be read.

    :raises Refused: it is not.
    :raises Unreachable: there is no such question.
    """
    headers = {} if body is None else {"Content-Type": "application/json"}
    connection.request(method, address, body, headers)
    response = connection.getresponse()
    if response.status == _GOOD:
        return response
    said = response.read()
    try:
        document = _document(said)
        why = document.get("error") or document.get("outcome")
    except ValueError:
        document, why = {}, None
    if response.status == _NOT_FOUND and (method == "GET" or not why):
        raise Unreachable(
            f"the daemon does not know {address.partition('?')[0]}: it is older than this command; "
            "restart it"
        )
    raise Refused(
        response.status, str(why or f"it answers {response.status} {response.reason}"), document
    )


def _document(text: bytes) -> Document:
    """Read a JSON object.

    :raises ValueError: it is none.
    """
    found: Any = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 - as for what is no JSON
    return found


def _why(error: Exception, patience: float, option: str) -> str:
    """Say why there is no answer, and what that may mean.

    :param option: names another socket.
    """
    if isinstance(error, TimeoutError | BlockingIOError):
        return f"there was silence for {patience:g} s; does the daemon hang?"
    for kind, words in _REASONS:
        if isinstance(error, kind):
            return words.format(option=option)
    return getattr(error, "strerror", None) or str(error)
