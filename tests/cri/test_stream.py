"""What has arrived on a stream: whole frames, acknowledged when they are needed, paid for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from image_cri_shim.cri.budget import SMALL, Budget
from image_cri_shim.cri.inbox import (
    MESSAGE_LIMIT,
    BadFrame,
    Inbox,
    MessageTooLarge,
    Overloaded,
    StreamLost,
)
from image_cri_shim.cri.watch import Watch
from tests.cri.clock import FakeClock
from tests.cri.scripted import frame

MIB = 1024 * 1024


class Sender:
    """An inbox, and what its peer knows of it."""

    def __init__(self, budget: Budget | None = None, watch: Watch | None = None) -> None:
        self.acknowledged: list[int] = []
        self.budget = budget or Budget(64 * MIB)
        self.inbox = Inbox(self.acknowledged.append, self.budget, watch)

    def send(self, data: bytes) -> None:
        self.inbox.add(data, len(data))


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 10))

    run.__name__ = test.__name__
    return run


@in_loop
async def test_an_inbox_acknowledges_only_what_it_needs_for_the_next_frame() -> None:
    sender = Sender()
    inbox, acknowledged = sender.inbox, sender.acknowledged
    sender.send(frame(b"one") + frame(b"two"))
    assert acknowledged == []
    assert await inbox.frame() == frame(b"one")
    assert acknowledged == [16]
    sender.send(frame(b"three"))
    assert await inbox.frame() == frame(b"two")
    assert acknowledged == [16], "the next frame was there already"
    assert inbox.unacked_size() == 10
    assert await inbox.frame() == frame(b"three")
    assert acknowledged == [16, 10]
    assert inbox.empty


@in_loop
async def test_an_inbox_puts_a_frame_together_byte_by_byte() -> None:
    sender = Sender()
    reading = asyncio.create_task(sender.inbox.frame())
    for byte in frame(b"slow"):
        assert not reading.done()
        sender.send(bytes([byte]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert await reading == frame(b"slow")
    sender.send(b"\0\0")
    sender.inbox.eof()
    with pytest.raises(BadFrame):
        await sender.inbox.frame()


@pytest.mark.parametrize("seed", range(20))
def test_frames_of_any_size_come_whole_out_of_pieces_of_any_size(seed: int) -> None:
    chance = random.Random(seed)
    sizes = [chance.choice([0, 1, 7, 100, 5_000, 70_000]) for _ in range(30)]
    frames = [frame(chance.randbytes(size)) for size in sizes]
    data = b"".join(frames)

    async def run() -> None:
        sender = Sender()

        async def feed() -> None:
            position = 0
            while position < len(data):
                size = chance.choice([1, 3, 5, 9, 1000, 16384])
                sender.send(data[position : position + size])
                position += size
                if chance.random() < 0.5:
                    await asyncio.sleep(0)
            sender.inbox.eof()

        feeding = asyncio.create_task(feed())
        read = []
        while (one := await sender.inbox.frame()) is not None:
            read.append(one)
            assert isinstance(one, bytes)
        await feeding
        assert read == frames
        assert sum(sender.acknowledged) == len(data)
        assert sender.inbox.close() == 0
        assert sender.budget.used == 0

    asyncio.run(run())


@in_loop
async def test_an_inbox_refuses_a_frame_by_its_announced_size() -> None:
    sender = Sender()
    sender.send(b"\0" + (MESSAGE_LIMIT + 1).to_bytes(4, "big"))
    with pytest.raises(MessageTooLarge) as caught:
        await sender.inbox.frame()
    assert not isinstance(caught.value, Overloaded)
    sender.inbox.close()
    assert sender.budget.used == 0


@in_loop
async def test_tiny_pieces_are_put_together() -> None:
    sender = Sender()
    for _ in range(50_000):
        sender.send(b"ab")
    assert len(sender.inbox._pieces) < 50


@in_loop
async def test_a_frame_is_paid_for_until_the_next_one_is_read_or_the_call_is_over() -> None:
    sender = Sender()
    sender.send(frame(bytes(100)) + frame(bytes(50)))
    assert sender.budget.used == 105 + 55
    await sender.inbox.frame()
    assert sender.budget.used == 105 + 55, "the reader has it"
    await sender.inbox.frame()
    assert sender.budget.used == 55
    sender.send(b"\0\0")
    assert sender.inbox.close() == 2, "what the peer may send again"
    assert sender.budget.used == 0


@in_loop
async def test_a_message_without_memory_ends_its_call_and_frees_the_window() -> None:
    budget = Budget(8 * MIB)
    hogs = [Sender(budget) for _ in range(7)]
    for hog in hogs:
        hog.send(b"\0" + MESSAGE_LIMIT.to_bytes(4, "big") + bytes(MIB - 5))
    late = Sender(budget)
    reading = asyncio.create_task(late.inbox.frame())
    head = b"\0" + (2 * MIB).to_bytes(4, "big")
    late.send(head)
    await asyncio.sleep(0)
    late.send(bytes(SMALL))
    with pytest.raises(Overloaded, match=r"^message of \d+ bytes finds no memory"):
        await reading
    late.send(bytes(1000))
    assert sum(late.acknowledged) == 5 + SMALL + 1000
    with pytest.raises(Overloaded):
        await late.inbox.frame()
    # A usual call notices nothing.
    usual = Sender(budget)
    usual.send(frame(bytes(1000)))
    assert await usual.inbox.frame() == frame(bytes(1000))
    for one in (*hogs, late, usual):
        one.inbox.close()
    assert budget.used == 0


@in_loop
async def test_the_memory_for_small_calls_has_an_end_too() -> None:
    budget = Budget(8 * MIB)
    senders = [Sender(budget) for _ in range(200)]
    for sender in senders:
        sender.send(bytes(SMALL))
    assert budget.used == budget.limit
    ended = [sender for sender in senders if sender.inbox._broken is not None]
    assert len(ended) == 200 - 128


@in_loop
async def test_what_arrived_before_the_end_can_be_read() -> None:
    sender = Sender()
    sender.send(frame(b"one"))
    sender.inbox.fail(StreamLost("gone"))
    assert await sender.inbox.frame() == frame(b"one")
    with pytest.raises(StreamLost):
        await sender.inbox.frame()


@in_loop
async def test_a_message_that_does_not_go_on_ends_its_call() -> None:
    clock = FakeClock()
    sender = Sender(watch=Watch(30, clock))
    reading = asyncio.create_task(sender.inbox.frame())
    await asyncio.sleep(0)
    assert clock.timers == [], "a call without a byte may wait for ever"
    sender.send(frame(bytes(100))[:50])
    await asyncio.sleep(0)
    clock.advance(29)
    sender.send(b"more")
    await asyncio.sleep(0)
    clock.advance(29)
    await asyncio.sleep(0)
    assert not reading.done()
    clock.advance(1)
    with pytest.raises(BadFrame, match="the rest of the message does not come"):
        await reading
    sender.inbox.close()
    assert sender.budget.used == 0
    clock.advance(60)
    assert clock.timers == []


@in_loop
async def test_a_reader_that_does_not_read_is_not_the_senders_fault() -> None:
    clock = FakeClock()
    sender = Sender(watch=Watch(30, clock))
    sender.send(frame(bytes(100))[:50])
    clock.advance(100)
    sender.send(frame(bytes(100))[50:])
    assert await sender.inbox.frame() == frame(bytes(100))
