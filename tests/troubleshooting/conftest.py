"""The parts of the failures: runtimes, registries, and daemons between them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import containerd
from tests.support.containerd import Containerd
from tests.support.daemon import Daemon
from tests.support.memory_registry import MemoryRegistry
from tests.support.standin_runtime import StandinRuntime
from tests.system.conftest import accidents
from tests.troubleshooting.node import Node

HERE = Path(__file__).parent
MakeNode = Callable[..., Node]
# The daemon for which the time has passed in which a kubelet should have called.
LATER = (
    sys.executable,
    "-c",
    "from image_cri_shim import diagnosis; diagnosis.SETTLED = 0.0\n"
    "from twisted.scripts.twistd import run; run()",
    "--nodaemon",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def origin() -> Iterator[MemoryRegistry]:
    """What plays the registries of the internet; it has nothing unless a test puts it there."""
    with MemoryRegistry() as running:
        yield running


@pytest.fixture(scope="session")
def standin(
    tmp_path_factory: pytest.TempPathFactory, origin: MemoryRegistry
) -> Iterator[StandinRuntime]:
    """A runtime for failures that are none of its own."""
    mirrors = dict.fromkeys(("docker.io", "quay.io"), origin.url)
    with StandinRuntime(tmp_path_factory.mktemp("standin"), mirrors=mirrors) as running:
        yield running


class RealRuntime(Containerd):
    """A containerd whose settings for a registry are an operator's."""

    def trusts(self, host: str, url: str) -> None:
        """Say how a registry is reached, and nothing of certificates."""
        place = self.directory / "certs.d" / host
        place.mkdir(parents=True, exist_ok=True)
        text = json.dumps(url)
        (place / "hosts.toml").write_text(f"server = {text}\n\n[host.{text}]\n")


@pytest.fixture(scope="session")
def runtime(
    tmp_path_factory: pytest.TempPathFactory, origin: MemoryRegistry
) -> Iterator[RealRuntime]:
    """A real containerd, for what only that can say."""
    if reason := containerd.why_not():
        pytest.skip(reason)
    mirrors = dict.fromkeys(("docker.io", "quay.io"), origin.url)
    with RealRuntime(tmp_path_factory.mktemp("containerd"), mirrors=mirrors) as running:
        yield running


@pytest.fixture
def offline() -> Iterator[MemoryRegistry]:
    """A registry of one test's own."""
    with MemoryRegistry() as running:
        yield running


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[MakeNode]:
    """Return a function that starts a daemon for a runtime's socket and a configuration."""
    made: list[Node] = []

    def make(cri: str | None, config: str, *, a_minute_later: bool = False) -> Node:
        directory = tmp_path / f"shim{len(made)}"
        program = (*LATER, f"--pidfile={directory}/twistd.pid", "image-cri-shim")
        daemon = Daemon(
            directory, cri=cri, config=config, program=program if a_minute_later else None
        )
        made.append(Node(daemon.start()))
        return made[-1]

    yield make
    for node in made:
        node.close()
        node.daemon.stop()
    for node in made:
        assert accidents(node.daemon.text()) == [], node.daemon.text()
