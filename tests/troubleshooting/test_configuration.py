"""What the configuration says and somebody did not mean: rules, and files that are refused."""

from __future__ import annotations

from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.standin_runtime import StandinRuntime
from tests.troubleshooting.conftest import MakeNode
from tests.troubleshooting.page import Section, shows


@shows("a-rule-forbids-the-origin")
def test_a_strict_rule_is_named_with_what_it_refuses(
    make_node: MakeNode, standin: StandinRuntime, offline: MemoryRegistry, section: Section
) -> None:
    rules = "rules:\n  - {match: '*', originAllowed: false}\n"
    node = make_node(standin.socket, f"address: {offline.url}\n{rules}")
    assert "origin not allowed" in node.pull("quay.io/team/app:1")
    node.shows(section, {"sealos.hub:5000": offline.host})


@shows("a-rule-leaves-the-image-alone")
def test_an_exclusion_is_named_with_its_rule(
    make_node: MakeNode, standin: StandinRuntime, offline: MemoryRegistry, section: Section
) -> None:
    push(offline.url, "team/app", "latest", build_image("excluded"))
    rules = "rules:\n  - {match: '*', exclude: '*:latest'}\n"
    offline.forget_requests()
    node = make_node(standin.socket, f"address: {offline.url}\n{rules}")
    assert node.pull("quay.io/team/app")
    node.shows(section)
    assert offline.connections == 0


@shows("a-changed-configuration-is-not-taken")
def test_a_configuration_that_is_refused_is_told_with_the_place_of_the_mistake(
    make_node: MakeNode, standin: StandinRuntime, offline: MemoryRegistry, section: Section
) -> None:
    node = make_node(standin.socket, f"address: {offline.url}\n")
    node.daemon.reload(f"adress: {offline.url}\n")
    node.shows(section, {"/etc/image-cri-shim.yaml": str(node.daemon.file)})


@shows("a-template-that-nobody-has-rendered")
def test_a_template_is_recognised_and_called_that(
    make_node: MakeNode, standin: StandinRuntime, offline: MemoryRegistry, section: Section
) -> None:
    node = make_node(standin.socket, f"address: {offline.url}\n")
    node.daemon.reload("address: http://{{ .registryDomain }}:5000\n")
    node.shows(section, {"/etc/image-cri-shim.yaml": str(node.daemon.file)})


def test_the_configuration_before_goes_on_meanwhile(
    make_node: MakeNode, standin: StandinRuntime, offline: MemoryRegistry
) -> None:
    push(offline.url, "team/app", "1", build_image("meanwhile"))
    node = make_node(standin.socket, f"address: {offline.url}\n")
    node.daemon.reload("adress: nothing\n")
    assert node.pull("quay.io/team/app:1") == ""
    node.daemon.reload(f"address: {offline.url}\ntimeout: 1m\n")
    assert "refused" not in node.run("status")
