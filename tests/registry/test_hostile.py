"""Registries that try to be expensive."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol

from image_cri_shim.decision import Outcome
from image_cri_shim.registry.connection import HEAD_LIMIT, LINE_LIMIT
from tests.registry.network import Network, Says, candidate

HUB = "sealos.hub:5000"
NGINX = f"{HUB}/library/nginx:1.25"
FIRST = b"HTTP/1.1 200 OK\r\n"


class Flood(Protocol):
    """Answers with a beginning, and then with the same bytes again and again."""

    piece = 4096
    # It ends, so that a client who takes everything fails a test instead of hanging it.
    most = 20 * HEAD_LIMIT

    def __init__(self, first: bytes, again: bytes) -> None:
        self.first = first
        self.again = again * (self.piece // len(again))
        self.sent = 0
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        if data.startswith(b"HEAD") and b" 400 " in self.first:
            self.transport.write(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")
            return
        self.transport.write(self.first)
        self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        if self.lost or self.transport.disconnecting or self.sent > self.most:
            self.transport.unregisterProducer()
            return
        self.sent += len(self.again)
        self.transport.write(self.again)

    def stopProducing(self) -> None:
        self.lost = True

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = True


@pytest.fixture
def flood(network: Network) -> Any:
    floods: list[Flood] = []

    def begin(first: bytes, again: bytes) -> list[Flood]:
        def build() -> Flood:
            floods.append(Flood(first, again))
            return floods[-1]

        network.listen(HUB, Factory.forProtocol(build))  # type: ignore[arg-type]
        return floods

    return begin


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (FIRST, b"X-Header: again\r\n"),
        (FIRST, b"a:\r\n"),
        (FIRST, b"X-Header: " + b"a" * 4000 + b"\r\n"),
        (FIRST + b"X: y\r\n", b" folded\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </style>\r\n\r\n"),
    ],
)
def test_headers_that_do_not_end_are_given_up_soon(
    network: Network, flood: Any, first: bytes, again: bytes
) -> None:
    floods = flood(first, again)
    answer = network.ask(network.client().ask(candidate(NGINX)))
    assert answer.look_up.outcome is Outcome.UNKNOWN
    assert answer.look_up.detail == "answered with endless headers"
    network.settle()
    (one,) = floods
    assert one.lost, "the connection was aborted"
    assert one.sent <= 2 * HEAD_LIMIT


def test_a_token_server_with_endless_headers_is_given_up_too(network: Network, flood: Any) -> None:
    flood(FIRST, b"X-Header: again\r\n")
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{HUB}/token"'}
    network.serve("other.hub:5000", lambda _: Says(401, challenge))
    found = network.ask(network.client().look_up(candidate("other.hub:5000/a:1")))
    assert found.detail == f"token server {HUB}: answered with endless headers"


def test_a_body_behind_short_headers_is_bounded_on_its_own(network: Network, flood: Any) -> None:
    floods = flood(b"HTTP/1.1 400 Bad\r\nContent-Length: 99999999\r\n\r\n", b"why " * 8)
    answer = network.ask(network.client().ask(candidate(NGINX)))
    assert answer.look_up.detail == "400"
    network.settle()
    assert floods[-1].lost
    assert floods[-1].sent <= 2 * HEAD_LIMIT


def test_short_lines_are_given_up_by_their_number(network: Network, flood: Any) -> None:
    # One name again and again takes some versions of Twisted a time that grows with its square.
    floods = flood(FIRST, b"a:\r\n")
    network.ask(network.client().ask(candidate(NGINX)))
    network.settle()
    assert floods[0].sent <= 4 * LINE_LIMIT + 2 * Flood.piece


@pytest.mark.parametrize(("count", "outcome"), [(450, "present"), (550, "unknown")])
def test_the_number_of_headers_is_bounded(network: Network, count: int, outcome: str) -> None:
    network.serve(HUB, lambda _: Says(200, {"X-Header": ["a"] * count}))
    found = network.ask(network.client().look_up(candidate(NGINX)))
    assert found.outcome.value == outcome
    assert found.detail == ("" if outcome == "present" else "answered with endless headers")


class Talkative(Protocol):
    """Answers HEAD with a body, in the same breath."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 404 No\r\nContent-Length: 3000\r\n\r\n" + b"no\r\n" * 750)


def test_a_body_where_none_belongs_is_not_the_next_answer(network: Network) -> None:
    network.listen(HUB, Factory.forProtocol(Talkative))  # type: ignore[arg-type]
    client = network.client()
    looking = client.look_up(candidate(NGINX))
    looking.addCallback(lambda _: client.look_up(candidate(NGINX)))
    assert network.ask(looking).outcome is Outcome.ABSENT


def test_many_headers_are_no_flood(network: Network) -> None:
    many = {f"X-Header-{n}": "a" * 500 for n in range(100)}
    network.serve(HUB, lambda _: Says(200, many))
    client = network.client()
    for _ in range(3):
        assert network.ask(client.look_up(candidate(NGINX))).outcome is Outcome.PRESENT
    assert network.connections == 1


def test_a_connection_is_counted_anew_with_every_request(network: Network) -> None:
    large = {f"X-Header-{n}": "a" * 1000 for n in range(40)}
    network.serve(HUB, lambda _: Says(404, large))
    client = network.client()
    for _ in range(4):
        assert network.ask(client.look_up(candidate(NGINX))).outcome is Outcome.ABSENT
    assert network.connections == 1
