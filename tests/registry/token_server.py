"""A registry whose tokens come from a token server, and one behind Basic."""

from __future__ import annotations

from typing import Any

from image_cri_shim.credentials import Credentials
from tests.registry.network import Network, Says, Seen, json_body, oci_error

HUB = "sealos.hub:5000"
NGINX = f"{HUB}/library/nginx:1.25"
BUSYBOX = f"{HUB}/library/busybox:1"
AUTH = "auth.corp:5001"
REALM = f"http://{AUTH}/token"
USER = Credentials("admin", "passw0rd:with:colons")
WRONG = Credentials("admin", "wrong")


def basic(seen: Seen) -> Says:
    """A registry behind Basic."""
    if seen.authorization == USER.basic():
        return Says(200)
    return Says(401, {"WWW-Authenticate": 'Basic realm="hub"'}, oci_error("UNAUTHORIZED"))


class TokenServer:
    """A token server, and a registry that takes its tokens."""

    def __init__(self, network: Network, *, anonymous: bool = True) -> None:
        self.valid: set[str] = set()
        self.count = 0
        self.anonymous = anonymous
        self.lifetime: object = 300
        self.denied: set[str] = set()
        self.error: str | None = "insufficient_scope"
        self.answer: Any = None
        self.challenge = f'Bearer realm="{REALM}",service="hub, the",scope="{{scope}}"'
        self.tokens = network.serve(AUTH, self.issue)
        self.hub = network.serve(HUB, self.registry)

    def issue(self, seen: Seen) -> Says | str:
        if self.answer is not None:
            return self.answer
        if seen.authorization is None and not self.anonymous:
            return Says(401)
        if seen.authorization not in (None, USER.basic()):
            return Says(401)
        self.count += 1
        token = f"token-{self.count}"
        self.valid.add(token)
        content = {"token": token, "expires_in": self.lifetime, "issued_at": "yesterday"}
        return Says(200, {}, json_body({k: v for k, v in content.items() if v is not None}))

    def registry(self, seen: Seen) -> Says | str:
        repository = seen.path.removeprefix("/v2/").partition("/manifests/")[0]
        scheme, _, token = (seen.authorization or "").partition(" ")
        challenge = self.challenge.format(scope=f"repository:{repository}:pull")
        if scheme != "Bearer":
            return Says(401, {"WWW-Authenticate": challenge})
        if token not in self.valid:
            return Says(401, {"WWW-Authenticate": f'{challenge},error="invalid_token"'})
        if repository in self.denied:
            error = f',error="{self.error}"' if self.error else ""
            return Says(401, {"WWW-Authenticate": challenge + error}, oci_error("DENIED"))
        return Says(200)
