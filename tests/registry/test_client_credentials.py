"""Where a registry client has its credentials from, and when it wants others."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Outcome, Registry
from image_cri_shim.registry.failure import Unanswered
from tests.registry.network import Network, Ring, Says, candidate, fired
from tests.registry.token_server import AUTH, HUB, NGINX, USER, WRONG, TokenServer, basic


class Mute(Ring):
    """A keyring that does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled = 0

    def credentials(self, registry: Registry) -> Deferred[Credentials | None]:
        def cancel(_: object) -> None:
            self.cancelled += 1

        return Deferred(cancel)


def test_each_look_up_has_the_credentials_of_its_time(network: Network) -> None:
    network.serve(HUB, basic)
    ring = Ring(WRONG)
    client = network.client(keyring=ring)
    assert network.ask(client.look_up(candidate(NGINX))).outcome is Outcome.UNKNOWN
    assert ring.forgotten == [HUB], "so that a helper is asked again"
    ring.held = USER
    assert network.ask(client.look_up(candidate(NGINX))).outcome is Outcome.PRESENT
    assert ring.asked == 2
    assert ring.forgotten == [HUB]


def test_a_keyring_that_has_none_is_asked_again_once_they_are_wanted(network: Network) -> None:
    network.serve(HUB, basic)
    ring = Ring(None)
    answer = network.ask(network.client(keyring=ring).ask(candidate(NGINX)))
    assert answer.look_up.detail == "401 and no credentials are configured"
    assert ring.forgotten == [HUB]


@pytest.mark.parametrize("held", [WRONG, None])
def test_a_token_server_that_refuses_them_makes_the_keyring_forget_them(
    network: Network, held: Credentials | None
) -> None:
    TokenServer(network, anonymous=False)
    ring = Ring(held)
    answer = network.ask(network.client(keyring=ring).ask(candidate(NGINX)))
    assert answer.look_up.detail.startswith(f"token server {AUTH}: 401 ")
    assert ring.forgotten == [HUB]


def test_what_is_absent_for_accepted_credentials_makes_nobody_forget_them(
    network: Network, server: TokenServer
) -> None:
    server.denied.add("library/nginx")
    ring = Ring(USER)
    found = network.ask(network.client(keyring=ring).look_up(candidate(NGINX)))
    assert found.outcome is Outcome.ABSENT
    assert ring.forgotten == []


def test_credentials_that_cannot_be_had_are_the_answer_and_nobody_is_asked(
    network: Network,
) -> None:
    hub = network.serve(HUB, lambda _: Says(200))
    ring = Ring(Unanswered("cannot use /etc/x.json: no such file"))
    answer = network.ask(network.client(keyring=ring).ask(candidate(NGINX)))
    assert answer.look_up.outcome is Outcome.UNKNOWN
    assert answer.look_up.detail == "cannot use /etc/x.json: no such file"
    assert hub.seen == []


def test_waiting_for_credentials_is_part_of_the_whole_time(network: Network) -> None:
    ring = Mute()
    looking = network.client(keyring=ring, timeout=2.5).ask(candidate(NGINX))
    network.advance(2.25)
    assert not fired(looking)
    network.advance(0.25)
    answer = network.ask(looking)
    assert answer.look_up.detail == "timed out after 2.5s, waiting for its credentials"
    assert answer.look_up.timed_out
    assert ring.cancelled == 1
    assert network.reactor.getDelayedCalls() == []
