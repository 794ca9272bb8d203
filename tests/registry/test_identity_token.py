"""Identity tokens: what `docker login` leaves behind in place of a password."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest

from image_cri_shim.credentials import identity
from image_cri_shim.decision import Outcome
from tests.registry.network import Network, Says, Seen, candidate, json_body
from tests.registry.token_server import AUTH, HUB, NGINX, TokenServer, basic

IDENTITY = identity("refresh/me+please=")
MIRROR = "mirror.corp:5000"


def granting(server: TokenServer, token: str = "token-9") -> Says:
    server.valid.add(token)
    return Says(200, {}, json_body({"access_token": token, "expires_in": 300}))


def test_a_token_is_fetched_with_the_identity_token_in_a_form(
    network: Network, server: TokenServer
) -> None:
    server.answer = granting(server)
    client = network.client()
    for _ in range(2):
        found = network.ask(client.look_up(candidate(NGINX, credentials=IDENTITY)))
        assert found.outcome is Outcome.PRESENT
    (asked,) = server.tokens.seen
    assert (asked.method, asked.path, asked.authorization) == ("POST", "/token", None)
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(asked.body.decode(), strict_parsing=True) == {
        "grant_type": ["refresh_token"],
        "service": ["hub, the"],
        "client_id": ["image-cri-shim"],
        "scope": ["repository:library/nginx:pull"],
        "refresh_token": ["refresh/me+please="],
    }


def test_several_scopes_are_one_list(network: Network, server: TokenServer) -> None:
    server.answer = granting(server)
    server.challenge = server.challenge.replace("{scope}", "repository:a:pull repository:b:pull")
    network.ask(network.client().look_up(candidate(NGINX, credentials=IDENTITY)))
    form = parse_qs(server.tokens.seen[0].body.decode())
    assert form["scope"] == ["repository:a:pull repository:b:pull"]


@pytest.mark.parametrize(
    "answer", [Says(401), Says(403), Says(400, {}, json_body({"error": "invalid_grant"}))]
)
def test_an_identity_token_that_is_refused_is_failed_authentication(
    network: Network, server: TokenServer, answer: Says
) -> None:
    server.answer = answer
    found = network.ask(network.client().ask(candidate(NGINX, credentials=IDENTITY)))
    assert found.look_up.outcome is Outcome.UNKNOWN
    assert found.look_up.detail == f"token server {AUTH}: {answer.status} identity token refused"


def test_a_form_that_is_not_understood_says_nothing_about_the_token(
    network: Network, server: TokenServer
) -> None:
    server.answer = Says(400, {}, json_body({"error": "unsupported_grant_type"}))
    found = network.ask(network.client().ask(candidate(NGINX, credentials=IDENTITY)))
    assert found.look_up.detail == f"token server {AUTH}: 400"


def test_a_registry_that_wants_a_password_is_not_shown_an_identity_token(
    network: Network,
) -> None:
    hub = network.serve(HUB, basic)
    client = network.client()
    for _ in range(2):
        found = network.ask(client.ask(candidate(NGINX, credentials=IDENTITY)))
        assert found.look_up.outcome is Outcome.UNKNOWN
        assert found.look_up.detail == "401, and wants a password: an identity token is none"
    assert [seen.authorization for seen in hub.seen] == [None, None]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_an_identity_token_stays_with_the_token_server(
    network: Network, server: TokenServer, status: int
) -> None:
    server.answer = Says(status, {"Location": f"http://{MIRROR}/token"})
    mirror = network.serve(MIRROR, lambda _: granting(server))
    found = network.ask(network.client().look_up(candidate(NGINX, credentials=IDENTITY)))
    assert found.outcome is Outcome.UNKNOWN
    assert found.detail == f"token server {AUTH}: redirects what is for it alone, not followed"
    assert mirror.seen == []


@pytest.mark.parametrize(("status", "followed"), [(307, True), (308, True), (302, False)])
def test_a_token_server_may_move_within_itself_if_it_wants_the_same_form(
    network: Network, server: TokenServer, status: int, followed: bool
) -> None:
    def moved(seen: Seen) -> Says:
        if seen.path == "/token":
            return Says(status, {"Location": "/moved"})
        return granting(server)

    server.tokens.handle = moved
    found = network.ask(network.client().look_up(candidate(NGINX, credentials=IDENTITY)))
    assert (found.outcome is Outcome.PRESENT) is followed
    if followed:
        first, second = server.tokens.seen
        assert (second.method, second.path, second.body) == ("POST", "/moved", first.body)
