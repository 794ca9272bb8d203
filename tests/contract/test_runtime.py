"""The stand-in runtime and a real containerd answer the same questions alike."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.support import containerd, registries
from tests.support.containerd import Containerd
from tests.support.cri_client import CRI
from tests.support.faults import Hang, always
from tests.support.images import MediaTypes, build_image, image_index, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.registries import DockerRegistry
from tests.support.standin_runtime import StandinRuntime
from tests.support.token_server import TokenServer

USER, PASSWORD = "robot", "a:b c"
BASIC = "Basic cm9ib3Q6YTpiIGM="
NGINX = build_image("nginx")
OTHER = build_image("other", types=MediaTypes.OCI)
INDEX = image_index([OTHER, build_image("foreign", types=MediaTypes.OCI, architecture="mips64")])
SECRET = build_image("secret")


@pytest.fixture(scope="module")
def registry() -> Iterator[MemoryRegistry]:
    with MemoryRegistry() as running:
        push(running.url, "library/nginx", "1.25", NGINX)
        push(running.url, "lab/other", "1", OTHER)
        push(running.url, "lab/index", "1", INDEX)
        yield running


@pytest.fixture(scope="module")
def locked() -> Iterator[MemoryRegistry]:
    with MemoryRegistry(basic=(USER, PASSWORD)) as running:
        push(running.url, "lab/secret", "1", SECRET, authorization=BASIC)
        yield running


@pytest.fixture(params=["v1", "v1alpha2"])
def cri(runtime: Containerd | StandinRuntime, request: pytest.FixtureRequest) -> Iterator[CRI]:
    with CRI(runtime.socket, request.param) as client:
        yield client
        for image in client.list_images():
            client.remove_image(image.id)


def refusal(call, *arguments, **options) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    return caught.value.code(), caught.value.details()


@pytest.fixture(scope="module")
def standin(
    tmp_path_factory: pytest.TempPathFactory, registry: MemoryRegistry
) -> Iterator[StandinRuntime]:
    mirrors = {"docker.io": registry.url, "origin.test": registry.url}
    with StandinRuntime(tmp_path_factory.mktemp("standin"), mirrors=mirrors) as running:
        yield running


@pytest.fixture(scope="module")
def real_containerd(
    tmp_path_factory: pytest.TempPathFactory, registry: MemoryRegistry
) -> Iterator[Containerd]:
    mirrors = {"docker.io": registry.url, "origin.test": registry.url}
    with Containerd(tmp_path_factory.mktemp("containerd"), mirrors=mirrors) as running:
        yield running


class OnStandin:
    @pytest.fixture
    def runtime(self, standin: StandinRuntime) -> StandinRuntime:
        return standin


@pytest.mark.integration
@pytest.mark.skipif(containerd.why_not() is not None, reason=str(containerd.why_not()))
class OnContainerd:
    @pytest.fixture
    def runtime(self, real_containerd: Containerd) -> Containerd:
        return real_containerd


class RuntimeContract:
    def test_version_names_the_api_version_that_was_asked_for(self, cri: CRI) -> None:
        answer = cri.version()
        assert cri.path("ImageService", "x").startswith(f"/runtime.{answer.runtime_api_version}.")
        assert answer.version == "0.1.0"

    def test_pull_by_tag_answers_the_image_id(self, cri: CRI) -> None:
        assert cri.pull("nginx:1.25") == NGINX.config_digest
        assert cri.pull("nginx:1.25") == NGINX.config_digest

    def test_a_made_up_host_is_served_by_its_mirror(
        self, cri: CRI, registry: MemoryRegistry
    ) -> None:
        registry.forget_requests()
        assert cri.pull("origin.test/lab/other:1") == OTHER.config_digest
        assert registry.requests[0].path == "/v2/lab/other/manifests/1?ns=origin.test"
        assert registry.requests[0].method == "HEAD"

    def test_status_by_every_name_is_the_same_message(self, cri: CRI) -> None:
        cri.pull("nginx:1.25")
        hexadecimal = NGINX.config_digest.removeprefix("sha256:")
        names = (
            "nginx:1.25",
            "library/nginx:1.25",
            "docker.io/library/nginx:1.25",
            f"nginx@{NGINX.manifest_digest}",
            f"nginx:1.25@{NGINX.manifest_digest}",
            f"nginx:other@{NGINX.manifest_digest}",
            NGINX.config_digest,
            hexadecimal,
            hexadecimal[:12],
            hexadecimal[:1],
            f"sha256:{hexadecimal[:12]}",
        )
        answers = [cri.image_status(name) for name in names]
        assert all(answer == answers[0] for answer in answers)
        image = answers[0]
        assert image.id == NGINX.config_digest
        assert list(image.repo_tags) == ["docker.io/library/nginx:1.25"]
        assert list(image.repo_digests) == [f"docker.io/library/nginx@{NGINX.manifest_digest}"]
        assert image.size == sum(map(len, (NGINX.config, NGINX.layer, NGINX.manifest)))

    @pytest.mark.parametrize(
        "name",
        [
            "nginx",
            "nginx:1.26",
            "origin.test/library/nginx:1.25",
            "UPPER/Case",
            "sha256:" + 64 * "0",
            64 * "0",
            NGINX.manifest_digest,
            NGINX.config_digest[7:19].upper(),
            f"nginx@{OTHER.manifest_digest}",
        ],
    )
    def test_what_is_absent_has_an_empty_status_and_is_removed_without_error(
        self, cri: CRI, name: str
    ) -> None:
        cri.pull("nginx:1.25")
        assert cri.image_status(name) is None
        cri.remove_image(name)
        assert [image.id for image in cri.list_images()] == [NGINX.config_digest]

    def test_an_empty_name_is_ambiguous_among_two_images(self, cri: CRI) -> None:
        cri.pull("nginx:1.25")
        cri.pull("origin.test/lab/other:1")
        expected = grpc.StatusCode.UNKNOWN, 'can not resolve "" locally: ambiguous digest string'
        assert refusal(cri.image_status, "") == expected
        assert refusal(cri.remove_image, "") == expected

    def test_an_empty_name_is_the_only_image(self, cri: CRI) -> None:
        assert cri.image_status("") is None
        cri.pull("nginx:1.25")
        assert cri.image_status("").id == NGINX.config_digest

    def test_verbose_status_carries_the_image_config_in_info(self, cri: CRI) -> None:
        cri.pull("nginx:1.25")
        path = cri.path("ImageService", "ImageStatus")
        answer = cri.raw(path, b"\n\x0c\n\nnginx:1.25\x10\x01").body
        assert b'"imageSpec"' in answer
        assert b'"imageSpec"' not in cri.raw(path, b"\n\x0c\n\nnginx:1.25").body

    def test_pull_by_digest_makes_no_tag(self, cri: CRI) -> None:
        name = f"origin.test/lab/other@{OTHER.manifest_digest}"
        assert cri.pull(name) == OTHER.config_digest
        image = cri.image_status(name)
        assert list(image.repo_tags) == []
        assert list(image.repo_digests) == [name]

    def test_pull_by_tag_and_digest_is_a_pull_by_digest(self, cri: CRI) -> None:
        cri.pull(f"origin.test/lab/other:ignored@{OTHER.manifest_digest}")
        assert list(cri.image_status(OTHER.config_digest).repo_tags) == []

    def test_an_index_gives_the_image_of_this_machine_under_the_digest_of_the_index(
        self, cri: CRI
    ) -> None:
        assert cri.pull("origin.test/lab/index:1") == OTHER.config_digest
        image = cri.image_status("origin.test/lab/index:1")
        assert list(image.repo_digests) == [f"origin.test/lab/index@{INDEX.manifest_digest}"]
        parts = (INDEX.manifest, OTHER.manifest, OTHER.config, OTHER.layer)
        assert image.size == sum(map(len, parts))

    def test_one_image_under_two_names_is_listed_once_with_sorted_names(
        self, cri: CRI, registry: MemoryRegistry
    ) -> None:
        cri.pull("origin.test/lab/other:1")
        cri.pull(f"{registry.host}/lab/other:1")
        (image,) = cri.list_images()
        assert list(image.repo_tags) == [f"{registry.host}/lab/other:1", "origin.test/lab/other:1"]
        assert len(image.repo_digests) == 2

    def test_a_tag_that_moved_leaves_the_old_image(
        self, cri: CRI, registry: MemoryRegistry
    ) -> None:
        before, after = build_image("before"), build_image("after")
        push(registry.url, "lab/moving", "1", before)
        cri.pull("origin.test/lab/moving:1")
        push(registry.url, "lab/moving", "1", after)
        cri.pull("origin.test/lab/moving:1")
        assert cri.image_status("origin.test/lab/moving:1").id == after.config_digest
        assert list(cri.image_status(before.config_digest).repo_tags) == []

    def test_list_ignores_the_filter(self, cri: CRI) -> None:
        cri.pull("nginx:1.25")
        cri.pull("origin.test/lab/other:1")
        everything = {NGINX.config_digest, OTHER.config_digest}
        for pattern in (None, "nginx:1.25", "absent:1"):
            assert {image.id for image in cri.list_images(pattern)} == everything

    @pytest.mark.parametrize(
        "name",
        [
            "origin.test/lab/other:1",
            f"origin.test/lab/other@{OTHER.manifest_digest}",
            OTHER.config_digest,
            OTHER.config_digest[7:11],
        ],
    )
    def test_remove_by_any_name_removes_every_name(self, cri: CRI, name: str) -> None:
        cri.pull("origin.test/lab/other:1")
        cri.pull("origin.test/lab/index:1")
        cri.remove_image(name)
        assert cri.list_images() == []
        cri.remove_image(name)

    @pytest.mark.parametrize(
        ("asked", "complete"),
        [
            ("origin.test/lab/absent:1", "origin.test/lab/absent:1"),
            ("nginx:absent", "docker.io/library/nginx:absent"),
            (f"nginx:1@sha256:{64 * '0'}", f"docker.io/library/nginx@sha256:{64 * '0'}"),
            (f"sha256:{64 * '0'}", f"docker.io/library/sha256:{64 * '0'}"),
        ],
    )
    def test_pulling_what_is_absent_is_not_found(self, cri: CRI, asked: str, complete: str) -> None:
        assert refusal(cri.pull, asked) == (
            grpc.StatusCode.NOT_FOUND,
            (
                f'failed to pull and unpack image "{complete}": '
                f'failed to resolve reference "{complete}": {complete}: not found'
            ),
        )

    @pytest.mark.parametrize(
        ("asked", "reason"),
        [
            ("", "invalid reference format"),
            ("UPPER/Case", "invalid reference format: repository name must be lowercase"),
            (
                64 * "0",
                f"invalid repository name ({64 * '0'}), cannot specify 64-byte hexadecimal strings",
            ),
        ],
    )
    def test_pulling_what_is_no_name_is_unknown(self, cri: CRI, asked: str, reason: str) -> None:
        assert refusal(cri.pull, asked) == (
            grpc.StatusCode.UNKNOWN,
            f'failed to parse image reference "{asked}": {reason}',
        )

    def test_pulling_from_where_nobody_listens_is_unknown(self, cri: CRI) -> None:
        assert refusal(cri.pull, "127.0.0.1:9/lab/other:1") == (
            grpc.StatusCode.UNKNOWN,
            (
                'failed to pull and unpack image "127.0.0.1:9/lab/other:1": '
                'failed to resolve reference "127.0.0.1:9/lab/other:1": failed to do request: '
                'Head "http://127.0.0.1:9/v2/lab/other/manifests/1": '
                "dial tcp 127.0.0.1:9: connect: connection refused"
            ),
        )

    @pytest.mark.parametrize(
        "auth",
        [
            {"username": USER, "password": PASSWORD},
            {"auth": BASIC.removeprefix("Basic ")},
        ],
    )
    def test_credentials_open_a_registry(
        self, cri: CRI, locked: MemoryRegistry, auth: dict[str, str]
    ) -> None:
        assert cri.pull(f"{locked.host}/lab/secret:1", auth=auth) == SECRET.config_digest

    @pytest.mark.parametrize("auth", [None, {"username": USER, "password": "wrong"}])
    def test_no_or_wrong_credentials_are_unknown_with_401(
        self, cri: CRI, locked: MemoryRegistry, auth: dict[str, str] | None
    ) -> None:
        name = f"{locked.host}/lab/secret:1"
        assert refusal(cri.pull, name, auth=auth) == (
            grpc.StatusCode.UNKNOWN,
            (
                f'failed to pull and unpack image "{name}": failed to resolve reference "{name}": '
                f"pulling from host {locked.host} failed with status code [manifests 1]: "
                "401 Unauthorized"
            ),
        )

    def test_a_deadline_that_passes_is_deadline_exceeded(
        self, cri: CRI, registry: MemoryRegistry
    ) -> None:
        # The registry hangs, for a deadline long enough to reach the runtime: one that has passed
        # before it arrives, grpclib's server calls UNKNOWN.
        registry.faults = always(Hang())
        try:
            code, _ = refusal(cri.pull, "origin.test/lab/other:1", timeout=0.5)
        finally:
            registry.faults = []
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED

    def test_image_fs_info_names_a_mountpoint(self, cri: CRI) -> None:
        assert b"/" in cri.image_fs_info()

    def test_a_method_that_does_not_exist_is_unimplemented(self, cri: CRI) -> None:
        for path in (cri.path("ImageService", "Nonesuch"), "/runtime.v9.ImageService/ListImages"):
            assert cri.raw(path).code is grpc.StatusCode.UNIMPLEMENTED

    def test_it_comes_up_again_after_a_kill(
        self, cri: CRI, runtime: Containerd | StandinRuntime
    ) -> None:
        runtime.kill()
        runtime.start()
        with CRI(runtime.socket) as anew:
            assert anew.pull("nginx:1.25") == NGINX.config_digest


class TestStandinRuntime(OnStandin, RuntimeContract):
    pass


class TestContainerd(OnContainerd, RuntimeContract):
    def test_images_survive_a_kill(self, cri: CRI, runtime: Containerd) -> None:
        cri.pull("nginx:1.25")
        runtime.kill()
        runtime.start()
        with CRI(runtime.socket) as anew:
            assert anew.image_status("nginx:1.25").id == NGINX.config_digest

    def test_nothing_is_mounted_and_nothing_runs_after_stop(self, tmp_path) -> None:
        with Containerd(tmp_path, snapshotter="native") as running:
            pid = running.pid
        mounts = Path("/proc/self/mountinfo").read_text()
        assert str(tmp_path) not in mounts
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.integration
@pytest.mark.skipif(registries.why_not() is not None, reason=str(registries.why_not()))
class RealRegistryContract:
    """Both runtimes pull from a real registry, with Basic and with Bearer."""

    @pytest.fixture(params=["htpasswd", "token"])
    def real(self, request: pytest.FixtureRequest, tmp_path) -> Iterator[DockerRegistry]:
        if request.param == "htpasswd":
            with DockerRegistry(tmp_path / "registry", htpasswd=(USER, PASSWORD)) as running:
                push(running.url, "lab/secret", "1", SECRET, authorization=BASIC)
                yield running
            return
        with TokenServer(tmp_path, users={USER: PASSWORD}) as tokens:
            with DockerRegistry(tmp_path / "registry", token=tokens.settings) as running:
                token = tokens.token(USER, ("repository:lab/secret:pull,push",))
                push(running.url, "lab/secret", "1", SECRET, authorization=f"Bearer {token}")
                yield running

    def test_right_credentials_pull_and_wrong_ones_do_not(
        self, cri: CRI, real: DockerRegistry
    ) -> None:
        name = f"{real.host}/lab/secret:1"
        code, details = refusal(cri.pull, name, auth={"username": USER, "password": "wrong"})
        assert code is grpc.StatusCode.UNKNOWN
        assert "401 Unauthorized" in details
        assert refusal(cri.pull, name)[0] is grpc.StatusCode.UNKNOWN
        right = {"username": USER, "password": PASSWORD}
        assert cri.pull(name, auth=right) == SECRET.config_digest


class TestStandinRuntimeOnRealRegistry(OnStandin, RealRegistryContract):
    pass


class TestContainerdOnRealRegistry(OnContainerd, RealRegistryContract):
    pass
