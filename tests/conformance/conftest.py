"""Where the conformance suite runs: on the runtime itself, and through the shim in several ways.

An endpoint is named by its parts: who is asked, and the CRI version that is spoken.

    runtime-v1                 containerd itself: what all the others are held against
    passing-v1                 through the shim, without any registry to rewrite for
    rewriting-v1               through the shim, with an offline registry, `originalNames: only`;
                               the origins hold nothing, so each pull that works was rewritten
    v1-to-v1alpha2-only        as rewriting, but to a runtime that has the one CRI version only
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from image_cri_shim.config import parse
from image_cri_shim.errors import ConfigError
from tests.conformance.images import CONTENT, PAUSE, PAUSE_NAME
from tests.support import containerd
from tests.support.containerd import Containerd
from tests.support.daemon import Daemon
from tests.support.images import BUSYBOX as PROGRAM
from tests.support.images import Image, ImageIndex, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.runtime_client import RuntimeClient
from tests.support.version_filter import VersionFilter
from tests.system.conftest import accidents

ROOM = 256 * 1024 * 1024
HERE = Path(__file__).parent
VERSIONS = ("v1", "v1alpha2")
HOSTS = ("docker.io", "origin.test", "second.test")
PAIRS = tuple(f"{asked}-to-{only}-only" for asked in VERSIONS for only in VERSIONS)
IN_V1 = ("runtime-v1", "passing-v1", "rewriting-v1")
ALL = (*IN_V1, *PAIRS)


def original_names_are_understood() -> bool:
    """Tell whether the shim can show original names: without that, nothing here may rewrite."""
    try:
        parse("originalNames: only", "the configuration")
    except ConfigError:
        return False
    return True


REWRITING = original_names_are_understood()


def on(*endpoints: str) -> pytest.MarkDecorator:
    """Run a module's specs on these endpoints, all specs on one before the next."""
    return pytest.mark.parametrize("endpoint", endpoints, indirect=True, scope="module")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)


class Lab:
    """One containerd, the registries, and a daemon for each way through the shim.

    `public` is what the hosts of HOSTS are to the runtime where names are not rewritten, `empty`
    where they are; `offline` is the offline registry.
    """

    def __init__(self, directory: Path, parts: contextlib.ExitStack) -> None:
        self._directory = directory
        self._parts = parts
        self._sockets: dict[str, str] = {}
        self.daemons: dict[str, Daemon] = {}
        self.public = parts.enter_context(MemoryRegistry())
        self.empty = parts.enter_context(MemoryRegistry())
        self.offline = parts.enter_context(MemoryRegistry())
        pause = parts.enter_context(MemoryRegistry())
        push(pause.url, "pause", "1", PAUSE)
        for repository, tag, image in CONTENT:
            self.publish(repository, tag, image)
        self.runtime = parts.enter_context(
            Containerd(
                directory / "containerd",
                mirrors={"pause.test": pause.url},
                sandbox_image=PAUSE_NAME,
            )
        )

    def publish(self, repository: str, tag: str, image: Image | ImageIndex) -> None:
        """Put an image where clients expect it: in the origins and in the offline registry."""
        push(self.public.url, repository, tag, image)
        push(self.offline.url, repository, tag, image)

    def play_origins(self, registry: MemoryRegistry) -> None:
        """Serve the hosts of HOSTS from `registry`."""
        for host in HOSTS:
            self.runtime.set_mirror(host, registry.url)

    def socket(self, way: str) -> str:
        """Return the socket of `runtime`, `passing`, `rewriting`, `v1-only` or `v1alpha2-only`."""
        if way not in self._sockets:
            self._sockets[way] = self._open(way)
        return self._sockets[way]

    def _open(self, way: str) -> str:
        if way == "runtime":
            return self.runtime.socket
        address, cri = '""', self.runtime.socket
        if way != "passing":
            address = self.offline.url
        if way.endswith("-only"):
            only = VersionFilter(self._directory, cri, way.removesuffix("-only"))
            cri = self._parts.enter_context(only).socket
        state = self._directory / f"state-{way}"
        state.mkdir(exist_ok=True)
        config = f"address: {address}\noriginalNames: only\nimage: {state}"
        if not REWRITING:
            config = config.replace("originalNames: only\n", "")
        daemon = Daemon(self._directory / way, cri=cri, config=config)
        self.daemons[way] = self._parts.enter_context(daemon)
        return daemon.socket


def in_memory() -> str | None:
    """Return a directory in memory with room for a containerd, or None: it syncs a lot to disks."""
    place = Path("/dev/shm")
    if not os.access(place, os.W_OK) or shutil.disk_usage(place).free < ROOM:
        return None
    return str(place)


@pytest.fixture(scope="package")
def lab() -> Iterator[Lab]:
    if reason := containerd.why_not():
        pytest.skip(reason)
    if not PROGRAM.exists():
        pytest.skip(f"{PROGRAM} is what containers here run (apt install busybox-static)")
    with contextlib.ExitStack() as parts:
        directory = tempfile.TemporaryDirectory(dir=in_memory(), prefix="conformance-")
        made = Lab(Path(parts.enter_context(directory)), parts)
        yield made
        logs = [daemon.text() for daemon in made.daemons.values()]
    assert [accident for log in logs for accident in accidents(log)] == []


@dataclass(frozen=True)
class Endpoint:
    """Where a spec runs: `way` through the shim or to the runtime, and the client's version."""

    way: str
    version: str
    socket: str
    lab: Lab

    @property
    def is_rewriting(self) -> bool:
        """Whether pulls are rewritten here."""
        return self.way not in ("runtime", "passing")

    def client(self) -> RuntimeClient:
        """Return a client of its own."""
        return RuntimeClient(self.socket, self.version)


@pytest.fixture(scope="module")
def endpoint(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Endpoint]:
    name: str = request.param
    if name in PAIRS:
        version, _, way = name.partition("-to-")
    else:
        way, _, version = name.partition("-")
    found = Endpoint(way, version, "", lab)
    if found.is_rewriting and not REWRITING:
        pytest.skip("the shim does not know originalNames yet")
    lab.play_origins(lab.empty if found.is_rewriting else lab.public)
    lab.empty.forget_requests()
    lab.offline.forget_requests()
    yield Endpoint(way, version, lab.socket(way), lab)
    # Whoever fetched something that the offline registry has was not rewritten.
    held = {f"/v2/{repository}/manifests/{name}" for repository, name in lab.offline.manifests}
    asked = {asked.path.partition("?")[0] for asked in lab.empty.requests}
    assert asked & held == set()


@pytest.fixture
def client(endpoint: Endpoint) -> Iterator[RuntimeClient]:
    with endpoint.client() as made:
        yield made


@pytest.fixture
def clean(client: RuntimeClient) -> RuntimeClient:
    """A client of a node that holds nothing but the pause image."""
    for image in client.images():
        if PAUSE_NAME not in image.repo_tags:
            client.remove(image.id)
    return client
