"""What a node may be like when the daemon starts, and become while it runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support.cri_client import CRI
from tests.support.daemon import ROOT, TWISTD
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.standin_runtime import StandinRuntime
from tests.system.conftest import StartDaemon

NO_REGISTRY = 'address: ""'
PLAIN = (*TWISTD, "--nodaemon", "--pidfile=", "image-cri-shim")


def inside(namespace: str, setup: str) -> Sequence[str]:
    """Return a command line that runs the daemon after some commands, in a namespace of its own."""
    return ("unshare", namespace, "sh", "-ec", f'{setup}\nexec "$@"', "sh", *PLAIN)


@pytest.fixture
def namespaces() -> None:
    """What may make mounts and networks of its own."""
    made = subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True)
    if made.returncode:
        pytest.skip(f"no namespaces here: {made.stderr.decode(errors='replace').strip()}")


def test_without_a_home_or_any_other_variable_it_serves(
    make_daemon: StartDaemon,
    connect: Callable[..., CRI],
    standin: StandinRuntime,
    offline: MemoryRegistry,
) -> None:
    bare = ("env", "-i", f"PATH={os.environ['PATH']}", f"PYTHONPATH={ROOT}", *PLAIN)
    push(offline.url, "bare/home", "1", build_image("bare home"))
    shim = make_daemon(standin.socket, f"address: {offline.url}", program=bare).start()
    connect(shim.socket).pull("origin.test/bare/home:1")
    assert f"-> {offline.host}/bare/home:1 (offline, present" in shim.text()


@pytest.mark.usefixtures("namespaces")
def test_without_a_network_it_starts_and_serves_what_needs_none(
    make_daemon: StartDaemon, connect: Callable[..., CRI], standin: StandinRuntime
) -> None:
    # Not even the loopback interface is up.
    shim = make_daemon(
        standin.socket, "address: https://hub.test:5000", program=inside("--net", "true")
    )
    shim.start()
    client = connect(shim.socket)
    assert client.image_status("nginx:1.25") is None
    answer = client.raw("/runtime.v1.ImageService/PullImage", b"\x0a\x0f\x0a\x0dgone.test/a:1")
    # The registry cannot be asked; the runtime tries the origin, and says what it finds.
    assert answer.code.name != "OK"
    shim.wait_for("PullImage gone.test/a:1 -> ")
    (decision,) = shim.lines("PullImage gone.test/a:1 -> ")
    assert "hub.test:5000: unknown" in decision
    assert "lookup gone.test: no such host" in answer.details


@pytest.mark.usefixtures("namespaces")
def test_a_full_disk_costs_the_memory_of_pulls_and_nothing_else(
    make_daemon: StartDaemon,
    connect: Callable[..., CRI],
    standin: StandinRuntime,
    offline: MemoryRegistry,
    tmp_path: Path,
) -> None:
    state = tmp_path / "full"
    state.mkdir()
    full = (
        f"mount -t tmpfs -o size=16k none {state}\n"
        f"cat /dev/zero > {state}/everything 2>/dev/null || true"
    )
    push(offline.url, "full/disk", "1", build_image("full disk"))
    config = f"address: {offline.url}\nimage: {state}"
    shim = make_daemon(standin.socket, config, program=inside("--mount", full)).start()
    client = connect(shim.socket)
    client.pull("origin.test/full/disk:1")
    log = shim.wait_for("what images were pulled as is known until the restart only")
    assert "No space left on device" in log
    assert client.image_status("origin.test/full/disk:1") is not None
    assert shim.end() == 0


def test_a_full_disk_under_the_log_stops_nothing(
    make_daemon: StartDaemon, connect: Callable[..., CRI], standin: StandinRuntime
) -> None:
    program = (*TWISTD, "--nodaemon", "--pidfile=", "--logfile=/dev/full", "image-cri-shim")
    shim = make_daemon(standin.socket, NO_REGISTRY, program=program)
    shim.ready = lambda: os.path.exists(shim.socket)  # type: ignore[method-assign]
    shim.start()
    client = connect(shim.socket)
    for _ in range(3):
        assert client.raw("/runtime.v1.RuntimeService/Version").code.name == "OK"
    shim.hang_up()
    assert client.image_status("nginx:1.25") is None
    assert shim.end() == 0


def test_var_run_and_run_are_one_place(
    make_daemon: StartDaemon, connect: Callable[..., CRI], standin: StandinRuntime, tmp_path: Path
) -> None:
    # As on Debian, with other names: the one is a link to the other.
    (tmp_path / "run").mkdir()
    (tmp_path / "var-run").symlink_to("run")
    shim = make_daemon(standin.socket, NO_REGISTRY)
    shim.socket = str(tmp_path / "var-run" / "shim.sock")
    shim.lock = f"{shim.socket}.lock"
    shim.configure(NO_REGISTRY)
    shim.start()
    assert connect(str(tmp_path / "run" / "shim.sock")).image_status("nginx:1.25") is None
    second = make_daemon(standin.socket, NO_REGISTRY)
    second.socket = str(tmp_path / "run" / "shim.sock")
    second.configure(NO_REGISTRY)
    ended = second.run_once()
    assert ended.returncode == 1
    assert f"process {shim.pid} serves it already" in ended.stderr


def test_a_runtime_that_comes_late_is_waited_for(
    start_daemon: StartDaemon, connect: Callable[..., CRI], tmp_path: Path
) -> None:
    late = StandinRuntime(tmp_path / "late")
    shim = start_daemon(late.socket, f"{NO_REGISTRY}\nforce: true")
    client = connect(shim.socket)
    answer = client.raw("/runtime.v1.RuntimeService/Version")
    assert answer.code.name == "UNAVAILABLE"
    assert late.socket in answer.details
    with late:
        shim.wait_for(f"the runtime at {late.socket} speaks CRI v1")
        assert client.raw("/runtime.v1.RuntimeService/Version").code.name == "OK"
