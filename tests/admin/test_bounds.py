"""What a client may cost: connections, time, memory."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from image_cri_shim.admin.channel import PATIENCE
from image_cri_shim.admin.site import CONNECTION_LIMIT
from tests.admin.stage import Connection, Stage

FOLLOW = "/decisions?follow=1"


def test_one_connection_too_many_replaces_the_one_that_is_idle_longest() -> None:
    stage = Stage()
    connections = [stage.connect() for _ in range(CONNECTION_LIMIT)]
    connections[0].ask(FOLLOW)
    another = stage.connect()
    another.ask("/healthz")
    assert another.answered().code == 200
    assert [one.transport.aborted for one in connections[:3]] == [False, True, False]


def test_nobody_who_is_being_answered_makes_room() -> None:
    stage = Stage()
    stage.backend.reloading = Deferred()
    busy = [stage.connect() for _ in range(CONNECTION_LIMIT)]
    for one in busy:
        one.ask("/reload", "POST")
    assert stage.connect().protocol is None
    busy[3].lose()
    assert stage.connect().protocol is not None


def test_who_asks_nothing_is_dropped() -> None:
    stage = Stage()
    connection = stage.connect()
    stage.clock.advance(PATIENCE - 1)
    assert not connection.closed
    stage.clock.advance(1)
    assert connection.transport.aborted


def test_a_request_that_comes_drop_by_drop_is_dropped_too() -> None:
    stage = Stage()
    connection = stage.connect()
    for char in b"GET /healthz HTTP/1.1"[:12]:
        connection.send(bytes([char]))
        stage.clock.advance(PATIENCE / 12)
    assert connection.transport.aborted


def test_who_has_been_answered_may_ask_again_for_a_while() -> None:
    stage = Stage()
    connection = stage.connect()
    stage.clock.advance(PATIENCE - 1)
    connection.ask("/healthz")
    stage.clock.advance(PATIENCE - 1)
    assert not connection.closed
    stage.clock.advance(1)
    assert connection.transport.aborted


def test_who_does_not_take_the_last_answer_is_dropped() -> None:
    stage = Stage()
    connection = stage.connect()
    connection.ask("/status", headers=("Host: a", "Connection: close"))
    assert connection.transport.disconnecting
    assert not connection.transport.aborted
    stage.clock.advance(PATIENCE)
    assert connection.transport.aborted


def test_requests_that_come_together_are_not_all_answered() -> None:
    connection = Stage().connect()
    connection.send(b"GET /healthz HTTP/1.1\r\n\r\n" * 100)
    assert connection.received.count(b" 200 ") == 1
    assert connection.closed


def test_who_does_not_wait_for_the_answer_gets_no_other() -> None:
    stage = Stage()
    stage.backend.reloading = reloading = Deferred()
    connection = stage.connect()
    connection.ask("/reload", "POST")
    connection.ask("/healthz")
    reloading.callback({"ok": True})
    assert connection.received.count(b"HTTP/1.1 ") == 1
    assert connection.closed


def test_who_takes_no_answers_is_not_read_from() -> None:
    connection = Stage().connect()
    connection.transport.full = True
    connection.ask("/healthz")
    assert connection.transport.producerState == "paused"
    connection.transport.full = False
    connection.protocol.resumeProducing()
    assert connection.transport.producerState == "producing"
    connection.ask("/healthz")
    assert connection.transport.producerState == "producing"
    assert connection.received.count(b" 200 ") == 2


@pytest.mark.parametrize(
    "data",
    [
        b"GET /" + b"a" * 20_000,
        b"GET / HTTP/1.1\r\n" + b"a: " + b"b" * 20_000,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: " + b"b" * 900 + b"\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"GET /\r\n\r\n",
        b"POST /flush HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /flush HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_a_head_that_is_none_ends_the_connection(data: bytes) -> None:
    stage = Stage()
    connection = stage.connect()
    connection.send(data)
    if data.endswith(b"b" * 900 + b"\r\n"):
        assert not connection.closed
        for _ in range(20):
            if not connection.closed:
                connection.send(b"a: " + b"b" * 900 + b"\r\n")
    assert connection.closed
    assert b" 200 " not in connection.received
    assert stage.logged == []


def test_when_the_interface_leaves_idle_clients_are_closed_and_answers_finished() -> None:
    stage = Stage()
    reloading: Deferred[dict[str, object]] = Deferred()
    stage.backend.reloading = reloading
    idle, busy, follower = stage.connect(), stage.connect(), stage.connect()
    busy.ask("/reload", "POST")
    follower.ask(FOLLOW)
    stage.site.leave()
    assert idle.transport.disconnecting
    assert follower.transport.disconnecting
    assert follower.received.endswith(b"\r\n0\r\n\r\n")
    assert not busy.closed
    assert stage.connect().protocol is None
    reloading.callback({"ok": True})
    assert busy.answered().code == 200
    assert busy.transport.disconnecting


def test_nothing_is_left_behind_by_clients_that_have_gone() -> None:
    stage = Stage()
    connections: list[Connection] = []
    for path in ("/healthz", FOLLOW, "/decisions", "/"):
        connections.append(stage.connect())
        connections[-1].ask(path)
    for one in connections:
        one.lose()
    stage.clock.pump([0] * 50)
    assert stage.clock.getDelayedCalls() == []
    stage.backend.pull()
    assert stage.logged == []
