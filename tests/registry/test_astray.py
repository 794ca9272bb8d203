"""Registries that lead look-ups where they must not go."""

from __future__ import annotations

from typing import Any

import pytest

from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Outcome
from tests.registry.network import HANG, Network, Says, Seen, Server, candidate, fired, json_body
from tests.registry.token_server import HUB, NGINX, TokenServer

ORIGIN = "origin.test"
LEADS = "leads to origin.test, which is not allowed"
USER = Credentials("admin", "Pa55w0rd")
TOKEN = Says(200, {}, json_body({"token": "token-9"}))


def to(location: str) -> Says:
    return Says(307, {"Location": location})


def wants_token(realm: str) -> Any:
    def handle(seen: Seen) -> Says:
        if (seen.authorization or "").startswith("Bearer "):
            return Says(200)
        return Says(401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="hub"'})

    return handle


def origin(network: Network, port: int = 80) -> Server:
    return network.serve(f"{ORIGIN}:{port}", lambda _: TOKEN)


def strict(name: str = NGINX, **settings: Any) -> Any:
    return candidate(name, forbidden=settings.pop("forbidden", ORIGIN), **settings)


# The origin that is not allowed


@pytest.mark.parametrize(
    "location", [f"http://{ORIGIN}/v2/", f"http://{ORIGIN}:8080/", f"//{ORIGIN}"]
)
def test_a_redirect_to_an_origin_that_is_not_allowed_is_a_no_and_not_followed(
    network: Network, location: str
) -> None:
    servers = [origin(network), origin(network, 8080)]
    network.serve(HUB, lambda _: to(location))
    found = network.ask(network.client().look_up(strict()))
    assert (found.outcome, found.detail) == (Outcome.ABSENT, LEADS)
    assert [server.seen for server in servers] == [[], []]
    assert ORIGIN not in network.names.asked
    assert network.connections == 1


def test_the_same_redirect_is_followed_where_the_origin_is_allowed(network: Network) -> None:
    server = origin(network)
    network.serve(HUB, lambda _: to(f"http://{ORIGIN}/v2/"))
    found = network.ask(network.client().look_up(candidate(NGINX)))
    assert found.outcome is Outcome.PRESENT
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "location", [f"http://u:p@{ORIGIN}/", f"ftp://{ORIGIN}/", f"https://{ORIGIN}/\u00e4"]
)
def test_an_address_there_that_is_no_good_is_a_no_too(network: Network, location: str) -> None:
    # As unknown it would be tried by pulling, and the runtime may take such an address.
    network.serve(HUB, lambda _: to(location))
    found = network.ask(network.client().look_up(strict()))
    assert (found.outcome, found.detail) == (Outcome.ABSENT, LEADS)


def test_every_redirect_is_looked_at_the_last_one_too(network: Network) -> None:
    server = origin(network)

    def lead(seen: Seen) -> Says:
        return to(f"{seen.path}x") if len(hub.seen) < 6 else to(f"http://{ORIGIN}/")

    hub = network.serve(HUB, lead)
    found = network.ask(network.client().look_up(strict()))
    assert (found.outcome, found.detail) == (Outcome.ABSENT, LEADS)
    assert server.seen == []


def test_the_get_in_place_of_a_refused_head_is_not_led_there_either(network: Network) -> None:
    server = origin(network)
    network.serve(HUB, lambda s: Says(405) if s.method == "HEAD" else to(f"http://{ORIGIN}/"))
    found = network.ask(network.client().look_up(strict()))
    assert (found.outcome, found.detail) == (Outcome.ABSENT, LEADS)
    assert server.seen == []


@pytest.mark.parametrize("credentials", [USER, None])
def test_a_token_server_at_an_origin_that_is_not_allowed_is_not_asked(
    network: Network, credentials: Credentials | None
) -> None:
    server = origin(network)
    network.serve(HUB, wants_token(f"http://{ORIGIN}/token"))
    client = network.client()
    for _ in range(2):
        found = network.ask(client.look_up(strict(credentials=credentials)))
        assert (found.outcome, found.detail) == (Outcome.ABSENT, LEADS)
    assert server.seen == []
    assert ORIGIN not in network.names.asked


def test_a_token_server_that_redirects_there_is_not_followed(network: Network) -> None:
    server = origin(network)
    network.serve(HUB, wants_token("http://auth.corp/token"))
    network.serve("auth.corp:80", lambda _: to(f"http://{ORIGIN}/token"))
    found = network.ask(network.client().look_up(strict()))
    assert (found.outcome, found.detail) == (Outcome.ABSENT, LEADS)
    assert server.seen == []


def test_a_token_from_there_that_others_may_fetch_is_not_used(network: Network) -> None:
    server = origin(network)
    hub = network.serve(HUB, wants_token(f"http://{ORIGIN}/token"))
    client = network.client()
    assert network.ask(client.look_up(candidate(NGINX))).outcome is Outcome.PRESENT
    assert len(server.seen) == 1
    registry = candidate(NGINX).registry
    found = network.ask(client.look_up(candidate(NGINX, registry, forbidden=ORIGIN)))
    assert (found.outcome, found.detail) == (Outcome.ABSENT, LEADS)
    assert (len(server.seen), len(hub.seen)) == (1, 3)


def test_who_may_be_led_there_shares_no_request_for_a_token_with_who_may_not(
    network: Network,
) -> None:
    server = origin(network)
    network.serve(HUB, wants_token("http://auth.corp/token"))
    network.serve("auth.corp:80", lambda _: to(f"http://{ORIGIN}/token"))
    client = network.client()
    free, bound = client.look_up(candidate(NGINX)), client.look_up(strict())
    assert network.ask(free).outcome is Outcome.PRESENT
    assert network.ask(bound).outcome is Outcome.ABSENT
    assert len(server.seen) == 1


def test_a_registry_at_the_origins_host_is_asked_because_it_is_configured(
    network: Network,
) -> None:
    network.serve(HUB, wants_token("http://sealos.hub:5001/token"))
    network.serve("sealos.hub:5001", lambda _: TOKEN)
    found = network.ask(network.client().look_up(strict(forbidden="sealos.hub:443")))
    assert found.outcome is Outcome.PRESENT


def test_docker_hub_is_all_of_its_servers(network: Network) -> None:
    network.serve(HUB, wants_token("https://auth.docker.io/token"))
    found = network.ask(network.client().look_up(strict(forbidden="docker.io")))
    assert (found.outcome, found.detail) == (
        Outcome.ABSENT,
        "leads to docker.io, which is not allowed",
    )
    assert network.names.asked == ["sealos.hub"]


# Credentials in what a registry names


def betrays(address: str) -> Any:
    """A registry that has been shown the password, and names an address with it."""

    def handle(seen: Seen) -> Says:
        if seen.authorization is None:
            return Says(401, {"WWW-Authenticate": 'Basic realm="x"'})
        if "redirect" in address:
            return to(address)
        return Says(401, {"WWW-Authenticate": f'Bearer realm="{address}"'})

    return handle


@pytest.mark.parametrize("place", ["pa55w0rd:1", "Pa55w0rd.evil.test", "evil.test"])
@pytest.mark.parametrize("kind", ["redirect", "token"])
def test_an_address_with_the_password_in_it_is_neither_asked_nor_told(
    network: Network, place: str, kind: str
) -> None:
    network.serve(HUB, betrays(f"http://{place}/{kind}/PA55W0RD"))
    evil = network.serve("evil.test:80", lambda _: TOKEN)
    found = network.ask(network.client().look_up(candidate(NGINX, credentials=USER)))
    assert found.outcome is Outcome.UNKNOWN
    who = "redirects to" if kind == "redirect" else "its token server has"
    assert found.detail == f"{who} an address with its credentials in it, which is not asked"
    assert network.names.asked == ["sealos.hub"]
    assert evil.seen == []


def test_a_token_servers_redirect_to_the_password_is_not_followed(network: Network) -> None:
    network.serve(HUB, wants_token("http://auth.corp/t"))
    network.serve("auth.corp:80", lambda _: to("http://pa55w0rd.evil.test/"))
    found = network.ask(network.client().look_up(candidate(NGINX, credentials=USER)))
    assert found.detail == (
        "token server auth.corp: "
        "redirects to an address with its credentials in it, which is not asked"
    )
    assert network.names.asked == ["sealos.hub", "auth.corp"]


@pytest.mark.parametrize("answer", [Says(500), HANG])
def test_a_short_password_in_a_token_servers_name_is_not_told(
    network: Network, server: TokenServer, answer: Says | str
) -> None:
    network.serve("s3c.evil.test:80", lambda _: answer)
    server.challenge = 'Bearer realm="http://S3C.evil.test/token"'
    looking = network.client().look_up(candidate(NGINX, credentials=Credentials("u", "s3c")))
    network.settle()
    if not fired(looking):
        network.advance(10)
    found = network.ask(looking)
    assert "token server ***.evil.test" in found.detail
    assert "s3c" not in found.detail.lower()


def test_a_short_password_in_the_name_of_where_it_redirects_to_is_not_told(
    network: Network,
) -> None:
    network.serve(HUB, lambda _: to("http://s3c.evil.test/"))
    network.serve("s3c.evil.test:80", lambda _: Says(401))
    asked = candidate(NGINX, credentials=Credentials("u", "s3c"))
    found = network.ask(network.client().look_up(asked))
    assert found.detail == "redirects to ***.evil.test, which answers 401"
    probe = network.ask(network.client().of(asked.registry).probe())
    assert probe.detail == "redirects to ***.evil.test, which answers 401"


def test_our_own_words_are_not_masked(network: Network) -> None:
    # Or everybody would see that the password is one of them.
    network.serve(HUB, betrays("http://auth.corp/t"))
    network.serve("auth.corp:80", lambda _: Says(401))
    found = network.ask(
        network.client().look_up(candidate(NGINX, credentials=Credentials("u", "wrong")))
    )
    assert found.detail == "token server auth.corp: 401 wrong credentials"
