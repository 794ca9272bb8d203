"""Where the admin interface is served, and what becomes of it when that cannot be."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, eventAsText

from image_cri_shim.admin.service import AdminService
from image_cri_shim.unix_socket import listen
from tests.admin.stage import FakeBackend


class Reactor(Clock):
    """Watches nothing by itself; a test says when something has come."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        self.adopted: list[tuple[int, Any]] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def adoptStreamConnection(self, fd: int, family: int, factory: Any) -> None:
        assert not os.get_blocking(fd)
        self.adopted.append((family, factory))

    def turn(self) -> None:
        for reader in tuple(self.readers):
            reader.doRead()


@attrs.frozen
class Wish:
    admin_socket: str | None = None
    admin_listen: str | None = None


class Scene:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = str(directory / "run" / "admin.sock")
        self.reactor = Reactor()
        self.events: list[LogEvent] = []
        log = Logger(namespace="admin", observer=self.events.append)
        self.service = AdminService(FakeBackend(), self.reactor, log)

    def serve(self, path: str | None = None, listen: str | None = None) -> None:
        self.service.apply(Wish(path, listen))
        if not self.service.running:
            self.service.privilegedStartService()
            self.service.startService()

    def connects(self, path: str | None = None) -> bool:
        """Tell whether a client that connects is taken."""
        taken = len(self.reactor.adopted)
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(path or self.path):
                return False
            self.reactor.turn()
        return len(self.reactor.adopted) == taken + 1

    def reaches(self, port: int, host: str = "127.0.0.1") -> bool:
        taken = len(self.reactor.adopted)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as client:
            if client.connect_ex((host, port)):
                return False
            self.reactor.turn()
        return len(self.reactor.adopted) == taken + 1

    @property
    def logged(self) -> list[str]:
        return [eventAsText(event, includeTimestamp=False) for event in self.events]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.service.stopService()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_the_socket_is_the_owner_s_alone_and_its_directory_everybody_s_to_pass(
    scene: Scene,
) -> None:
    before = os.umask(0o077)
    try:
        scene.serve(scene.path)
    finally:
        os.umask(before)
    assert scene.connects()
    assert stat.S_IMODE(os.stat(scene.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(scene.path)).st_mode) == 0o755
    assert scene.service.trouble == ""
    assert scene.service.addresses == (scene.path,)
    (line,) = scene.logged
    assert f"the admin interface is at {scene.path}" in line


def test_nothing_is_served_before_the_start_and_nothing_left_after_the_end(scene: Scene) -> None:
    scene.service.apply(Wish(scene.path))
    assert not os.path.exists(scene.path)
    scene.serve(scene.path)
    scene.service.stopService()
    assert os.listdir(os.path.dirname(scene.path)) == []
    assert scene.reactor.readers == []
    scene.service.look()
    assert scene.service.addresses == ()


def test_without_addresses_nothing_is_served(scene: Scene) -> None:
    scene.serve()
    assert (scene.service.addresses, scene.service.trouble, scene.logged) == ((), "", [])
    assert scene.reactor.readers == []


def test_a_socket_that_somebody_else_serves_is_left_alone_and_taken_when_it_is_free(
    scene: Scene,
) -> None:
    other = listen(scene.path)
    scene.serve(scene.path)
    assert scene.service.trouble.startswith(
        f"the admin interface is not at {scene.path}: cannot serve {scene.path}: "
    )
    assert f"process {os.getpid()} serves it already" in scene.service.trouble
    assert "`adminSocket`" in scene.service.trouble
    assert "`shim`" not in scene.service.trouble
    for _ in range(40):
        scene.service.look()
    assert other.in_place()
    assert len(scene.logged) == 1
    other.remove()
    for _ in range(16):
        scene.service.look()
    assert scene.service.trouble == ""
    assert scene.connects()


def test_what_cannot_be_had_is_not_tried_at_every_look(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    scene.serve(str(tmp_path / "file" / "admin.sock"))
    assert "is no directory" in scene.service.trouble
    place = scene.service._socket
    tries = [place._tries]
    for _ in range(64):
        scene.service.look()
        tries.append(place._tries)
    assert tries[1] == 2
    assert tries[-1] < 10


def test_a_stale_socket_is_replaced(scene: Scene, tmp_path: Path) -> None:
    path = str(tmp_path / "admin.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    scene.serve(path)
    assert scene.connects(path)


def test_a_removed_socket_is_made_again(scene: Scene) -> None:
    scene.serve(scene.path)
    os.unlink(scene.path)
    scene.service.look()
    assert scene.connects()
    assert stat.S_IMODE(os.stat(scene.path).st_mode) == 0o600


def test_a_reload_moves_the_socket_and_the_new_one_is_there_before_the_old_one_goes(
    scene: Scene, tmp_path: Path
) -> None:
    scene.serve(scene.path)
    (tmp_path / "file").write_text("")
    scene.serve(str(tmp_path / "file" / "admin.sock"))
    # The new one cannot be had: the old one is better than none.
    assert scene.connects()
    assert scene.service.trouble
    another = str(tmp_path / "another.sock")
    scene.serve(another)
    assert scene.connects(another)
    assert not os.path.exists(scene.path)
    assert scene.service.trouble == ""
    scene.serve(None)
    assert not os.path.exists(another)
    assert scene.reactor.readers == []


def test_a_reload_that_says_the_same_changes_nothing(scene: Scene) -> None:
    scene.serve(scene.path)
    inode = os.stat(scene.path).st_ino
    readers = list(scene.reactor.readers)
    scene.serve(scene.path)
    assert os.stat(scene.path).st_ino == inode
    assert scene.reactor.readers == readers
    assert len(scene.logged) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_on_tcp_the_site_is_read_only_and_says_who_it_is(scene: Scene, host: str) -> None:
    port = free_port()
    try:
        with socket.create_server(
            (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        ):
            pass
    except OSError as error:
        pytest.skip(f"no {host} here: {error}")
    written = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    scene.serve(scene.path, written)
    assert scene.reaches(port, host)
    site = scene.reactor.adopted[-1][1]
    assert site.addresses._post == {}
    assert scene.connects()
    site = scene.reactor.adopted[-1][1]
    assert set(site.addresses._post) == {b"/reload", b"/flush", b"/log-levels"}
    assert scene.service.addresses == (scene.path, written)


def test_a_port_that_is_taken_is_one_warning_and_tried_again(scene: Scene) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        scene.serve(scene.path, f"127.0.0.1:{port}")
        assert scene.service.trouble == (
            f"the admin interface is not at 127.0.0.1:{port}: cannot listen on 127.0.0.1:{port}: "
            "address already in use; free that port, or set `adminListen` to another one"
        )
        assert scene.connects()
        scene.service.look()
        assert len(scene.logged) == 2
    for _ in range(16):
        scene.service.look()
    assert scene.reaches(port)


def test_the_same_port_on_another_address_replaces_the_first(scene: Scene) -> None:
    port = free_port()
    scene.serve(None, f"127.0.0.1:{port}")
    scene.serve(None, f"0.0.0.0:{port}")
    assert scene.service.trouble == ""
    assert scene.service.addresses == (f"0.0.0.0:{port}",)
    assert scene.reaches(port)


def test_without_descriptors_it_rests_and_goes_on(scene: Scene) -> None:
    scene.serve(scene.path)
    (acceptor,) = scene.reactor.readers

    class Exhausted:
        def accept(self) -> None:
            raise OSError(24, "Too many open files")

    sock, acceptor._sock = acceptor._sock, Exhausted()
    acceptor.doRead()
    assert scene.reactor.readers == []
    acceptor._sock = sock
    scene.reactor.advance(1)
    assert scene.connects()


def test_a_client_that_has_gone_before_it_is_taken_is_no_trouble(scene: Scene) -> None:
    port = free_port()
    scene.serve(None, f"127.0.0.1:{port}")
    client = socket.create_connection(("127.0.0.1", port))
    # It is reset rather than closed.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.close()
    scene.reactor.turn()
    assert scene.reactor.adopted == []
    assert scene.reaches(port)
