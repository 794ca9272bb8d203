"""What is known of a registry itself, and for how long."""

from __future__ import annotations

import pytest

from image_cri_shim.decision import Outcome
from tests.registry.network import Network, Says, candidate
from tests.registry.token_server import BUSYBOX, HUB, NGINX, USER, TokenServer, basic


def test_how_a_registry_wants_to_be_asked_is_remembered_for_its_time(network: Network) -> None:
    hub = network.serve(HUB, basic)
    client = network.client(ttl=60.0)
    shown = []
    for wait in (0.0, 59.75, 0.25, 0.0):
        network.advance(wait)
        hub.seen.clear()
        network.ask(client.look_up(candidate(NGINX, credentials=USER)))
        shown.append([seen.authorization for seen in hub.seen])
    asked, at_once = [None, USER.basic()], [USER.basic()]
    assert shown == [asked, at_once, asked, at_once]


def test_a_time_of_zero_remembers_nothing(network: Network) -> None:
    hub = network.serve(HUB, basic)
    client = network.client(ttl=0.0)
    for name in (NGINX, BUSYBOX):
        network.ask(client.look_up(candidate(name, credentials=USER)))
    assert [seen.authorization for seen in hub.seen] == [None, USER.basic()] * 2


@pytest.mark.parametrize("ttl", [0.0, 60.0])
def test_tokens_are_kept_for_their_own_time(
    network: Network, server: TokenServer, ttl: float
) -> None:
    client = network.client(ttl=ttl)
    for _ in range(3):
        assert network.ask(client.look_up(candidate(NGINX))).outcome is Outcome.PRESENT
        network.advance(61)
    assert server.count == 1


def test_a_bare_401_is_met_with_what_was_asked_for_before(network: Network) -> None:
    server = TokenServer(network)
    client = network.client(ttl=600.0)
    network.ask(client.look_up(candidate(NGINX)))
    # The token has expired, and the challenge is still known.
    network.advance(300)
    server.hub.handle = lambda s: server.registry(s) if s.authorization else Says(401)
    assert network.ask(client.look_up(candidate(NGINX))).outcome is Outcome.PRESENT
    network.advance(600)
    found = network.ask(client.look_up(candidate(NGINX)))
    assert found.detail == "401, and asks for nothing that is known here"


def test_that_head_is_refused_is_remembered_for_its_time(network: Network) -> None:
    hub = network.serve(HUB, lambda seen: Says(405 if seen.method == "HEAD" else 200))
    client = network.client(ttl=60.0)
    asked = []
    for wait in (0.0, 59.75, 0.25, 0.0):
        network.advance(wait)
        hub.seen.clear()
        network.ask(client.look_up(candidate(NGINX)))
        asked.append([seen.method for seen in hub.seen])
    assert asked == [["HEAD", "GET"], ["GET"], ["HEAD", "GET"], ["GET"]]


def test_a_time_of_zero_asks_with_head_every_time(network: Network) -> None:
    hub = network.serve(HUB, lambda seen: Says(405 if seen.method == "HEAD" else 200))
    client = network.client(ttl=0.0)
    for _ in range(2):
        network.ask(client.look_up(candidate(NGINX)))
    assert [seen.method for seen in hub.seen] == ["HEAD", "GET"] * 2
