"""Clients that speak nonsense get an end, and nobody else notices."""

from __future__ import annotations

import asyncio

import pytest

from tests.cri.background import PATIENCE
from tests.cri.scripted import FIRST, ScriptedUpstream, UpstreamCall, frame, hang, reply
from tests.cri.shim import IMAGES, Shim
from tests.cri.wire import REQUEST, Wire
from tests.support.cri_client import CRI

FS_INFO = f"{IMAGES}ImageFsInfo".encode()
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def raw_frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return an HTTP/2 frame (RFC 9113, section 4.1)."""
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    )


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 500,
        bytes(range(256)) * 20,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /runtime.v1.ImageService/PullImage HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 502,
        PREFACE + raw_frame(4, 0, 0, b"\x00" * 5),
        PREFACE + raw_frame(4, 0, 0, b"") + raw_frame(1, 4, 1, b"\xff\xff\xff\xff\xff"),
        PREFACE + raw_frame(4, 0, 0, b"") + raw_frame(0, 0, 1, b"data before headers"),
        PREFACE + raw_frame(4, 0, 0, b"") + raw_frame(8, 0, 0, b"\x00\x00\x00\x00"),
        PREFACE + raw_frame(4, 0, 0, b"") + raw_frame(9, 4, 1, b"continuation of nothing"),
        PREFACE + raw_frame(4, 0, 0, b"\x00\x04\xff\xff\xff\xff"),
    ],
    ids=[
        "zeros",
        "bytes",
        "http1-get",
        "http1-post",
        "tls",
        "short-settings",
        "bad-hpack",
        "data-first",
        "window-zero",
        "continuation",
        "huge-window",
    ],
)
def test_nonsense_ends_its_own_connection_only(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, event: asyncio.Event, data: bytes
) -> None:
    async def waiting(call: UpstreamCall) -> None:
        await call.request()
        await event.wait()
        await reply(b"here")(call)

    upstream.scripts["ImageFsInfo"] = waiting
    running = client.start(FS_INFO.decode(), b"")
    upstream.next_call()
    with Wire(shim.path, speak=False) as wire:
        wire.send(data)
        wire.wait_closed()
    shim.background.call(event.set)
    assert running.result(PATIENCE) == b"here"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PREFACE[:7],
        PREFACE,
        PREFACE + raw_frame(4, 0, 0, b"")[:5],
        PREFACE + raw_frame(4, 0, 0, b"") + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    ],
)
def test_a_beginning_and_nothing_more_disturbs_nobody(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, data: bytes
) -> None:
    upstream.scripts["ImageFsInfo"] = reply(b"here")
    with Wire(shim.path, speak=False) as wire:
        wire.send(data)
        assert client.raw(FS_INFO.decode()).body == b"here"
    assert client.raw(FS_INFO.decode()).body == b"here"


def test_frames_of_unknown_types_are_ignored(shim: Shim, upstream: ScriptedUpstream) -> None:
    upstream.scripts["ImageFsInfo"] = reply(b"here")
    with Wire(shim.path) as wire:
        wire.send(raw_frame(0xFA, 0x5, 0, b"what is this"))
        number = wire.start(FS_INFO)
        wire.send(raw_frame(0xB, 0xFF, number, b"and this"))
        wire.body(number, frame(b""))
        assert wire.answer(number).body == frame(b"here")


@pytest.mark.parametrize("path", [b"runtime.v1.ImageService/PullImage", b"*", b""])
def test_a_method_that_does_not_begin_with_a_slash_never_reaches_the_runtime(
    shim: Shim, upstream: ScriptedUpstream, path: bytes
) -> None:
    with Wire(shim.path) as wire:
        answer = wire.call(path)
    assert answer.status == (12, "image-cri-shim: malformed method name")
    assert upstream.calls == []


def test_frames_of_unknown_types_from_the_runtime_are_ignored(
    client: CRI, upstream: ScriptedUpstream
) -> None:
    async def odd(call: UpstreamCall) -> None:
        call.connection.transport.write(
            raw_frame(0xFA, 0, 0, b"?") + raw_frame(0xB, 0, call.id, b"?")
        )
        await reply(b"here")(call)

    upstream.scripts["ImageFsInfo"] = odd
    assert client.raw(FS_INFO.decode()).body == b"here"


def test_padding_priorities_and_pings_are_understood(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["ImageFsInfo"] = reply(b"here")
    with Wire(shim.path) as wire:
        wire.h2.ping(b"12345678")
        number = wire.start(FS_INFO)
        wire.h2.prioritize(number, weight=10)
        wire.h2.send_data(number, frame(b"request"), end_stream=True, pad_length=200)
        wire.flush()
        assert wire.answer(number).body == frame(b"here")
    assert upstream.next_call().message == b"request"


def test_a_flood_of_resets_disturbs_nobody(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["ImageStatus"] = hang
    upstream.scripts["ImageFsInfo"] = reply(b"here")
    # Connected before: this client gives a new connection 100 ms only, and the flood, which is made
    # in the same process, takes longer on a busy machine.
    assert client.raw(FS_INFO.decode()).body == b"here"
    with Wire(shim.path) as wire:
        for count in range(1000):
            number = wire.h2.get_next_available_stream_id()
            headers = [*REQUEST, (b":path", f"{IMAGES}ImageStatus".encode())]
            wire.h2.send_headers(number, headers)
            wire.h2.send_data(number, frame(b""), end_stream=True)
            if count % 10 == 0:
                # Some get as far as the runtime.
                wire.flush()
            wire.h2.reset_stream(number, 8)
        wire.flush()
        assert client.raw(FS_INFO.decode()).body == b"here"
        assert wire.call(FS_INFO).body == frame(b"here")
    shim.wait_idle()


def test_a_get_is_method_not_allowed(shim: Shim, upstream: ScriptedUpstream) -> None:
    with Wire(shim.path) as wire:
        request = [(b":method", b"GET"), *REQUEST[1:]]
        answer = wire.answer(wire.start(FS_INFO, request=request, end=True))
    assert answer.headers == [(b":status", b"405"), (b"allow", b"POST")]
    assert upstream.calls == []


@pytest.mark.parametrize(
    "kind", [None, b"application/json", b"", b"application/grpc-web", b"application/grpcx"]
)
def test_another_content_type_is_unsupported(
    shim: Shim, upstream: ScriptedUpstream, kind: bytes | None
) -> None:
    more = [] if kind is None else [(b"content-type", kind)]
    with Wire(shim.path) as wire:
        number = wire.start(FS_INFO, more, request=REQUEST[:-1], end=True)
        assert wire.answer(number).headers == [(b":status", b"415")]
    assert upstream.calls == []


@pytest.mark.parametrize("kind", [b"application/grpc+proto", b"application/grpc;charset=utf-8"])
def test_the_other_spellings_of_grpcs_content_type_are_taken(
    shim: Shim, upstream: ScriptedUpstream, kind: bytes
) -> None:
    upstream.scripts["ImageFsInfo"] = reply(b"here")
    with Wire(shim.path) as wire:
        number = wire.start(FS_INFO, [(b"content-type", kind)], request=REQUEST[:-1])
        wire.body(number, frame(b""))
        assert wire.answer(number).body == frame(b"here")
    assert upstream.next_call().header(b"content-type") == kind


def test_a_request_without_a_path_gets_the_runtimes_answer(shim: Shim) -> None:
    with Wire(shim.path) as wire:
        assert wire.call(b"").status[0] == 12


def test_who_sends_on_after_an_answer_keeps_the_connection(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["ImageFsInfo"] = reply(b"here")
    with Wire(shim.path) as wire:
        number = wire.start(b"/x/y", [(b"grpc-timeout", b"wrong")])
        # These bytes are on their way when the answer is.
        wire.h2.send_data(number, frame(bytes(16000)))
        wire.h2.send_data(number, frame(bytes(16000)))
        wire.flush()
        assert wire.answer(number).status[0] == 13
        while wire.answer(number).reset is None:
            wire.read()
        assert wire.answer(number).reset == 0, "NO_ERROR: it need not send the rest"
        for _ in range(20):
            assert wire.call(FS_INFO).body == frame(b"here")


def test_a_client_that_reads_nothing_disturbs_nobody(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    async def plenty(call: UpstreamCall) -> None:
        await call.request()
        call.headers_out(FIRST)
        while True:
            await call.data(frame(bytes(60_000)))

    upstream.scripts["StreamImages"] = plenty
    upstream.scripts["ImageFsInfo"] = reply(b"here")
    with Wire(shim.path) as wire:
        wire.h2.update_settings({4: 2**31 - 1})
        wire.h2.increment_flow_control_window(2**31 - 1 - 65535)
        wire.body(wire.start(f"{IMAGES}StreamImages".encode()), frame(b""))
        upstream.next_call("StreamImages")
        for _ in range(20):
            assert client.raw(FS_INFO.decode()).body == b"here"
