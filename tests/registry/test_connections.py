from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError

from image_cri_shim.decision import Outcome
from tests.registry.network import HANG, STALL, Network, Says, Seen, candidate, fired

HUB = "sealos.hub:5000"
NGINX = f"{HUB}/library/nginx:1.25"


def test_a_connection_is_used_again(network: Network) -> None:
    network.serve(HUB, lambda _: Says(200))
    client = network.client()
    for _ in range(10):
        network.ask(client.look_up(candidate(NGINX)))
    assert network.connections == 1


def test_many_look_ups_at_once_keep_their_connections(network: Network) -> None:
    network.serve(HUB, lambda _: Says(200))
    client = network.client()
    for _ in range(3):
        looking = [client.look_up(candidate(NGINX)) for _ in range(10)]
        assert {network.ask(one).outcome for one in looking} == {Outcome.PRESENT}
    assert network.connections == 10


def test_no_more_connections_are_kept_than_look_ups_are_sent_at_once(network: Network) -> None:
    network.serve(HUB, lambda _: Says(200))
    client = network.client(max_connections=3)
    looking = [client.look_up(candidate(NGINX)) for _ in range(10)]
    assert {network.ask(one).outcome for one in looking} == {Outcome.PRESENT}
    network.settle()
    assert network.open_connections == 3


def test_errors_that_are_explained_keep_the_connection(network: Network) -> None:
    network.serve(HUB, lambda _: Says(400, {}, b"why"))
    client = network.client()
    for _ in range(3):
        network.ask(client.look_up(candidate(NGINX)))
    assert network.connections == 1


def test_an_idle_connection_is_closed_after_a_while(network: Network) -> None:
    network.serve(HUB, lambda _: Says(200))
    network.ask(network.client().look_up(candidate(NGINX)))
    network.advance(49)
    assert network.open_connections == 1
    network.advance(1)
    assert network.open_connections == 0


def test_a_connection_that_the_registry_closed_while_idle_is_replaced(network: Network) -> None:
    network.serve(HUB, lambda _: Says(200))
    client = network.client()
    network.ask(client.look_up(candidate(NGINX)))
    network.pumps[0].serverIO.loseConnection()
    network.settle()
    assert network.ask(client.look_up(candidate(NGINX))).outcome is Outcome.PRESENT
    assert network.connections == 2


def test_a_connection_that_the_registry_closes_in_that_moment_is_replaced(
    network: Network,
) -> None:
    network.serve(HUB, lambda _: Says(200))
    client = network.client()
    network.ask(client.look_up(candidate(NGINX)))
    # The server's end is closed, but the client has not heard of it when it sends its request.
    looking = client.look_up(candidate(NGINX))
    pump = network.pumps[0]
    pump.clientIO.getOutBuffer()
    pump.serverIO.loseConnection()
    assert network.ask(looking).outcome is Outcome.PRESENT
    assert network.connections == 2


@pytest.mark.parametrize("stage", ["connecting", "resolving", "waiting", "reading"])
def test_a_cancelled_look_up_fails_as_such_and_leaves_no_connection(
    network: Network, stage: str
) -> None:
    def answer(seen: Seen) -> Says | str:
        if stage != "reading":
            return HANG
        return Says(400) if seen.method == "HEAD" else STALL

    hub = network.serve(HUB, answer)
    hub.stall_status = 400
    if stage == "connecting":
        network.swallow("sealos.hub")
    if stage == "resolving":
        network.names.mute.add("sealos.hub")
    looking = network.client().look_up(candidate(NGINX))
    network.settle()
    assert not fired(looking)
    looking.cancel()
    with pytest.raises(CancelledError):
        network.ask(looking)
    network.settle()
    assert network.open_connections == 0
    assert hub.lost == (1 if stage in ("waiting", "reading") else 0)
    network.advance(60)
    assert network.reactor.getDelayedCalls() == []


def test_an_answered_look_up_leaves_nothing_to_do(network: Network) -> None:
    network.serve(HUB, lambda _: Says(200))
    network.ask(network.client(connect_timeout=500.0, timeout=1000.0).look_up(candidate(NGINX)))
    network.advance(120)  # the connection's time to idle, on both sides
    assert network.reactor.getDelayedCalls() == []


def test_closing_closes_idle_connections(network: Network) -> None:
    network.serve(HUB, lambda _: Says(200))
    client = network.client()
    network.ask(client.look_up(candidate(NGINX)))
    closing = client.close()
    network.settle()
    assert fired(closing)
    assert network.open_connections == 0
    network.ask(closing)


def test_closing_lets_running_look_ups_end(network: Network) -> None:
    hub = network.serve(HUB, lambda _: HANG)
    client = network.client(timeout=10.0)
    looking = client.look_up(candidate(NGINX))
    network.settle()
    closing = client.close()
    network.settle()
    assert not fired(closing)
    assert hub.lost == 0
    network.advance(10)
    assert network.ask(looking).timed_out
    assert fired(closing)
    assert network.open_connections == 0


def test_closing_does_not_wait_for_ever_for_the_other_side(network: Network) -> None:
    network.serve(HUB, lambda _: Says(200))
    client = network.client(connect_timeout=3.0)
    network.ask(client.look_up(candidate(NGINX)))
    network.pumps.clear()  # the other side is gone without a word
    closing = client.close()
    network.advance(2.9)
    assert not fired(closing)
    network.advance(0.1)
    assert fired(closing)


def test_a_closed_client_answers_but_keeps_no_connection(network: Network) -> None:
    network.serve(HUB, lambda _: Says(200))
    asked = candidate(NGINX)
    client = network.client()
    network.ask(client.of(asked.registry).close())
    assert network.ask(client.look_up(asked)).outcome is Outcome.PRESENT
    network.settle()
    assert network.open_connections == 0
