"""An admin interface of a test's own: it answers what it was told to, on a unix socket."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import attrs


@attrs.frozen
class Request:
    """What a client has asked: `POST /flush`, the query, the body."""

    what: str
    query: dict[str, str]
    body: Any


@attrs.frozen
class Reply:
    """What is answered: a document, or bytes as they are.

    `lines` are sent one by one instead, and then signs of life until the test ends if `open` is
    true.
    """

    document: Mapping[str, Any] | bytes = b""
    status: int = 200
    lines: Sequence[Mapping[str, Any] | None] | None = None
    open: bool = False


class AdminStandIn:
    """Serve `replies`, by what is asked: `GET /status`; what is asked else is 404."""

    def __init__(self, path: Path | str, replies: Mapping[str, Reply] | None = None) -> None:
        self.path = str(path)
        self.replies = dict(replies or {})
        self.requests: list[Request] = []
        self._over = threading.Event()
        self._server = _Server(self.path, _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def answers(self, what: str, document: Mapping[str, Any], status: int = 200) -> None:
        """Answer with a document from now on."""
        self.replies[what] = Reply(document, status)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    def reply_to(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        parts = urlsplit(handler.path)
        body = handler.rfile.read(int(handler.headers["Content-Length"] or 0))
        what = f"{handler.command} {parts.path}"
        query = dict(parse_qsl(parts.query))
        self.requests.append(Request(what, query, json.loads(body) if body else None))
        missing = Reply({"error": f"there is no {parts.path} here"}, 404)
        reply = self.replies.get(what, missing)
        if "follow" in query:
            reply = self.replies.get(f"{what} follow", reply)
        handler.send_response(reply.status)
        if reply.lines is None:
            document = reply.document
            text = document if isinstance(document, bytes) else json.dumps(document).encode()
            handler.send_header("Content-Length", str(len(text)))
            handler.end_headers()
            handler.wfile.write(text)
            return
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for line in reply.lines:
            text = b"\n" if line is None else json.dumps(line).encode() + b"\n"
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
            handler.wfile.flush()
        while reply.open and not self._over.wait(0.05):
            handler.wfile.write(b"1\r\n\n\r\n")
        handler.wfile.write(b"0\r\n\r\n")


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def _handler(server: AdminStandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                server.reply_to(self)
            except OSError:
                self.close_connection = True

        do_POST = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler
