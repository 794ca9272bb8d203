"""What was pulled as what: found again, learned again when it was lost, forgotten when it goes."""

from __future__ import annotations

import grpc
import pytest

from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.decision import Registry
from image_cri_shim.pattern import parse_pattern
from image_cri_shim.policy import Policy
from image_cri_shim.rules import Rewrite, Rule
from tests.cri.image_store import HARBOR, HUB, ImageStore, MakeShim, sha256, status
from tests.cri.scripted import DONE, FIRST, ScriptedUpstream, UpstreamCall, frame
from tests.cri.shim import IMAGES

AB = sha256("ab manifest")


@pytest.fixture
def store(upstream: ScriptedUpstream) -> ImageStore:
    store = ImageStore(upstream)
    store.content = {
        "sealos.hub:5000/library/nginx:1": "nginx",
        "sealos.hub:5000/a/b:1": "ab",
    }
    return store


@pytest.mark.parametrize("names", ["keep", "only"])
@pytest.mark.parametrize("restart", [True, False])
def test_what_an_address_of_before_held_is_found_under_its_original_name(
    make: MakeShim, store: ImageStore, names: str, restart: bool
) -> None:
    shim = make(names)
    client = shim.client()
    client.pull("quay.io/a/b:1")
    after_the_pull = len(store.asked("ImageStatus"))
    if restart:
        shim = make(names, registries=[HARBOR])
        client = shim.client()
    else:
        shim.policy = Policy([HARBOR])
    found = status(client, "quay.io/a/b:1")
    assert found.id == sha256("ab")
    assert store.asked("ImageStatus")[after_the_pull:] == ["sealos.hub:5000/a/b:1"]
    assert found.id in [image.id for image in client.list_images("quay.io/a/b:1")]
    if names == "only":
        assert list(found.repo_tags) == ["quay.io/a/b:1"]
    client.remove_image("quay.io/a/b:1")
    assert store.names == {}


def test_state_that_was_lost_is_told_by_the_rules_and_by_what_clients_ask(
    make: MakeShim, store: ImageStore
) -> None:
    rewrite = Rewrite(parse_pattern("registry.k8s.io/*"), "google_containers")
    rule = Rule(1, (parse_pattern("registry.k8s.io"),), rewrite=(rewrite,))
    mirror = Registry("mirror.corp", keep_host=True)
    for number, name in enumerate(
        (
            "mirror.corp/quay.io/x/y:1",
            "sealos.hub:5000/google_containers/pause:3",
            "sealos.hub:5000/library/nginx:1",
            "sealos.hub:5000/a/b:1",
        )
    ):
        store.put(name, str(number))
    client = make(registries=[HUB, mirror], rules=[rule]).client()

    def tags() -> list[str]:
        return [tag for image in client.list_images() for tag in image.repo_tags]

    told = ["quay.io/x/y:1", "registry.k8s.io/pause:3", "docker.io/library/nginx:1"]
    assert tags() == [*told, "sealos.hub:5000/a/b:1"]
    found = status(client, "quay.io/a/b:1")
    assert list(found.repo_tags) == ["quay.io/a/b:1"]
    assert list(found.repo_digests) == [f"quay.io/a/b@{sha256('3 manifest')}"]
    assert tags() == [*told, "quay.io/a/b:1"]
    assert found in client.list_images()


def test_a_digest_that_clients_ask_for_is_learned_too(make: MakeShim, store: ImageStore) -> None:
    store.names[f"sealos.hub:5000/a/b@{AB}"] = sha256("ab")
    client = make().client()
    found = status(client, f"quay.io/a/b@{AB}")
    assert list(found.repo_digests) == [f"quay.io/a/b@{AB}"]
    assert client.list_images() == [found]


@pytest.mark.parametrize("how", ["by name", "by ID", "by short ID", "gone: list", "gone: status"])
def test_what_goes_is_forgotten(make: MakeShim, store: ImageStore, how: str) -> None:
    shim = make()
    client = shim.client()
    client.pull("quay.io/a/b:1")
    client.pull("nginx:1")
    status(client, "quay.io/a/b:1")
    if how == "by name":
        client.remove_image("quay.io/a/b:1")
    elif how == "by ID":
        client.remove_image(sha256("ab"))
    elif how == "by short ID":
        client.remove_image(sha256("ab")[7:20])
    else:
        store.drop("ab")
        client.list_images() if how == "gone: list" else client.image_status("quay.io/a/b:1")
    known = [one.held for one in shim.memory.originals.records()]
    assert "sealos.hub:5000/a/b:1" not in known
    assert "sealos.hub:5000/library/nginx:1" in known


@pytest.mark.parametrize("names", ["keep", "add", "only"])
@pytest.mark.parametrize("method", ["ListImages", "StreamImages"])
def test_a_list_forgets_nothing_that_is_there(
    make: MakeShim, store: ImageStore, names: str, method: str
) -> None:
    shim = make(names)
    client = shim.client()
    client.pull("quay.io/a/b:1")
    before = {one.held for one in shim.memory.originals.records()}
    for wanted in (None, "quay.io/a/b:1", "nginx:1", sha256("nothing")):
        request = cri_pb2.ListImagesRequest()
        if wanted is not None:
            request.filter.image.image = wanted
        client.stream(IMAGES + method, request.SerializeToString())
    assert before
    assert before <= {one.held for one in shim.memory.originals.records()}


def test_a_stream_that_nobody_can_read_forgets_nothing(
    make: MakeShim, store: ImageStore, upstream: ScriptedUpstream
) -> None:
    async def compressed(call: UpstreamCall) -> None:
        await call.request()
        call.headers_out([*FIRST])
        await call.data(frame(b"not to be read", compressed=1))
        call.headers_out(DONE, end=True)

    shim = make()
    client = shim.client()
    client.pull("quay.io/a/b:1")
    upstream.scripts["StreamImages"] = compressed
    with pytest.raises(grpc.RpcError):
        client.stream(f"{IMAGES}StreamImages")
    shim.wait_idle()
    assert shim.memory.originals.of("sealos.hub:5000/a/b:1") == ("quay.io/a/b:1",)


def test_the_runtime_is_asked_what_it_pulled_only_where_names_are_shown_otherwise(
    make: MakeShim, store: ImageStore
) -> None:
    for names, questions in (("keep", 0), ("only", 1)):
        before = len(store.asked("ImageStatus"))
        make(names).client().pull("quay.io/a/b:1")
        assert len(store.asked("ImageStatus")) - before == questions
