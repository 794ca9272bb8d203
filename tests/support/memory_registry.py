"""Serve an OCI registry from memory, and misbehave on demand.

It answers as docker-registry does (tests/contract runs the same checks on both), except that a
manifest whose media type the client does not accept is always 404: the real one may convert it.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import threading
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tests.support.faults import Drop, Fault, Hang, Plan, Redirect, RefuseHead, Slow, Status
from tests.support.http_server import Handler, HTTPService
from tests.support.images import digest_of

Verify = Callable[[str, str, str], bool]


@dataclass(frozen=True)
class Bearer:
    """Say whose Bearer tokens are taken; `verify` gets token, repository and action."""

    realm: str
    service: str
    verify: Verify


@dataclass(frozen=True)
class Request:
    """One request as it arrived; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body_length: int


class MemoryRegistry(HTTPService):
    """Serve a registry on 127.0.0.1; its content survives `stop` and `start`.

    `basic` is `(user, password)`. `faults` is a list, used up one entry a request (None: no
    fault), or a callable (see tests.support.faults); it can be set at any time.
    """

    def __init__(
        self,
        *,
        basic: tuple[str, str] | None = None,
        bearer: Bearer | None = None,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(_RegistryHandler, port=port, tls=tls)
        self.basic = basic
        self.bearer = bearer
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.blobs: dict[tuple[str, str], bytes] = {}
        self._faults: list[Fault | None] | Plan = []
        self.record_lock = threading.Lock()
        self._requests: list[Request] = []
        self._seen: Counter[tuple[str, str]] = Counter()

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in order of arrival; a copy."""
        with self.record_lock:
            return list(self._requests)

    @property
    def faults(self) -> list[Fault | None] | Plan:
        """What goes wrong next."""
        return self._faults

    @faults.setter
    def faults(self, plan: Iterable[Fault | None] | Plan) -> None:
        self._faults = plan if callable(plan) else list(plan)

    def forget_requests(self) -> None:
        """Empty `requests` and start counting anew."""
        with self.record_lock:
            self._requests.clear()
            self._seen.clear()
            self.connections = 0

    def record(self, request: Request) -> Fault | None:
        """Note a request and return the fault planned for it."""
        with self.record_lock:
            self._requests.append(request)
            key = request.method, request.path
            count = self._seen[key]
            self._seen[key] += 1
            if callable(self._faults):
                return self._faults(*key, count)
            return self._faults.pop(0) if self._faults else None

    def challenge(self, authorization: str | None, repository: str, action: str) -> str | None:
        """Return the WWW-Authenticate value for a request that is not allowed, else None."""
        if self.basic:
            expected = base64.b64encode(":".join(self.basic).encode()).decode()
            scheme, _, value = (authorization or "").partition(" ")
            allowed = scheme.lower() == "basic" and value == expected
            return None if allowed else 'Basic realm="laboratory"'
        if self.bearer:
            scheme, _, token = (authorization or "").partition(" ")
            given = scheme.lower() == "bearer"
            if given and self.bearer.verify(token, repository, action):
                return None
            value = f'Bearer realm="{self.bearer.realm}",service="{self.bearer.service}"'
            if repository:
                actions = "pull" if action == "pull" else "pull,push"
                value += f',scope="repository:{repository}:{actions}"'
            if given:
                known = self.bearer.verify(token, "", "")
                value += f',error="{"insufficient_scope" if known else "invalid_token"}"'
            return value
        return None


PATHS = re.compile(
    r"/v2/(?P<repository>.+)/(?:(?P<kind>manifests|blobs)/(?P<reference>[^/]+)"
    r"|blobs/(?P<uploads>uploads)/(?P<session>[^/]*))"
)


class _RegistryHandler(Handler):
    server: MemoryRegistry  # type: ignore[assignment]

    def __init__(
        self, connection: socket.socket, peer: tuple[str, int], server: HTTPService
    ) -> None:
        super().__init__(connection, peer, server)  # type: ignore[arg-type]

    def dispatch(self) -> None:
        content = self.body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault = self.server.record(Request(self.command, self.path, headers, len(content)))
        match fault:
            case Status(code, extra, body):
                self.answer(code, body, extra)
            case Redirect(to, code):
                target = to if urllib.parse.urlsplit(to).path else to + self.path
                self.answer(code, b"", {"Location": target})
            case Hang():
                self.hang()
            case Drop(after):
                self.drop(after)
            case RefuseHead(code) if self.command == "HEAD":
                self.error(code, "UNSUPPORTED", "HEAD is not offered")
            case Slow(seconds):
                self.server.stopping.wait(seconds)
                self.route(content)
            case _:
                self.route(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = dispatch  # noqa: N815

    def route(self, content: bytes) -> None:
        where = urllib.parse.urlsplit(self.path)
        match = PATHS.fullmatch(where.path)
        repository = match["repository"] if match else ""
        action = "pull" if self.command in ("GET", "HEAD") else "push"
        challenge = self.server.challenge(self.headers.get("Authorization"), repository, action)
        if challenge:
            headers = {"WWW-Authenticate": challenge}
            self.error(401, "UNAUTHORIZED", "authentication required", headers)
        elif where.path == "/v2/":
            self.answer(200, b"{}", {"Content-Type": "application/json; charset=utf-8"})
        elif match is None:
            self.answer(404, b"404 page not found\n", {"Content-Type": "text/plain"})
        elif match["uploads"]:
            self.upload(repository, match["session"], where.query, content)
        elif match["kind"] == "blobs":
            self.blob(repository, match["reference"])
        else:
            self.manifest(repository, match["reference"], content)

    def upload(self, repository: str, session: str, query: str, content: bytes) -> None:
        digest = urllib.parse.parse_qs(query).get("digest", [""])[0]
        if self.command == "POST" and not session:
            location = f"/v2/{repository}/blobs/uploads/{uuid.uuid4()}?_state=memory"
            self.answer(202, b"", {"Location": location, "Range": "0-0"})
        elif self.command != "PUT" or not session:
            self.error(405, "UNSUPPORTED", "POST, then PUT the whole blob")
        elif digest != digest_of(content):
            self.error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        else:
            self.server.blobs[repository, digest] = content
            location = f"/v2/{repository}/blobs/{digest}"
            self.answer(201, b"", {"Location": location, "Docker-Content-Digest": digest})

    def blob(self, repository: str, digest: str) -> None:
        content = self.server.blobs.get((repository, digest))
        if self.command not in ("GET", "HEAD"):
            self.error(405, "UNSUPPORTED", "blobs can be read here")
        elif content is None:
            self.error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        else:
            kind = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
            self.answer(200, content, kind)

    def manifest(self, repository: str, reference: str, content: bytes) -> None:
        held = self.server.manifests
        if self.command == "PUT":
            digest = digest_of(content)
            if ":" in reference and reference != digest:
                self.error(400, "DIGEST_INVALID", "provided digest did not match the content")
                return
            entry = self.headers.get("Content-Type", ""), content
            held[repository, digest] = held[repository, reference] = entry
            location = f"/v2/{repository}/manifests/{digest}"
            self.answer(201, b"", {"Location": location, "Docker-Content-Digest": digest})
            return
        entry = held.get((repository, reference), ("", b""))
        if not entry[1] or (self.command != "DELETE" and not self.accepts(entry[0])):
            self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        elif self.command == "DELETE":
            for key in [k for k, v in held.items() if k[0] == repository and v == entry]:
                del held[key]
            self.answer(202, b"")
        else:
            digest = digest_of(entry[1])
            headers = {
                "Content-Type": entry[0],
                "Docker-Content-Digest": digest,
                "ETag": f'"{digest}"',
            }
            self.answer(200, entry[1], headers)

    def accepts(self, media_type: str) -> bool:
        wanted = ",".join(self.headers.get_all("Accept", []))
        names = {part.split(";")[0].strip() for part in wanted.split(",")}
        return bool(names & {media_type, "*/*"})

    def hang(self) -> None:
        self.close_connection = True
        while self.connection.recv(65536):
            pass

    def drop(self, after: int) -> None:
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n"[:after])
        self.wfile.flush()

    def error(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        kind = {"Content-Type": "application/json; charset=utf-8"}
        self.answer(status, body, {**kind, **(headers or {})})

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        common = {
            "Content-Length": str(len(body)),
            "Docker-Distribution-Api-Version": "registry/2.0",
        }
        for name, value in {**common, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()
