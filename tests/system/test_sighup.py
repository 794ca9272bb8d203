"""SIGHUP reads the configuration again, as a whole or not at all, whatever else goes on."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.containerd import Containerd
from tests.support.cri_client import CRI
from tests.support.daemon import CONSOLE
from tests.support.faults import Slow
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import wait_until
from tests.support.standin_runtime import StandinRuntime
from tests.system.conftest import StartDaemon

NO_REGISTRY = 'address: ""'
# PullImageRequest of fault.test/slow-1500:1.
SLOW = b"\x0a\x18\x0a\x16fault.test/slow-1500:1"


def test_a_good_file_is_used_by_the_next_pull(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    offline: MemoryRegistry,
) -> None:
    image = build_image("sighup good")
    with MemoryRegistry() as other:
        for registry in (offline, other):
            push(registry.url, "sighup/good", "1", image)
        shim = start_daemon(runtime.socket, f"address: {offline.url}")
        client = connect(shim.socket)
        client.pull("origin.test/sighup/good:1")
        log = shim.reload(f"address: {other.url}\nauth: robot:pass\ntimeout: 3m")
        # The effective configuration is logged anew.
        for line in (f"RegistryDomain: {other.host}", "Timeout: 3m0s", "Username: robot"):
            assert line in log
        offline.forget_requests()
        client.pull("origin.test/sighup/good:1")
        assert offline.requests == []
        decision = f"PullImage origin.test/sighup/good:1 -> {other.host}/sighup/good:1 (offline, "
        assert decision in shim.text()
        # What was pulled before is found under the name that it was written as.
        found = client.image_status("origin.test/sighup/good:1")
        assert found is not None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("adress: http://127.0.0.1:1", ":3:1: adress: "),
        ("debug: maybe", ":3:8: debug: "),
        ("address: http://127.0.0.1:1\ntimeout: 15", ":4:10: timeout: "),
        ("address: {{ .registryDomain }}", ":3:10: "),
        ("address: [", ":"),
        ("auth: s3cret-without-a-colon", ":3:7: auth: "),
    ],
)
def test_a_broken_file_is_refused_with_its_place_and_the_old_configuration_works_on(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    standin: StandinRuntime,
    offline: MemoryRegistry,
    text: str,
    place: str,
) -> None:
    push(offline.url, "sighup/broken", "1", build_image("sighup broken"))
    shim = start_daemon(standin.socket, f"address: {offline.url}")
    log = shim.reload(text)
    assert f"reload: {shim.file}{place}" in log
    assert re.search(rf"{re.escape(str(shim.file))}:[0-9]+:[0-9]+: ", log)
    assert "reload: refused; the configuration that was read before runs on" in log
    assert "s3cret" not in log
    connect(shim.socket).pull("origin.test/sighup/broken:1")
    assert f"-> {offline.host}/sighup/broken:1 (offline, present, " in shim.text()
    # And the mended file is taken.
    assert "reload: the new configuration runs" in shim.reload(f"address: {offline.url}")


def test_a_file_that_is_gone_or_empty_or_no_file_is_refused(
    start_daemon: StartDaemon, connect: Callable[..., CRI], standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    shim.file.unlink()
    assert f"reload: {shim.file}: there is no such file" in shim.reload()
    shim.file.mkdir()
    assert f"reload: {shim.file}: this is a directory" in shim.reload()
    shim.file.rmdir()
    os.mkfifo(shim.file)
    assert f"reload: {shim.file}: this is no regular file" in shim.reload()
    shim.file.unlink()
    # As a writer leaves it that is not done yet, or whose disk is full.
    shim.file.touch()
    assert f"reload: {shim.file}: it is empty now" in shim.reload()
    assert connect(shim.socket).image_status("nginx:1.25") is None
    assert "the new configuration runs" in shim.reload(NO_REGISTRY)


def test_a_pull_that_runs_finishes_under_the_configuration_that_it_began_with(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    standin: StandinRuntime,
    tmp_path: Path,
) -> None:
    shim = start_daemon(standin.socket, f"{NO_REGISTRY}\ntimeout: 30s")
    client = connect(shim.socket)
    standin.forget_journal()
    pull = client.start(client.path("ImageService", "PullImage"), SLOW)
    standin.wait_for("PullImage")
    # Another runtime, another registry, another time-out: nothing of it is for that pull.
    with StandinRuntime(tmp_path / "other") as other, MemoryRegistry() as registry:
        before, shim.cri = shim.cri, other.socket
        assert "the new configuration runs" in shim.reload(f"address: {registry.url}\ntimeout: 1s")
        assert not pull.done()
        assert client.image_status("nginx:1.25") is None
        assert [entry["image"] for entry in other.journal("ImageStatus")][-1] == "nginx:1.25"
        assert b"slow-1500" in pull.result()
        assert other.journal("PullImage") == []
        (entry,) = standin.journal("PullImage")
        assert entry["deadline"] > 20
        assert standin.journal("PullImage", event="cancelled") == []
        shim.cri = before
        shim.reload(NO_REGISTRY)


def test_a_look_up_that_runs_finishes_in_the_registry_that_it_began_with(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    standin: StandinRuntime,
    offline: MemoryRegistry,
) -> None:
    push(offline.url, "sighup/slow", "1", build_image("sighup slow"))
    offline.forget_requests()
    offline.faults = [Slow(1.5)]
    shim = start_daemon(standin.socket, f"address: {offline.url}")
    client = connect(shim.socket)
    # PullImageRequest of origin.test/sighup/slow:1.
    body = b"\x0a\x1b\x0a\x19origin.test/sighup/slow:1"
    pull = client.start(client.path("ImageService", "PullImage"), body, timeout=20)
    assert wait_until(lambda: len(offline.requests) == 1, 10)
    shim.reload(NO_REGISTRY)
    assert not pull.done()
    pull.result()
    assert f"-> {offline.host}/sighup/slow:1 (offline, present, " in shim.text()


def test_a_burst_of_signals_ends_with_the_last_file(
    start_daemon: StartDaemon, connect: Callable[..., CRI], standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    client = connect(shim.socket)
    for number in range(200):
        if number % 20 == 0:
            # Replaced as a whole, as configuration management does it: never seen half written.
            new = shim.file.with_suffix(".new")
            text = shim.file.read_text().splitlines()[:3]
            new.write_text("\n".join([*text, f"timeout: {number // 20 + 1}m"]) + "\n")
            os.replace(new, shim.file)
        shim.hang_up()
        if number % 10 == 0:
            assert client.image_status("nginx:1.25") is None
    shim.wait_for("Timeout: 10m0s")
    log = shim.reload()
    assert "Timeout: 10m0s" in log
    assert "refused" not in shim.text()
    assert client.image_status("nginx:1.25") is None
    assert shim.end() == 0


def test_reloads_leave_no_connection_behind(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    standin: StandinRuntime,
    offline: MemoryRegistry,
) -> None:
    push(offline.url, "sighup/leak", "1", build_image("sighup leak"))
    shim = start_daemon(standin.socket, f"address: {offline.url}")
    client = connect(shim.socket)

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{shim.pid}/fd"))

    def use() -> None:
        client.pull("origin.test/sighup/leak:1")
        shim.reload(f"address: {offline.url}\nversion: auto")
        shim.reload(f"address: {offline.url}\nversion: v1")

    use()
    before = descriptors()
    for _ in range(10):
        use()
    assert wait_until(lambda: descriptors() <= before, 10), (before, descriptors())


def test_the_shims_own_socket_moves_without_a_moment_in_which_none_is_served(
    start_daemon: StartDaemon, connect: Callable[..., CRI], standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    before, shim.socket = shim.socket, str(shim.directory / "made" / "elsewhere.sock")
    old = connect(before)
    assert old.image_status("nginx:1.25") is None
    log = shim.reload(NO_REGISTRY)
    assert f"reload: shim-socket: {before} -> {shim.socket}" in log
    assert f"serving on {shim.socket}" in log
    assert connect(shim.socket).image_status("nginx:1.25") is None
    # What was connected stays; the old socket and its lock are gone.
    assert old.image_status("nginx:1.25") is None
    assert not os.path.lexists(before)
    assert not os.path.lexists(f"{before}.lock")
    assert shim.end() == 0
    assert not os.path.lexists(shim.socket)


def test_a_place_that_is_taken_refuses_the_whole_reload(
    start_daemon: StartDaemon, connect: Callable[..., CRI], standin: StandinRuntime, tmp_path: Path
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    before, shim.socket = shim.socket, str(tmp_path / "taken.sock")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(shim.socket)
        other.listen()
        log = shim.reload(f"{NO_REGISTRY}\ntimeout: 3m")
        assert f"reload: shim: cannot serve {shim.socket}: another program serves it" in log
        assert "reload: refused; the configuration that was read before runs on" in log
        assert "Timeout: 3m0s" not in shim.text()
        assert connect(before).image_status("nginx:1.25") is None
    shim.socket = before
    assert "the new configuration runs" in shim.reload(NO_REGISTRY)


def test_who_may_connect_changes_in_place(
    start_daemon: StartDaemon, connect: Callable[..., CRI], standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    inode = os.stat(shim.socket).st_ino
    shim.reload(f'{NO_REGISTRY}\nshimMode: "0600"')
    assert (shim.mode(), os.stat(shim.socket).st_ino) == (0o600, inode)
    log = shim.reload(f"{NO_REGISTRY}\nshimGroup: no-such-group-here")
    assert "no-such-group-here" in log
    assert "refused" in log
    assert shim.mode() == 0o600
    assert connect(shim.socket).image_status("nginx:1.25") is None


def prepared(pid: int, *how: str) -> bool:
    """Tell whether a process has SIGHUP blocked (`Blk`), caught (`Cgt`) or ignored (`Ign`) now."""
    text = Path(f"/proc/{pid}/status").read_text()
    masks = [int(text.partition(f"Sig{name}:")[2].split()[0], 16) for name in how]
    bit = 1 << (signal.SIGHUP - 1)
    return any(mask & bit for mask in masks)


@pytest.mark.parametrize("program", ["twistd", "console"])
def test_sighup_during_the_start_does_not_kill_and_is_not_lost(
    make_daemon: StartDaemon,
    connect: Callable[..., CRI],
    standin: StandinRuntime,
    program: str,
) -> None:
    options = {"program": CONSOLE} if program == "console" else {}
    shim = make_daemon(standin.socket, f"{NO_REGISTRY}\ntimeout: 1m", **options)
    with shim.log.open("ab") as log:
        process = subprocess.Popen(
            shim.command(), env=shim.environment(), stdout=log, stderr=log, cwd=shim.directory
        )
    try:
        assert wait_until(lambda: prepared(process.pid, "Blk", "Cgt", "Ign"), 10, 0.0005)
        # Long before it can act upon a signal, it keeps one.
        assert not prepared(process.pid, "Cgt", "Ign")
        # From its first moment on, over all of the start, and after it.
        signals = 0
        shim.configure(f"{NO_REGISTRY}\ntimeout: 2m")
        while not shim.ready():
            process.send_signal(signal.SIGHUP)
            signals += 1
            assert process.poll() is None, shim.text()
        assert signals > 1
        shim.configure(f"{NO_REGISTRY}\ntimeout: 3m")
        process.send_signal(signal.SIGHUP)
        shim.wait_for("Timeout: 3m0s")
        assert connect(shim.socket).image_status("nginx:1.25") is None
    finally:
        process.terminate()
        assert process.wait(20) == 0
    assert "reload: the new configuration runs" in shim.text()


def test_sighup_during_the_end_changes_nothing(
    start_daemon: StartDaemon, connect: Callable[..., CRI], standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    client = connect(shim.socket)
    standin.forget_journal()
    pull = client.start(client.path("ImageService", "PullImage"), SLOW, timeout=30)
    standin.wait_for("PullImage")
    shim.send(signal.SIGTERM)
    shim.wait_for("get 30 s to finish")
    shim.hang_up()
    shim.send(signal.SIGTERM)
    assert b"slow-1500" in pull.result()
    assert shim.wait() == 0
    assert "reload: the new configuration runs" not in shim.text()
