"""The kubelet's side: its unit with the drop-in that comes as an example."""

from __future__ import annotations

from tests.deb.support.machine import Machine
from tests.support.processes import accepts, wait_until

DIRECTORY = "/etc/systemd/system/kubelet.service.d"
EXAMPLE = "/usr/share/doc/image-cri-shim/examples/10-image-cri-shim.conf"
# It serves a socket and leaves it behind, as a dockershim did.
KUBELET = """\
[Service]
ExecStart=/usr/bin/python3 -c 'import socket, time; \\
  s = socket.socket(socket.AF_UNIX); s.bind("/run/dockershim.sock"); s.listen(); \\
  time.sleep(1e9)'
"""


def test_the_kubelets_drop_in_removes_zombie_sockets_and_leaves_live_ones(
    machine: Machine,
) -> None:
    machine.write("/etc/systemd/system/kubelet.service", KUBELET)
    machine.run("mkdir", DIRECTORY)
    machine.run("cp", EXAMPLE, DIRECTORY)
    machine.run("systemctl", "daemon-reload")
    for key, value in (
        ("Restart", "always"),
        ("StartLimitIntervalUSec", "0"),
        ("RestartUSec", "10s"),
    ):
        assert machine.show(key, "kubelet.service") == value
    assert "image-cri-shim.service" in machine.show("After", "kubelet.service").split()
    zombie = str(machine.path("/run/dockershim.sock"))
    leave = "import socket; s = socket.socket(socket.AF_UNIX); s.bind('/run/dockershim.sock')"
    machine.run("python3", "-c", leave)
    machine.run("systemctl", "start", "kubelet.service")
    # It could bind only because the zombie was gone.
    assert wait_until(lambda: accepts(zombie), 10)
    # And after it has stopped none is left.
    machine.run("systemctl", "stop", "kubelet.service")
    assert not accepts(zombie)
    assert not machine.path("/run/dockershim.sock").exists()
    for live in ("/run/containerd/containerd.sock", "/run/image-cri-shim.sock"):
        assert accepts(str(machine.path(live)))
