"""The node of the system tests: one real containerd, real registries, daemons as processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import containerd, registries
from tests.support.containerd import Containerd
from tests.support.cri_client import CRI
from tests.support.daemon import Daemon
from tests.support.http_server import Tarpit
from tests.support.memory_registry import MemoryRegistry
from tests.support.registries import DockerRegistry
from tests.support.standin_runtime import StandinRuntime

HERE = Path(__file__).parent
# What stands in a log only when something went wrong that nobody had thought of.
ACCIDENTS = ("Traceback", "Unhandled", "never retrieved", "internal error", "Exception ignored")

StartDaemon = Callable[..., Daemon]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)


def accidents(text: str) -> list[str]:
    """Return the lines of a log that no run should have."""
    return [line for line in text.splitlines() if any(word in line for word in ACCIDENTS)]


@pytest.fixture(scope="session")
def origin() -> Iterator[MemoryRegistry]:
    """What plays the internet's registries; it sees everything that reaches it."""
    with MemoryRegistry() as running:
        yield running


@pytest.fixture(scope="session")
def runtime(
    tmp_path_factory: pytest.TempPathFactory, origin: MemoryRegistry
) -> Iterator[Containerd]:
    """A real containerd for which `origin` is docker.io, quay.io and origin.test."""
    if reason := containerd.why_not():
        pytest.skip(reason)
    mirrors = dict.fromkeys(("docker.io", "quay.io", "origin.test"), origin.url)
    with Containerd(tmp_path_factory.mktemp("containerd"), mirrors=mirrors) as running:
        yield running


@pytest.fixture(scope="module")
def standin(
    tmp_path_factory: pytest.TempPathFactory, origin: MemoryRegistry
) -> Iterator[StandinRuntime]:
    """A runtime that notes every call and misbehaves on demand: what containerd cannot do."""
    mirrors = {"origin.test": origin.url}
    with StandinRuntime(tmp_path_factory.mktemp("standin"), mirrors=mirrors) as running:
        yield running


@pytest.fixture
def offline() -> Iterator[MemoryRegistry]:
    """An offline registry of one test's own."""
    with MemoryRegistry() as running:
        yield running


@pytest.fixture
def tarpit() -> Iterator[Tarpit]:
    """A registry that accepts connections and never answers."""
    with Tarpit() as running:
        yield running


@pytest.fixture
def make_registry(tmp_path: Path) -> Iterator[Callable[..., DockerRegistry]]:
    """Return a function that starts a docker-registry; its arguments are those of the class."""
    if reason := registries.why_not():
        pytest.skip(reason)
    made: list[DockerRegistry] = []

    def make(**options: object) -> DockerRegistry:
        directory = tmp_path / f"registry{len(made)}"
        made.append(DockerRegistry(directory, **options).start())  # type: ignore[arg-type]
        return made[-1]

    yield make
    for registry in made:
        registry.stop()


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[StartDaemon]:
    """Return a function that makes a daemon, not started; none may leave an accident in its log."""
    made: list[Daemon] = []

    def make(cri: str | None, config: str = "", **options: object) -> Daemon:
        directory = tmp_path / f"shim{len(made)}"
        made.append(Daemon(directory, cri=cri, config=config, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for daemon in made:
        daemon.stop()
    for daemon in made:
        assert accidents(daemon.text()) == [], daemon.text()


@pytest.fixture
def start_daemon(make_daemon: StartDaemon) -> StartDaemon:
    """Return a function that starts a daemon for a runtime's socket and a configuration."""

    def start(cri: str | None, config: str = "", **options: object) -> Daemon:
        return make_daemon(cri, config, **options).start()

    return start


@pytest.fixture
def connect() -> Iterator[Callable[..., CRI]]:
    """Return a function that makes a client of a socket."""
    made: list[CRI] = []

    def make(socket: str, version: str = "v1") -> CRI:
        made.append(CRI(socket, version))
        return made[-1]

    yield make
    for client in made:
        client.close()
