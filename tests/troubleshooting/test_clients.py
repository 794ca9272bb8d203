"""Who calls the shim, who does not, and the runtime behind it."""

from __future__ import annotations

from tests.support.memory_registry import MemoryRegistry
from tests.support.standin_runtime import StandinRuntime
from tests.troubleshooting.conftest import MakeNode, RealRuntime
from tests.troubleshooting.page import Section, shows


@shows("the-kubelet-does-not-call-the-shim")
def test_a_kubelet_that_is_not_pointed_here_is_missed(
    make_node: MakeNode, standin: StandinRuntime, offline: MemoryRegistry, section: Section
) -> None:
    node = make_node(standin.socket, f"address: {offline.url}\n", a_minute_later=True)
    node.shows(section, {"/var/run/image-cri-shim.sock": node.daemon.socket})
    node.kubelet.version()
    node.kubelet.image_fs_info()
    assert "no client has called" not in node.run("status")


@shows("pulls-go-past-the-shim")
def test_a_second_endpoint_for_images_is_noticed(
    make_node: MakeNode, standin: StandinRuntime, offline: MemoryRegistry, section: Section
) -> None:
    node = make_node(standin.socket, f"address: {offline.url}\n", a_minute_later=True)
    node.kubelet.version()
    node.shows(section, {"/var/run/image-cri-shim.sock": node.daemon.socket})


@shows("only-calls-about-images-come-here")
def test_a_second_endpoint_for_pods_is_noticed_and_is_no_fault(
    make_node: MakeNode, standin: StandinRuntime, offline: MemoryRegistry, section: Section
) -> None:
    node = make_node(standin.socket, f"address: {offline.url}\n", a_minute_later=True)
    node.kubelet.list_images()
    node.shows(section, {"/var/run/image-cri-shim.sock": node.daemon.socket})


@shows("the-runtimes-socket-is-not-there")
def test_a_wrong_socket_of_the_runtime_is_named(
    make_node: MakeNode, offline: MemoryRegistry, section: Section
) -> None:
    path = "/nonexistent/containerd.sock"
    node = make_node(path, f"address: {offline.url}\nforce: true\n")
    assert node.pull("quay.io/team/app:1").startswith("rpc error: code = Unavailable")
    node.shows(section, {"/run/containerd/containerd.sock": path})


@shows("the-runtime-pulls-the-pause-image-itself")
def test_a_pause_image_that_the_runtime_cannot_pull_is_named(
    make_node: MakeNode, runtime: RealRuntime, offline: MemoryRegistry, section: Section
) -> None:
    node = make_node(runtime.socket, f"address: {offline.url}\n")
    pod = {
        "metadata": {"name": "web", "uid": "1", "namespace": "lab"},
        "linux": {"security_context": {"namespace_options": {"network": 2}}},
    }
    assert node.call("RunPodSandbox", config=pod)
    # As this containerd is told; nobody listens there.
    node.shows(section, {"registry.k8s.io/pause:3.6": "127.0.0.1:9/none/pause:1"})
