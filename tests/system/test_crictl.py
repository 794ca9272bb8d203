"""crictl's image commands through the shim on a real containerd, in both CRI versions."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from tests.support import registries
from tests.support.containerd import Containerd
from tests.support.cri_client import CRI
from tests.support.daemon import Daemon
from tests.support.images import Image, build_image, push
from tests.support.registries import DockerRegistry
from tests.system.conftest import accidents
from tests.system.crictl import Crictl, NoSuchImageError

NGINX = build_image("crictl nginx")
APP = build_image("crictl app")
ORIGIN_ONLY = build_image("crictl origin only")


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    if reason := registries.why_not(users=False):
        pytest.skip(reason)
    with DockerRegistry(tmp_path_factory.mktemp("offline")) as running:
        push(running.url, "library/nginx", "1.25", NGINX)
        push(running.url, "team/app", "2", APP)
        yield running


@pytest.fixture(scope="module")
def second(
    tmp_path_factory: pytest.TempPathFactory, runtime: Containerd
) -> Iterator[DockerRegistry]:
    """The registry that plays second.test."""
    with DockerRegistry(tmp_path_factory.mktemp("second")) as running:
        push(running.url, "lab/only", "1", ORIGIN_ONLY)
        runtime.set_mirror("second.test", running.url)
        yield running


@pytest.fixture(scope="module")
def shim(
    tmp_path_factory: pytest.TempPathFactory,
    runtime: Containerd,
    offline: DockerRegistry,
    second: DockerRegistry,
) -> Iterator[Daemon]:
    config = f"address: {offline.url}\n"
    with Daemon(tmp_path_factory.mktemp("shim"), cri=runtime.socket, config=config) as running:
        yield running
    assert accidents(running.text()) == []


@pytest.fixture(params=["v1", "v1alpha2"])
def client(shim: Daemon, request: pytest.FixtureRequest) -> Iterator[CRI]:
    shim.forget_log()
    with CRI(shim.socket, request.param) as client:
        yield client


@pytest.fixture
def crictl(client: CRI, runtime: Containerd) -> Iterator[Crictl]:
    yield Crictl(client)
    with CRI(runtime.socket) as direct:
        for image in (NGINX, APP, ORIGIN_ONLY):
            direct.remove_image(image.config_digest)


def held(runtime: Containerd) -> set[str]:
    """Return the names that the runtime has, as ctr sees them."""
    return set(runtime.ctr("images", "ls", "-q").split())


def names_of(image: Image, candidate: str, *written: str) -> list[str]:
    """Return every way to name an image that was pulled as `candidate`."""
    repository = candidate.rpartition(":")[0]
    hexadecimal = image.config_digest.removeprefix("sha256:")
    return [
        *written,
        candidate,
        f"{repository}@{image.manifest_digest}",
        image.config_digest,
        hexadecimal,
        hexadecimal[:12],
        f"sha256:{hexadecimal[:12]}",
    ]


def test_pull_of_what_the_offline_registry_has_comes_from_there(
    crictl: Crictl, offline: DockerRegistry, runtime: Containerd, shim: Daemon
) -> None:
    candidate = f"{offline.host}/library/nginx:1.25"
    assert crictl.pull("nginx:1.25") == NGINX.config_digest
    assert candidate in held(runtime)
    assert "docker.io/library/nginx:1.25" not in held(runtime)
    (line,) = shim.lines("PullImage nginx:1.25 ->")
    assert f"PullImage nginx:1.25 -> {candidate} (offline, present, " in line


@pytest.mark.parametrize("host", ["", "docker.io/", "quay.io/", "second.test/"])
def test_the_host_of_the_name_does_not_matter_to_the_offline_registry(
    crictl: Crictl, offline: DockerRegistry, runtime: Containerd, host: str
) -> None:
    assert crictl.pull(f"{host}team/app:2") == APP.config_digest
    assert f"{offline.host}/team/app:2" in held(runtime)
    assert crictl.inspecti(f"{host}team/app:2").id == APP.config_digest


def test_pull_of_what_only_the_origin_has_comes_from_the_origin(
    crictl: Crictl, offline: DockerRegistry, runtime: Containerd, shim: Daemon
) -> None:
    name = "second.test/lab/only:1"
    assert crictl.pull(name) == ORIGIN_ONLY.config_digest
    assert name in held(runtime)
    (line,) = shim.lines(f"PullImage {name} ->")
    assert f"-> {name} (origin, {offline.host}: absent (404" in line
    assert crictl.inspecti(name).repo_tags == [name]
    assert crictl.rmi(name) == [name]


def test_pull_of_what_nobody_has_says_so_in_the_words_of_the_runtime(
    client: CRI, runtime: Containerd, shim: Daemon
) -> None:
    with CRI(runtime.socket) as direct, pytest.raises(grpc.RpcError) as by_runtime:
        direct.pull("second.test/lab/nowhere:1")
    with pytest.raises(grpc.RpcError) as by_shim:
        client.pull("second.test/lab/nowhere:1")
    assert by_shim.value.code() == by_runtime.value.code() == grpc.StatusCode.NOT_FOUND
    assert by_shim.value.details() == by_runtime.value.details()
    assert "PullImage second.test/lab/nowhere:1: failed after " in shim.text()


def test_pull_of_an_image_id_is_the_runtimes_business_alone(
    crictl: Crictl, client: CRI, offline: DockerRegistry, runtime: Containerd
) -> None:
    """IDs are not names: no registry is ever asked for one."""
    crictl.pull("nginx:1.25")
    hexadecimal = NGINX.config_digest.removeprefix("sha256:")
    with CRI(runtime.socket) as direct:
        for name in (NGINX.config_digest, hexadecimal, hexadecimal[:12]):
            with pytest.raises(grpc.RpcError) as by_runtime:
                direct.pull(name)
            with pytest.raises(grpc.RpcError) as by_shim:
                client.pull(name)
            assert by_shim.value.code() == by_runtime.value.code()
            assert by_shim.value.details() == by_runtime.value.details()
    assert not [r.path for r in offline.requests() if f"library/{hexadecimal[:12]}" in r.path]


def test_images_lists_each_image_once_as_the_runtime_does(
    crictl: Crictl, offline: DockerRegistry, runtime: Containerd
) -> None:
    crictl.pull("nginx:1.25")
    crictl.pull("second.test/lab/only:1")
    listed = crictl.images()
    tags = [tag for image in listed for tag in image.repo_tags]
    assert tags.count(f"{offline.host}/library/nginx:1.25") == 1
    assert tags.count("second.test/lab/only:1") == 1
    with CRI(runtime.socket) as direct:
        assert sorted(i.id for i in listed) == sorted(i.id for i in direct.list_images())


def test_inspecti_by_every_name_gives_the_same_answer(
    crictl: Crictl, offline: DockerRegistry
) -> None:
    crictl.pull("nginx:1.25")
    candidate = f"{offline.host}/library/nginx:1.25"
    written = (
        "nginx:1.25",
        "library/nginx:1.25",
        "docker.io/library/nginx:1.25",
        f"nginx@{NGINX.manifest_digest}",
        f"nginx:1.25@{NGINX.manifest_digest}",
    )
    answers = [crictl.inspecti(name) for name in names_of(NGINX, candidate, *written)]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].id == NGINX.config_digest
    assert answers[0].repo_tags == [candidate]
    assert answers[0].repo_digests == [f"{offline.host}/library/nginx@{NGINX.manifest_digest}"]


def test_inspecti_shows_all_that_the_runtime_says(
    crictl: Crictl, client: CRI, offline: DockerRegistry, runtime: Containerd
) -> None:
    crictl.pull("nginx:1.25")

    def ask(name: str) -> bytes:
        # ImageStatusRequest: image 1 (ImageSpec: image 1), verbose 2.
        spec = b"\x0a" + bytes([len(name)]) + name.encode()
        return b"\x0a" + bytes([len(spec)]) + spec + b"\x10\x01"

    with CRI(runtime.socket) as direct:
        path = direct.path("ImageService", "ImageStatus")
        expected = direct.raw(path, ask(f"{offline.host}/library/nginx:1.25")).body
    assert b"imageSpec" in expected
    path = client.path("ImageService", "ImageStatus")
    assert client.raw(path, ask("nginx:1.25")).body == expected


def test_inspecti_of_what_is_absent_says_no_such_image(crictl: Crictl) -> None:
    for name in ("nginx:1.25", "second.test/lab/only:1", NGINX.config_digest, "abcdef012345"):
        with pytest.raises(NoSuchImageError):
            crictl.inspecti(name)


@pytest.mark.parametrize("which", range(7))
def test_rmi_removes_the_image_by_every_name(
    crictl: Crictl, offline: DockerRegistry, runtime: Containerd, which: int
) -> None:
    crictl.pull("nginx:1.25")
    candidate = f"{offline.host}/library/nginx:1.25"
    name = names_of(NGINX, candidate, "nginx:1.25")[which]
    assert crictl.rmi(name) == [candidate]
    assert not [n for n in held(runtime) if "library/nginx" in n or NGINX.config_digest in n]
    with pytest.raises(NoSuchImageError):
        crictl.rmi(name)


def test_removing_what_is_absent_is_no_error(client: CRI) -> None:
    client.remove_image("nginx:1.25")
    client.remove_image(NGINX.config_digest)
    client.remove_image("second.test/lab/only:1")


def test_a_name_that_already_points_at_the_offline_registry_is_pulled_as_it_is(
    crictl: Crictl, offline: DockerRegistry, shim: Daemon
) -> None:
    name = f"{offline.host}/library/nginx:1.25"
    assert crictl.pull(name) == NGINX.config_digest
    assert f"PullImage {name} -> {name} (a configured registry's own name" in shim.text()
    assert crictl.inspecti("nginx:1.25").id == NGINX.config_digest


def test_an_image_loaded_under_its_original_name_is_found_and_removed(
    crictl: Crictl, offline: DockerRegistry, runtime: Containerd
) -> None:
    crictl.pull("nginx:1.25")
    runtime.ctr("images", "tag", f"{offline.host}/library/nginx:1.25", "quay.io/loaded/app:7")
    assert crictl.inspecti("quay.io/loaded/app:7").id == NGINX.config_digest
    crictl.rmi("quay.io/loaded/app:7")
    with pytest.raises(NoSuchImageError):
        crictl.inspecti("quay.io/loaded/app:7")
