from __future__ import annotations

import pytest

from image_cri_shim.decision import Outcome
from tests.registry.network import (
    Network,
    Says,
    Seen,
    candidate,
    oci_error,
)
from tests.registry.token_server import (
    BUSYBOX,
    HUB,
    NGINX,
    USER,
    WRONG,
    basic,
)


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


def test_refused_credentials_are_unknown_and_shown_once_a_look_up(network: Network) -> None:
    hub = network.serve(HUB, basic)
    client = network.client()
    for _ in range(2):
        answer = network.ask(client.ask(candidate(NGINX, credentials=WRONG)))
        assert answer.look_up.outcome is Outcome.UNKNOWN
        assert answer.look_up.detail == "401 wrong credentials"
    # Shown once a look-up, and not again because they were refused.
    assert [seen.authorization for seen in hub.seen].count(WRONG.basic()) == 2


def test_missing_credentials_are_unknown(network: Network) -> None:
    network.serve(HUB, basic)
    answer = network.ask(network.client().ask(candidate(NGINX)))
    assert answer.look_up.outcome is Outcome.UNKNOWN
    assert answer.look_up.detail == "401 and no credentials are configured"


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
