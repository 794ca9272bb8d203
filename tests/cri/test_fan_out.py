"""Streams of every kind, to many clients at once and between versions; each at its own speed."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cri.background import PATIENCE, Background
from tests.cri.scripted import DONE, FIRST, ScriptedUpstream, UpstreamCall, frame
from tests.cri.shim import Shim
from tests.cri.test_streaming import UNDER_WAY
from tests.cri.wire import Wire
from tests.support.processes import wait_until

EVENTS = "/runtime.v1.RuntimeService/GetContainerEvents"


class Broadcast:
    """A runtime's events: each goes to everyone who listens, as fast as it takes them."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.changed = asyncio.Event()
        self.over = False

    async def script(self, call: UpstreamCall) -> None:
        await call.request()
        call.headers_out(FIRST)
        told = 0
        while True:
            while told < len(self.events):
                await call.data(frame(self.events[told]))
                told += 1
            if self.over:
                call.headers_out(DONE, end=True)
                return
            self.changed.clear()
            await self.changed.wait()

    def tell(self, *events: bytes, over: bool = False) -> None:
        self.events += events
        self.over = over
        self.changed.set()


@pytest.fixture
def broadcast(background: Background, upstream: ScriptedUpstream) -> Broadcast:
    broadcast = background.call(Broadcast)
    upstream.scripts["GetContainerEvents"] = broadcast.script
    return broadcast


@pytest.mark.parametrize("theirs", ["v1", "v1alpha2"])
def test_every_listener_gets_every_event_at_once(
    broadcast: Broadcast,
    upstream: ScriptedUpstream,
    make_shim: Callable[..., Shim],
    theirs: str,
) -> None:
    shim = make_shim(upstream.path, version=theirs)
    paths = [EVENTS, EVENTS.replace("v1", "v1alpha2")] * 3
    calls = [shim.channel().unary_stream(path)(b"", timeout=PATIENCE) for path in paths]
    for _ in calls:
        call = upstream.next_call()
        assert call.path == EVENTS.replace("v1", theirs).encode()
    for number in range(5):
        shim.background.call(broadcast.tell, b"event %d" % number)
        assert [next(call) for call in calls] == [b"event %d" % number] * len(calls)
    shim.background.call(lambda: broadcast.tell(over=True))
    assert [list(call) for call in calls] == [[]] * len(calls)
    assert len(upstream.connections) == 1


def test_a_slow_listener_holds_up_its_own_stream_only(
    broadcast: Broadcast, upstream: ScriptedUpstream, shim: Shim
) -> None:
    with Wire(shim.path) as slow:
        number = slow.start(EVENTS.encode())
        slow.body(number, frame(b""))
        to_slow = upstream.next_call()
        quick = shim.channel().unary_stream(EVENTS)(b"", timeout=3 * PATIENCE)
        upstream.next_call()
        # More than everything between the runtime and the slow one holds, and nothing is read.
        events = [bytes([n]) * 1_000_000 for n in range(20)]
        shim.background.call(broadcast.tell, *events)
        assert [next(quick) for _ in events] == events
        assert to_slow.sent < UNDER_WAY < sum(map(len, events))
        # It misses nothing.
        shim.background.call(lambda: broadcast.tell(over=True))
        assert slow.answer(number).body == b"".join(map(frame, events))
    assert list(quick) == []


def test_a_client_that_talks_without_listening_is_stopped(
    background: Background, make_shim: Callable[..., Shim], tmp_path: Path
) -> None:
    upstream = ScriptedUpstream(background, str(tmp_path / "echo.sock"))
    # Only what was answered is taken.
    upstream.window = 65535

    async def echo(call: UpstreamCall) -> None:
        call.headers_out(FIRST)
        while (message := await call.next_frame()) is not None:
            await call.data(message)
            call.connection.h2.acknowledge_received_data(len(message), call.id)
            call.connection.flush()

    upstream.scripts["Talk"] = echo
    upstream.start()
    shim = make_shim(upstream.path)
    taken = 0
    over = threading.Event()

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while not over.is_set():
            taken += 1
            yield bytes(20_000)

    call = shim.channel().stream_stream("/made.up.Service/Talk")(endless())
    talking = upstream.next_call()
    before = -1

    def stopped() -> bool:
        nonlocal before
        before, now = taken, before
        return before == now > 0

    assert wait_until(stopped, PATIENCE, 0.2)
    # Both ways may be full.
    assert taken * 20_000 <= 2 * UNDER_WAY
    # Who listens again may go on talking.
    for _ in range(before + 50):
        assert next(call) == bytes(20_000)
    call.cancel()
    over.set()
    assert talking.reset.result(PATIENCE) == 8
    upstream.stop()


@pytest.mark.parametrize("ours", ["v1", "v1alpha2"])
@pytest.mark.parametrize("theirs", ["v1", "v1alpha2"])
@pytest.mark.parametrize("service", ["RuntimeService", "ImageService", "ServiceNotYetInvented"])
def test_streams_both_ways_are_translated_between_versions(
    upstream: ScriptedUpstream,
    make_shim: Callable[..., Shim],
    *,
    ours: str,
    theirs: str,
    service: str,
) -> None:
    async def echo(call: UpstreamCall) -> None:
        call.headers_out(FIRST)
        while (message := await call.next_frame()) is not None:
            await call.data(message)
        call.headers_out(DONE, end=True)

    path = f"/runtime.{theirs}.{service}/Talk"
    upstream.scripts[path] = echo
    channel = make_shim(upstream.path, version=theirs).channel()
    words: queue.Queue[bytes | None] = queue.Queue()
    talk = channel.stream_stream(f"/runtime.{ours}.{service}/Talk")
    call = talk(iter(words.get, None), timeout=PATIENCE)
    for word in (b"one", b"\xff\x00", b""):
        words.put(word)
        assert next(call) == word
    words.put(None)
    assert list(call) == []
    assert upstream.next_call().path == path.encode()
