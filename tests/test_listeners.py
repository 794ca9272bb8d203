"""The daemon's sockets: made, moved, watched over, given back."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from twisted.logger import LogEvent, Logger, eventAsText

from image_cri_shim.config import Config
from image_cri_shim.errors import SocketError
from image_cri_shim.listeners import Listeners
from image_cri_shim.socket_permissions import AS_IT_IS
from image_cri_shim.unix_socket import Served


class Server:
    """Knows on which sockets it would serve."""

    def __init__(self) -> None:
        self.served: list[socket.socket] = []
        self.most = 0

    def serve_on(self, listener: socket.socket) -> None:
        self.served.append(listener)
        self.most = max(self.most, len(self.served))

    def leave(self, listener: socket.socket) -> None:
        self.served.remove(listener)
        listener.close()


@attrs.define
class Passed:
    """A socket as systemd passes one."""

    path: str
    sock: socket.socket
    permitted: int = 0
    removed: bool = False

    def in_place(self) -> bool:
        return os.path.exists(self.path)

    def permit(self, permissions: object, like: str | None = None) -> None:
        self.permitted += 1

    def remove(self) -> None:
        self.removed = True
        self.sock.close()


class Stage:
    """Sockets in a directory."""

    def __init__(self, directory: Path, *inherited: Served) -> None:
        self.directory = directory
        self.server = Server()
        self.events: list[LogEvent] = []
        log = Logger(namespace="test", observer=self.events.append)
        self.listeners = Listeners(inherited, lambda config: config.cri, log)

    def config(self, name: str = "shim.sock", **settings: object) -> Config:
        return Config(shim=str(self.directory / name), **settings)  # type: ignore[arg-type]

    def serve(self, config: Config) -> None:
        self.listeners.bind(config)
        self.listeners.serve(self.server)

    def connects(self, name: str = "shim.sock") -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.directory / name)) == 0

    @property
    def lines(self) -> list[str]:
        return [eventAsText(event, includeTimestamp=False) for event in self.events]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.listeners.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def passed(tmp_path: Path) -> Iterator[Passed]:
    path = str(tmp_path / "passed.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        yield Passed(path, sock)


def test_the_configured_socket_is_served(stage: Stage) -> None:
    stage.serve(stage.config())
    assert stage.connects()
    assert stage.listeners.paths == (stage.config().shim,)
    assert stage.lines == [f"[test#info] serving on {stage.config().shim}"]


def test_a_socket_moves_and_the_new_one_is_served_first(stage: Stage) -> None:
    stage.serve(stage.config())
    stage.listeners.bind(stage.config("other.sock"))
    assert stage.server.most == 2
    assert len(stage.server.served) == 1
    assert stage.connects("other.sock")
    assert not os.path.exists(stage.config().shim)


def test_before_anything_is_served_it_may_move_as_well(stage: Stage) -> None:
    stage.listeners.bind(stage.config())
    stage.serve(stage.config("other.sock"))
    assert len(stage.server.served) == 1
    assert not os.path.exists(stage.config().shim)


def test_a_place_that_is_taken_changes_nothing(stage: Stage) -> None:
    stage.serve(stage.config())
    with listening(stage.directory / "taken.sock"):
        with pytest.raises(SocketError, match=r"taken\.sock: another program serves it"):
            stage.listeners.bind(stage.config("taken.sock", shim_mode=0o600))
        assert stage.listeners.paths == (stage.config().shim,)
        assert stage.connects()
    os.unlink(stage.directory / "taken.sock")


def test_only_who_may_connect_changes_without_another_socket(stage: Stage) -> None:
    stage.serve(stage.config())
    inode = os.stat(stage.config().shim).st_ino
    stage.listeners.bind(stage.config(shim_mode=0o600))
    after = os.stat(stage.config().shim)
    assert (after.st_ino, stat.S_IMODE(after.st_mode)) == (inode, 0o600)
    assert stage.server.most == 1


def listening(path: Path) -> socket.socket:
    other = socket.socket(socket.AF_UNIX)
    other.bind(str(path))
    other.listen()
    return other


def test_a_socket_that_somebody_removes_is_made_again(stage: Stage) -> None:
    stage.serve(stage.config(shim_mode=0o600))
    for _ in range(2):
        stage.listeners.look()
        os.unlink(stage.config().shim)
        stage.listeners.look()
        assert stage.connects()
        assert stat.S_IMODE(os.stat(stage.config().shim).st_mode) == 0o600
    assert len(stage.server.served) == 1
    assert stage.lines[1:3] == [
        f"[test#warn] {stage.config().shim} is gone; it is made again",
        f"[test#info] serving on {stage.config().shim}",
    ]


def test_a_whole_directory_that_somebody_removes_is_made_again(stage: Stage) -> None:
    config = stage.config("inner/shim.sock")
    stage.serve(config)
    for path in (stage.directory / "inner").iterdir():
        path.unlink()
    (stage.directory / "inner").rmdir()
    stage.listeners.look()
    assert stage.connects("inner/shim.sock")
    stage.listeners.remove()
    (stage.directory / "inner").rmdir()


def test_who_takes_the_place_is_left_alone_until_it_goes(stage: Stage) -> None:
    stage.serve(stage.config())
    os.unlink(stage.config().shim)
    with listening(Path(stage.config().shim)):
        for _ in range(3):
            stage.listeners.look()
        assert stage.server.served == []
        assert "another program serves it" in stage.listeners.trouble
        assert len(stage.lines) == 3, "said once"
        # A reload that wants the same place is not refused for it.
        stage.listeners.bind(stage.config(shim_mode=0o600))
        assert stage.listeners.paths == ()
    stage.listeners.look()
    assert stage.connects()
    assert stage.listeners.trouble == ""
    assert stat.S_IMODE(os.stat(stage.config().shim).st_mode) == 0o600


def test_what_is_removed_on_purpose_is_not_made_again(stage: Stage) -> None:
    stage.serve(stage.config())
    stage.listeners.remove()
    stage.listeners.look()
    assert not os.path.exists(stage.config().shim)


def test_a_passed_socket_is_served_and_given_back(tmp_path: Path, passed: Passed) -> None:
    stage = Stage(tmp_path, passed)
    stage.serve(stage.config("passed.sock"))
    assert stage.server.served == [passed.sock]
    assert stage.listeners.paths == (passed.path,)
    assert sorted(os.listdir(tmp_path)) == ["passed.sock"], "no lock: it is not ours"
    stage.listeners.remove()
    assert passed.removed
    assert sorted(os.listdir(tmp_path)) == ["passed.sock"]


def test_who_may_connect_to_a_passed_socket_is_configured_or_left_alone(
    tmp_path: Path, passed: Passed
) -> None:
    stage = Stage(tmp_path, passed)
    stage.serve(stage.config("passed.sock"))
    assert passed.permitted == 0
    stage.listeners.bind(stage.config("passed.sock", shim_mode=0o600))
    assert passed.permitted == 1
    # Taken back, it is as it was passed.
    stage.listeners.bind(stage.config("passed.sock"))
    assert passed.permitted == 2


def test_another_configured_socket_is_served_besides_the_passed_one(
    tmp_path: Path, passed: Passed
) -> None:
    stage = Stage(tmp_path, passed)
    stage.serve(stage.config())
    assert stage.listeners.paths == (stage.config().shim, passed.path)
    assert len(stage.server.served) == 2
    stage.listeners.bind(stage.config("passed.sock"))
    assert stage.server.served == [passed.sock]
    stage.listeners.bind(stage.config())
    assert len(stage.server.served) == 2
    stage.listeners.remove()
    assert sorted(os.listdir(tmp_path)) == ["passed.sock"]


def test_a_passed_socket_whose_file_goes_is_replaced(tmp_path: Path, passed: Passed) -> None:
    stage = Stage(tmp_path, passed)
    stage.serve(stage.config("passed.sock"))
    os.unlink(passed.path)
    stage.listeners.look()
    assert stage.connects("passed.sock")
    stage.listeners.remove()


@pytest.mark.parametrize("name", ["passed.sock", "taken/shim.sock"])
def test_at_the_start_a_passed_socket_is_served_whatever_is_wrong_with_the_rest(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "taken").touch()
    with listening(tmp_path / "passed.sock") as sock:
        passed = Strict(str(tmp_path / "passed.sock"), sock)
        stage = Stage(tmp_path, passed)
        stage.serve(stage.config(name, shim_group="no-such-group"))
        assert stage.server.served == [sock]
        assert stage.listeners.trouble != ""
        assert stage.lines[0] == f"[test#error] {stage.listeners.trouble}"
        # A reload that asks for it is told.
        with pytest.raises(SocketError):
            stage.listeners.bind(stage.config("taken/other.sock"))
        # As soon as it can be had, it is.
        (tmp_path / "taken").unlink()
        stage.listeners.bind(stage.config(name))
        assert stage.connects(name)
        assert stage.listeners.trouble == ""
        stage.listeners.remove()


class Strict(Passed):
    """A passed socket whose permissions cannot be changed as wished."""

    def permit(self, permissions: object, like: str | None = None) -> None:
        if permissions != AS_IT_IS:
            raise SocketError("no such group")
