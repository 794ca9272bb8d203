"""Streams of any kind pass through, each frame only when the other side has room for it."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator

import grpc
import pytest

from image_cri_shim.cri.stream import MESSAGE_LIMIT
from tests.cri.background import PATIENCE
from tests.cri.scripted import DONE, FIRST, ScriptedUpstream, UpstreamCall, frame, reply
from tests.cri.shim import IMAGES, Shim
from tests.cri.wire import Wire
from tests.support.cri_client import CRI
from tests.support.processes import wait_until

STREAM_IMAGES = f"{IMAGES}StreamImages"
STREAM_CONTAINERS = "/runtime.v1.RuntimeService/StreamContainers"
MADE_UP = "/made.up.Service/Talk"
# What may be under way for one reader that does not read: the windows of both connections, the
# buffers of both sockets, a frame in the shim's hands.
UNDER_WAY = 6 * 1024 * 1024


def test_a_hundred_messages_arrive_in_order(client: CRI, upstream: ScriptedUpstream) -> None:
    messages = [b"%d" % number * number for number in range(100)]
    upstream.scripts[STREAM_CONTAINERS] = reply(*messages)
    assert client.stream(STREAM_CONTAINERS, b"all") == messages
    assert upstream.next_call().message == b"all"


def test_messages_arrive_when_they_are_sent_not_at_the_end(
    shim: Shim, upstream: ScriptedUpstream, event: asyncio.Event
) -> None:
    async def script(call: UpstreamCall) -> None:
        await call.request()
        call.headers_out([*FIRST, (b"x-first", b"1")])
        await call.data(frame(b"first"))
        await event.wait()
        await call.data(frame(b"second"))
        call.headers_out(DONE, end=True)

    upstream.scripts[STREAM_IMAGES] = script
    call = shim.channel().unary_stream(STREAM_IMAGES)(b"", timeout=PATIENCE)
    assert ("x-first", "1") in call.initial_metadata()
    assert next(call) == b"first"
    shim.background.call(event.set)
    assert list(call) == [b"second"]


def test_headers_arrive_before_the_first_message(
    shim: Shim, upstream: ScriptedUpstream, event: asyncio.Event
) -> None:
    async def script(call: UpstreamCall) -> None:
        await call.request()
        call.headers_out([*FIRST, (b"x-first", b"1")])
        await event.wait()
        call.headers_out(DONE, end=True)

    upstream.scripts[STREAM_IMAGES] = script
    call = shim.channel().unary_stream(STREAM_IMAGES)(b"", timeout=PATIENCE)
    assert ("x-first", "1") in call.initial_metadata()
    shim.background.call(event.set)
    assert list(call) == []


@pytest.mark.parametrize("size", [100, 60_000, 3_000_000])
def test_a_reader_that_does_not_read_stops_the_sender_and_nobody_else(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, size: int
) -> None:
    async def endless(call: UpstreamCall) -> None:
        await call.request()
        call.headers_out(FIRST)
        # In large pieces, so that the upstream is not what limits the speed.
        many = frame(bytes(size)) * max(1, 100_000 // size)
        while True:
            await call.data(many)
            await asyncio.sleep(0)

    upstream.scripts[STREAM_IMAGES] = endless
    upstream.scripts[f"{IMAGES}ImageFsInfo"] = reply(b"here")
    with Wire(shim.path) as wire:
        wire.body(wire.start(STREAM_IMAGES.encode()), frame(b""))
        sender = upstream.next_call("StreamImages")
        sent = -1

        def stopped() -> bool:
            nonlocal sent
            before, sent = sent, shim.background.call(lambda: sender.sent)
            return before == sent > 0

        assert wait_until(stopped, PATIENCE, 0.1)
        assert sent <= UNDER_WAY
        # The same connection to the runtime serves others meanwhile, also large ones.
        assert client.raw(f"{IMAGES}ImageFsInfo", timeout=PATIENCE).body == b"here"
        large = bytes(8 * 1024 * 1024)
        upstream.scripts[MADE_UP] = reply(large)
        assert client.raw(MADE_UP, timeout=PATIENCE).body == large
        # Who reads again gets more.
        while len(wire._answers[1].body) < sent + 500_000:
            wire.read()
    assert sender.reset.result(PATIENCE) == 8


def test_a_sender_whose_upstream_does_not_read_is_stopped(
    background, make_shim: Callable[..., Shim], tmp_path
) -> None:
    upstream = ScriptedUpstream(background, str(tmp_path / "slow.sock"))
    upstream.window = 65535
    hold = background.call(asyncio.Event)

    async def script(call: UpstreamCall) -> None:
        await hold.wait()
        call.connection.h2.acknowledge_received_data(1, call.id)

    upstream.scripts[MADE_UP] = script
    upstream.start()
    shim = make_shim(upstream.path)
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while not over.is_set():
            taken += 1
            yield bytes(50_000)

    over = threading.Event()
    call = shim.channel().stream_unary(MADE_UP).future(endless())
    upstream.next_call()
    before = -1

    def stopped() -> bool:
        nonlocal before
        before, now = taken, before
        return before == now > 0

    assert wait_until(stopped, PATIENCE, 0.1)
    assert taken * 50_000 <= UNDER_WAY
    call.cancel()
    over.set()
    upstream.stop()


def test_a_client_streams_to_a_service_that_nobody_knows(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    async def count(call: UpstreamCall) -> None:
        got = []
        while (message := await call.next_frame()) is not None:
            got.append(message[5:])
        call.headers_out(FIRST)
        await call.data(frame(b",".join(got)))
        call.headers_out(DONE, end=True)

    upstream.scripts[MADE_UP] = count
    messages = [b"%d" % number for number in range(100)]
    answer = shim.channel().stream_unary(MADE_UP)(iter(messages), timeout=PATIENCE)
    assert answer == b",".join(messages)


def test_a_client_that_streams_nothing_gets_its_answer(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    upstream.scripts[MADE_UP] = reply(b"nothing")
    assert shim.channel().stream_unary(MADE_UP)(iter(()), timeout=PATIENCE) == b"nothing"


@pytest.mark.parametrize("path", [MADE_UP, "/runtime.v1.RuntimeService/NotYetInvented"])
def test_both_sides_talk_in_turns(shim: Shim, upstream: ScriptedUpstream, path: str) -> None:
    async def echo(call: UpstreamCall) -> None:
        call.headers_out(FIRST)
        while (message := await call.next_frame()) is not None:
            await call.data(frame(b"echo " + message[5:]))
        call.headers_out([*DONE, (b"x-last", b"1")], end=True)

    upstream.scripts[path] = echo
    words: queue.Queue[bytes | None] = queue.Queue()
    call = shim.channel().stream_stream(path)(iter(words.get, None), timeout=PATIENCE)
    for word in (b"one", b"", b"three" * 50_000):
        words.put(word)
        assert next(call) == b"echo " + word
    words.put(None)
    assert list(call) == []
    assert ("x-last", "1") in call.trailing_metadata()


def test_an_upstream_that_answers_before_the_client_is_done_ends_the_call(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    async def early(call: UpstreamCall) -> None:
        await call.next_frame()
        call.headers_out([*FIRST, (b"grpc-status", b"9"), (b"grpc-message", b"enough")], end=True)
        call.abort(0)

    upstream.scripts[MADE_UP] = early
    words: queue.Queue[bytes | None] = queue.Queue()
    words.put(b"one")
    call = shim.channel().stream_stream(MADE_UP)(iter(words.get, None), timeout=PATIENCE)
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "enough"
    words.put(None)


def test_an_error_after_messages_reaches_the_client_with_them(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    upstream.scripts[STREAM_IMAGES] = reply(
        b"one", b"two", trailers=[(b"grpc-status", b"10"), (b"grpc-message", b"changed")]
    )
    call = shim.channel().unary_stream(STREAM_IMAGES)(b"", timeout=PATIENCE)
    assert [next(call), next(call)] == [b"one", b"two"]
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert caught.value.details() == "changed"


def test_an_upstream_that_dies_in_the_middle_of_a_stream_ends_it_as_unavailable(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    async def dying(call: UpstreamCall) -> None:
        await call.request()
        call.headers_out(FIRST)
        await call.data(frame(b"one"))
        call.connection.transport.close()

    upstream.scripts[STREAM_IMAGES] = dying
    call = shim.channel().unary_stream(STREAM_IMAGES)(b"", timeout=PATIENCE)
    assert next(call) == b"one"
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert caught.value.details() == (
        f"image-cri-shim: the connection to the runtime at {upstream.path} was lost "
        "in the middle of the call"
    )


@pytest.mark.parametrize("path", [MADE_UP, f"{IMAGES}ImageStatus"])
def test_a_message_of_exactly_the_limit_passes_both_ways(
    shim: Shim, upstream: ScriptedUpstream, path: str
) -> None:
    # Field 1000, bytes, of such a size that the whole is the limit.
    head = b"\xc2\x3e" + varint(MESSAGE_LIMIT - 6)
    message = head + bytes(MESSAGE_LIMIT - len(head))
    assert len(message) == MESSAGE_LIMIT
    upstream.scripts[path] = reply(message)
    answer = shim.client().raw(path, message, timeout=PATIENCE)
    assert (answer.code, answer.details) == (grpc.StatusCode.OK, "")
    assert answer.body == message
    assert upstream.next_call().message == message


def varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


@pytest.mark.parametrize(
    "path", [MADE_UP, f"{IMAGES}ImageStatus", f"{IMAGES}PullImage", f"{IMAGES}ImageFsInfo"]
)
def test_a_larger_request_is_refused(client: CRI, upstream: ScriptedUpstream, path: str) -> None:
    answer = client.raw(path, bytes(MESSAGE_LIMIT + 1), timeout=PATIENCE)
    assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert answer.details == (
        "image-cri-shim: message of 16777217 bytes is larger than the limit of 16777216"
    )
    assert all(call.body == b"" for call in upstream.calls)
    upstream.scripts[path] = reply(b"")
    assert client.raw(MADE_UP).code is not grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("path", [MADE_UP, f"{IMAGES}ImageStatus"])
def test_a_request_that_announces_too_much_is_refused_before_it_is_sent(
    shim: Shim, path: str
) -> None:
    with Wire(shim.path) as wire:
        number = wire.start(path.encode())
        wire.body(number, b"\0\xff\xff\xff\xff", end=False)
        assert wire.answer(number).status[0] == 8


@pytest.mark.parametrize("path", [MADE_UP, f"{IMAGES}ImageStatus", f"{IMAGES}ImageFsInfo"])
def test_a_larger_answer_is_refused(client: CRI, upstream: ScriptedUpstream, path: str) -> None:
    upstream.scripts[path] = reply(bytes(MESSAGE_LIMIT + 1))
    answer = client.raw(path, timeout=PATIENCE)
    assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert answer.details == (
        "image-cri-shim: the runtime's message of 16777217 bytes is larger than the limit of "
        "16777216"
    )
    assert upstream.next_call().reset.result(PATIENCE) == 8


def test_a_request_that_breaks_behind_its_answer_does_no_harm(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    large = bytes(300_000)

    async def early(call: UpstreamCall) -> None:
        await call.next_frame()
        call.headers_out(FIRST)
        await call.data(frame(large))
        call.headers_out(DONE, end=True)

    upstream.scripts[MADE_UP] = early
    with Wire(shim.path) as wire:
        number = wire.start(MADE_UP.encode())
        wire.body(number, frame(b"one"), end=False)
        # The answer fills the client's window, so the call is still there when the request breaks.
        while not wire._answers[number].headers:
            wire.read()
        call = upstream.next_call()
        assert wait_until(lambda: call.sent == len(frame(large)), PATIENCE)
        wire.body(number, b"\0\0")
        assert call.reset.result(PATIENCE) == 8
        answer = wire.answer(number)
    assert answer.status == (0, "")
    assert answer.body == frame(large)
