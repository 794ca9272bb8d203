"""What has arrived on a stream: whole frames, acknowledged when they are needed."""

from __future__ import annotations

import asyncio

import pytest

from image_cri_shim.cri.stream import BadFrame, MessageTooLarge, _Inbox
from tests.cri.scripted import frame


def test_an_inbox_acknowledges_only_what_it_needs_for_the_next_frame() -> None:
    async def run() -> None:
        acknowledged: list[int] = []
        inbox = _Inbox(acknowledged.append)
        inbox.add(frame(b"one") + frame(b"two"), 16)
        assert acknowledged == []
        assert await inbox.frame() == frame(b"one")
        assert acknowledged == [16]
        inbox.add(frame(b"three"), 10)
        assert await inbox.frame() == frame(b"two")
        assert acknowledged == [16], "the next frame was there already"
        assert inbox.unacked_size() == 10
        assert await inbox.frame() == frame(b"three")
        assert acknowledged == [16, 10]

    asyncio.run(run())


def test_an_inbox_puts_a_frame_together_byte_by_byte() -> None:
    async def run() -> None:
        inbox = _Inbox(lambda _: None)
        reading = asyncio.create_task(inbox.frame())
        for byte in frame(b"slow"):
            assert not reading.done()
            inbox.add(bytes([byte]), 1)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert await reading == frame(b"slow")
        inbox.add(b"\0\0", 2)
        inbox.eof()
        with pytest.raises(BadFrame):
            await inbox.frame()

    asyncio.run(run())


def test_an_inbox_refuses_a_frame_by_its_announced_size() -> None:
    async def run() -> None:
        inbox = _Inbox(lambda _: None)
        inbox.add(b"\0" + (16 * 1024 * 1024 + 1).to_bytes(4, "big"), 5)
        with pytest.raises(MessageTooLarge):
            await inbox.frame()

    asyncio.run(run())
