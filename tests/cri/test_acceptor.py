"""A listening socket goes on accepting, whatever the system is short of."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from image_cri_shim.cri.acceptor import AT_ONCE, Acceptor
from tests.cri.background import PATIENCE, Background
from tests.cri.clock import FakeClock
from tests.support.processes import wait_until


class Listener(socket.socket):
    """A listening socket that can be told to fail."""

    failure: int | None = None
    tries = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.tries += 1
        if self.failure is not None:
            raise OSError(self.failure, errno.errorcode[self.failure])
        return super().accept()


class Hello(asyncio.Protocol):
    """Says hello and ends."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection = cast("asyncio.Transport", transport)
        connection.write(b"hello")
        connection.close()


class Service:
    """An acceptor in the loop of `background`, on a clock of its own."""

    def __init__(self, background: Background, path: str) -> None:
        self.background = background
        self.path = path
        self.clock = FakeClock()
        self.listener = Listener(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1024)
        self.make: Callable[[], asyncio.Protocol | None] = Hello
        self.acceptor = background.call(self._start)

    def _start(self) -> Acceptor:
        return Acceptor(self.listener, lambda: self.make(), self.clock)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect(self.path)
        return client

    def close(self) -> None:
        async def end() -> None:
            self.acceptor.close()
            await self.acceptor.made()

        self.background.run(end())
        assert self.clock.timers == []


@pytest.fixture
def service(background: Background, tmp_path: Path) -> Iterator[Service]:
    service = Service(background, str(tmp_path / "service.sock"))
    yield service
    service.close()


def test_all_that_wait_are_accepted(service: Service) -> None:
    # From the loop, which so finds all of them waiting.
    clients = service.background.call(lambda: [service.connect() for _ in range(3 * AT_ONCE)])
    for client in clients:
        with client:
            assert client.recv(100) == b"hello"
            assert client.recv(100) == b""


def test_a_connection_without_a_protocol_is_closed_at_once(service: Service) -> None:
    service.make = lambda: None
    with service.connect() as client:
        assert client.recv(100) == b""
    service.make = Hello
    with service.connect() as client:
        assert client.recv(100) == b"hello"


@pytest.mark.parametrize("failure", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_resources_connections_wait_and_the_processor_rests(
    service: Service, caplog: pytest.LogCaptureFixture, failure: int
) -> None:
    service.listener.failure = failure
    with service.connect() as client:
        assert wait_until(lambda: service.listener.tries == 1, PATIENCE)
        for tries in (2, 3):
            service.background.call(service.clock.advance, 1)
            assert wait_until(lambda tries=tries: service.listener.tries == tries, PATIENCE)
        service.listener.failure = None
        service.background.call(service.clock.advance, 1)
        assert client.recv(100) == b"hello"
    with service.connect() as another:
        assert another.recv(100) == b"hello"
    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    # Once, however often it was tried.
    assert said == [
        f"no connection can be accepted, and it is tried again: {errno.errorcode[failure]}"
    ]
    caplog.clear()


@pytest.mark.parametrize("failure", [errno.ECONNABORTED, errno.EINTR, errno.EAGAIN])
def test_a_client_that_is_gone_already_stops_nobody(service: Service, failure: int) -> None:
    service.listener.failure = failure
    with service.connect() as client:
        assert wait_until(lambda: service.listener.tries > 1, PATIENCE)
        service.listener.failure = None
        assert client.recv(100) == b"hello"


def test_after_the_end_nobody_is_accepted(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.listener.failure = errno.EMFILE
    with service.connect() as client, socket.socket(socket.AF_UNIX) as late:
        assert wait_until(lambda: service.listener.tries == 1, PATIENCE)
        service.close()
        with pytest.raises(ConnectionRefusedError):
            late.connect(service.path)
        with pytest.raises(ConnectionResetError):
            client.recv(100)
    caplog.clear()
