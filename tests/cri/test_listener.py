"""Who is let in, who is kept, and what all clients together may take."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import HeadersFrame

from image_cri_shim.cri.greeting import Greeting
from image_cri_shim.cri.http2 import CALLS_AT_ONCE
from image_cri_shim.cri.listener import RawServer
from image_cri_shim.cri.stream import BadFrame, Headers, MessageTooLarge, RawStream
from image_cri_shim.cri.watch import Watch
from tests.cri.background import PATIENCE, Background
from tests.cri.clock import FakeClock
from tests.cri.scripted import FIRST, frame
from tests.cri.wire import Wire
from tests.support.processes import wait_until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
OK: Headers = [*FIRST, (b"grpc-status", b"0")]


class Service:
    """A server that echoes, on a clock of its own."""

    def __init__(self, background: Background, path: str) -> None:
        self.background = background
        self.path = path
        self.clock = FakeClock()
        self.hold = background.call(asyncio.Event)
        self.began = 0
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen(128)
        listener.setblocking(False)
        self.server = background.run(self._start(listener))

    async def _start(self, listener: socket.socket) -> RawServer:
        server = RawServer(self._serve, self.clock)
        server.serve_on(listener)
        return server

    async def _serve(self, stream: RawStream, headers: Headers) -> None:
        self.began += 1
        if (b":path", b"/hold") in headers:
            await self.hold.wait()
        try:
            while (one := await stream.read_frame()) is not None:
                if (b":path", b"/echo") in headers:
                    if not stream.wrote_headers:
                        await stream.write_headers(FIRST)
                    await stream.write_frame(one)
            await stream.write_headers(OK, end=True)
        except (MessageTooLarge, BadFrame):
            await stream.write_headers([*FIRST, (b"grpc-status", b"8")], end=True)
        finally:
            stream.abandon_unread()

    def advance(self, seconds: float) -> None:
        self.background.call(self.clock.advance, seconds)

    def silent(self) -> int:
        return self.background.call(lambda: len(self.server._silent))

    def clients(self) -> int:
        return self.background.call(lambda: len(self.server._protocols))

    def stalls(self) -> int:
        return self.background.call(lambda: len(self.server._stalls))

    def close(self) -> None:
        self.background.run(self.server.drop())
        assert self.server.requests.used == 0
        assert self.server.answers.used == 0
        assert self.clock.timers == []


@pytest.fixture
def service(background: Background, tmp_path: Path) -> Iterator[Service]:
    service = Service(background, str(tmp_path / "service.sock"))
    yield service
    service.close()


def connect(service: Service, data: bytes = b"") -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE)
    client.connect(service.path)
    if data:
        client.sendall(data)
    return client


def closed(client: socket.socket) -> bool:
    try:
        while client.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def connected(silent: socket.socket) -> bool:
    # The server has nothing to say to it, so there is nothing to read but the end.
    return not select.select([silent], [], [], 0)[0]


@pytest.mark.parametrize("data", [b"", PREFACE[:10], PREFACE, PREFACE + SETTINGS[:5]])
def test_who_does_not_greet_in_ten_seconds_is_disconnected(service: Service, data: bytes) -> None:
    with connect(service, data) as client, Wire(service.path) as usual:
        assert usual.call(b"/a/b").status == (0, "")
        assert service.silent() == 1
        service.advance(9)
        assert service.silent() == 1
        service.advance(1)
        assert closed(client)
        # An idle connection stays.
        service.advance(100_000)
        assert usual.call(b"/a/b").status == (0, "")


def test_a_greeting_may_come_byte_by_byte(service: Service) -> None:
    with Wire(service.path, speak=False) as wire:
        wire.h2.initiate_connection()
        for byte in wire.h2.data_to_send():
            wire.send(bytes([byte]))
        assert wire.call(b"/a/b").status == (0, "")


def test_http_1_is_answered_in_its_own_language(service: Service) -> None:
    with connect(service, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n") as client:
        answer = b""
        while part := client.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 505 HTTP Version Not Supported\r\n")
    assert b"gRPC" in answer


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"P" * 3,
        b"\0",
        PREFACE + b"\0\0\0\6\0\0\0\0\0",
        PREFACE + SETTINGS + b"\xff\xff\xff\0\0\0\0\0\1",
    ],
    ids=["tls", "letters", "zero", "no-settings", "frame-of-16-MiB"],
)
def test_nonsense_is_disconnected_at_once(service: Service, data: bytes) -> None:
    with connect(service, data) as client:
        assert closed(client)


def test_who_stops_within_a_frame_is_disconnected_after_thirty_seconds(service: Service) -> None:
    with Wire(service.path) as wire:
        assert wire.call(b"/a/b").status == (0, "")
        wire.send(b"\0\0\4\0")
        assert wait_until(lambda: service.stalls() == 1, PATIENCE)
        service.advance(29)
        wire.send(b"\0")
        assert wait_until(lambda: since(service) == service.clock.now, PATIENCE)
        service.advance(29)
        assert service.clients() == 1
        service.advance(1)
        wire.wait_closed()


def since(service: Service) -> float:
    return service.background.call(lambda: max(service.server._stalls._since.values()))


def test_who_stops_within_a_header_block_is_disconnected(service: Service) -> None:
    with Wire(service.path) as wire:
        block = HeadersFrame(1)
        block.data = b"\x82"
        wire.send(block.serialize())
        assert wait_until(lambda: service.stalls() == 1, PATIENCE)
        service.advance(30)
        wire.wait_closed()


def test_a_full_house_prefers_newcomers_to_those_who_said_nothing(service: Service) -> None:
    service.server._most = 20
    with Wire(service.path) as usual:
        assert usual.call(b"/a/b").status == (0, "")
        # From the loop, which so finds all of them waiting.
        silent = service.background.call(lambda: [connect(service) for _ in range(40)])
        assert wait_until(lambda: sum(map(connected, silent)) == 19, PATIENCE)
        with Wire(service.path) as newcomer:
            assert newcomer.call(b"/a/b").status == (0, "")
        assert usual.call(b"/a/b").status == (0, "")
        # The oldest had to go.
        assert closed(silent[0])
        assert service.silent() + service.clients() <= 20
        for client in silent:
            client.close()
        assert wait_until(lambda: service.silent() == 0, PATIENCE)


def test_a_full_house_prefers_newcomers_to_those_who_stopped_half_way(service: Service) -> None:
    service.server._most = 3
    with Wire(service.path) as stopped, Wire(service.path) as busy, Wire(service.path) as usual:
        held = busy.start(b"/hold", end=True)
        for wire in (stopped, usual):
            assert wire.call(b"/a/b").status == (0, "")
        for count, wire in enumerate((busy, stopped), 1):
            wire.send(b"\0\0\4\0")
            assert wait_until(lambda count=count: service.stalls() == count, PATIENCE)
        with Wire(service.path) as newcomer:
            assert newcomer.call(b"/a/b").status == (0, "")
        stopped.wait_closed()
        service.background.call(service.hold.set)
        assert busy.answer(held).status == (0, "")


def test_a_full_house_prefers_newcomers_to_who_has_had_no_call_for_longest(
    service: Service,
) -> None:
    service.server._most = 3
    with Wire(service.path) as idle, Wire(service.path) as busy, Wire(service.path) as usual:
        held = busy.start(b"/hold", end=True)
        for wire in (busy, idle, usual):
            assert wire.call(b"/a/b").status == (0, "")
        with Wire(service.path) as newcomer:
            assert newcomer.call(b"/a/b").status == (0, "")
            # In good order: what it may have sent meanwhile was not begun.
            while idle.going_away is None:
                idle.read()
            idle.wait_closed()
            assert usual.call(b"/a/b").status == (0, "")
        service.background.call(service.hold.set)
        assert busy.answer(held).status == (0, "")


def test_a_full_house_of_clients_refuses_newcomers(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.server._most = 2
    with Wire(service.path) as first, Wire(service.path) as second:
        held = [wire.start(b"/hold", end=True) for wire in (first, second)]
        for wire in (first, second):
            assert wire.call(b"/a/b").status == (0, "")
        for _ in range(3):
            with connect(service) as third:
                assert closed(third)
        assert service.server.full
        service.background.call(service.hold.set)
        assert first.answer(held[0]).status == second.answer(held[1]).status == (0, "")
        assert wait_until(lambda: not service.server.full, PATIENCE)
        refusals = [r for r in caplog.get_records("call") if "refused" in r.getMessage()]
        assert len(refusals) == 1
    assert wait_until(lambda: service.clients() == 0, PATIENCE)
    with Wire(service.path) as again:
        assert again.call(b"/a/b").status == (0, "")


def test_a_call_too_many_is_refused_and_the_connection_stays(service: Service) -> None:
    with Wire(service.path) as wire:
        numbers = [wire.start(b"/hold", end=True) for _ in range(CALLS_AT_ONCE)]
        # It has not read yet how many it may have.
        extra = wire.start(b"/a/b", end=True)
        assert wire.answer(extra).reset == ErrorCodes.REFUSED_STREAM
        service.background.call(service.hold.set)
        for number in numbers:
            assert wire.answer(number).status == (0, "")
        assert wire.call(b"/a/b").status == (0, "")


def test_one_clients_crowd_of_calls_leaves_room_for_others(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("image_cri_shim.cri.client_connection._CALLS", 50)
    with Wire(service.path) as crowd, Wire(service.path) as other:
        numbers = [crowd.start(b"/hold", end=True) for _ in range(60)]
        resets = [crowd.answer(number).reset for number in numbers[50:]]
        assert resets == [ErrorCodes.REFUSED_STREAM] * 10
        assert other.call(b"/a/b").status == (0, "")
        service.background.call(service.hold.set)
        for number in numbers[:50]:
            assert crowd.answer(number).status == (0, "")


def test_half_messages_of_one_client_do_not_take_everybodys_memory(service: Service) -> None:
    limit = service.server.requests.limit = 16 * 1024 * 1024
    service.server.requests._for_large = limit - limit // 8
    most = 0

    def look() -> int:
        nonlocal most
        most = max(most, service.background.call(lambda: service.server.requests.used))
        return most

    part = b"\0" + (16 * 1024 * 1024).to_bytes(4, "big") + bytes(900_000)
    with Wire(service.path) as hog, Wire(service.path) as usual:
        numbers = [hog.start(b"/a/b") for _ in range(40)]
        for number in numbers:
            hog.body(number, part, end=False)
            look()
        assert usual.call(b"/a/b", frame(bytes(1000))).status == (0, "")
        assert 0 < look() <= limit
        ended = [n for n in numbers if n > numbers[len(numbers) // 2]]
        for number in ended:
            assert hog.answer(number).status[0] == 8
        # The windows of those that were ended were given back.
        assert hog.call(b"/a/b", frame(bytes(1000))).status == (0, "")
        # What is half done ends by itself.
        service.advance(30)
        assert wait_until(
            lambda: service.background.call(lambda: service.server.requests.used) == 0, PATIENCE
        )


def test_whatever_goes_wrong_the_memory_is_given_back(service: Service) -> None:
    big = frame(bytes(300_000))
    for way in range(4):
        wire = Wire(service.path)
        numbers = [wire.start(b"/echo") for _ in range(10)]
        for number in numbers:
            wire.body(number, big[:200_000], end=False)
        if way == 0:
            for number in numbers:
                wire.h2.reset_stream(number, 8)
            wire.flush()
        elif way == 1:
            wire.send(b"\xff" * 100)
            wire.wait_closed()
        elif way == 2:
            # Answers that nobody takes.
            for number in numbers:
                wire.body(number, big[200_000:])
        wire.close()
    assert wait_until(lambda: service.clients() == 0, PATIENCE)
    used = service.background.call(
        lambda: (service.server.requests.used, service.server.answers.used)
    )
    assert used == (0, 0)


def test_a_large_message_passes_at_a_good_speed(service: Service) -> None:
    message = frame(bytes(16 * 1024 * 1024))
    with Wire(service.path) as wire:
        answer = wire.call(b"/echo", message)
    assert len(answer.body) == len(message)


def test_a_client_that_asks_and_never_reads_is_disconnected(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    ping = b"\0\0\x08\x06\0\0\0\0\0" + b"12345678"
    with Wire(service.path) as wire, Wire(service.path) as usual:
        pings = ping * 1_000_000
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            wire.send(pings)
        assert usual.call(b"/a/b").status == (0, "")
    assert any("reads nothing" in record.getMessage() for record in caplog.get_records("call"))


def test_a_flood_of_calls_and_resets_leaves_others_their_turn(service: Service) -> None:
    with Wire(service.path) as flood, Wire(service.path) as usual:
        turns: list[int] = []
        taken = service.background.call(lambda: tuple(service.server._protocols))
        for protocol in taken:
            watch_turns(protocol, turns)
        for _ in range(3000):
            number = flood.h2.get_next_available_stream_id()
            flood.h2.send_headers(
                number, [(b":method", b"POST"), (b":path", b"/hold"), (b":scheme", b"http")]
            )
            flood.h2.reset_stream(number, 8)
        flood.flush()
        assert usual.call(b"/a/b").status == (0, "")
        assert flood.call(b"/a/b").status == (0, "")
    # After the first portion the others are small.
    assert len([size for size in turns if size > 1024]) <= 2


def watch_turns(protocol: Any, turns: list[int]) -> None:
    take: Callable[[bytes], None] = protocol._take

    def taken(data: bytes) -> None:
        turns.append(len(data))
        take(data)

    protocol._take = taken


def test_a_client_that_says_nothing_is_small() -> None:
    assert not hasattr(Greeting(lambda *_: None, Watch(1, FakeClock())), "__dict__")
