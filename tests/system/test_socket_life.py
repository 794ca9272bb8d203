"""The shim's socket: who may have it, what it looks like, when it appears and goes."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from tests.support.cri_client import CRI
from tests.support.daemon import TWISTD, Daemon, environment, run_program
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import accepts, wait_until
from tests.support.standin_runtime import StandinRuntime
from tests.system.conftest import StartDaemon, accidents

NO_REGISTRY = 'address: ""'


def serves(path: str) -> bool:
    with CRI(path) as client:
        return client.image_status("nginx:1.25") is None


def test_after_kill_9_the_next_start_replaces_the_stale_socket(
    start_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    shim.kill()
    before = os.stat(shim.socket).st_ino
    assert not accepts(shim.socket)
    shim.start()
    assert serves(shim.socket)
    assert os.stat(shim.socket).st_ino != before
    assert shim.end() == 0
    assert not os.path.lexists(shim.socket)
    assert not os.path.lexists(shim.lock)


def test_a_second_one_refuses_and_the_first_keeps_serving(
    start_daemon: StartDaemon, make_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    first = start_daemon(standin.socket, NO_REGISTRY)
    client = CRI(first.socket)
    assert client.image_status("nginx:1.25") is None
    second = make_daemon(standin.socket, NO_REGISTRY)
    second.socket = first.socket
    second.configure(NO_REGISTRY)
    for _ in range(2):
        ended = second.run_once()
        assert ended.returncode == 1
        (line,) = ended.stderr.splitlines()
        assert line.startswith("image-cri-shim: ")
        assert first.socket in line
        assert str(first.pid) in line
    assert client.image_status("nginx:1.25") is None
    assert serves(first.socket)
    client.close()


def test_of_many_that_start_at_once_exactly_one_serves(
    make_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    rivals = [make_daemon(standin.socket, NO_REGISTRY) for _ in range(4)]
    for rival in rivals:
        rival.socket = rivals[0].socket
        rival.configure(NO_REGISTRY)
    running = [
        subprocess.Popen(
            rival.command(),
            env=rival.environment(),
            stderr=subprocess.PIPE,
            cwd=rival.directory,
            stdout=subprocess.DEVNULL,
        )
        for rival in rivals
    ]
    try:
        assert wait_until(lambda: sum(p.poll() is not None for p in running) == 3, 20)
        assert wait_until(lambda: accepts(rivals[0].socket), 10)
        assert serves(rivals[0].socket)
    finally:
        for process in running:
            process.terminate()
        told = [process.communicate()[1].decode() for process in running]
    assert sorted(process.returncode for process in running) == [0, 1, 1, 1]
    assert [accidents(text) for text in told] == [[]] * 4


def test_a_live_socket_of_another_program_is_never_stolen(
    make_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    shim = make_daemon(standin.socket, NO_REGISTRY)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(shim.socket)
        other.listen()
        before = os.stat(shim.socket).st_ino
        ended = shim.run_once()
        assert ended.returncode == 1
        (line,) = ended.stderr.splitlines()
        assert shim.socket in line
        assert os.stat(shim.socket).st_ino == before
        assert accepts(shim.socket)


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_is_no_socket_is_never_deleted(
    make_daemon: StartDaemon, standin: StandinRuntime, kind: str
) -> None:
    shim = make_daemon(standin.socket, NO_REGISTRY)
    path = Path(shim.socket)
    if kind == "file":
        path.write_text("precious")
    else:
        path.mkdir()
    ended = shim.run_once()
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert shim.socket in line
    assert path.read_text() == "precious" if kind == "file" else path.is_dir()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_removes_socket_and_lock_and_exits_with_0(
    start_daemon: StartDaemon, standin: StandinRuntime, number: int
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    assert serves(shim.socket)
    assert shim.end(number) == 0
    left = {entry.name for entry in shim.directory.iterdir()}
    assert left == {"shim.log", "image-cri-shim.yaml", "state"}


def test_a_socket_that_is_no_longer_ours_is_not_removed(
    start_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    os.unlink(shim.socket)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(shim.socket)
        other.listen()
        assert shim.end() == 0
        assert accepts(shim.socket)


def test_a_pull_in_progress_finishes_before_the_end(
    start_daemon: StartDaemon, standin: StandinRuntime, connect: Callable[..., CRI]
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    client = connect(shim.socket)
    standin.forget_journal()
    path = client.path("ImageService", "PullImage")
    pull = client.start(path, b"\x0a\x18\x0a\x16fault.test/slow-1500:1", timeout=30)
    standin.wait_for("PullImage")
    ended: list[int] = []
    ending = threading.Thread(target=lambda: ended.append(shim.end()))
    ending.start()
    shim.wait_for("get 30 s to finish")
    # No one new is let in meanwhile.
    assert not accepts(shim.socket)
    assert b"slow-1500" in pull.result()
    ending.join(20)
    assert ended == [0]
    assert not os.path.lexists(shim.socket)
    assert "PullImage fault.test/slow-1500:1: pulled fault.test/slow-1500:1" in shim.text()


def test_a_call_that_never_ends_keeps_it_no_longer_than_its_deadline(
    start_daemon: StartDaemon, standin: StandinRuntime, connect: Callable[..., CRI]
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    client = connect(shim.socket)
    standin.forget_journal()
    path = client.path("ImageService", "ImageStatus")
    status = client.start(path, b"\x0a\x13\x0a\x11fault.test/hang:1", timeout=2)
    standin.wait_for("ImageStatus")
    assert shim.end(seconds=10) == 0
    assert status.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    standin.wait_for("ImageStatus", "cancelled")


@pytest.fixture
def special(standin: StandinRuntime) -> Iterator[tuple[int, int, int]]:
    """Give the runtime's socket a mode and an owner that nothing else has; return them."""
    before = os.stat(standin.socket)
    group = 4321 if os.geteuid() == 0 else before.st_gid
    user = 1234 if os.geteuid() == 0 else before.st_uid
    os.chown(standin.socket, user, group)
    os.chmod(standin.socket, 0o620)
    yield 0o620, user, group
    os.chown(standin.socket, before.st_uid, before.st_gid)
    os.chmod(standin.socket, stat.S_IMODE(before.st_mode))


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_socket_has_the_runtimes_owner_and_mode_whatever_the_umask(
    make_daemon: StartDaemon,
    standin: StandinRuntime,
    special: tuple[int, int, int],
    umask: int,
) -> None:
    shim = make_daemon(standin.socket, NO_REGISTRY)
    before = os.umask(umask)
    try:
        shim.start()
    finally:
        os.umask(before)
    status = os.stat(shim.socket)
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == special
    assert stat.S_IMODE(os.stat(shim.lock).st_mode) == 0o600


def test_without_a_runtime_the_socket_is_for_owner_and_group(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    shim = start_daemon(str(tmp_path / "absent.sock"), f"{NO_REGISTRY}\nforce: true")
    assert shim.mode() == 0o660


def test_the_daemon_in_the_background_serves_and_stops_by_its_pid_file(
    make_daemon: StartDaemon,
    standin: StandinRuntime,
    special: tuple[int, int, int],
    offline: MemoryRegistry,
    connect: Callable[..., CRI],
) -> None:
    image = build_image("background")
    push(offline.url, "library/nginx", "1.25", image)
    shim = make_daemon(standin.socket, f"address: {offline.url}")
    log, pid_file = shim.directory / "daemon.log", shim.directory / "daemon.pid"
    # A path that is relative to where it was started, not to where the daemon lives.
    begun = subprocess.run(
        [
            *TWISTD,
            f"--pidfile={pid_file}",
            f"--logfile={log}",
            "image-cri-shim",
            "-c",
            shim.file.name,
        ],
        env=environment(),
        cwd=shim.directory,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (begun.returncode, begun.stdout, begun.stderr) == (0, "", "")
    assert wait_until(lambda: pid_file.exists() and pid_file.read_text().strip() != "", 10)
    pid = int(pid_file.read_text())
    try:
        assert wait_until(lambda: log.exists() and "serving on" in log.read_text(), 10)
        assert Path(f"/proc/{pid}/status").read_text().split("Umask:")[1].split()[0] == "0077"
        assert shim.mode() == special[0]
        client = connect(shim.socket)
        assert client.pull("nginx:1.25") == image.config_digest
        # The pid file names who has to get the signals.
        shim.configure(f"address: {offline.url}\ntimeout: 7m")
        os.kill(pid, signal.SIGHUP)
        assert wait_until(lambda: "reload: the new configuration runs" in log.read_text(), 10)
        assert "Timeout: 7m0s" in log.read_text()
        os.kill(pid, signal.SIGTERM)
        assert wait_until(lambda: not Path(f"/proc/{pid}").exists(), 20)
    finally:
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)
    assert not pid_file.exists()
    assert not os.path.lexists(shim.socket)
    assert not os.path.lexists(shim.lock)
    assert accidents(log.read_text()) == []


def test_a_background_start_that_cannot_serve_ends_and_says_so(
    make_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    shim = make_daemon(standin.socket, NO_REGISTRY)
    pid_file = shim.directory / "daemon.pid"
    # Nothing can be made in /proc, which looks writable to root: only binding finds it out.
    arguments = (f"--pidfile={pid_file}", f"--logfile={shim.directory / 'daemon.log'}")
    begun = run_program(
        TWISTD, *arguments, "image-cri-shim", "-c", str(shim.file), "--shim", "/proc/shim.sock"
    )
    assert begun.returncode == 1
    assert "cannot serve /proc/shim.sock" in begun.stdout + begun.stderr
    # The daemon, whose end is a moment later, removes it.
    assert wait_until(lambda: not pid_file.exists(), 10)


def test_a_runtimes_socket_that_leads_back_to_the_shim_is_said(
    start_daemon: StartDaemon, connect: Callable[..., CRI], tmp_path: Path
) -> None:
    link = tmp_path / "dockershim.sock"
    shim = start_daemon(str(link), f"{NO_REGISTRY}\nforce: true")
    link.symlink_to(shim.socket)
    answer = connect(shim.socket).raw("/runtime.v1.ImageService/ImageFsInfo")
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert "it is the shim's own socket" in answer.details


def test_the_directory_of_the_socket_is_made(
    make_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    shim: Daemon = make_daemon(standin.socket, NO_REGISTRY)
    shim.socket = str(shim.directory / "run" / "deeper" / "shim.sock")
    shim.configure(NO_REGISTRY)
    shim.start()
    assert serves(shim.socket)
