"""Registries that ask for credentials, refuse them, refuse HEAD, or are not trusted."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.certificates import self_signed, server_context
from tests.support.containerd import Containerd
from tests.support.cri_client import CRI
from tests.support.faults import RefuseHead, always
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.registries import DockerRegistry
from tests.support.standin_runtime import StandinRuntime
from tests.support.token_server import TokenServer
from tests.system.conftest import StartDaemon

USER, PASSWORD = "robot", "pass:with:colons"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
AUTH = f"auth: {USER}:{PASSWORD}"


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    with TokenServer(tmp_path / "tokens", users={USER: PASSWORD}) as running:
        yield running


def the_decision(log: str, image: str) -> str:
    """Return the one line of a log that says where `image` is pulled from."""
    (line,) = [line for line in log.splitlines() if f"PullImage {image} -> " in line]
    return line.partition(" -> ")[2]


def test_a_registry_with_basic_authentication_is_used_with_the_configured_credentials(
    start_daemon: StartDaemon,
    make_registry: Callable[..., DockerRegistry],
    connect: Callable[..., CRI],
    runtime: Containerd,
) -> None:
    offline = make_registry(htpasswd=(USER, PASSWORD))
    image = build_image("basic")
    push(offline.url, "lab/basic", "1", image, authorization=BASIC)
    shim = start_daemon(runtime.socket, f"address: {offline.url}\n{AUTH}")
    client = connect(shim.socket)
    assert client.pull("quay.io/lab/basic:1") == image.config_digest
    decision = the_decision(shim.text(), "quay.io/lab/basic:1")
    assert decision.startswith(f"{offline.host}/lab/basic:1 (offline, present, ")
    with pytest.raises(Exception, match="not found"):
        client.pull("quay.io/lab/absent:1")
    assert f"(origin, {offline.host}: absent (404), " in shim.text()


def test_a_registry_with_bearer_tokens_is_used_with_the_configured_credentials(
    start_daemon: StartDaemon,
    make_registry: Callable[..., DockerRegistry],
    connect: Callable[..., CRI],
    runtime: Containerd,
    tokens: TokenServer,
) -> None:
    offline = make_registry(token=tokens.settings)
    image = build_image("bearer")
    token = tokens.token(USER, ("repository:lab/bearer:pull,push",))
    push(offline.url, "lab/bearer", "1", image, authorization=f"Bearer {token}")
    shim = start_daemon(runtime.socket, f"address: {offline.url}\n{AUTH}")
    client = connect(shim.socket)
    assert client.pull("quay.io/lab/bearer:1") == image.config_digest
    decision = the_decision(shim.text(), "quay.io/lab/bearer:1")
    assert decision.startswith(f"{offline.host}/lab/bearer:1 (offline, present, ")
    assert {issued.user for issued in tokens.issued} == {USER}
    assert {issued.scopes for issued in tokens.issued} == {("repository:lab/bearer:pull",)}
    assert tokens.refused == 0


def test_a_registry_whose_tokens_are_for_everybody_needs_no_credentials(
    start_daemon: StartDaemon,
    make_registry: Callable[..., DockerRegistry],
    connect: Callable[..., CRI],
    runtime: Containerd,
    tokens: TokenServer,
) -> None:
    tokens.anonymous = True
    offline = make_registry(token=tokens.settings)
    image = build_image("anonymous")
    token = tokens.token(USER, ("repository:lab/anonymous:pull,push",))
    push(offline.url, "lab/anonymous", "1", image, authorization=f"Bearer {token}")
    shim = start_daemon(runtime.socket, f"address: {offline.url}")
    assert connect(shim.socket).pull("quay.io/lab/anonymous:1") == image.config_digest
    decision = the_decision(shim.text(), "quay.io/lab/anonymous:1")
    assert decision.startswith(f"{offline.host}/lab/anonymous:1 (offline, present, ")


def test_a_token_serves_all_look_ups_in_its_repository_and_no_other(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    standin: StandinRuntime,
    tokens: TokenServer,
) -> None:
    with MemoryRegistry(bearer=tokens.bearer) as offline:
        scope = "repository:{}:pull,push"
        for name in ("lab/one", "lab/two"):
            token = tokens.token(USER, (scope.format(name),))
            push(offline.url, name, "1", build_image(name), authorization=f"Bearer {token}")
        shim = start_daemon(standin.socket, f"address: {offline.url}\n{AUTH}")
        client = connect(shim.socket)
        requests = []
        for name in ("lab/one", "lab/one", "lab/two"):
            before = tokens.requests
            assert client.pull(f"quay.io/{name}:1") == build_image(name).config_digest
            requests.append(tokens.requests - before)
        # The runtime asks for a token of its own with each pull; the shim for one a repository.
        assert requests == [2, 1, 2]


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_a_wrong_password_is_named_the_origin_is_pulled_and_nothing_is_remembered(
    start_daemon: StartDaemon,
    make_registry: Callable[..., DockerRegistry],
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
    tokens: TokenServer,
    kind: str,
) -> None:
    if kind == "basic":
        offline = make_registry(htpasswd=(USER, PASSWORD))
        authorization, why = BASIC, "401 wrong credentials"
    else:
        offline = make_registry(token=tokens.settings)
        token = tokens.token(USER, ("repository:lab/wrong:pull,push",))
        authorization, why = f"Bearer {token}", "wrong credentials"
    image = build_image(f"wrong {kind}")
    push(offline.url, "lab/wrong", "1", image, authorization=authorization)
    push(origin.url, "lab/wrong", "1", image)
    shim = start_daemon(runtime.socket, f"address: {offline.url}\nauth: {USER}:mistyped")
    client = connect(shim.socket)
    name = "origin.test/lab/wrong:1"

    origin.forget_requests()
    assert client.pull(name) == image.config_digest
    assert origin.requests
    decision = the_decision(shim.text(), name)
    assert decision.startswith(f"{offline.host}/lab/wrong:1 (offline, tried although unknown, ")
    assert f"{offline.host}: unknown (" in decision
    assert why in decision
    assert f"pulled {name} in " in shim.text()
    # It is in no way taken for absent: the next pull asks again.
    asked = len(offline.requests()) if kind == "basic" else tokens.requests
    client.pull(name)
    assert (len(offline.requests()) if kind == "basic" else tokens.requests) > asked

    shim.reload(f"address: {offline.url}\n{AUTH}")
    shim.forget_log()
    origin.forget_requests()
    assert client.pull(name) == image.config_digest
    decision = the_decision(shim.text(), name)
    assert decision.startswith(f"{offline.host}/lab/wrong:1 (offline, present, ")
    assert origin.requests == []
    assert "mistyped" not in shim.text()


def test_a_registry_that_starts_to_accept_the_password_is_used_by_the_next_pull(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
) -> None:
    image = build_image("accepts")
    push(origin.url, "lab/accepts", "1", image)
    with MemoryRegistry(basic=(USER, "the new one")) as offline:
        new = "Basic " + base64.b64encode(f"{USER}:the new one".encode()).decode()
        push(offline.url, "lab/accepts", "1", image, authorization=new)
        shim = start_daemon(runtime.socket, f"address: {offline.url}\n{AUTH}")
        client = connect(shim.socket)
        client.pull("origin.test/lab/accepts:1")
        assert "unknown (401 wrong credentials)" in shim.text()
        offline.basic = (USER, PASSWORD)
        shim.forget_log()
        client.pull("origin.test/lab/accepts:1")
        assert f"-> {offline.host}/lab/accepts:1 (offline, present, " in shim.text()


def test_a_registry_that_wants_credentials_that_nobody_configured_is_named(
    start_daemon: StartDaemon,
    make_registry: Callable[..., DockerRegistry],
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
) -> None:
    offline = make_registry(htpasswd=(USER, PASSWORD))
    image = build_image("none configured")
    push(origin.url, "lab/none", "1", image)
    shim = start_daemon(runtime.socket, f"address: {offline.url}")
    assert connect(shim.socket).pull("origin.test/lab/none:1") == image.config_digest
    decision = the_decision(shim.text(), "origin.test/lab/none:1")
    assert f"{offline.host}: unknown (401" in decision
    assert "credentials" in decision


def test_a_registry_that_refuses_head_is_asked_by_get(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    offline: MemoryRegistry,
) -> None:
    image = build_image("no head")
    push(offline.url, "lab/nohead", "1", image)
    offline.forget_requests()
    offline.faults = always(RefuseHead())
    shim = start_daemon(runtime.socket, f"address: {offline.url}")
    assert connect(shim.socket).pull("quay.io/lab/nohead:1") == image.config_digest
    decision = the_decision(shim.text(), "quay.io/lab/nohead:1")
    assert decision.startswith(f"{offline.host}/lab/nohead:1 (offline, present, ")
    path = "/v2/lab/nohead/manifests/1"
    assert [r.method for r in offline.requests[:2] if r.path == path] == ["HEAD", "GET"]


def test_a_registry_with_a_certificate_that_nobody_vouches_for_is_named_and_not_trusted(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
    tmp_path: Path,
) -> None:
    image = build_image("self-signed")
    push(origin.url, "lab/tls", "1", image)
    certificate, key = self_signed(tmp_path / "tls")
    with MemoryRegistry(tls=server_context(certificate, key)) as offline:
        shim = start_daemon(runtime.socket, f"address: {offline.url}\n{AUTH}")
        assert connect(shim.socket).pull("origin.test/lab/tls:1") == image.config_digest
        decision = the_decision(shim.text(), "origin.test/lab/tls:1")
        assert f"{offline.host}: unknown (TLS: certificate verify failed" in decision
        # Nothing was sent to whom was not trusted.
        assert not any("authorization" in r.headers for r in offline.requests)


@pytest.mark.parametrize("swapped", ["https to a plain server", "http to a TLS server"])
def test_the_wrong_scheme_is_named(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
    tmp_path: Path,
    swapped: str,
) -> None:
    image = build_image("wrong scheme")
    push(origin.url, "lab/scheme", "1", image)
    tls = swapped.endswith("TLS server")
    context = server_context(*self_signed(tmp_path / "tls")) if tls else None
    with MemoryRegistry(tls=context) as offline:
        scheme = "http" if tls else "https"
        shim = start_daemon(runtime.socket, f"address: {scheme}://{offline.host}")
        assert connect(shim.socket).pull("origin.test/lab/scheme:1") == image.config_digest
        decision = the_decision(shim.text(), "origin.test/lab/scheme:1")
        assert f"{offline.host}: unknown (" in decision
        if not tls:
            assert "it may speak plain http" in decision
