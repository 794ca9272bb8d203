"""gRPC's statuses, deadlines and headers as they stand on the wire."""

from __future__ import annotations

import urllib.parse

import pytest

from image_cri_shim.cri.status import (
    Answer,
    Code,
    RpcError,
    encode_message,
    error_headers,
    format_timeout,
    frame,
    header,
    parse_timeout,
)

HEADERS = [(b":status", b"200"), (b"content-type", b"application/grpc")]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"1H", 3600),
        (b"2M", 120),
        (b"15S", 15),
        (b"250m", 0.25),
        (b"10u", 1e-5),
        (b"7n", 7e-9),
        (b"0S", 0),
        (b"99999999H", 99999999 * 3600.0),
    ],
)
def test_a_timeout_is_read_in_every_unit(text: bytes, seconds: float) -> None:
    assert parse_timeout([(b"grpc-timeout", text)]) == pytest.approx(seconds)


def test_without_a_timeout_there_is_no_deadline() -> None:
    assert parse_timeout(HEADERS) is None


@pytest.mark.parametrize(
    "text", [b"", b"1", b"S", b"1s", b"-1S", b"1.5S", b"999999999S", b" 1S", b"1S ", b"1S\n"]
)
def test_a_malformed_timeout_is_an_error(text: bytes) -> None:
    with pytest.raises(RpcError) as caught:
        parse_timeout([(b"grpc-timeout", text)])
    assert caught.value.code is Code.INTERNAL
    assert "grpc-timeout" in caught.value.message


@pytest.mark.parametrize("seconds", [1e-6, 0.00123, 0.5, 1, 99.5, 100, 900, 86400, 1e7, 1e11])
def test_a_timeout_is_written_no_larger_than_it_is_and_nearly_as_large(seconds: float) -> None:
    written = format_timeout(seconds)
    assert len(written) <= 9
    read = parse_timeout([(b"grpc-timeout", written)])
    assert read is not None
    assert seconds * 0.999 - 1e-6 <= read <= seconds * (1 + 1e-12)


@pytest.mark.parametrize("seconds", [0.0, -5.0, 1e-9])
def test_a_timeout_that_is_over_is_written_as_the_shortest(seconds: float) -> None:
    assert format_timeout(seconds) == b"1u"


def test_a_timeout_beyond_all_digits_is_written_as_the_longest() -> None:
    assert format_timeout(1e15) == b"99999999H"


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        ("", b""),
        ("plain text, ~!@#$^&*()", b"plain text, ~!@#$^&*()"),
        ("100%", b"100%25"),
        ("a\nb\tc", b"a%0Ab%09c"),
        ("ü", b"%C3%BC"),
        ("镜像不存在", urllib.parse.quote("镜像不存在").encode()),
        ("🐳", b"%F0%9F%90%B3"),
        ("\x7f", b"%7F"),
    ],
)
def test_a_message_is_percent_encoded_and_comes_back(message: str, encoded: bytes) -> None:
    assert encode_message(message) == encoded
    answer = Answer([*HEADERS, (b"grpc-status", b"2"), (b"grpc-message", encoded)])
    assert answer.message == message


def test_a_message_that_is_no_utf8_can_still_be_read() -> None:
    answer = Answer([(b"grpc-status", b"2"), (b"grpc-message", b"bad %FF byte, bad %zz escape")])
    assert answer.message == "bad \ufffd byte, bad %zz escape"


@pytest.mark.parametrize(
    ("headers", "trailers", "code"),
    [
        (HEADERS, [(b"grpc-status", b"0")], 0),
        (HEADERS, [(b"grpc-status", b"42")], 42),
        ([*HEADERS, (b"grpc-status", b"5")], [], 5),
        (HEADERS, [(b"grpc-message", b"no status")], 2),
        (HEADERS, [(b"grpc-status", b"nonsense")], 2),
        (HEADERS, [(b"grpc-status", b"-1")], 2),
        (HEADERS, [(b"grpc-status", b"5\n")], 2),
        pytest.param(HEADERS, [(b"grpc-status", b"5" * 5000)], 2, id="5000 digits"),
        (HEADERS, [], 2),
    ],
)
def test_an_answer_has_the_code_that_the_runtime_said(
    headers: list[tuple[bytes, bytes]], trailers: list[tuple[bytes, bytes]], code: int
) -> None:
    assert Answer(headers, None, trailers).code == code


def test_another_message_leaves_the_rest_of_the_trailers_alone() -> None:
    trailers = [
        (b"x-a", b"1"),
        (b"grpc-status", b"5"),
        (b"grpc-message", b"old"),
        (b"grpc-status-details-bin", b"CA0"),
        (b"x-a", b"2"),
    ]
    answer = Answer(HEADERS, None, trailers).with_message("neu: ü")
    assert answer.headers == HEADERS
    assert answer.message == "neu: ü"
    assert [t for t in answer.trailers if t[0] != b"grpc-message"] == [
        t for t in trailers if t[0] != b"grpc-message"
    ]
    assert sum(t[0] == b"grpc-message" for t in answer.trailers) == 1


def test_another_message_reaches_an_answer_of_trailers_only() -> None:
    answer = Answer([*HEADERS, (b"grpc-status", b"5")]).with_message("new")
    assert (answer.code, answer.message) == (5, "new")
    assert answer.trailers == []


def test_an_answer_tells_its_message_without_the_prefix() -> None:
    assert Answer(HEADERS, frame(b"body")).payload == b"body"
    assert Answer(HEADERS).payload == b""
    assert not Answer(HEADERS, frame(b"body")).compressed
    assert Answer(HEADERS, b"\1\0\0\0\1x").compressed


def test_an_error_is_written_as_trailers_only() -> None:
    headers = error_headers(RpcError(Code.UNAVAILABLE, "gone: ü"))
    assert headers[:2] == HEADERS
    assert header(headers, b"grpc-status") == b"14"
    assert header(headers, b"grpc-message") == b"gone: %C3%BC"
    assert str(RpcError(Code.UNAVAILABLE, "gone")) == "UNAVAILABLE: gone"
