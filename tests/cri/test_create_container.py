"""CreateContainer: by the names that clients know, whatever the runtime calls the image."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.decision import Registry
from tests.cri.image_store import ImageStore, sha256
from tests.cri.scripted import ScriptedUpstream, frame, refuse
from tests.cri.shim import Shim
from tests.support.cri_client import CRI, Answer

HUB = Registry("sealos.hub:5000", plain_http=True, offline=True, priority=1000)
HARBOR = Registry("harbor.corp")
CREATE = "/runtime.v1.RuntimeService/CreateContainer"
AB = sha256("ab manifest")


@pytest.fixture(params=["keep", "add", "only"])
def shim(
    request: pytest.FixtureRequest, upstream: ScriptedUpstream, make_shim: Callable[..., Shim]
) -> Shim:
    return make_shim(upstream.path, registries=[HUB, HARBOR], original_names=request.param)


@pytest.fixture
def store(upstream: ScriptedUpstream) -> ImageStore:
    store = ImageStore(upstream)
    store.put("harbor.corp/a/b:1", "ab")
    return store


def create(client: CRI, image: str, *mounts: str) -> Answer:
    request = cri_pb2.CreateContainerRequest()
    request.config.image.image = image
    for mount in mounts:
        made = request.config.mounts.add()
        if mount:
            made.image.image = mount
    return client.raw(CREATE, request.SerializeToString())


def asked(upstream: ScriptedUpstream) -> cri_pb2.ContainerConfig:
    (call,) = upstream.of("CreateContainer")
    return cri_pb2.CreateContainerRequest.FromString(call.message).config


@pytest.mark.parametrize(
    ("image", "held"),
    [
        ("quay.io/a/b:1", "harbor.corp/a/b:1"),
        (f"quay.io/a/b@{AB}", f"harbor.corp/a/b@{AB}"),
        (f"quay.io/a/b:1@{AB}", f"harbor.corp/a/b@{AB}"),
        ("harbor.corp/a/b:1", "harbor.corp/a/b:1"),
        (sha256("ab"), sha256("ab")),
        (sha256("ab").removeprefix("sha256:"), sha256("ab").removeprefix("sha256:")),
        (sha256("ab")[7:19], sha256("ab")[7:19]),
    ],
)
def test_a_container_is_made_of_what_the_runtime_holds(
    shim: Shim, client: CRI, store: ImageStore, image: str, held: str
) -> None:
    answer = create(client, image)
    assert (answer.code, answer.body) == (grpc.StatusCode.OK, b"\x0a\x01c")
    assert asked(store.upstream).image.image == held


@pytest.mark.parametrize("image", [sha256("ab"), "harbor.corp/a/b:1", ""])
def test_nothing_is_asked_where_there_is_nothing_to_find_out(
    client: CRI, store: ImageStore, image: str
) -> None:
    create(client, image)
    assert [call.method for call in store.upstream.calls] == ["CreateContainer"]


def test_an_image_that_is_mounted_is_found_too(client: CRI, store: ImageStore) -> None:
    store.put("sealos.hub:5000/model:2", "model")
    create(client, sha256("ab"), "quay.io/model:2", "", "quay.io/a/b:1")
    config = asked(store.upstream)
    assert config.image.image == sha256("ab")
    mounted = [mount.image.image for mount in config.mounts]
    assert mounted == ["sealos.hub:5000/model:2", "", "harbor.corp/a/b:1"]
    assert not config.mounts[1].HasField("image"), "a directory of the node stays one"


def test_an_absent_image_is_the_runtimes_own_error(
    client: CRI, store: ImageStore, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["CreateContainer"] = refuse(5, b"image not found", (b"x-why", b"absent"))
    answer = create(client, "quay.io/absent:1")
    assert (answer.code, answer.details) == (grpc.StatusCode.NOT_FOUND, "image not found")
    assert ("x-why", "absent") in answer.trailing_metadata
    assert asked(upstream).image.image == "quay.io/absent:1"


def test_a_runtime_that_cannot_tell_is_asked_as_the_client_did(
    client: CRI, store: ImageStore, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["ImageStatus"] = refuse(13, b"broken store")
    assert create(client, "quay.io/a/b:1").code is grpc.StatusCode.OK
    assert asked(upstream).image.image == "quay.io/a/b:1"


def test_what_the_shim_does_not_know_of_the_request_survives(
    client: CRI, store: ImageStore
) -> None:
    # pod_sandbox_id (1); of the config metadata (1); user_specified_image (18) of its image.
    spec = b"\x0a\x0dquay.io/a/b:1" + b"\x92\x01\x01u"
    config = b"\x0a\x03\x0a\x01n" + b"\x12" + bytes([len(spec)]) + spec
    body = b"\x0a\x01p" + b"\x12" + bytes([len(config)]) + config
    client.raw(CREATE, body)
    (call,) = store.upstream.of("CreateContainer")
    for part in (b"\x0a\x01p", b"\x0a\x03\x0a\x01n", b"\x92\x01\x01u", b"harbor.corp/a/b:1"):
        assert part in call.message


def test_a_request_that_needs_no_change_goes_as_it_is(client: CRI, store: ImageStore) -> None:
    # A parser would put what it does not know last.
    body = b"\x0a\x01p" + b"\x12\x15\x12\x13\x0a\x11harbor.corp/a/b:1"
    client.raw(CREATE, body)
    assert store.upstream.next_call().body == frame(body)
