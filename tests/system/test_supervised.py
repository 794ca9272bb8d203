"""Under a service manager: it is told how the daemon is, and passes the socket."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.callers import Callers
from tests.support.cri_client import CRI
from tests.support.daemon import TWISTD, Daemon
from tests.support.processes import wait_until
from tests.support.standin_runtime import StandinRuntime
from tests.system.conftest import StartDaemon

NO_REGISTRY = 'address: ""'
# Runs what follows with the descriptor in $FD as the socket that systemd passes.
ACTIVATE = """
import os, sys
os.dup2(int(os.environ.pop("FD")), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="cri")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Manager:
    """The end to which the daemon says how it is."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.environment = {"NOTIFY_SOCKET": str(path)}

    def hear(self, wanted: str, seconds: float = 10) -> list[str]:
        """Return all messages up to one that begins with a text."""
        heard: list[str] = []
        self.socket.settimeout(seconds)
        while not any(one.startswith(wanted) for one in heard):
            heard += self.socket.recv(8192).decode().split("\n")
        return heard

    def forget(self) -> None:
        """Read away what has been said."""
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.socket.recv(8192)

    def hear_nothing(self, seconds: float) -> None:
        """Return when nothing has been said for so long."""
        self.socket.settimeout(seconds)
        with pytest.raises(TimeoutError):
            self.socket.recv(8192)

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def status(messages: list[str]) -> str:
    return [one for one in messages if one.startswith("STATUS=")][-1]


def test_the_manager_hears_when_it_serves_reloads_and_stops(
    start_daemon: StartDaemon, standin: StandinRuntime, manager: Manager
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY, environment=manager.environment)
    assert f"STATUS=serving on {shim.socket}" in status(manager.hear("READY=1"))
    connected = f"connected to the runtime at {standin.socket}, CRI v1"
    assert manager.hear(f"STATUS=serving on {shim.socket}; {connected}")

    shim.reload(f"{NO_REGISTRY}\ntimeout: soon")
    heard = manager.hear("READY=1")
    assert heard[0] == "RELOADING=1"
    assert heard[1].startswith("MONOTONIC_USEC=")
    assert "STATUS=the configuration is refused since 20" in status(heard)
    assert f", the one before runs: {shim.file}:4:10: timeout: " in status(heard)

    shim.reload(NO_REGISTRY)
    assert status(manager.hear("READY=1")) == f"STATUS=serving on {shim.socket}; {connected}"

    standin.kill()
    while "nobody listens on the runtime's socket" not in status(manager.hear("STATUS=")):
        pass
    standin.start()
    while connected not in status(manager.hear("STATUS=")):
        pass
    assert shim.end() == 0
    assert "EXTEND_TIMEOUT_USEC=45000000" in manager.hear("STOPPING=1")


def test_it_is_ready_without_a_runtime(
    start_daemon: StartDaemon, tmp_path: Path, manager: Manager
) -> None:
    start_daemon(
        str(tmp_path / "no-runtime.sock"),
        f"{NO_REGISTRY}\nforce: true",
        environment=manager.environment,
    )
    manager.hear("READY=1")


def test_a_bad_configuration_at_the_start_is_told_and_waited_for(
    make_daemon: StartDaemon, standin: StandinRuntime, manager: Manager
) -> None:
    shim = make_daemon(standin.socket, "timeout: soon", environment=manager.environment)
    with subprocess.Popen(
        shim.command(),
        env=shim.environment(),
        stderr=subprocess.PIPE,
        cwd=shim.directory,
        text=True,
    ) as started:
        try:
            refused = f"STATUS=the configuration is refused: {shim.file}:3:10: timeout: "
            assert refused in status(manager.hear("STATUS="))
            # The manager would start it again at once and for ever; so it ends when the file is
            # mended.
            assert started.poll() is None
            shim.configure(NO_REGISTRY)
            _, said = started.communicate(timeout=4)
        finally:
            started.kill()
    assert started.returncode == 78
    assert f"{shim.file}:3:10: timeout: " in said


def is_stopped(shim: Daemon) -> bool:
    """Tell whether the process is in the state T (proc_pid_stat(5)); its name may be anything."""
    return Path(f"/proc/{shim.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_the_watchdog_is_fed_while_it_works_and_not_while_it_is_stopped(
    start_daemon: StartDaemon, standin: StandinRuntime, manager: Manager
) -> None:
    environment = {**manager.environment, "WATCHDOG_USEC": "600000"}
    shim = start_daemon(standin.socket, NO_REGISTRY, environment=environment)
    for _ in range(3):
        manager.hear("WATCHDOG=1")
    # A runtime that is gone is not the shim's fault.
    standin.stop()
    manager.forget()
    for _ in range(3):
        manager.hear("WATCHDOG=1")
    standin.start()
    shim.send(signal.SIGSTOP)
    try:
        assert wait_until(lambda: is_stopped(shim), 10)
        manager.forget()
        manager.hear_nothing(1.0)
    finally:
        shim.send(signal.SIGCONT)
    manager.hear("WATCHDOG=1")


class Activated:
    """A daemon whose socket somebody else has made and keeps."""

    def __init__(self, make: StartDaemon, cri: str, path: Path) -> None:
        self.path = str(path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(1024)
        self.listener.set_inheritable(True)
        self._make, self._cri = make, cri

    def make(self, config: str = NO_REGISTRY) -> Daemon:
        """Return the daemon, not started."""
        program = (sys.executable, "-c", ACTIVATE, *TWISTD[1:], "--nodaemon", "--pidfile=")
        shim = self._make(
            self._cri,
            config,
            program=(*program, "image-cri-shim"),
            environment={"FD": str(self.listener.fileno())},
        )
        shim.pass_fds = (self.listener.fileno(),)
        return shim

    def close(self) -> None:
        self.listener.close()


@pytest.fixture
def activated(
    make_daemon: StartDaemon, standin: StandinRuntime, tmp_path: Path
) -> Iterator[Activated]:
    one = Activated(make_daemon, standin.socket, tmp_path / "passed.sock")
    yield one
    one.close()


def test_a_passed_socket_is_served_and_left_behind(
    activated: Activated, connect: Callable[..., CRI]
) -> None:
    shim = activated.make()
    shim.socket = activated.path
    shim.configure(NO_REGISTRY)
    shim.start()
    assert connect(activated.path).image_status("nginx:1.25") is None
    assert not os.path.exists(shim.lock)
    assert f"serving on {activated.path}, which systemd has passed" in shim.text()
    inode = os.stat(activated.path).st_ino
    assert shim.end() == 0
    assert os.stat(activated.path).st_ino == inode


def test_another_configured_socket_is_served_besides(
    activated: Activated, connect: Callable[..., CRI]
) -> None:
    shim = activated.make().start()
    for path in (activated.path, shim.socket):
        assert connect(path).image_status("nginx:1.25") is None
    # Taken back by a reload.
    own, shim.socket = shim.socket, activated.path
    shim.reload(NO_REGISTRY)
    assert connect(activated.path).image_status("nginx:1.25") is None
    assert not os.path.exists(own)
    # And a passed socket whose file somebody removes is made anew.
    os.unlink(activated.path)
    assert wait_until(lambda: os.path.exists(activated.path), 10)
    assert connect(activated.path).image_status("nginx:1.25") is None


def test_what_is_passed_must_be_a_listening_socket(activated: Activated) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.set_inheritable(True)
        activated.listener, kept = other, activated.listener
        shim = activated.make()
        ended = subprocess.run(
            shim.command(),
            env=shim.environment(),
            cwd=shim.directory,
            pass_fds=(other.fileno(),),
            capture_output=True,
            text=True,
            timeout=20,
        )
        activated.listener = kept
    assert ended.returncode == 1
    assert "image-cri-shim: cannot take over descriptor 3 (cri)" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_restart_refuses_none_of_a_hundred_clients(activated: Activated) -> None:
    shim = activated.make()
    shim.socket = activated.path
    shim.configure(NO_REGISTRY)
    shim.start()
    with Callers(activated.path, 100) as callers:
        for _ in range(3):
            callers.wait_for(100)
            assert shim.end() == 0
            shim.start()
        callers.wait_for(100)
    assert set(callers.outcomes) == {"0"}
