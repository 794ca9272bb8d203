"""Decisions, as they are asked for once and as they are followed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from image_cri_shim.admin.addresses import FOLLOWER_LIMIT
from image_cri_shim.admin.channel import PATIENCE
from image_cri_shim.admin.decisions import BACKLOG
from image_cri_shim.decision import Pull
from tests.admin.documents import HOSTILE
from tests.admin.stage import Answered, Connection, Stage

FOLLOW = "/decisions?follow=1"


def numbers(stage: Stage, query: str = "") -> list[int]:
    answer = stage.ask(f"/decisions{query}")
    assert answer.code == 200, answer.text
    return [one["number"] for one in answer.json["decisions"]]


def lines(connection: Connection) -> list[dict[str, Any]]:
    """Return what a follower has been told, without the signs of life."""
    raw = connection.received
    if not raw.endswith(b"0\r\n\r\n"):
        raw += b"0\r\n\r\n"
    return [json.loads(line) for line in Answered(raw).text.splitlines() if line]


def end(stage: Stage, image: str = "nginx:1.25", error: str = "") -> None:
    stage.backend.pull(image).ended(Pull(image, (), error, 1.5))


def test_without_pulls_there_are_no_decisions() -> None:
    answer = Stage().ask("/decisions")
    assert (answer.code, answer.json) == (200, {"decisions": [], "last": 0})
    assert answer.headers["content-type"] == "application/json"


def test_all_that_is_known_comes_oldest_first_with_its_state() -> None:
    stage = Stage()
    end(stage, "a:1")
    end(stage, "b:1", "UNKNOWN: no")
    stage.backend.pull("c:1")
    document = stage.ask("/decisions").json
    assert document["last"] == 3
    assert [(one["image"], one["phase"]) for one in document["decisions"]] == [
        ("a:1", "pulled"),
        ("b:1", "failed"),
        ("c:1", "looking up"),
    ]


def test_a_part_is_asked_for_by_number_image_and_count() -> None:
    stage = Stage()
    for image in ("nginx:1", "redis:7", "nginx:2", "Nginx:3"):
        end(stage, image)
    assert numbers(stage, "?after=2") == [3, 4]
    assert numbers(stage, "?image=nginx*") == [1, 3]
    assert numbers(stage, "?image=*[13]") == [1, 4]
    assert numbers(stage, "?limit=2") == [3, 4]
    assert numbers(stage, "?limit=0") == []
    assert numbers(stage, "?image=nginx%3A*&limit=1&after=0&follow=0") == [3]
    assert numbers(stage, "?after=4") == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?after=x", "after is a whole number, not x"),
        ("?limit=-1", "limit is a whole number, not -1"),
        ("?limit=", "limit is a whole number, not nothing"),
        ("?limit=" + "9" * 13, "limit is a whole number"),
        ("?after=%D9%A3", "after is a whole number"),
        ("?follow=yes", "follow is 1 or 0"),
        ("?imgae=x", "there is no imgae; there are: after, image, limit, follow"),
        ("?image=a&image=b", "image is there twice"),
        ("?image=" + "a" * 1001, "image is longer than 1000"),
    ],
)
def test_what_makes_no_sense_is_said(query: str, words: str) -> None:
    answer = Stage().ask(f"/decisions{query}")
    assert answer.code == 400
    assert words in answer.error


def test_a_thousand_decisions_are_sent_no_faster_than_they_are_taken() -> None:
    stage = Stage()
    for _ in range(1000):
        end(stage)
    connection = stage.connect()
    # The transport is full from the beginning.
    connection.protocol.pauseProducing()
    connection.ask("/decisions")
    assert b'"number"' not in connection.received
    connection.protocol.resumeProducing()
    assert len(connection.answered().json["decisions"]) == 1000


def test_who_takes_nothing_of_them_is_dropped() -> None:
    stage = Stage()
    connection = stage.connect()
    connection.ask(FOLLOW)
    connection.protocol.pauseProducing()
    stage.clock.advance(PATIENCE - 1)
    assert not connection.closed
    stage.clock.advance(1)
    assert connection.transport.aborted


def test_a_follower_gets_what_there_is_and_then_what_happens() -> None:
    stage = Stage()
    end(stage, "a:1")
    running = stage.backend.pull("b:1")
    connection = stage.connect()
    connection.ask(FOLLOW)
    assert Answered(connection.received).headers["content-type"] == "application/x-ndjson"
    assert [(one["number"], one["phase"]) for one in lines(connection)] == [
        (1, "pulled"),
        (2, "looking up"),
    ]
    running.ended(Pull("b:1", (), "", 2.0))
    stage.backend.pull("c:1")
    # Not in the middle of somebody's pull.
    assert len(lines(connection)) == 2
    stage.clock.advance(0)
    assert [(one["number"], one["phase"]) for one in lines(connection)[2:]] == [
        (2, "pulled"),
        (3, "looking up"),
    ]


def test_the_head_comes_at_once_even_if_nothing_happens() -> None:
    connection = Stage().connect()
    connection.ask(FOLLOW)
    assert connection.received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert lines(connection) == []


def test_a_follower_sees_only_the_images_that_it_asked_for() -> None:
    stage = Stage()
    for image in ("nginx:1", "redis:1"):
        end(stage, image)
    connection = stage.connect()
    connection.ask(f"{FOLLOW}&image=nginx*&after=0&limit=5")
    for image in ("nginx:2", "redis:2"):
        stage.backend.pull(image)
    stage.clock.advance(0)
    assert [one["image"] for one in lines(connection)] == ["nginx:1", "nginx:2"]


def test_a_follower_of_what_is_new_hears_how_older_pulls_end() -> None:
    stage = Stage()
    running = stage.backend.pull("a:1")
    connection = stage.connect()
    connection.ask(f"{FOLLOW}&after=1")
    running.ended(Pull("a:1", (), "", 2.0))
    stage.clock.advance(0)
    assert [(one["number"], one["phase"]) for one in lines(connection)] == [(1, "pulled")]


def test_a_follower_hears_that_the_daemon_lives() -> None:
    stage = Stage()
    connection = stage.connect()
    connection.ask(FOLLOW)
    connection.transport.clear()
    for _ in range(20):
        stage.clock.advance(15)
        assert connection.received.count(b"1\r\n\n\r\n") >= 1
        connection.transport.clear()


def test_a_follower_that_is_too_slow_is_ended_and_holds_nothing_up() -> None:
    stage = Stage()
    slow, quick = stage.connect(), stage.connect()
    for one in (slow, quick):
        one.ask(FOLLOW)
    slow.protocol.pauseProducing()
    for _ in range(BACKLOG // 2):
        end(stage)
        stage.clock.advance(0)
    assert not slow.closed
    stage.backend.pull()
    stage.clock.advance(0)
    # It is told why when it reads on; nothing more waits for it.
    why = f"this was read too slowly: {BACKLOG} changes were waiting; ask again"
    assert lines(slow) == [{"error": why}]
    assert slow.received.endswith(b"0\r\n\r\n")
    held = len(slow.received)
    end(stage)
    stage.clock.advance(0)
    assert len(slow.received) == held
    assert len(lines(quick)) == BACKLOG + 3
    stage.clock.advance(PATIENCE)
    assert slow.transport.aborted
    slow.lose()
    assert stage.logged == []


def test_a_slow_follower_that_catches_up_has_missed_nothing() -> None:
    stage = Stage()
    connection = stage.connect()
    connection.ask(FOLLOW)
    connection.protocol.pauseProducing()
    for _ in range(20):
        end(stage)
        stage.clock.advance(1)
    connection.protocol.resumeProducing()
    assert [one["number"] for one in lines(connection)] == [n for n in range(1, 21) for _ in "ab"]
    stage.clock.advance(PATIENCE)
    assert not connection.closed


def test_followers_that_have_gone_are_told_nothing() -> None:
    stage = Stage()
    connection = stage.connect()
    connection.ask(FOLLOW)
    connection.lose()
    assert stage.backend.book._watchers == []
    said = connection.received
    stage.backend.pull()
    stage.clock.advance(60)
    assert connection.received == said
    assert stage.clock.getDelayedCalls() == []


def test_there_are_only_so_many_followers() -> None:
    stage = Stage()
    followers = [stage.connect() for _ in range(FOLLOWER_LIMIT)]
    for one in followers:
        one.ask(FOLLOW)
    assert stage.ask(FOLLOW).code == 503
    followers[0].lose()
    connection = stage.connect()
    connection.ask(FOLLOW)
    assert connection.received.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("image", HOSTILE)
def test_hostile_names_stay_one_line_of_json(image: str) -> None:
    stage = Stage()
    connection = stage.connect()
    connection.ask(FOLLOW)
    stage.backend.pull(image)
    stage.clock.advance(0)
    (record,) = lines(connection)
    assert record["image"] == stage.backend.book.recent[0].image
    assert stage.ask("/decisions").json["decisions"][0]["image"] == record["image"]
    assert connection.received.isascii()


def test_an_error_in_the_middle_ends_the_connection_and_is_logged() -> None:
    stage = Stage()
    end(stage)
    stage.site.addresses._now = lambda: object()
    # A pull that runs needs to know the time.
    stage.backend.pull()
    connection = stage.connect()
    connection.ask("/decisions")
    assert connection.transport.aborted
    (line,) = stage.logged
    assert "cannot answer /decisions: TypeError" in line
