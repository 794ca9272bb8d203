"""Serve HTTP from threads of the test process, and let go of everything at `stop`."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Self


class TCPService:
    """Accept connections on 127.0.0.1 and give each its own thread.

    `stop` closes the listening socket and every open connection and joins the threads; `start`
    after that takes the same port again. A subclass overrides `serve`, which must return when
    its connection is shut down. `connections` counts the connections accepted so far.
    """

    def __init__(self, *, port: int = 0) -> None:
        self.port = port
        self.connections = 0
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None

    @property
    def host(self) -> str:
        """The address as image references spell it: `127.0.0.1:PORT`."""
        return f"127.0.0.1:{self.port}"

    @property
    def thread_name(self) -> str:
        """The name of every thread of this service."""
        return f"{type(self).__name__} {self.host}"

    def serve(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        """Handle one connection, in its own thread."""
        raise NotImplementedError

    def start(self) -> Self:
        """Listen; connections are accepted as soon as this returns."""
        if self._listener is not None:
            raise RuntimeError(f"{type(self).__name__} runs already on port {self.port}")
        self.stopping.clear()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(128)
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._acceptor = threading.Thread(
            target=self._accept, args=(listener,), name=self.thread_name, daemon=True
        )
        self._acceptor.start()
        return self

    def stop(self) -> None:
        """Stop listening, cut every connection, wait for the threads; idempotent."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self.stopping.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        listener.close()
        if self._acceptor is not None:
            self._acceptor.join(5)
        self.cut()

    def cut(self) -> None:
        """Cut every open connection and wait for its thread."""
        with self._lock:
            threads = list(self._threads)
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(5)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, peer = listener.accept()
            except OSError:
                return
            thread = threading.Thread(
                target=self._run, args=(connection, peer), name=self.thread_name, daemon=True
            )
            with self._lock:
                self.connections += 1
                self._open.add(connection)
                self._threads = [other for other in self._threads if other.is_alive()]
                thread.start()
                self._threads.append(thread)

    def _run(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        try:
            with contextlib.suppress(OSError):  # the other side may go at any time
                self.serve(connection, peer)
        finally:
            with self._lock:
                self._open.discard(connection)
                connection.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class Handler(BaseHTTPRequestHandler):
    """Answer HTTP/1.1 with keep-alive, quietly, each answer in one write."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet: what happened is recorded, not printed."""

    def body(self) -> bytes:
        """Read the request's body, of known length or chunked (RFC 9112, section 7.1)."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))


class HTTPService(TCPService):
    """Serve one kind of Handler over http, or https with an SSL context for servers."""

    def __init__(
        self,
        handler: Callable[[socket.socket, tuple[str, int], HTTPService], object],
        *,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(port=port)
        self._handler = handler
        self._tls = tls

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return f"{'https' if self._tls else 'http'}://{self.host}"

    def serve(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        if self._tls is None:
            self._handler(connection, peer, self)
            return
        # The duplicate is what TLS owns; `connection` stays with the service, to be cut.
        with self._tls.wrap_socket(connection.dup(), server_side=True) as secured:
            self._handler(secured, peer, self)


class Tarpit(TCPService):
    """Accept connections, read what comes, never answer: a registry that hangs."""

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return f"http://{self.host}"

    def serve(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        while connection.recv(65536):
            pass
