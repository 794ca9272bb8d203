"""Registries that are there in vain: refused credentials, the wrong scheme, silence, errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import registries
from tests.support.certificates import self_signed
from tests.support.faults import Status, always
from tests.support.http_server import Tarpit
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import free_port
from tests.support.registries import DockerRegistry
from tests.support.standin_runtime import StandinRuntime
from tests.troubleshooting.conftest import MakeNode
from tests.troubleshooting.page import Section, shows

IMAGE = "quay.io/team/app:1"


@pytest.fixture
def private() -> Iterator[MemoryRegistry]:
    with MemoryRegistry(basic=("admin", "passw0rd")) as running:
        yield running


def names(host: str) -> dict[str, str]:
    return {"sealos.hub:5000": host}


@shows("wrong-credentials")
def test_a_mistyped_password_is_named_with_its_registry(
    make_node: MakeNode, standin: StandinRuntime, private: MemoryRegistry, section: Section
) -> None:
    node = make_node(standin.socket, f"address: {private.url}\nauth: admin:mistyped\n")
    assert node.pull(IMAGE)
    node.shows(section, names(private.host))


@shows("no-credentials")
def test_missing_credentials_are_asked_for(
    make_node: MakeNode, standin: StandinRuntime, private: MemoryRegistry, section: Section
) -> None:
    node = make_node(standin.socket, f"address: {private.url}\n")
    assert node.pull(IMAGE)
    node.shows(section, names(private.host))


@shows("https-asked-of-a-registry-that-speaks-http")
def test_a_registry_that_speaks_http_is_recognised(
    make_node: MakeNode, standin: StandinRuntime, offline: MemoryRegistry, section: Section
) -> None:
    node = make_node(standin.socket, f"address: https://{offline.host}\n")
    assert node.pull(IMAGE)
    node.shows(section, names(offline.host))


@shows("http-asked-of-a-registry-that-speaks-https")
def test_a_registry_that_speaks_https_is_recognised(
    make_node: MakeNode, standin: StandinRuntime, tmp_path: Path, section: Section
) -> None:
    if reason := registries.why_not(users=False):
        pytest.skip(reason)
    with DockerRegistry(tmp_path / "registry", tls=self_signed(tmp_path)) as registry:
        node = make_node(standin.socket, f"address: http://{registry.host}\n")
        assert node.pull(IMAGE)
        node.shows(section, names(registry.host))


@shows("the-registrys-name-is-not-resolved")
def test_a_name_without_an_address_is_told_from_a_registry_that_is_down(
    make_node: MakeNode, standin: StandinRuntime, section: Section
) -> None:
    node = make_node(standin.socket, "address: http://sealos.invalid:5000\n")
    assert node.pull(IMAGE)
    node.shows(section, names("sealos.invalid:5000"))


@shows("the-registry-is-down")
def test_a_registry_that_is_down_is_told_from_one_that_is_silent(
    make_node: MakeNode, standin: StandinRuntime, section: Section
) -> None:
    host = f"127.0.0.1:{free_port()}"
    node = make_node(standin.socket, f"address: http://{host}\n")
    assert node.pull(IMAGE)
    node.shows(section, names(host))


@shows("the-registry-is-silent")
def test_a_silent_registry_is_named_and_not_asked_again(
    make_node: MakeNode, standin: StandinRuntime, section: Section
) -> None:
    with Tarpit() as silent:
        timeouts = "offline: {connectTimeout: 500ms, timeout: 500ms}"
        node = make_node(standin.socket, f"address: {silent.url}\n{timeouts}\n")
        assert node.pull(IMAGE)
        node.shows(section, names(silent.host) | {"10s": "0.5s"})


@shows("too-many-requests-429")
def test_a_limit_is_told_with_the_time_until_the_next_try(
    make_node: MakeNode, standin: StandinRuntime, offline: MemoryRegistry, section: Section
) -> None:
    offline.faults = always(Status(429, {"Retry-After": "60"}))
    node = make_node(standin.socket, f"address: {offline.url}\n")
    assert node.pull(IMAGE)
    node.shows(section, names(offline.host))


@shows("the-registry-fails-5xx")
def test_a_registrys_own_error_is_called_that(
    make_node: MakeNode, standin: StandinRuntime, offline: MemoryRegistry, section: Section
) -> None:
    offline.faults = always(Status(503))
    node = make_node(standin.socket, f"address: {offline.url}\n")
    assert node.pull(IMAGE)
    node.shows(section, names(offline.host))


@shows("a-web-page-instead-of-a-registry")
def test_what_is_no_registry_is_not_taken_for_one(
    make_node: MakeNode, standin: StandinRuntime, offline: MemoryRegistry, section: Section
) -> None:
    page = Status(200, {"Content-Type": "text/html"}, b"<html>Log in</html>")
    offline.faults = always(page)
    node = make_node(standin.socket, f"address: {offline.url}\n")
    assert node.pull(IMAGE)
    node.shows(section, names(offline.host))


def test_once_a_registry_answers_again_nothing_is_wrong(
    make_node: MakeNode, standin: StandinRuntime, private: MemoryRegistry
) -> None:
    """What the pages advises helps, and the operator sees that it did."""
    authorization = "Basic YWRtaW46cGFzc3cwcmQ="
    push(private.url, "team/app", "1", build_image("cured"), authorization=authorization)
    node = make_node(standin.socket, f"address: {private.url}\nauth: admin:mistyped\n")
    assert node.pull(IMAGE)
    assert "401 wrong credentials" in node.run("status")
    node.daemon.reload(f"address: {private.url}\nauth: admin:passw0rd\n")
    assert node.pull(IMAGE) == ""
    assert "401 wrong credentials" not in node.run("status")
