"""What the shim has no part in reaches the other side byte for byte."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from image_cri_shim.cri.listener import RawServer
from image_cri_shim.cri.passthrough import forward
from image_cri_shim.cri.stream import Headers, RawStream
from image_cri_shim.cri.upstream import Upstream
from image_cri_shim.cri.versions import parse_method
from tests.cri.background import Background
from tests.cri.scripted import DONE, FIRST, ScriptedUpstream, UpstreamCall, frame, refuse, reply
from tests.cri.shim import IMAGES, Shim
from tests.cri.wire import REQUEST, Wire, WireAnswer
from tests.support.cri_client import CRI

FS_INFO = f"{IMAGES}ImageFsInfo"
STATUS = f"{IMAGES}ImageStatus"
# google.rpc.Status with code 5, as base64 without padding.
DETAILS = b"CAUSB21pc3Npbmc"


@pytest.mark.parametrize("path", [FS_INFO, STATUS, "/made.up.Service/Method"])
def test_request_metadata_reaches_the_runtime_as_it_was_sent(
    client: CRI, upstream: ScriptedUpstream, path: str
) -> None:
    upstream.scripts[path] = reply(b"")
    sent = [
        ("x-text", "one"),
        ("x-text", "two, three"),
        ("x-raw-bin", b"\x00\xff\x80"),
        ("x-raw-bin", b""),
        ("authorization", "Bearer abc"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ]
    assert client.raw(path, b"", metadata=sent).code is grpc.StatusCode.OK
    call = upstream.next_call()
    got = [(k, v) for k, v in call.headers if k.startswith((b"x-", b"auth", b"trace"))]
    # grpcio sends names in an order of its own; what is repeated keeps its order.
    assert sorted(got, key=lambda pair: pair[0]) == [
        (b"authorization", b"Bearer abc"),
        (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        (b"x-raw-bin", b"AP+A"),
        (b"x-raw-bin", b""),
        (b"x-text", b"one"),
        (b"x-text", b"two, three"),
    ]
    assert call.header(b"content-type") == b"application/grpc"
    assert call.header(b"te") == b"trailers"
    assert (call.header(b"user-agent") or b"").startswith(b"grpc-python/")
    names = [name for name, _ in call.headers]
    assert names == sorted(names, key=lambda name: not name.startswith(b":")), "RFC 9113, 8.3"
    for once in (b":method", b":path", b":scheme", b":authority", b"te", b"grpc-timeout"):
        assert names.count(once) == 1, once


@pytest.mark.parametrize("path", [FS_INFO, STATUS])
def test_answer_metadata_reaches_the_client_as_it_was_sent(
    client: CRI, upstream: ScriptedUpstream, path: str
) -> None:
    upstream.scripts[path] = reply(
        b"\x0a\x00",
        first=[(b"x-first", b"1"), (b"x-first", b"2"), (b"x-first-bin", b"AP+A")],
        trailers=[*DONE, (b"x-last", b"3"), (b"x-last", b"4"), (b"x-last-bin", b"/w==")],
    )
    answer = client.raw(path)
    assert answer.code is grpc.StatusCode.OK
    assert answer.body == b"\x0a\x00"
    assert [p for p in answer.initial_metadata if p[0].startswith("x-")] == [
        ("x-first", "1"),
        ("x-first", "2"),
        ("x-first-bin", b"\x00\xff\x80"),
    ]
    assert [p for p in answer.trailing_metadata if p[0].startswith("x-")] == [
        ("x-last", "3"),
        ("x-last", "4"),
        ("x-last-bin", b"\xff"),
    ]


@pytest.mark.parametrize("path", [FS_INFO, STATUS, f"{IMAGES}RemoveImage", f"{IMAGES}ListImages"])
@pytest.mark.parametrize("trailers_only", [True, False])
def test_an_error_keeps_code_message_details_and_metadata(
    client: CRI, upstream: ScriptedUpstream, path: str, trailers_only: bool
) -> None:
    message = b"RegistryUnavailable: %C3%BC %E9%95%9C 100%25"
    more = [(b"grpc-status-details-bin", DETAILS), (b"x-why", b"a"), (b"x-why", b"b")]
    status = [(b"grpc-status", b"7"), (b"grpc-message", message), *more]
    upstream.scripts[path] = refuse(7, message, *more) if trailers_only else reply(trailers=status)
    answer = client.raw(path)
    assert answer.code is grpc.StatusCode.PERMISSION_DENIED
    assert answer.details == "RegistryUnavailable: ü 镜 100%"
    assert ("grpc-status-details-bin", b"\x08\x05\x12\x07missing") in answer.trailing_metadata
    assert [v for k, v in answer.trailing_metadata if k == "x-why"] == ["a", "b"]


@pytest.mark.parametrize("path", [FS_INFO, STATUS])
def test_a_code_that_nobody_knows_is_passed_on(
    shim: Shim, upstream: ScriptedUpstream, path: str
) -> None:
    # Seen on the wire, because grpcio shows such a code as UNKNOWN.
    upstream.scripts[path] = refuse(42, b"the answer")
    with Wire(shim.path) as wire:
        answer = wire.call(path.encode())
    assert (b"grpc-status", b"42") in answer.headers
    assert (b"grpc-message", b"the answer") in answer.headers


def test_bytes_that_are_no_protobuf_pass_through_methods_that_are_not_read(
    client: CRI, upstream: ScriptedUpstream
) -> None:
    body = bytes(range(256)) * 40
    upstream.scripts["/made.up.Service/Echo"] = reply(body[::-1])
    answer = client.raw("/made.up.Service/Echo", body)
    assert answer.body == body[::-1]
    assert upstream.next_call().message == body


@pytest.mark.parametrize("path", [FS_INFO, STATUS])
def test_an_empty_message_stays_a_message(
    client: CRI, upstream: ScriptedUpstream, path: str
) -> None:
    upstream.scripts[path] = reply(b"")
    answer = client.raw(path, b"")
    assert (answer.code, answer.body) == (grpc.StatusCode.OK, b"")
    assert upstream.next_call().body == frame(b"")


def test_an_unknown_method_gets_the_runtimes_own_answer(
    client: CRI, upstream: ScriptedUpstream
) -> None:
    answer = client.raw(f"{IMAGES}NotYetInvented")
    assert answer.code is grpc.StatusCode.UNIMPLEMENTED
    assert answer.details == "unknown service or method /runtime.v1.ImageService/NotYetInvented"


def test_compressed_messages_pass_through_methods_that_are_not_read(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    upstream.scripts[FS_INFO] = reply(b"answer", compressed=1, first=[(b"grpc-encoding", b"zip")])
    with Wire(shim.path) as wire:
        more = [(b"grpc-encoding", b"zip"), (b"grpc-accept-encoding", b"zip,gzip")]
        answer = wire.call(FS_INFO.encode(), frame(b"request", 1), more)
    call = upstream.next_call()
    assert call.body == frame(b"request", 1)
    assert call.header(b"grpc-encoding") == b"zip"
    assert call.header(b"grpc-accept-encoding") == b"zip,gzip"
    assert answer.body == frame(b"answer", 1)
    assert (b"grpc-encoding", b"zip") in answer.headers


def test_a_compressed_request_that_must_be_read_is_refused(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    with Wire(shim.path) as wire:
        answer = wire.call(STATUS.encode(), frame(b"x", 1), [(b"grpc-encoding", b"gzip")])
    assert answer.status == (12, "image-cri-shim: compressed requests are not supported; send "
                                 "them uncompressed")  # fmt: skip
    assert (b"grpc-accept-encoding", b"identity") in answer.headers
    assert upstream.calls == []


def test_the_runtime_is_not_invited_to_compress_what_must_be_read(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    upstream.scripts[STATUS] = reply(b"")
    with Wire(shim.path) as wire:
        wire.call(STATUS.encode(), frame(b""), [(b"grpc-accept-encoding", b"gzip")])
    assert upstream.next_call().header(b"grpc-accept-encoding") is None


@pytest.mark.parametrize("method", ["ImageStatus", "RemoveImage", "ListImages", "PullImage"])
@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x0a\x05ab", b"\x0a\x03\x0a\x01\xff"])
def test_a_request_that_is_no_protobuf_is_an_internal_error(
    client: CRI, upstream: ScriptedUpstream, method: str, body: bytes
) -> None:
    answer = client.raw(IMAGES + method, body)
    assert answer.code is grpc.StatusCode.INTERNAL
    assert answer.details.startswith("image-cri-shim: ")
    assert upstream.calls == []


def test_an_answer_that_is_no_protobuf_is_an_internal_error(
    client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts[STATUS] = reply(b"\xff\xff\xff")
    answer = client.raw(STATUS)
    assert answer.code is grpc.StatusCode.INTERNAL
    assert answer.details.startswith("image-cri-shim: ")


def test_a_request_without_a_message_is_an_internal_error(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    with Wire(shim.path) as wire:
        answer = wire.call(STATUS.encode(), b"")
    assert answer.status == (13, "image-cri-shim: the request has no message")
    assert upstream.calls == []


@pytest.mark.parametrize("path", [FS_INFO, STATUS])
def test_a_request_that_ends_in_the_middle_of_its_message_is_an_internal_error(
    shim: Shim, upstream: ScriptedUpstream, path: str
) -> None:
    with Wire(shim.path) as wire:
        answer = wire.call(path.encode(), frame(b"abc")[:-1])
    assert answer.status == (13, "image-cri-shim: the stream ended in the middle of a message")


@pytest.mark.parametrize("path", [FS_INFO, STATUS])
def test_an_answer_that_ends_in_the_middle_of_its_message_is_an_internal_error(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, path: str
) -> None:
    async def script(call: UpstreamCall) -> None:
        await call.request()
        call.headers_out(FIRST)
        await call.data(frame(b"abc")[:-1])
        call.headers_out(DONE, end=True)

    upstream.scripts[path] = script
    answer = client.raw(path)
    assert answer.code is grpc.StatusCode.INTERNAL
    assert answer.details == (
        f"image-cri-shim: the runtime at {upstream.path} broke off: "
        "the stream ended in the middle of a message"
    )


@pytest.mark.parametrize("path", [FS_INFO, STATUS])
def test_an_answer_without_trailers_is_an_internal_error(
    client: CRI, upstream: ScriptedUpstream, path: str
) -> None:
    async def script(call: UpstreamCall) -> None:
        await call.request()
        call.headers_out(FIRST)
        await call.data(frame(b"abc"), end=True)

    upstream.scripts[path] = script
    answer = client.raw(path)
    assert answer.code is grpc.StatusCode.INTERNAL
    assert answer.details.endswith("the stream ended without its trailers")


@pytest.mark.parametrize("path", [FS_INFO, STATUS])
@pytest.mark.parametrize(
    ("reset", "code"),
    [
        (2, grpc.StatusCode.INTERNAL),
        (7, grpc.StatusCode.UNAVAILABLE),
        (8, grpc.StatusCode.CANCELLED),
        (11, grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
def test_a_reset_by_the_runtime_is_the_status_that_grpc_gives_it(
    client: CRI, upstream: ScriptedUpstream, path: str, reset: int, code: grpc.StatusCode
) -> None:
    async def script(call: UpstreamCall) -> None:
        await call.request()
        call.abort(reset)

    upstream.scripts[path] = script
    answer = client.raw(path)
    assert answer.code is code
    assert answer.details.startswith(f"image-cri-shim: the runtime at {upstream.path} broke off: ")


@pytest.mark.parametrize("path", [FS_INFO, STATUS, "/made.up.Service/Method"])
def test_the_authority_that_the_client_names_reaches_the_runtime(
    shim: Shim, upstream: ScriptedUpstream, path: str
) -> None:
    upstream.scripts[path] = reply(b"")
    request = [(k, b"the.kubelets.own" if k == b":authority" else v) for k, v in REQUEST]
    with Wire(shim.path) as wire:
        number = wire.start(path.encode(), request=request)
        wire.body(number, frame(b""))
        assert wire.answer(number).status[0] == 0
    assert upstream.next_call().header(b":authority") == b"the.kubelets.own"


@pytest.fixture
def shouting(background: Background, upstream: ScriptedUpstream, tmp_path: Path) -> Iterator[str]:
    """A server that forwards every call and translates the answers; its socket's path."""
    runtime = Upstream(lambda: upstream.path, "v1")

    async def serve(stream: RawStream, headers: Headers) -> None:
        def louder(whole: bytes) -> bytes:
            return frame(whole[5:].upper())

        method = parse_method(dict(headers)[b":path"])
        await forward(stream, headers, method, None, runtime, louder)

    server = background.call(RawServer, serve)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "loud.sock"))
        listener.listen()
        listener.setblocking(False)
        background.call(server.serve_on, listener)
        yield str(tmp_path / "loud.sock")
        background.run(server.drop())
    background.call(runtime.close)


def test_each_message_of_an_answer_is_translated(shouting: str, upstream: ScriptedUpstream) -> None:
    upstream.scripts["Talk"] = reply(b"one", b"", b"three" * 10_000)
    with Wire(shouting) as wire:
        answer = wire.call(b"/made.up.Service/Talk", frame(b"Question"))
    assert answer.body == frame(b"ONE") + frame(b"") + frame(b"THREE" * 10_000)
    assert upstream.next_call().message == b"Question"


def test_what_is_translated_must_not_be_compressed_and_passes_if_it_is(
    shouting: str, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["Talk"] = reply(b"zip", compressed=1)
    with Wire(shouting) as wire:
        more = [(b"grpc-accept-encoding", b"gzip")]
        answer = wire.call(b"/made.up.Service/Talk", frame(b""), more)
    assert answer.body == frame(b"zip", 1)
    assert upstream.next_call().header(b"grpc-accept-encoding") is None


def test_a_request_of_several_messages_that_are_all_here_is_forwarded_whole(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["Talk"] = reply(b"answer")
    with Wire(shim.path) as wire:
        # In one write, so that everything is here when the call begins.
        number = wire.h2.get_next_available_stream_id()
        wire.h2.send_headers(number, [*REQUEST, (b":path", b"/made.up.Service/Talk")])
        wire.h2.send_data(number, frame(b"one") + frame(b"") + frame(b"three"), end_stream=True)
        wire._answers[number] = WireAnswer()
        wire.flush()
        assert wire.answer(number).body == frame(b"answer")
    assert upstream.next_call().body == frame(b"one") + frame(b"") + frame(b"three")
