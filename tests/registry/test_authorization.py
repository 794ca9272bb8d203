from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from twisted.logger import globalLogPublisher

from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Outcome
from tests.registry.network import (
    BREAK,
    HANG,
    Network,
    Says,
    Seen,
    candidate,
    fired,
    json_body,
    oci_error,
)

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


@pytest.fixture
def server(network: Network) -> TokenServer:
    return TokenServer(network)


def test_basic_is_answered_with_the_registrys_credentials(network: Network) -> None:
    hub = network.serve(HUB, basic)
    found = network.ask(network.client().look_up(candidate(NGINX, credentials=USER)))
    assert found.outcome is Outcome.PRESENT
    assert [seen.authorization for seen in hub.seen] == [None, USER.basic()]


def test_a_registry_that_asked_once_need_not_ask_again(network: Network) -> None:
    hub = network.serve(HUB, basic)
    client = network.client()
    network.ask(client.look_up(candidate(NGINX, credentials=USER)))
    network.ask(client.look_up(candidate(BUSYBOX, credentials=USER)))
    assert [seen.authorization for seen in hub.seen] == [None, USER.basic(), USER.basic()]


def test_wrong_credentials_are_unknown_and_no_failing_registry(network: Network) -> None:
    network.serve(HUB, basic)
    client = network.client()
    for _ in range(2):
        answer = network.ask(client.ask(candidate(NGINX, credentials=WRONG)))
        assert answer.look_up.outcome is Outcome.UNKNOWN
        assert answer.look_up.detail == "401 wrong credentials"
        assert not answer.failing


def test_missing_credentials_are_unknown(network: Network) -> None:
    network.serve(HUB, basic)
    answer = network.ask(network.client().ask(candidate(NGINX)))
    assert answer.look_up.outcome is Outcome.UNKNOWN
    assert answer.look_up.detail == "401 and no credentials are configured"
    assert not answer.failing


@pytest.mark.parametrize("headers", [{}, {"WWW-Authenticate": "Negotiate"}])
def test_a_401_that_asks_for_something_else_is_unknown(
    network: Network, headers: dict[str, str]
) -> None:
    hub = network.serve(HUB, lambda _: Says(401, headers))
    found = network.ask(network.client().look_up(candidate(NGINX, credentials=USER)))
    assert found.outcome is Outcome.UNKNOWN
    assert found.detail == "401, and asks for nothing that is known here"
    assert [seen.authorization for seen in hub.seen] == [None]


@pytest.mark.parametrize(
    ("body", "outcome", "detail"),
    [
        (oci_error("DENIED"), Outcome.ABSENT, "403, access denied or absent"),
        (oci_error("NAME_UNKNOWN"), Outcome.ABSENT, "403 NAME_UNKNOWN"),
        (b"blocked by the firewall", Outcome.UNKNOWN, "403"),
    ],
)
def test_403_with_accepted_credentials_is_absent_if_the_registry_says_so(
    network: Network, body: bytes, outcome: Outcome, detail: str
) -> None:
    def forbid(seen: Seen) -> Says:
        return Says(403, {}, body) if seen.authorization else basic(seen)

    network.serve(HUB, forbid)
    found = network.ask(network.client().look_up(candidate(NGINX, credentials=USER)))
    assert (found.outcome, found.detail) == (outcome, detail)


def test_a_token_is_fetched_for_the_repository_with_the_credentials(
    network: Network, server: TokenServer
) -> None:
    found = network.ask(network.client().look_up(candidate(NGINX, credentials=USER)))
    assert found.outcome is Outcome.PRESENT
    (asked,) = server.tokens.seen
    assert asked.method == "GET"
    assert asked.authorization == USER.basic()
    assert urlsplit(asked.path).path == "/token"
    assert parse_qs(urlsplit(asked.path).query) == {
        "service": ["hub, the"],
        "scope": ["repository:library/nginx:pull"],
    }
    assert [seen.authorization for seen in server.hub.seen] == [None, "Bearer token-1"]


def test_without_credentials_a_token_is_fetched_anonymously(
    network: Network, server: TokenServer
) -> None:
    assert network.ask(network.client().look_up(candidate(NGINX))).outcome is Outcome.PRESENT
    assert server.tokens.seen[0].authorization is None


def test_a_challenge_without_a_scope_gets_that_of_the_repository(
    network: Network, server: TokenServer
) -> None:
    server.challenge = f'Bearer realm="{REALM}?account=x",service=hub'
    network.ask(network.client().look_up(candidate(NGINX)))
    assert parse_qs(urlsplit(server.tokens.seen[0].path).query) == {
        "account": ["x"],
        "service": ["hub"],
        "scope": ["repository:library/nginx:pull"],
    }


def test_each_scope_of_a_challenge_is_asked_for(network: Network, server: TokenServer) -> None:
    server.challenge = f'Bearer realm="{REALM}",scope="repository:a:pull repository:b:pull"'
    network.ask(network.client().look_up(candidate(NGINX)))
    query = parse_qs(urlsplit(server.tokens.seen[0].path).query)
    assert query == {"scope": ["repository:a:pull", "repository:b:pull"]}


def test_bearer_is_preferred_to_basic(network: Network, server: TokenServer) -> None:
    server.challenge = f'Basic realm="hub", Bearer realm="{REALM}"'
    found = network.ask(network.client().look_up(candidate(NGINX, credentials=USER)))
    assert found.outcome is Outcome.PRESENT
    assert USER.basic() not in [seen.authorization for seen in server.hub.seen]


def test_a_token_is_used_again_for_its_repository_alone(
    network: Network, server: TokenServer
) -> None:
    client = network.client()
    network.ask(client.look_up(candidate(NGINX)))
    network.ask(client.look_up(candidate(f"{HUB}/library/nginx:1.26")))
    network.ask(client.look_up(candidate(BUSYBOX)))
    assert server.count == 2
    assert [seen.authorization for seen in server.hub.seen] == [
        None,
        "Bearer token-1",
        "Bearer token-1",
        None,
        "Bearer token-2",
    ]


def test_other_credentials_get_another_token(network: Network, server: TokenServer) -> None:
    client = network.client()
    network.ask(client.look_up(candidate(NGINX, credentials=USER)))
    network.ask(client.look_up(candidate(NGINX)))
    assert server.count == 2


@pytest.mark.parametrize(
    ("lifetime", "seconds"),
    [(300, 290), (60, 54), (None, 54), (0, 54), (5, 4.5), (10**400, 86390), (1e300, 86390)],
)
def test_a_token_is_used_until_shortly_before_it_expires(
    network: Network, server: TokenServer, lifetime: object, seconds: float
) -> None:
    server.lifetime = lifetime
    client = network.client()
    network.ask(client.look_up(candidate(NGINX)))
    network.advance(seconds - 0.25)
    network.ask(client.look_up(candidate(NGINX)))
    assert server.count == 1
    network.advance(0.25)
    network.ask(client.look_up(candidate(NGINX)))
    assert server.count == 2


def test_a_kept_token_that_is_refused_is_renewed(network: Network, server: TokenServer) -> None:
    client = network.client()
    network.ask(client.look_up(candidate(NGINX)))
    server.valid.clear()
    assert network.ask(client.look_up(candidate(NGINX))).outcome is Outcome.PRESENT
    assert server.hub.seen[-1].authorization == "Bearer token-2"


def test_a_new_token_that_is_refused_is_not_renewed(network: Network, server: TokenServer) -> None:
    client = network.client()
    for expected in (1, 2):
        server.valid = type("Never", (set,), {"add": lambda *_: None})()
        answer = network.ask(client.ask(candidate(NGINX)))
        assert answer.look_up.outcome is Outcome.UNKNOWN
        assert answer.look_up.detail == "401, its token server's token is not accepted"
        assert not answer.failing
        assert server.count == expected


def test_look_ups_at_the_same_time_share_a_token(network: Network, server: TokenServer) -> None:
    client = network.client()
    looking = [client.look_up(candidate(f"{HUB}/library/nginx:{n}")) for n in range(5)]
    assert {network.ask(one).outcome for one in looking} == {Outcome.PRESENT}
    assert server.count == 1


def test_one_look_up_that_is_cancelled_does_not_take_the_token_from_the_others(
    network: Network, server: TokenServer
) -> None:
    server.answer = HANG
    client = network.client()
    first, second = (client.look_up(candidate(NGINX)) for _ in range(2))
    network.settle()
    first.addErrback(lambda _: "cancelled").cancel()
    network.settle()
    assert server.tokens.lost == 0
    assert not fired(second)
    second.addErrback(lambda _: "cancelled").cancel()
    network.settle()
    assert server.tokens.lost == 1
    assert (network.ask(first), network.ask(second)) == ("cancelled", "cancelled")


@pytest.mark.parametrize("error", ["insufficient_scope", None])
@pytest.mark.parametrize(
    ("credentials", "detail"),
    [(None, "401 anonymously: absent or private"), (USER, "401, access denied or absent")],
)
def test_a_repository_that_an_accepted_token_does_not_open_is_absent(
    network: Network,
    server: TokenServer,
    error: str | None,
    credentials: Credentials | None,
    detail: str,
) -> None:
    server.denied.add("library/nginx")
    server.error = error
    found = network.ask(network.client().look_up(candidate(NGINX, credentials=credentials)))
    assert (found.outcome, found.detail) == (Outcome.ABSENT, detail)
    # Without the challenge's error it takes a GET to see the code in the body.
    methods = [seen.method for seen in server.hub.seen]
    assert methods == ["HEAD", "HEAD"] + ([] if error else ["GET"])


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_server_that_refuses_is_failed_authentication(
    network: Network, server: TokenServer, status: int
) -> None:
    server.answer = Says(status)
    client = network.client()
    answer = network.ask(client.ask(candidate(NGINX, credentials=USER)))
    assert answer.look_up.outcome is Outcome.UNKNOWN
    assert answer.look_up.detail == f"token server {AUTH}: {status} wrong credentials"
    assert not answer.failing
    anonymous = network.ask(client.look_up(candidate(NGINX)))
    assert anonymous.outcome is Outcome.UNKNOWN
    assert anonymous.detail == f"token server {AUTH}: {status} and no credentials are configured"


@pytest.mark.parametrize(
    ("answer", "detail", "failing"),
    [
        (Says(503, {"Retry-After": "9"}), "503", True),
        (Says(404), "404", False),
        (Says(200, {}, b""), "answered without a token", False),
        (Says(200, {}, b"<html>"), "answered without a token", False),
        (Says(200, {}, b"[1]"), "answered without a token", False),
        (Says(200, {}, b"{}"), "answered without a token", False),
        (Says(200, {}, b"[" * 60000), "answered without a token", False),
        (Says(200, {}, b'{"token": 7}'), "answered without a token", False),
        (Says(200, {}, b'{"token": "a\\r\\nX-Evil: 1"}'), "answered without a token", False),
        (Says(200, {}, b'{"token": "\\u00e4"}'), "answered without a token", False),
        (
            Says(200, {}, b'{"token": "t", "expires_in": "1"}'),
            "answered with a token of an unreadable lifetime",
            False,
        ),
        (
            Says(200, {}, b'{"token": "t", "expires_in": NaN}'),
            "answered with a token of an unreadable lifetime",
            False,
        ),
        (
            Says(200, {}, b'{"token": "t", "expires_in": true}'),
            "answered with a token of an unreadable lifetime",
            False,
        ),
        (
            Says(200, {}, json_body({"token": "t" * 70000})),
            "answered with far more than a token",
            False,
        ),
    ],
)
def test_a_token_server_that_answers_nonsense_makes_the_outcome_unknown(
    network: Network, server: TokenServer, answer: Says, detail: str, failing: bool
) -> None:
    server.answer = answer
    found = network.ask(network.client().ask(candidate(NGINX, credentials=USER)))
    assert found.look_up.outcome is Outcome.UNKNOWN
    assert found.look_up.detail == f"token server {AUTH}: {detail}"
    assert found.failing is failing
    assert found.retry_after == (9.0 if failing else None)


def test_a_token_that_breaks_off_is_none(network: Network, server: TokenServer) -> None:
    server.answer = BREAK
    found = network.ask(network.client().ask(candidate(NGINX)))
    assert found.look_up.outcome is Outcome.UNKNOWN
    assert found.look_up.detail == f"token server {AUTH}: connection lost"
    assert found.failing


def test_a_token_of_an_unusual_scope_is_used_again_too(
    network: Network, server: TokenServer
) -> None:
    server.challenge = f'Bearer realm="{REALM}",scope="{{scope}},push"'
    client = network.client()
    for _ in range(3):
        assert network.ask(client.look_up(candidate(NGINX))).outcome is Outcome.PRESENT
    assert server.count == 1


def test_access_token_is_another_name_for_the_token(network: Network, server: TokenServer) -> None:
    server.answer = Says(200, {}, json_body({"access_token": "token-9"}))
    server.valid.add("token-9")
    assert network.ask(network.client().look_up(candidate(NGINX))).outcome is Outcome.PRESENT


def test_a_token_server_that_is_down_is_named(network: Network, server: TokenServer) -> None:
    network.close(AUTH)
    looking = network.client().ask(candidate(NGINX))
    network.advance(0.1)
    answer = network.ask(looking)
    assert answer.look_up.outcome is Outcome.UNKNOWN
    assert answer.look_up.detail == f"token server {AUTH}: connection refused"
    assert answer.failing


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
    found = network.ask(network.client(trust=tls.trust).look_up(secure))
    assert found.outcome is Outcome.UNKNOWN
    assert found.detail == (
        f"its token server {AUTH} is asked over plain http, "
        "which is not done for a registry that is asked over https"
    )
    assert server.tokens.seen == []


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


def test_no_secret_is_in_any_repr_detail_or_log(network: Network, server: TokenServer) -> None:
    logged: list[str] = []

    def observe(event: Any) -> None:
        logged.append(repr(event))

    globalLogPublisher.addObserver(observe)
    client = network.client()
    told: list[object] = []
    for credentials in (USER, WRONG):
        for answer in (None, Says(500), Says(200, {}, b"{}"), Says(401)):
            server.answer = answer
            network.advance(301)
            told.append(network.ask(client.ask(candidate(NGINX, credentials=credentials))))
    globalLogPublisher.removeObserver(observe)
    told += [client._authorizer._tokens._kept, client._authorizer._challenges]
    text = " ".join([*map(repr, told), *map(str, told), *logged])
    assert "token server" in text
    for secret in (USER.password, WRONG.password + "'", USER.basic()[6:], "token-1"):
        assert secret not in text
