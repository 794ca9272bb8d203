from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from twisted.internet.defer import Deferred

from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Outcome
from tests.registry.network import (
    HANG,
    Network,
    Ring,
    Says,
    Seen,
    candidate,
    fired,
    json_body,
)
from tests.registry.token_server import (
    BUSYBOX,
    HUB,
    NGINX,
    REALM,
    USER,
    TokenServer,
)


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
    ring = Ring(USER)
    client = network.client(keyring=ring)
    network.ask(client.look_up(candidate(NGINX)))
    ring.held = None
    network.ask(client.look_up(candidate(NGINX)))
    assert [seen.authorization for seen in server.tokens.seen] == [USER.basic(), None]


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
        assert server.count == expected


def test_a_token_for_credentials_that_is_refused_is_failed_authentication(
    network: Network, server: TokenServer
) -> None:
    server.valid = type("Never", (set,), {"add": lambda *_: None})()
    ring = Ring(USER)
    answer = network.ask(network.client(keyring=ring).ask(candidate(NGINX)))
    assert answer.look_up.detail == "401, its token server's token is not accepted"
    assert ring.forgotten == [HUB]


def test_one_token_serves_all_look_ups_of_a_repository(
    network: Network, server: TokenServer
) -> None:
    client = network.client()
    for n in range(5):
        network.ask(client.look_up(candidate(f"{HUB}/library/nginx:{n}")))
    looking = [client.look_up(candidate(f"{HUB}/library/nginx:{n}")) for n in range(50)]
    assert {network.ask(one).outcome for one in looking} == {Outcome.PRESENT}
    assert server.count == 1


def test_look_ups_whose_kept_token_is_refused_share_the_next_one(
    network: Network, server: TokenServer
) -> None:
    client = network.client()
    network.ask(client.look_up(candidate(NGINX)))
    server.valid.clear()
    looking = [client.look_up(candidate(f"{HUB}/library/nginx:{n}")) for n in range(5)]
    assert {network.ask(one).outcome for one in looking} == {Outcome.PRESENT}
    assert server.count == 2


def test_a_refused_token_is_replaced_by_one_that_another_look_up_has_fetched(
    network: Network, server: TokenServer
) -> None:
    client = network.client()
    network.ask(client.look_up(candidate(NGINX)))
    server.valid.clear()
    late: Deferred[Says] = Deferred()

    def refuse_late(seen: Seen) -> Says | str | Deferred[Says]:
        if "late" not in seen.path or late.called:
            return server.registry(seen)
        return late

    server.hub.handle = refuse_late
    waiting = client.look_up(candidate(f"{HUB}/library/nginx:late"))
    assert network.ask(client.look_up(candidate(NGINX))).outcome is Outcome.PRESENT
    assert server.count == 2
    late.callback(server.registry(server.hub.seen[1]))
    assert network.ask(waiting).outcome is Outcome.PRESENT
    assert server.count == 2


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
