"""The service under a real systemd: how it starts, what it says, how it reads its configuration."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tests.deb.conftest import USER, Lab
from tests.deb.support import package
from tests.deb.support.machine import SOCKET_UNIT, UNIT, Machine
from tests.support.cri_client import CRI
from tests.support.processes import accepts, wait_until
from tests.support.registries import DockerRegistry

FILE = "/etc/image-cri-shim.yaml"
BOTH = (UNIT, SOCKET_UNIT)


def runs(machine: Machine) -> None:
    machine.wait_active()
    assert [machine.run("systemctl", "is-enabled", unit).stdout for unit in BOTH] == 2 * [
        "enabled\n"
    ]
    assert [machine.active(unit) for unit in BOTH] == ["active", "active"]
    with CRI(machine.socket) as client:
        assert client.version().runtime_name == "containerd"


def test_it_runs_after_the_first_boot(machine: Machine) -> None:
    runs(machine)
    assert machine.run("systemctl", "is-system-running").stdout == "running\n"


def test_installing_it_on_a_running_system_enables_and_starts_it(
    machine: Machine, lab: Lab
) -> None:
    machine.run("dpkg", "--purge", package.NAME)
    assert machine.active() == "inactive"
    shutil.copy(lab.deb, machine.shared)
    machine.run("apt-get", "install", "--yes", f"/run/lab/{lab.deb.name}")
    runs(machine)


def test_systemd_is_told_when_it_serves_and_how_it_is(machine: Machine) -> None:
    assert machine.show("Type") == "notify"
    assert machine.show("Restart") == "always"
    assert machine.show("StartLimitIntervalUSec") == "0"
    assert "kubelet.service" in machine.show("Before").split()
    said = machine.show("StatusText")
    print(f"STATUS={said}")
    assert "/run/image-cri-shim.sock" in said
    assert said in machine.status()


def test_started_means_that_it_serves(machine: Machine) -> None:
    # With its own socket: on systemd's a client would wait anyway.
    machine.run("systemctl", "stop", *BOTH)
    assert not accepts(machine.socket)
    machine.run("systemctl", "mask", "--runtime", SOCKET_UNIT)
    for _ in range(3):
        machine.run("systemctl", "restart", UNIT)
        assert accepts(machine.socket)
    machine.run("systemctl", "stop", UNIT)
    assert not machine.path("/run/image-cri-shim.sock").exists()


def test_a_reload_serves_what_the_file_says_now(machine: Machine, registry: DockerRegistry) -> None:
    before = machine.main
    machine.write(FILE, f"address: {registry.url}\nauth: {':'.join(USER)}\nreloadInterval: 0\n")
    machine.run("systemctl", "reload", UNIT)
    with CRI(machine.socket) as client:
        machine.wait_for("reload: the new configuration runs")
        client.pull("nginx:1.25")
        held = client.image_status("nginx:1.25")
    assert held is not None
    assert list(held.repo_tags) == [f"{registry.host}/library/nginx:1.25"]
    assert machine.main == before
    assert machine.active() == "active"
    assert USER[1] not in machine.journal()


def test_a_drop_in_is_read_as_soon_as_it_is_there(machine: Machine) -> None:
    # Not by looking now and then.
    machine.write(FILE, "reloadInterval: 0\n")
    machine.run("systemctl", "reload", UNIT)
    machine.wait_for("ReloadInterval: 15s -> off")
    machine.write("/etc/image-cri-shim.d/10-tool.yaml", "timeout: 20m\n")
    machine.wait_for("Timeout: 15m0s -> 20m0s")


def test_a_broken_file_can_be_seen_in_the_status_until_it_is_mended(machine: Machine) -> None:
    good = machine.path(FILE).read_text()
    assert wait_until(lambda: "connected to the runtime" in machine.show("StatusText"), 10)
    before = machine.show("StatusText")
    machine.write(FILE, "adress: registry.test\n")
    machine.run("systemctl", "reload", UNIT, check=False)
    assert wait_until(lambda: "adress" in machine.show("StatusText"), 10)
    shown = machine.status()
    print(machine.show("StatusText"))
    assert FILE in shown
    assert "Active: active (running)" in shown
    with CRI(machine.socket) as client:
        assert client.version().runtime_name == "containerd"
    machine.write(FILE, good)
    machine.run("systemctl", "reload", UNIT)
    assert wait_until(lambda: machine.show("StatusText") == before, 10)


def test_a_broken_file_at_start_is_told_and_mending_it_is_enough(machine: Machine) -> None:
    good = machine.path(FILE).read_text()
    machine.write(FILE, "adress: registry.test\n")
    machine.run("systemctl", "restart", UNIT, check=False)
    machine.wait_for("did you mean")
    assert "status=78" in machine.status()
    machine.write(FILE, good)
    machine.wait_active()


def test_credentials_of_systemd_are_for_the_offline_registry(
    machine: Machine, registry: DockerRegistry
) -> None:
    machine.write("/etc/credstore/image-cri-shim.auth", ":".join(USER), 0o600)
    machine.write(FILE, f"address: {registry.url}\n")
    machine.run("systemctl", "restart", UNIT)
    with CRI(machine.socket) as client:
        client.pull("nginx:1.25")
        assert client.image_status(f"{registry.host}/library/nginx:1.25") is not None
    assert USER[1] not in machine.journal()
    assert USER[1] not in machine.run("systemctl", "show", UNIT).stdout


HELPER = """\
#!/bin/sh
# What a helper does: it reads a file of its own, keeps notes in /tmp, and asks another program.
test "$1" = get && cat >/tmp/asked && printf '{{"Username":"%s","Secret":"%s"}}' {} "$(cat {})"
"""


def test_a_credential_helper_can_do_its_work(machine: Machine, registry: DockerRegistry) -> None:
    name, password = USER
    machine.write("/etc/lab-secret", password, 0o600)
    helper = "/usr/local/bin/docker-credential-lab"
    machine.write(helper, HELPER.format(name, "/etc/lab-secret"), 0o755)
    machine.write("/etc/lab.json", f'{{"credHelpers": {{"{registry.host}": "lab"}}}}\n', 0o600)
    machine.write(FILE, f"address: {registry.url}\noffline:\n  authFile: /etc/lab.json\n")
    machine.run("systemctl", "restart", UNIT)
    with CRI(machine.socket) as client:
        client.pull("redis:7")
        assert client.image_status(f"{registry.host}/library/redis:7") is not None
    # What it wrote is in the service's own /tmp.
    assert not machine.path("/tmp/asked").exists()


def test_a_runtime_that_comes_late_is_waited_for(machine: Machine) -> None:
    machine.run("systemctl", "stop", UNIT, "containerd.service")
    machine.run("rm", "-f", "/run/containerd/containerd.sock")
    machine.run("systemctl", "start", UNIT)
    assert machine.active() == "active"
    with CRI(machine.socket) as client:
        with pytest.raises(Exception, match="UNAVAILABLE"):
            client.version(timeout=5)
        machine.run("systemctl", "start", "containerd.service")

        def answers() -> bool:
            path = client.path("RuntimeService", "Version")
            return client.raw(path, timeout=5).code.name == "OK"

        assert wait_until(answers, 15, 0.2)


def test_it_stops_in_good_order(machine: Machine) -> None:
    machine.run("systemctl", "stop", *BOTH)
    assert machine.show("Result") == "success"
    assert machine.show("ExecMainStatus") == "0"
    left = {p.name for p in machine.path("/run").iterdir() if "image-cri-shim" in p.name}
    assert left <= {"image-cri-shim.sock"}
    assert not accepts(machine.socket)


def test_it_comes_back_after_a_reboot_and_after_a_power_cut(
    boot: Callable[..., Machine],
) -> None:
    # In a place that outlives both, so that what is left behind is there.
    place = "/var/lib/image-cri-shim/shim.sock"
    machine = boot()
    machine.write("/etc/image-cri-shim.d/10-place.yaml", f"shim: {place}\n")
    machine.wait_for(f"serving on {place}")
    machine.stop()
    assert not machine.layer.path(place).exists()
    for _ in range(2):
        machine.start()
        machine.wait_active()
        assert wait_until(lambda: accepts(str(machine.path(place))), 10)
        assert accepts(machine.socket)
        machine.cut_power()
        assert machine.layer.path(place).is_socket()
