from __future__ import annotations

import pytest

from image_cri_shim.decision import Outcome
from tests.registry.network import BREAK, DROP, HANG, STALL, Network, Says, Seen, candidate, fired

HUB = "sealos.hub:5000"
NGINX = f"{HUB}/library/nginx:1.25"
SECURE = candidate("secure.hub/a:1", plain_http=False)
ADDRESSED = candidate("192.0.2.7:5000/a:1", plain_http=False)


def test_a_registry_nobody_listens_for_is_refused(network: Network) -> None:
    network.address("sealos.hub")
    looking = network.client().ask(candidate(NGINX))
    network.advance(0.1)
    answer = network.ask(looking)
    assert answer.look_up.outcome is Outcome.UNKNOWN
    assert answer.look_up.detail == "connection refused"
    assert not answer.look_up.timed_out


def test_a_host_that_does_not_exist_is_named_so(network: Network) -> None:
    answer = network.ask(network.client().ask(candidate(NGINX)))
    assert answer.look_up.outcome is Outcome.UNKNOWN
    assert answer.look_up.detail == "no such host"


def test_connecting_is_given_up_after_its_budget(network: Network) -> None:
    network.swallow("sealos.hub")
    looking = network.client(connect_timeout=3.0, timeout=10.0).ask(candidate(NGINX))
    network.advance(2.9)
    assert not fired(looking)
    network.advance(0.1)
    answer = network.ask(looking)
    assert answer.look_up.detail == "connecting timed out after 3s"
    assert answer.look_up.timed_out
    assert answer.look_up.elapsed == pytest.approx(3.0)


def test_finding_the_host_counts_as_connecting(network: Network) -> None:
    network.names.mute.add("sealos.hub")
    looking = network.client(connect_timeout=3.0).look_up(candidate(NGINX))
    network.advance(3.0)
    found = network.ask(looking)
    assert found.detail == "finding the host timed out after 3s"
    assert found.timed_out


def test_a_host_that_was_found_late_leaves_the_rest_of_the_time(network: Network) -> None:
    network.swallow("sealos.hub")
    network.names.mute.add("sealos.hub")
    looking = network.client(connect_timeout=3.0).look_up(candidate(NGINX))
    network.advance(2.0)
    network.names.answer()
    network.advance(1.0)
    assert network.ask(looking).detail == "connecting timed out after 3s"


def test_the_second_connection_to_a_host_is_judged_for_itself(network: Network) -> None:
    network.serve(HUB, lambda _: Says(200, {"Connection": "close"}))
    client = network.client(connect_timeout=3.0)
    network.ask(client.look_up(candidate(NGINX)))
    network.names.mute.add("sealos.hub")
    looking = client.look_up(candidate(NGINX))
    network.advance(3.0)
    assert network.ask(looking).detail == "finding the host timed out after 3s"


@pytest.mark.parametrize("when", [1.5, 2.0])
def test_the_whole_look_up_is_given_up_after_its_budget(network: Network, when: float) -> None:
    hub = network.serve(HUB, lambda _: HANG)
    looking = network.client(timeout=when).ask(candidate(NGINX))
    network.advance(when - 0.25)
    assert not fired(looking)
    network.advance(0.25)
    answer = network.ask(looking)
    assert answer.look_up.outcome is Outcome.UNKNOWN
    assert answer.look_up.detail == f"timed out after {when:g}s"
    assert answer.look_up.timed_out
    network.settle()
    assert hub.lost == 1, "the connection was aborted"
    assert network.open_connections == 0


def test_a_total_budget_below_the_one_for_connecting_holds_while_connecting(
    network: Network,
) -> None:
    network.swallow("sealos.hub")
    looking = network.client(connect_timeout=3.0, timeout=1.0).look_up(candidate(NGINX))
    network.advance(1.0)
    assert network.ask(looking).detail == "timed out after 1s"


def test_an_explanation_that_does_not_end_is_not_waited_for_longer(network: Network) -> None:
    def stall(seen: Seen) -> Says | str:
        return Says(400) if seen.method == "HEAD" else STALL

    hub = network.serve(HUB, stall)
    hub.stall_status = 400
    looking = network.client().look_up(candidate(NGINX))
    network.advance(9.9)
    assert not fired(looking)
    network.advance(0.1)
    assert network.ask(looking).detail == "timed out after 10s"
    network.settle()
    assert hub.lost == 1, "the connection was aborted"


def test_an_explanation_that_breaks_off_leaves_the_status(network: Network) -> None:
    hub = network.serve(HUB, lambda seen: Says(400) if seen.method == "HEAD" else BREAK)
    hub.stall_status = 400
    found = network.ask(network.client().look_up(candidate(NGINX)))
    assert (found.outcome, found.detail) == (Outcome.UNKNOWN, "400")


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 twohundred OK\r\n\r\n"])
def test_what_is_not_http_is_named_so(network: Network, answer: bytes) -> None:
    network.answer_bytes(HUB, answer)
    found = network.ask(network.client().ask(candidate(NGINX)))
    assert found.look_up.outcome is Outcome.UNKNOWN
    assert found.look_up.detail == "answered with something that is not HTTP"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-"])
def test_a_connection_that_is_lost_is_unknown(network: Network, answer: bytes) -> None:
    network.answer_bytes(HUB, answer)
    found = network.ask(network.client().ask(candidate(NGINX)))
    assert (found.look_up.outcome, found.look_up.detail) == (Outcome.UNKNOWN, "connection lost")


def test_a_server_that_hangs_up_is_unknown(network: Network) -> None:
    network.serve(HUB, lambda _: DROP)
    found = network.ask(network.client().look_up(candidate(NGINX)))
    assert (found.outcome, found.detail) == (Outcome.UNKNOWN, "connection lost")


@pytest.mark.parametrize(("waited", "rest"), [(4.0, 6.0), (9.95, 0.1), (30.0, 0.1)])
def test_a_look_up_that_waited_for_its_turn_has_the_rest_of_its_time(
    network: Network, waited: float, rest: float
) -> None:
    network.serve(HUB, lambda _: HANG)
    asked = candidate(NGINX, timeout=10.0)
    looking = network.client().of(asked.registry).ask(asked, waited)
    network.advance(rest - 0.01)
    assert not fired(looking)
    network.advance(0.01)
    found = network.ask(looking).look_up
    assert (found.detail, found.timed_out) == ("timed out after 10s", True)
    assert found.elapsed == pytest.approx(waited + rest)


def test_what_was_waited_for_a_turn_is_part_of_how_long_it_took(network: Network) -> None:
    network.serve(HUB, lambda _: Says(404))
    asked = candidate(NGINX)
    answer = network.ask(network.client().of(asked.registry).ask(asked, 4.0))
    assert answer.look_up.elapsed == 4.0
