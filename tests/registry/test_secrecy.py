"""No look-up leaves a secret where somebody may read it."""

from __future__ import annotations

from typing import Any

from twisted.logger import globalLogPublisher

from image_cri_shim.credentials import Credentials, identity
from image_cri_shim.registry.keyring import Keyring
from tests.registry.network import Network, Says, candidate
from tests.registry.token_server import NGINX, USER, WRONG, TokenServer

IDENTITY = identity("refresh/me+please=")


def everything_in(thing: object, seen: set[int]) -> list[str]:
    """Return the reprs of an object and of all that it holds, as a debugger might show them."""
    if id(thing) in seen or isinstance(thing, str | bytes | Credentials):
        return []
    seen.add(id(thing))
    held = list(vars(thing).values()) if hasattr(thing, "__dict__") else []
    if isinstance(thing, dict):
        held += [*thing, *thing.values()]
    ours = [one for one in held if "image_cri_shim" in str(type(one)) or isinstance(one, dict)]
    return [repr(thing), *(text for one in ours for text in everything_in(one, seen))]


def test_no_secret_is_in_any_repr_detail_or_log(network: Network, server: TokenServer) -> None:
    logged: list[str] = []

    def observe(event: Any) -> None:
        logged.append(repr(event))

    globalLogPublisher.addObserver(observe)
    client = network.client(keyring=Keyring(network.reactor, 600.0))
    told: list[object] = []
    for credentials in (USER, WRONG, IDENTITY):
        for answer in (None, Says(500), Says(200, {}, b"{}"), Says(401), Says(307)):
            server.answer = answer
            network.advance(301)
            told.append(network.ask(client.ask(candidate(NGINX, credentials=credentials))))
    globalLogPublisher.removeObserver(observe)
    shown = everything_in(client, set())
    assert any("_Token(until=" in one for one in shown), "the kept tokens are among it"
    text = " ".join([*map(repr, told), *map(str, told), *logged, *shown])
    assert "token server" in text
    secrets = [USER.password, WRONG.password + "'", *IDENTITY.spellings()[:1]]
    for secret in (*secrets, USER.basic()[6:], "token-1", "refresh%2Fme"):
        assert secret not in text
