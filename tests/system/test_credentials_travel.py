"""Credentials reach the host that they are for, and no other."""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Callable, Iterator

import grpc
import pytest

from tests.support.containerd import Containerd
from tests.support.cri_client import CRI
from tests.support.faults import Redirect, always
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.standin_runtime import StandinRuntime
from tests.support.token_server import TokenServer
from tests.system.conftest import StartDaemon

CLIENT = ("visitor", "S3cret of the client")
CONFIGURED = ("robot", "S3cret of the operator")
AUTH = "auth: {}:{}".format(*CONFIGURED)


def basic(user: str, password: str) -> str:
    return "Basic " + encoded(user, password)


def encoded(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def spellings(secret: tuple[str, str]) -> list[str]:
    """Return what a secret looks like on the wire."""
    user, password = secret
    return [
        password,
        urllib.parse.quote(password),
        urllib.parse.quote_plus(password),
        base64.b64encode(password.encode()).decode().rstrip("="),
        encoded(user, password).rstrip("="),
    ]


def seen_by(registry: MemoryRegistry) -> str:
    """Return all that a registry was told: it gets no bodies."""
    requests = registry.requests
    assert not [r for r in requests if r.body_length]
    return "\n".join(f"{r.method} {r.path} {dict(r.headers)}" for r in requests)


def assert_unseen(secret: tuple[str, str], registry: MemoryRegistry) -> None:
    everything = seen_by(registry)
    assert not [text for text in spellings(secret) if text in everything]


AUTHS = {
    "user and password": {"username": CLIENT[0], "password": CLIENT[1]},
    "auth": {"auth": encoded(*CLIENT)},
    "for a server": {
        "username": CLIENT[0],
        "password": CLIENT[1],
        "server_address": "https://origin.test",
    },
    "identity token": {"identity_token": CLIENT[1]},
    "registry token": {"registry_token": CLIENT[1]},
}


@pytest.fixture
def locked() -> Iterator[MemoryRegistry]:
    """An offline registry that asks for the configured credentials."""
    with MemoryRegistry(basic=CONFIGURED) as running:
        yield running


@pytest.mark.parametrize("kind", AUTHS)
def test_the_clients_credentials_never_reach_the_offline_registry(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
    offline: MemoryRegistry,
    locked: MemoryRegistry,
    kind: str,
) -> None:
    both, only = build_image(f"travel both {kind}"), build_image(f"travel only {kind}")
    push(offline.url, "travel/both", "1", both)
    push(locked.url, "travel/both", "1", both, authorization=basic(*CONFIGURED))
    push(origin.url, "travel/both", "1", both)
    push(origin.url, "travel/only", "1", only)
    for registry in (offline, locked):
        shim = start_daemon(runtime.socket, f"address: {registry.url}\n{AUTH}")
        client = connect(shim.socket)
        registry.forget_requests()
        origin.forget_requests()
        pulled = client.pull("origin.test/travel/both:1", auth=AUTHS[kind])
        assert pulled == both.config_digest
        assert registry.requests
        assert origin.requests == []
        assert client.pull("origin.test/travel/only:1", auth=AUTHS[kind]) == only.config_digest
        assert origin.requests
        assert_unseen(CLIENT, registry)
        assert_unseen(CONFIGURED, origin)
        shim.stop()


def test_the_clients_credentials_reach_their_origin_and_the_configured_ones_do_not(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    locked: MemoryRegistry,
) -> None:
    image = build_image("travel private")
    with MemoryRegistry(basic=CLIENT) as private:
        push(private.url, "travel/private", "1", image, authorization=basic(*CLIENT))
        private.forget_requests()
        runtime.set_mirror("private.test", private.url)
        shim = start_daemon(runtime.socket, f"address: {locked.url}\n{AUTH}")
        client = connect(shim.socket)
        name = "private.test/travel/private:1"
        # The origin asks, and whoever had the configured ones at hand would show them now.
        with pytest.raises(grpc.RpcError, match="401"):
            client.pull(name)
        assert_unseen(CONFIGURED, private)
        assert client.pull(name, auth=AUTHS["user and password"]) == image.config_digest
        assert encoded(*CLIENT) in seen_by(private)
        assert_unseen(CONFIGURED, private)
        assert_unseen(CLIENT, locked)


def test_the_configured_credentials_reach_the_offline_registry_by_every_name(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    locked: MemoryRegistry,
) -> None:
    image = build_image("travel named")
    push(locked.url, "travel/named", "1", image, authorization=basic(*CONFIGURED))
    shim = start_daemon(runtime.socket, f"address: {locked.url}\n{AUTH}")
    client = connect(shim.socket)
    assert client.pull("origin.test/travel/named:1") == image.config_digest
    assert client.pull(f"{locked.host}/travel/named:1") == image.config_digest


def test_what_the_runtime_is_given_has_one_hosts_credentials_only(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    standin: StandinRuntime,
    origin: MemoryRegistry,
    locked: MemoryRegistry,
) -> None:
    push(locked.url, "travel/here", "1", build_image("h"), authorization=basic(*CONFIGURED))
    push(origin.url, "travel/there", "1", build_image("t"))
    shim = start_daemon(standin.socket, f"address: {locked.url}\n{AUTH}")
    client = connect(shim.socket)
    sent = {**AUTHS["for a server"], "identity_token": "i", "registry_token": "r"}
    standin.forget_journal()
    client.pull("origin.test/travel/here:1", auth=sent)
    client.pull("origin.test/travel/there:1", auth=sent)
    here, there = standin.journal("PullImage")
    assert here["image"] == f"{locked.host}/travel/here:1"
    assert here["auth"] == {"username": CONFIGURED[0], "password": CONFIGURED[1]}
    assert there["image"] == "origin.test/travel/there:1"
    assert there["auth"] == sent


def test_a_redirect_to_another_host_takes_no_credentials_along(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
    locked: MemoryRegistry,
) -> None:
    image = build_image("travel redirect")
    push(origin.url, "travel/redirect", "1", image)
    shim = start_daemon(runtime.socket, f"address: {locked.url}\n{AUTH}")
    client = connect(shim.socket)
    # Shown once, so that whoever remembers them may show them again.
    with pytest.raises(grpc.RpcError):
        client.pull("origin.test/travel/nowhere:1")
    with MemoryRegistry() as other:
        push(other.url, "travel/redirect", "1", image)
        other.forget_requests()
        locked.faults = always(Redirect(other.url))
        client.pull("origin.test/travel/redirect:1")
        assert [r for r in other.requests if r.headers["user-agent"].startswith("image-cri-shim")]
        assert_unseen(CONFIGURED, other)


def test_a_token_server_sees_the_configured_user_and_never_the_clients(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    image = build_image("travel token")
    users = {CONFIGURED[0]: CONFIGURED[1], CLIENT[0]: CLIENT[1]}
    with TokenServer(tmp_path_factory.mktemp("tokens"), users=users) as tokens:
        with MemoryRegistry(bearer=tokens.bearer) as offline:
            token = tokens.token(CONFIGURED[0], ("repository:travel/token:pull,push",))
            push(offline.url, "travel/token", "1", image, authorization=f"Bearer {token}")
            offline.forget_requests()
            shim = start_daemon(runtime.socket, f"address: {offline.url}\n{AUTH}")
            client = connect(shim.socket)
            client.pull("origin.test/travel/token:1", auth=AUTHS["user and password"])
            assert {issued.user for issued in tokens.issued} == {CONFIGURED[0]}
            assert_unseen(CLIENT, offline)
