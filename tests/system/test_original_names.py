"""`originalNames` on a real containerd: what clients see, and what is left of it after a crash."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from image_cri_shim.cri._generated import cri_pb2
from tests.support.containerd import Containerd
from tests.support.cri_client import CRI
from tests.support.daemon import Daemon
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import wait_until
from tests.system.conftest import StartDaemon

Connect = Callable[..., CRI]


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> str:
    """What tells this test's images from all others."""
    return f"original names {request.node.name}"


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    name = "".join(c if c.isalnum() else "-" for c in request.node.name.lower())
    return f"names/{name.strip('-').replace('--', '-')}"


@pytest.fixture(autouse=True)
def clean(runtime: Containerd) -> Iterator[None]:
    """Leave no image behind: the runtime is shared."""
    with CRI(runtime.socket) as direct:
        before = {image.id for image in direct.list_images()}
        yield
        for image in direct.list_images():
            if image.id not in before:
                direct.remove_image(image.id)


def only(registry: MemoryRegistry, more: str = "") -> str:
    return f"address: {registry.url}\noriginalNames: only\n{more}"


def one(client: CRI, image: str) -> cri_pb2.Image:
    found = client.image_status(image)
    assert found is not None, image
    return found


def remembered(daemon: Daemon) -> list[str]:
    path = daemon.directory / "state" / "pulled.json"
    return [entry["held"] for entry in json.loads(path.read_text())["images"]]


def test_all_answers_are_equal_and_name_no_registry(
    start_daemon: StartDaemon,
    connect: Connect,
    runtime: Containerd,
    offline: MemoryRegistry,
    seed: str,
    repository: str,
) -> None:
    digest = push(offline.url, repository, "1", build_image(seed))
    push(offline.url, repository, "2", build_image(seed))
    shim = start_daemon(runtime.socket, only(offline))
    for version in ("v1", "v1alpha2"):
        client = connect(shim.socket, version)
        image_id = client.pull(f"quay.io/{repository}:1")
        client.pull(f"quay.io/{repository}:2")
        names = [f"quay.io/{repository}:1", f"quay.io/{repository}:2"]
        found = one(client, names[0])
        assert sorted(found.repo_tags) == names
        assert list(found.repo_digests) == [f"quay.io/{repository}@{digest}"]
        for question in (*names, *found.repo_digests, image_id, image_id[7:20]):
            assert one(client, question) == found
        listed = client.list_images()
        assert [image for image in listed if image.id == image_id] == [found]
        # This containerd ignores the filter.
        filtered = client.list_images(names[0])
        assert [image for image in filtered if image.id == image_id] == [found]
        assert offline.host not in str(listed)
        client.remove_image(names[0])
        assert client.image_status(names[1]) is None
        assert image_id not in [image.id for image in client.list_images()]


@pytest.mark.parametrize("names", ["keep", "add"])
def test_the_runtimes_names_stay_unless_only_the_original_ones_are_wanted(
    start_daemon: StartDaemon,
    connect: Connect,
    runtime: Containerd,
    offline: MemoryRegistry,
    seed: str,
    repository: str,
    names: str,
) -> None:
    push(offline.url, repository, "1", build_image(seed))
    shim = start_daemon(runtime.socket, f"address: {offline.url}\noriginalNames: {names}")
    client, direct = connect(shim.socket), connect(runtime.socket)
    image_id = client.pull(f"quay.io/{repository}:1")
    held, shown = one(direct, image_id), one(client, f"quay.io/{repository}:1")
    if names == "keep":
        assert shown == held == one(client, image_id)
        # In whatever order: the runtime's own is another each time.
        listed = [sorted(map(repr, asked.list_images())) for asked in (client, direct)]
        assert listed[0] == listed[1]
    else:
        assert list(shown.repo_tags) == [*held.repo_tags, f"quay.io/{repository}:1"]
        assert one(client, image_id) == shown
        assert shown in client.list_images()


def test_what_was_pulled_survives_being_killed(
    start_daemon: StartDaemon,
    connect: Connect,
    runtime: Containerd,
    offline: MemoryRegistry,
    seed: str,
    repository: str,
) -> None:
    push(offline.url, repository, "1", build_image(seed))
    shim = start_daemon(runtime.socket, only(offline))
    connect(shim.socket).pull(f"quay.io/{repository}:1")
    assert shim.end(signal.SIGKILL) == -signal.SIGKILL
    assert f"{offline.host}/{repository}:1" in remembered(shim)
    # Under another address by now.
    with MemoryRegistry() as other:
        shim.configure(only(other))
        shim.start()
        client = connect(shim.socket)
        found = one(client, f"quay.io/{repository}:1")
        assert list(found.repo_tags) == [f"quay.io/{repository}:1"]
        assert found in client.list_images()
        assert other.requests == [], "nobody asks a registry about what is here"


def test_what_was_lost_is_told_by_the_rules_and_learned(
    start_daemon: StartDaemon,
    connect: Connect,
    runtime: Containerd,
    offline: MemoryRegistry,
    seed: str,
    repository: str,
) -> None:
    official = repository.replace("names/", "library/")
    push(offline.url, official, "1", build_image(f"{seed} official"))
    push(offline.url, repository, "1", build_image(seed))
    shim = start_daemon(runtime.socket, only(offline))
    client = connect(shim.socket)
    client.pull(official.removeprefix("library/") + ":1")
    client.pull(f"quay.io/{repository}:1")
    shim.end()
    (shim.directory / "state" / "pulled.json").write_text("garbage")
    shim.start()
    assert len(shim.lines("is set aside as")) == 1
    client = connect(shim.socket)

    def tags() -> set[str]:
        return {tag for image in client.list_images() for tag in image.repo_tags}

    told = tags()
    assert f"docker.io/{official}:1" in told
    assert f"{offline.host}/{repository}:1" in told
    one(client, f"quay.io/{repository}:1")
    told = tags()
    assert f"quay.io/{repository}:1" in told
    assert not [tag for tag in told if tag.startswith(offline.host)]


def test_what_somebody_else_removed_is_forgotten(
    start_daemon: StartDaemon,
    connect: Connect,
    runtime: Containerd,
    offline: MemoryRegistry,
    seed: str,
    repository: str,
) -> None:
    push(offline.url, repository, "1", build_image(seed))
    shim = start_daemon(runtime.socket, only(offline))
    client = connect(shim.socket)
    image_id = client.pull(f"quay.io/{repository}:1")
    connect(runtime.socket).remove_image(image_id)
    client.list_images()
    assert wait_until(lambda: remembered(shim) == [], 5), remembered(shim)


def test_another_state_directory_takes_over_what_is_known(
    start_daemon: StartDaemon,
    connect: Connect,
    runtime: Containerd,
    offline: MemoryRegistry,
    seed: str,
    repository: str,
    tmp_path: Path,
) -> None:
    push(offline.url, repository, "1", build_image(seed))
    shim = start_daemon(runtime.socket, only(offline))
    client = connect(shim.socket)
    client.pull(f"quay.io/{repository}:1")
    other = tmp_path / "another" / "state"
    shim.reload(only(offline, f"image: {other}"))
    assert wait_until((other / "pulled.json").exists, 5)
    assert f"quay.io/{repository}:1" in (other / "pulled.json").read_text()
    assert list(one(client, f"quay.io/{repository}:1").repo_tags) == [f"quay.io/{repository}:1"]


def test_a_state_directory_that_cannot_be_written_keeps_no_pull_from_its_end(
    start_daemon: StartDaemon,
    connect: Connect,
    runtime: Containerd,
    offline: MemoryRegistry,
    seed: str,
    repository: str,
    tmp_path: Path,
) -> None:
    for tag in ("1", "2"):
        push(offline.url, repository, tag, build_image(f"{seed} {tag}"))
    (tmp_path / "file").write_text("")
    shim = start_daemon(runtime.socket, only(offline, f"image: {tmp_path / 'file' / 'state'}"))
    client = connect(shim.socket)
    for tag in ("1", "2"):
        client.pull(f"quay.io/{repository}:{tag}")
        found = one(client, f"quay.io/{repository}:{tag}")
        assert list(found.repo_tags) == [f"quay.io/{repository}:{tag}"]
    assert len(shim.lines("pulled.json")) == 1
