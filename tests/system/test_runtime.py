"""The runtime is absent, comes, goes and comes back; the shim outlives it all."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from tests.support import containerd
from tests.support.containerd import Containerd
from tests.support.cri_client import CRI
from tests.support.daemon import TWISTD
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import wait_until
from tests.support.standin_runtime import StandinRuntime
from tests.system.conftest import StartDaemon

NO_REGISTRY = 'address: ""'


def refusal(client: CRI, image: str = "nginx:1.25") -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        client.image_status(image, timeout=5)
    return caught.value


def test_a_killed_containerd_that_comes_back_is_used_by_the_next_call(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    offline: MemoryRegistry,
    tmp_path: Path,
) -> None:
    if reason := containerd.why_not():
        pytest.skip(reason)
    image = build_image("restart")
    push(offline.url, "library/nginx", "1.25", image)
    with Containerd(tmp_path / "rt") as runtime:
        shim = start_daemon(runtime.socket, f"address: {offline.url}")
        clients = [connect(shim.socket, version) for version in ("v1", "v1alpha2")]
        assert clients[0].pull("nginx:1.25") == image.config_digest
        pid = shim.pid
        for _ in range(2):
            runtime.kill()
            for client in clients:
                error = refusal(client)
                assert error.code() == grpc.StatusCode.UNAVAILABLE
                assert error.details().startswith("image-cri-shim: ")
                assert runtime.socket in error.details()
                with pytest.raises(grpc.RpcError) as caught:
                    client.pull("nginx:1.25", timeout=5)
                assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
                assert runtime.socket in caught.value.details()
            runtime.start()
            for client in clients:
                found = client.image_status("nginx:1.25", timeout=5)
                assert found is not None
                assert found.id == image.config_digest
        runtime.stop()
        assert refusal(clients[0]).code() == grpc.StatusCode.UNAVAILABLE
        runtime.start()
        assert clients[1].pull("nginx:1.25") == image.config_digest
        assert shim.pid == pid


def test_a_call_during_which_the_runtime_dies_ends_with_unavailable(
    start_daemon: StartDaemon, connect: Callable[..., CRI], tmp_path: Path
) -> None:
    with StandinRuntime(tmp_path / "runtime") as runtime:
        shim = start_daemon(runtime.socket, NO_REGISTRY)
        client = connect(shim.socket)
        with pytest.raises(grpc.RpcError) as caught:
            client.pull("fault.test/crash:1")
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert runtime.socket in caught.value.details()
        runtime.stop()
        runtime.start()
        assert client.image_status("nginx:1.25") is None


def test_a_runtime_that_is_absent_at_the_start_is_named(
    make_daemon: StartDaemon, tmp_path: Path
) -> None:
    absent = str(tmp_path / "absent.sock")
    shim = make_daemon(absent, NO_REGISTRY)
    ended = shim.run_once()
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"image-cri-shim: the runtime's socket {absent} does not exist; ")
    assert "force: true" in line
    assert not os.path.lexists(shim.socket)
    assert not os.path.lexists(shim.lock)


def test_with_force_a_runtime_may_come_later(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    offline: MemoryRegistry,
    tmp_path: Path,
) -> None:
    image = build_image("later")
    push(offline.url, "library/nginx", "1.25", image)
    runtime = StandinRuntime(tmp_path / "runtime")
    shim = start_daemon(runtime.socket, f"address: {offline.url}\nforce: true")
    client = connect(shim.socket)
    error = refusal(client)
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert f"the runtime's socket {runtime.socket} does not exist" in error.details()
    with runtime:
        assert client.image_status("nginx:1.25", timeout=5) is None
        assert client.pull("nginx:1.25", timeout=10) == image.config_digest


def test_a_stale_socket_of_the_runtime_is_told_from_an_absent_one(
    start_daemon: StartDaemon, connect: Callable[..., CRI], tmp_path: Path
) -> None:
    runtime = StandinRuntime(tmp_path / "runtime").start()
    runtime.kill()
    assert os.path.exists(runtime.socket)
    client = connect(start_daemon(runtime.socket, NO_REGISTRY).socket)
    assert f"nobody listens on the runtime's socket {runtime.socket}" in refusal(client).details()
    with runtime:
        assert client.image_status("nginx:1.25", timeout=5) is None


@pytest.mark.parametrize("spoken", ["v1", "v1alpha2"])
@pytest.mark.parametrize("asked", ["v1", "v1alpha2"])
@pytest.mark.parametrize("version", ["auto", "configured"])
def test_clients_and_runtimes_of_different_cri_versions_understand_each_other(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    offline: MemoryRegistry,
    tmp_path: Path,
    spoken: str,
    asked: str,
    version: str,
) -> None:
    image = build_image("versions")
    push(offline.url, "library/nginx", "1.25", image)
    chosen = spoken if version == "configured" else "auto"
    with StandinRuntime(tmp_path / "runtime", versions=[spoken]) as runtime:
        config = f"address: {offline.url}\nversion: {chosen}"
        client = connect(start_daemon(runtime.socket, config).socket, asked)
        assert client.pull("nginx:1.25") == image.config_digest
        found = client.image_status("nginx:1.25")
        assert found is not None
        assert found.id == image.config_digest
        assert [i.id for i in client.list_images()] == [image.config_digest]
        client.remove_image("nginx:1.25")
        assert client.list_images() == []
        assert client.image_fs_info()


def test_a_runtime_that_comes_back_with_another_cri_version_is_understood(
    start_daemon: StartDaemon, connect: Callable[..., CRI], tmp_path: Path
) -> None:
    runtime = StandinRuntime(tmp_path / "runtime", versions=["v1alpha2"])
    with runtime:
        shim = start_daemon(runtime.socket, NO_REGISTRY)
        client = connect(shim.socket)
        assert client.image_status("nginx:1.25") is None
        assert "speaks CRI v1alpha2" in shim.text()
    runtime.versions = ("v1",)
    with runtime:
        assert client.image_status("nginx:1.25") is None
        assert shim.text().rstrip().endswith("speaks CRI v1")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A directory that is /run for the programs of `elsewhere`, and has no runtime's socket yet."""
    if reason := containerd.why_not():
        pytest.skip(reason)
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("a chroot whose root is no mount cannot have a /run of its own")
    directory = tmp_path / "run"
    for place in ("containerd", "crio"):
        (directory / place).mkdir(parents=True)
    return directory


def elsewhere(run: Path) -> tuple[str, ...]:
    """Return the command line of a twistd for which `run` is /run (and so /var/run)."""
    script = 'mount --bind "$0" /run && exec "$@"'
    twistd = (*TWISTD, "--nodaemon", "--pidfile=", "image-cri-shim")
    return ("unshare", "--mount", "sh", "-c", script, str(run), *twistd)


def test_without_cri_the_runtime_is_looked_for_where_runtimes_are(
    make_daemon: StartDaemon,
    connect: Callable[..., CRI],
    run: Path,
    standin: StandinRuntime,
    runtime: Containerd,
) -> None:
    shim = make_daemon(None, NO_REGISTRY, program=elsewhere(run))
    ended = shim.run_once()
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("image-cri-shim: no container runtime found (looked for ")
    for place in ("/run/containerd/containerd.sock", "/var/run/crio/crio.sock"):
        assert place in line
    assert "set `cri`" in line

    (run / "crio" / "crio.sock").symlink_to(standin.socket)
    shim.start()
    assert connect(shim.socket).image_status("nginx:1.25") is None
    assert "cri-socket: detected" in shim.text()
    assert "the runtime at /var/run/crio/crio.sock speaks CRI v1" in shim.text()
    shim.stop()
    # With two of them the first of the list is the runtime.
    (run / "containerd" / "containerd.sock").symlink_to(runtime.socket)
    shim.start()
    assert connect(shim.socket).image_status("nginx:1.25") is None
    assert "the runtime at /run/containerd/containerd.sock speaks CRI v1" in shim.text()


def test_with_force_a_runtime_is_found_wherever_it_appears(
    make_daemon: StartDaemon, connect: Callable[..., CRI], run: Path, standin: StandinRuntime
) -> None:
    config = f"{NO_REGISTRY}\nforce: true"
    shim = make_daemon(None, config, program=elsewhere(run)).start()
    client = connect(shim.socket)
    error = refusal(client)
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert "no container runtime's socket was found" in error.details()
    (run / "cri-dockerd.sock").symlink_to(standin.socket)
    assert client.image_status("nginx:1.25") is None


def test_a_runtime_that_stops_answering_is_cut_off_by_the_deadline(
    start_daemon: StartDaemon, connect: Callable[..., CRI], tmp_path: Path
) -> None:
    with StandinRuntime(tmp_path / "runtime") as runtime:
        shim = start_daemon(runtime.socket, f"{NO_REGISTRY}\ntimeout: 1s")
        client = connect(shim.socket)
        client.image_status("nginx:1.25")
        pid = runtime.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            # ImageStatusRequest of nginx:1.25.
            path = client.path("ImageService", "ImageStatus")
            status = client.start(path, b"\x0a\x0c\x0a\x0anginx:1.25")
            with pytest.raises(grpc.RpcError) as caught:
                status.result(timeout=10)
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        finally:
            os.kill(pid, signal.SIGCONT)

        def answers() -> bool:
            return client.image_status("nginx:1.25", timeout=5) is None

        assert wait_until(answers, 5)
