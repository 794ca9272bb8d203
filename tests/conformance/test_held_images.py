"""Questions about what the node holds, and the removal of it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tests.conformance.conftest import ALL, on
from tests.conformance.images import NGINX, ONE, PAUSE, TWO, expected
from tests.support.runtime_client import RuntimeClient
from tests.support.runtime_messages import message
from tests.system.crictl import Crictl, NoSuchImageError

pytestmark = on(*ALL)

TAG = "origin.test/lab/one:1"
DIGEST = f"origin.test/lab/one@{ONE.manifest_digest}"
NAMES = {"tag": TAG, "digest": DIGEST, "id": ONE.config_digest, "hex": ONE.config_digest[7:19]}
ABSENT = ("origin.test/lab/absent:1", "absent", f"absent@sha256:{64 * '0'}", f"sha256:{64 * '0'}")


def others(client: RuntimeClient) -> list:
    return [image for image in client.images() if image.id != PAUSE.config_digest]


@pytest.mark.parametrize("name", [*ABSENT, TAG, "nginx:1.25", NGINX.config_digest])
def test_the_status_of_what_is_absent_is_an_empty_answer(clean: RuntimeClient, name: str) -> None:
    assert clean.call("ImageStatus", image={"image": name}) == message("ImageStatusResponse")
    verbose = clean.call("ImageStatus", image={"image": name}, verbose=True)
    assert verbose == message("ImageStatusResponse")


def test_a_verbose_status_tells_the_image_config_besides(clean: RuntimeClient) -> None:
    clean.pull(TAG)
    for name in NAMES.values():
        answer = clean.call("ImageStatus", image={"image": name}, verbose=True)
        assert answer.image == expected(ONE, [TAG])
        info = json.loads(answer.info["info"])
        assert info["imageSpec"]["config"]["Labels"] == {"seed": "conformance one"}
        assert not clean.call("ImageStatus", image={"image": name}).info


def test_each_image_is_listed_once_as_its_status_is(clean: RuntimeClient) -> None:
    for name in (TAG, "origin.test/lab/one:2", "origin.test/lab/two:1", "nginx:1.25"):
        clean.pull(name)
    listed = others(clean)
    assert len({image.id for image in listed}) == len(listed) == 3
    for image in listed:
        assert clean.status_of(image.id) == image


@pytest.mark.parametrize("name", [TAG, DIGEST, "origin.test/lab/one", ONE.config_digest])
def test_a_list_with_a_filter_is_the_runtimes(clean: RuntimeClient, name: str) -> None:
    """containerd looks at no filter: crictl and the kubelet choose for themselves."""
    clean.pull(TAG)
    clean.pull("nginx:1.25")
    listed = clean.call("ListImages", filter={"image": {"image": name}}).images
    assert sorted(image.id for image in listed) == sorted(image.id for image in clean.images())
    assert [image for image in listed if image.id == ONE.config_digest] == [expected(ONE, [TAG])]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_removal_by_any_name_removes_the_image_and_no_other(
    clean: RuntimeClient, name: str
) -> None:
    clean.pull("origin.test/lab/two:1")
    clean.pull(TAG)
    clean.pull("origin.test/lab/one:2")
    clean.remove(name)
    assert others(clean) == [expected(TWO, ["origin.test/lab/two:1"])]
    for gone in (*NAMES.values(), "origin.test/lab/one:2"):
        assert clean.status_of(gone) is None
    # Once more, and as often as one likes.
    clean.remove(name)
    clean.remove(name)
    assert clean.pull(TAG) == ONE.config_digest
    assert clean.status_of(name) == expected(ONE, [TAG])


@pytest.mark.parametrize("name", ABSENT)
def test_removing_what_was_never_there_is_no_error(clean: RuntimeClient, name: str) -> None:
    clean.pull(TAG)
    clean.remove(name)
    assert others(clean) == [expected(ONE, [TAG])]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_removals_at_the_same_time_all_succeed(clean: RuntimeClient, name: str) -> None:
    clean.pull(TAG)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(clean.remove, [name] * 8))
    assert others(clean) == []


def test_the_image_file_system_is_the_runtimes(clean: RuntimeClient) -> None:
    clean.pull(TAG)
    (usage,) = clean.call("ImageFsInfo").image_filesystems
    assert usage.timestamp > 0
    assert usage.fs_id.mountpoint.endswith("io.containerd.snapshotter.v1.overlayfs") or (
        usage.fs_id.mountpoint.endswith("io.containerd.snapshotter.v1.native")
    )
    assert usage.HasField("used_bytes")
    assert usage.HasField("inodes_used")


def test_a_method_that_the_runtime_lacks_is_unimplemented(client: RuntimeClient) -> None:
    """containerd 1.6 has no StreamImages: its clients then use ListImages."""
    with pytest.raises(grpc.RpcError) as caught:
        client.stream(client.method("StreamImages"))
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert caught.value.details().startswith("unknown method StreamImages for service runtime.")


def test_the_calls_of_a_kubelet_find_the_image_each_time(clean: RuntimeClient) -> None:
    """Before the pull: is it there? After it: by the name, then by what the pull returned."""
    clean.call("ImageFsInfo")
    assert clean.status_of(TAG) is None
    ref = clean.pull(TAG, timeout=None)
    first, second = clean.status_of(TAG), clean.status_of(TAG)
    assert first == second == clean.status_of(ref) == expected(ONE, [TAG])
    # The node's status, for the scheduler; then the garbage collection, by ID.
    named = {name for image in clean.images() for name in (*image.repo_tags, *image.repo_digests)}
    assert {TAG, DIGEST} <= named
    clean.remove(first.id)
    assert clean.status_of(ref) is None


def test_the_commands_of_crictl_work_within_its_deadlines(clean: RuntimeClient) -> None:
    crictl = Crictl(clean)
    assert crictl.pull(TAG) == ONE.config_digest
    (image,) = [image for image in crictl.images() if image.id == ONE.config_digest]
    assert list(image.repo_tags) == [TAG]
    assert list(crictl.inspecti(TAG).repo_digests) == [DIGEST]
    assert crictl.rmi(TAG) == [TAG]
    with pytest.raises(NoSuchImageError):
        crictl.inspecti(TAG)
