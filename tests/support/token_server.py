"""Issue the Bearer tokens of a registry: a small real token server.

It speaks the Docker registry v2 token protocol (distribution, "Token Authentication
Specification"): `GET /token?service=S&scope=repository:NAME:ACTIONS`, with Basic credentials or
anonymously, answered by `{"token": JWT, "expires_in": SECONDS, "issued_at": RFC 3339}`.
"""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
import urllib.parse
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from tests.support.certificates import make_certificate
from tests.support.http_server import Handler, HTTPService
from tests.support.memory_registry import Bearer
from tests.support.registries import TokenSettings


@dataclass(frozen=True)
class Issued:
    """One token that was issued: for which scopes, to whom ("" for anonymous)."""

    scopes: tuple[str, ...]
    user: str


class TokenServer(HTTPService):
    """Serve tokens on 127.0.0.1, signed with a key of its own.

    Everyone in `users` (name to password) gets all actions asked for; anonymous clients get
    `pull` where `anonymous` is true and 401 otherwise. `expires_in` is in seconds;
    `announce_expiry=False` leaves it out of the answer. `answer_key` is `token` or
    `access_token`. `issued` lists the tokens, `refused` counts the requests answered 401,
    `requests` counts all of them.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        users: Mapping[str, str] | None = None,
        anonymous: bool = False,
        service: str = "laboratory registry",
        issuer: str = "laboratory issuer",
        expires_in: int = 300,
        announce_expiry: bool = True,
        answer_key: str = "token",
        port: int = 0,
    ) -> None:
        super().__init__(_TokenHandler, port=port)
        self.users = dict(users or {})
        self.anonymous = anonymous
        self.service = service
        self.issuer = issuer
        self.expires_in = expires_in
        self.announce_expiry = announce_expiry
        self.answer_key = answer_key
        self.issued: list[Issued] = []
        self.refused = 0
        self.requests = 0
        self._counts = threading.Lock()
        self._key, certificate = make_certificate(issuer.replace(" ", "-"))
        self._certificate = certificate.public_bytes(serialization.Encoding.DER)
        place = Path(directory)
        place.mkdir(parents=True, exist_ok=True)
        self.bundle = place / "token-roots.pem"
        self.bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def realm(self) -> str:
        """The URL that registries send their clients to; known once the server is started."""
        return f"{self.url}/token"

    @property
    def settings(self) -> TokenSettings:
        """What a DockerRegistry needs to take these tokens."""
        return TokenSettings(self.realm, self.service, self.issuer, self.bundle)

    @property
    def bearer(self) -> Bearer:
        """What a MemoryRegistry needs to take these tokens."""
        return Bearer(self.realm, self.service, self.allows)

    def token(self, user: str, scopes: tuple[str, ...], *, expires_in: int | None = None) -> str:
        """Sign a token (RFC 7519, RS256) for `user` and `scopes`."""
        now = int(time.time())
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            granted = actions.split(",") if user else ["pull"]
            access.append({"type": kind, "name": name, "actions": granted})
        header = {"typ": "JWT", "alg": "RS256", "x5c": [_base64(self._certificate)]}
        claims = {
            "iss": self.issuer,
            "sub": user,
            "aud": self.service,
            "iat": now,
            "nbf": now,
            "exp": now + (self.expires_in if expires_in is None else expires_in),
            "jti": uuid.uuid4().hex,
            "access": access,
        }
        signed = ".".join(_url_base64(json.dumps(part).encode()) for part in (header, claims))
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_url_base64(signature)}"

    def allows(self, token: str, repository: str, action: str) -> bool:
        """Tell whether `token` is ours, valid now, and grants `action` on `repository`.

        An empty repository asks only whether the token is ours and valid.
        """
        try:
            signed, _, signature = token.rpartition(".")
            self._key.public_key().verify(
                _from_url_base64(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
            claims = json.loads(_from_url_base64(signed.split(".")[1]))
        except (InvalidSignature, ValueError, IndexError):
            return False
        if claims["aud"] != self.service or claims["exp"] <= time.time():
            return False
        return not repository or any(
            entry["name"] == repository and action in entry["actions"] for entry in claims["access"]
        )

    def issue(self, query: str, authorization: str | None) -> tuple[int, dict[str, object]]:
        """Answer one request for a token: HTTP status and JSON body."""
        fields = urllib.parse.parse_qs(query)
        with self._counts:
            self.requests += 1
        user = ""
        if authorization is not None:
            name, password = basic_credentials(authorization)
            user = name if self.users.get(name) == password else ""
        if not user and (authorization is not None or not self.anonymous):
            with self._counts:
                self.refused += 1
            return 401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong credentials"}]}
        if fields.get("service") != [self.service]:
            return 400, {"errors": [{"code": "DENIED", "message": "unknown service"}]}
        scopes = tuple(s for value in fields.get("scope", []) for s in value.split(" ") if s)
        with self._counts:
            self.issued.append(Issued(scopes, user))
        answer: dict[str, object] = {self.answer_key: self.token(user, scopes)}
        if self.announce_expiry:
            answer["expires_in"] = self.expires_in
            answer["issued_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return 200, answer


def basic_credentials(authorization: str) -> tuple[str, str]:
    """Return user and password of a Basic header (RFC 7617), two empty strings for others."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    name, _, password = base64.b64decode(value).decode().partition(":")
    return name, password


class _TokenHandler(Handler):
    server: TokenServer  # type: ignore[assignment]

    def __init__(
        self, connection: socket.socket, peer: tuple[str, int], server: HTTPService
    ) -> None:
        super().__init__(connection, peer, server)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        where = urllib.parse.urlsplit(self.path)
        if where.path != "/token":
            self.answer(404, {})
            return
        self.answer(*self.server.issue(where.query, self.headers.get("Authorization")))

    def do_POST(self) -> None:
        # The OAuth2 form of the protocol: clients fall back to GET when it is not offered.
        self.body()
        self.answer(405, {})

    def answer(self, status: int, content: dict[str, object]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="laboratory tokens"')
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _url_base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _from_url_base64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
