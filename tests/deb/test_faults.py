"""What happens to a node under a real systemd, and that nobody who calls the shim loses by it."""

from __future__ import annotations

import shutil
import signal
import time

import grpc

from tests.deb.conftest import Lab
from tests.deb.support import package
from tests.deb.support.machine import UNIT, Machine
from tests.support.callers import Callers, Connection
from tests.support.cri_client import CRI
from tests.support.processes import accepts, wait_until
from tests.support.standin_runtime import StandinRuntime


def test_after_kill_9_it_serves_again_in_less_than_3_seconds(machine: Machine) -> None:
    before = machine.main
    begin = time.monotonic()
    machine.kill_daemon()
    with CRI(machine.socket) as client:
        path = client.path("RuntimeService", "Version")
        assert wait_until(lambda: client.raw(path, timeout=3).code is grpc.StatusCode.OK, 3)
    taken = time.monotonic() - begin
    print(f"answered {taken:.2f} s after kill -9")
    assert taken < 3
    assert machine.main not in (0, before)


def test_kill_9_loses_no_call_that_begins_afterwards(
    machine: Machine, standin: StandinRuntime
) -> None:
    inode = machine.inode()
    for _ in range(3):
        before = machine.main
        machine.kill_daemon()
        # It waits in the socket's queue: systemd holds the socket.
        connection = Connection(machine.socket)
        assert connection.call() == "0"
        connection.close()
        assert machine.main != before
    assert machine.inode() == inode


def test_the_watchdog_ends_a_daemon_that_hangs_and_it_recovers(machine: Machine) -> None:
    watch(machine, 2)
    before = machine.main
    machine.send(signal.SIGSTOP)
    assert wait_until(lambda: machine.main not in (0, before), 30, 0.2), machine.status()
    machine.wait_active()
    assert "atchdog timeout" in machine.journal()
    with CRI(machine.socket) as client:
        assert client.version(timeout=20).runtime_name == "containerd"


def test_the_watchdog_lets_a_daemon_live_that_answers(machine: Machine) -> None:
    watch(machine, 2)
    before = machine.main

    def fed() -> str:
        return machine.show("WatchdogTimestampMonotonic")

    # A runtime that is away is no reason to restart the shim.
    machine.run("systemctl", "stop", "containerd.service")
    for _ in range(6):
        last = fed()
        assert wait_until(lambda last=last: fed() != last, 10, 0.1)  # type: ignore[misc]
    assert machine.main == before
    assert machine.show("NRestarts") == "0"


def watch(machine: Machine, seconds: int) -> None:
    """Shorten the watchdog's time."""
    drop_in = f"/etc/systemd/system/{UNIT}.d/10-watchdog.conf"
    machine.write(drop_in, f"[Service]\nWatchdogSec={seconds}\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", UNIT)
    assert machine.show("WatchdogUSec") == f"{seconds}s"


def test_a_restart_refuses_none_of_100_callers(machine: Machine, standin: StandinRuntime) -> None:
    inode = machine.inode()
    with Callers(machine.socket, 100) as callers:
        for _ in range(2):
            before = machine.main
            callers.wait_for(200)
            machine.run("systemctl", "restart", UNIT)
            assert machine.main not in (0, before)
        callers.wait_for(200)
    print(f"{callers.outcomes}, {callers.repeated} made again")
    assert set(callers.outcomes) == {"0"}
    assert machine.inode() == inode


def test_a_pull_that_runs_finishes_before_the_restart(
    machine: Machine, standin: StandinRuntime
) -> None:
    with CRI(machine.socket) as client:
        standin.forget_journal()
        path = client.path("ImageService", "PullImage")
        pull = client.start(path, b"\x0a\x18\x0a\x16fault.test/slow-3000:1", timeout=30)
        standin.wait_for("PullImage")
        machine.run("systemctl", "restart", UNIT)
        assert b"slow-3000" in pull.result()
    assert standin.journal("PullImage", event="cancelled") == []


def test_an_upgrade_keeps_the_socket_and_answers_everybody(
    machine: Machine, standin: StandinRuntime, lab: Lab
) -> None:
    for deb in (lab.older, lab.deb):
        shutil.copy(deb, machine.shared)
    machine.run("dpkg", "--install", "--force-downgrade", f"/run/lab/{lab.older.name}")
    machine.wait_active()
    inode, before = machine.inode(), machine.main
    with Callers(machine.socket, 10) as callers:
        callers.wait_for(20)
        machine.run("apt-get", "install", "--yes", f"/run/lab/{lab.deb.name}")
        machine.wait_active()
        callers.wait_for(20)
    assert set(callers.outcomes) == {"0"}
    assert machine.inode() == inode
    assert machine.main not in (0, before)
    shown = machine.run("dpkg-query", "--show", "--showformat=${Version}", package.NAME).stdout
    assert shown == package.field(lab.deb, "Version")


def test_a_purge_stops_it_and_leaves_no_unit(machine: Machine) -> None:
    machine.run("apt-get", "purge", "--yes", package.NAME)
    assert not accepts(machine.socket)
    listed = machine.run("systemctl", "list-units", "--all", "--no-legend", "image-cri-shim*")
    # systemd itself may remember for a while that there was one.
    assert [
        line for line in listed.stdout.splitlines() if "not-found inactive dead" not in line
    ] == []
    assert machine.run("pgrep", "--full", "image-cri-shim", check=False).stdout == ""
    listed = machine.run(
        "systemctl", "list-unit-files", "--no-legend", "image-cri-shim*", check=False
    )
    assert listed.stdout == ""
    shown = machine.run("systemctl", "is-system-running", check=False).stdout
    assert shown == "running\n"
    for place in ("/run", "/etc", "/var/lib", "/usr/lib/systemd"):
        found = machine.run("find", place, "-name", "*image-cri-shim*").stdout.splitlines()
        assert [p for p in found if not p.startswith("/var/lib/dpkg/")] == []
