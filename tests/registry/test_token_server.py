from __future__ import annotations

from typing import Any

import pytest

from image_cri_shim.decision import Outcome
from tests.registry.network import (
    BREAK,
    HANG,
    Network,
    Says,
    candidate,
    json_body,
)
from tests.registry.token_server import (
    AUTH,
    NGINX,
    USER,
    TokenServer,
)


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_server_that_refuses_is_failed_authentication(
    network: Network, server: TokenServer, status: int
) -> None:
    server.answer = Says(status)
    client = network.client()
    answer = network.ask(client.ask(candidate(NGINX, credentials=USER)))
    assert answer.look_up.outcome is Outcome.UNKNOWN
    assert answer.look_up.detail == f"token server {AUTH}: {status} wrong credentials"
    anonymous = network.ask(client.ask(candidate(NGINX)))
    assert anonymous.look_up.outcome is Outcome.UNKNOWN
    assert anonymous.look_up.detail == (
        f"token server {AUTH}: {status} and no credentials are configured"
    )


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (Says(500), "500"),
        (Says(404), "404"),
        (Says(200, {}, b""), "answered without a token"),
        (Says(200, {}, b"<html>"), "answered without a token"),
        (Says(200, {}, b"[1]"), "answered without a token"),
        (Says(200, {}, b"{}"), "answered without a token"),
        (Says(200, {}, b"[" * 60000), "answered without a token"),
        (Says(200, {}, b'{"token": 7}'), "answered without a token"),
        (Says(200, {}, b'{"token": "a\\r\\nX-Evil: 1"}'), "answered without a token"),
        (Says(200, {}, b'{"token": "\\u00e4"}'), "answered without a token"),
        (
            Says(200, {}, b'{"token": "t", "expires_in": "1"}'),
            "answered with a token of an unreadable lifetime",
        ),
        (
            Says(200, {}, b'{"token": "t", "expires_in": NaN}'),
            "answered with a token of an unreadable lifetime",
        ),
        (
            Says(200, {}, b'{"token": "t", "expires_in": true}'),
            "answered with a token of an unreadable lifetime",
        ),
        (
            Says(200, {}, json_body({"token": "t" * 70000})),
            "answered with far more than a token",
        ),
    ],
)
def test_a_token_server_that_answers_nonsense_makes_the_outcome_unknown(
    network: Network, server: TokenServer, answer: Says, detail: str
) -> None:
    server.answer = answer
    found = network.ask(network.client().ask(candidate(NGINX, credentials=USER)))
    assert found.look_up.outcome is Outcome.UNKNOWN
    assert found.look_up.detail == f"token server {AUTH}: {detail}"


@pytest.mark.parametrize(
    ("status", "told", "seconds"),
    [(429, "9", 9.0), (503, "9", 9.0), (503, "4000", 3600.0), (503, None, None), (500, "9", None)],
)
def test_a_token_server_may_say_how_long_to_wait_too(
    network: Network, server: TokenServer, status: int, told: str | None, seconds: float | None
) -> None:
    server.answer = Says(status, {} if told is None else {"Retry-After": told})
    found = network.ask(network.client().ask(candidate(NGINX, credentials=USER)))
    assert found.look_up.detail == f"token server {AUTH}: {status}"
    assert found.retry_after == seconds


def test_a_token_that_breaks_off_is_none(network: Network, server: TokenServer) -> None:
    server.answer = BREAK
    found = network.ask(network.client().ask(candidate(NGINX)))
    assert found.look_up.outcome is Outcome.UNKNOWN
    assert found.look_up.detail == f"token server {AUTH}: connection lost"


def test_a_token_server_that_is_down_is_named(network: Network, server: TokenServer) -> None:
    network.close(AUTH)
    looking = network.client().ask(candidate(NGINX))
    network.advance(0.1)
    answer = network.ask(looking)
    assert answer.look_up.outcome is Outcome.UNKNOWN
    assert answer.look_up.detail == f"token server {AUTH}: connection refused"


def test_a_token_server_that_does_not_answer_is_named(
    network: Network, server: TokenServer
) -> None:
    server.answer = HANG
    looking = network.client().look_up(candidate(NGINX))
    network.advance(10)
    found = network.ask(looking)
    assert found.detail == f"timed out after 10s, waiting for the token server {AUTH}"
    assert found.timed_out
    assert server.tokens.lost == 1


def test_a_token_server_is_asked_over_plain_http_only_by_plain_http_registries(
    network: Network, server: TokenServer, tls: Any
) -> None:
    network.serve("secure.hub:443", server.registry, tls=tls.server("secure.hub"))
    secure = candidate("secure.hub/a:1", plain_http=False, credentials=USER)
    found = network.ask(network.client(ca_file=tls.roots).look_up(secure))
    assert found.outcome is Outcome.UNKNOWN
    assert found.detail == (
        f"its token server {AUTH} is asked over plain http, "
        "which is not done for a registry that is asked over https"
    )
    assert server.tokens.seen == []


def test_a_token_server_over_https_is_asked_with_credentials_wherever_it_is(
    network: Network, server: TokenServer, tls: Any
) -> None:
    network.serve("secure.hub:443", server.registry, tls=tls.server("secure.hub"))
    tokens = network.serve("auth.corp:443", server.issue, tls=tls.server("auth.corp"))
    server.challenge = 'Bearer realm="https://auth.corp/token"'
    secure = candidate("secure.hub/a:1", plain_http=False, credentials=USER)
    found = network.ask(network.client(ca_file=tls.roots).look_up(secure))
    assert found.outcome is Outcome.PRESENT
    assert [seen.authorization for seen in tokens.seen] == [USER.basic()]


@pytest.mark.parametrize(
    "realm",
    [
        "",
        "/token",
        "file:///etc/passwd",
        "http://",
        "http://a:b@auth.corp:5001/token",
        "http://auth.corp:port/",
        "http://[",
        "http://auth.corp:5001/\u00e4",
        "http://auth.corp:5001/a b",
        "http://auth.corp:5001?forged words",
    ],
)
def test_a_realm_that_cannot_be_asked_makes_the_outcome_unknown(
    network: Network, server: TokenServer, realm: str
) -> None:
    server.challenge = f'Bearer realm="{realm}"'
    found = network.ask(network.client().look_up(candidate(NGINX, credentials=USER)))
    assert (found.outcome, found.detail) == (
        Outcome.UNKNOWN,
        "its token server has no valid address",
    )
    assert server.tokens.seen == []
