"""`originalNames`: the names that clients see of what was pulled under others, in every answer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import grpc
import pytest

from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.decision import Decision
from tests.cri.image_store import INFO, PINNED, ImageStore, MakeShim, sha256, status
from tests.cri.scripted import (
    ScriptedUpstream,
    refuse,
    reply,
)
from tests.cri.shim import IMAGES, Shim
from tests.support.cri_client import CRI

AB = sha256("ab manifest")


@pytest.fixture
def store(upstream: ScriptedUpstream) -> ImageStore:
    store = ImageStore(upstream)
    store.content = {
        "sealos.hub:5000/library/nginx:1": "nginx",
        "sealos.hub:5000/library/nginx:2": "nginx",
        "sealos.hub:5000/a/b:1": "ab",
        f"sealos.hub:5000/a/b@{AB}": "ab",
        "harbor.corp/a/b:1": "newer ab",
        "docker.io/a/b:1": "the origin's ab",
    }
    return store


def from_harbor(shim: Shim) -> None:
    async def resolve(image: str) -> Decision:
        return Decision(tuple(one for one in shim.policy.candidates(image) if "harbor" in one.name))

    shim.resolve = resolve


def from_origin(shim: Shim) -> None:
    async def resolve(image: str) -> Decision:
        return Decision(shim.policy.candidates(image)[-1:])

    shim.resolve = resolve


def streamed(client: CRI, filter: str = "") -> list[cri_pb2.Image]:
    request = cri_pb2.StreamImagesRequest()
    request.filter.image.image = filter
    parts = client.stream(f"{IMAGES}StreamImages", request.SerializeToString())
    return [
        image for part in parts for image in cri_pb2.StreamImagesResponse.FromString(part).images
    ]


def everywhere(client: CRI, *names: str) -> list[cri_pb2.Image]:
    """Return what each answer says of one image; the last two are of its ID and the begin of it."""
    image_id = status(client, names[0]).id
    digests = status(client, names[0]).repo_digests
    questions = [*names, *digests, image_id, image_id.removeprefix("sha256:")[:12]]
    answers = [status(client, one) for one in questions]
    for listed in (client.list_images(), streamed(client), client.list_images(names[0])):
        answers += [image for image in listed if image.id == image_id]
    answers += [image for image in streamed(client, names[0]) if image.id == image_id]
    assert len(answers) == len(questions) + 4
    return answers


def test_by_default_the_names_are_the_runtimes_byte_for_byte(
    make: MakeShim, store: ImageStore
) -> None:
    shim = make("keep")
    client = shim.client()
    client.pull("nginx:1")
    with CRI(store.upstream.path) as direct:
        for method in ("ListImages", "ImageStatus"):
            body = b"" if method == "ListImages" else b"\x0a\x09\x0a\x07nginx:1\x10\x01"
            held = b"\x0a\x21\x0a\x1fsealos.hub:5000/library/nginx:1\x10\x01"
            asked = body if method == "ListImages" else held
            told = client.raw(IMAGES + method, body)
            assert told.body == direct.raw(IMAGES + method, asked).body != b""
        assert client.stream(f"{IMAGES}StreamImages") == direct.stream(f"{IMAGES}StreamImages")


def test_added_names_stand_beside_the_runtimes_each_once(make: MakeShim, store: ImageStore) -> None:
    client = make("add").client()
    client.pull("nginx:1")
    client.pull("docker.io/library/nginx:2")
    digest = sha256("nginx manifest")
    for image in everywhere(client, "nginx:1", "nginx:2", "sealos.hub:5000/library/nginx:1"):
        assert list(image.repo_tags) == [
            "sealos.hub:5000/library/nginx:1",
            "sealos.hub:5000/library/nginx:2",
            "docker.io/library/nginx:1",
            "docker.io/library/nginx:2",
        ]
        assert list(image.repo_digests) == [
            f"sealos.hub:5000/library/nginx@{digest}",
            f"docker.io/library/nginx@{digest}",
        ]
        assert image.spec.image == "sealos.hub:5000/library/nginx:1"


def test_only_the_original_names_are_in_all_answers(make: MakeShim, store: ImageStore) -> None:
    client = make().client()
    client.pull("nginx:1")
    client.pull("quay.io/a/b:1")
    for image in everywhere(client, "nginx:1", "sealos.hub:5000/library/nginx:1"):
        assert list(image.repo_tags) == ["docker.io/library/nginx:1"]
        assert list(image.repo_digests) == [f"docker.io/library/nginx@{sha256('nginx manifest')}"]
        assert image.spec.image == "docker.io/library/nginx:1"
    for image in everywhere(client, "quay.io/a/b:1"):
        assert list(image.repo_tags) == ["quay.io/a/b:1"]
        assert list(image.repo_digests) == [f"quay.io/a/b@{AB}"]


FIRST_QUESTIONS: list[Callable[[CRI], object]] = [
    lambda client: client.list_images(),
    lambda client: client.image_status("quay.io/a/b:1"),
    lambda client: client.image_status(sha256("ab")),
    lambda client: client.image_status(f"quay.io/a/b@{AB}"),
]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_answers_are_the_same_in_whatever_order_is_asked(
    make: MakeShim, store: ImageStore, order: tuple[int, ...]
) -> None:
    client = make().client()
    client.pull("quay.io/a/b:1")
    for index in order:
        FIRST_QUESTIONS[index](client)
        (image,) = client.list_images()
        assert list(image.repo_tags) == ["quay.io/a/b:1"]
        assert list(image.repo_digests) == [f"quay.io/a/b@{AB}"]
        assert status(client, image.id) == status(client, "quay.io/a/b:1") == image


@pytest.mark.parametrize("names", ["keep", "add", "only"])
def test_what_the_shim_does_not_know_of_an_image_survives(
    make: MakeShim, store: ImageStore, names: str
) -> None:
    client = make(names).client()
    client.pull("quay.io/a/b:1")
    question = cri_pb2.ImageStatusRequest(verbose=True)
    for image in ("quay.io/a/b:1", sha256("ab")):
        question.image.image = image
        answer = client.raw(f"{IMAGES}ImageStatus", question.SerializeToString())
        assert answer.body.endswith(INFO)
        assert PINNED in status(client, image).SerializeToString()
    (listed,) = client.list_images()
    assert PINNED in listed.SerializeToString()


def test_errors_and_empty_answers_are_the_runtimes_own(make: MakeShim, store: ImageStore) -> None:
    client = make().client()
    assert client.image_status("quay.io/a/b:1") is None
    assert client.image_status(sha256("ab")) is None
    assert client.list_images() == client.list_images("quay.io/a/b:1") == streamed(client) == []
    for method in ("ImageStatus", "ListImages", "StreamImages"):
        store.upstream.scripts[method] = refuse(13, b"broken store", (b"x-why", b"disk"))
    for method in ("ImageStatus", "ListImages"):
        answer = client.raw(IMAGES + method, b"")
        assert (answer.code, answer.details) == (grpc.StatusCode.INTERNAL, "broken store")
        assert ("x-why", "disk") in answer.trailing_metadata
    with pytest.raises(grpc.RpcError) as caught:
        streamed(client)
    assert caught.value.details() == "broken store"


@pytest.mark.parametrize("filters", [True, False])
@pytest.mark.parametrize("names", ["keep", "add", "only"])
def test_a_filter_by_the_original_name_finds_it_once(
    make: MakeShim, store: ImageStore, names: str, filters: bool
) -> None:
    store.filters = filters
    client = make(names).client()
    client.pull("quay.io/a/b:1")
    store.put("harbor.corp/a/b:1", "ab")
    for listed in (client.list_images("quay.io/a/b:1"), streamed(client, "quay.io/a/b:1")):
        assert [image.id for image in listed] == [sha256("ab")]


def test_two_originals_of_one_held_name_are_both_shown(make: MakeShim, store: ImageStore) -> None:
    client = make().client()
    client.pull("docker.io/a/b:1")
    client.pull("quay.io/a/b:1")
    for image in everywhere(client, "quay.io/a/b:1", "a/b:1"):
        assert list(image.repo_tags) == ["docker.io/a/b:1", "quay.io/a/b:1"]
        assert list(image.repo_digests) == [f"docker.io/a/b@{AB}", f"quay.io/a/b@{AB}"]


def test_a_tag_that_was_pulled_again_from_elsewhere_moves(
    make: MakeShim, store: ImageStore
) -> None:
    shim = make()
    client = shim.client()
    client.pull("docker.io/a/b:1")
    from_harbor(shim)
    client.pull("docker.io/a/b:1")
    assert status(client, "a/b:1").id == sha256("newer ab")
    old, new = client.list_images()
    assert (list(old.repo_tags), list(new.repo_tags)) == ([], ["docker.io/a/b:1"])
    assert list(old.repo_digests) == [f"docker.io/a/b@{AB}"]
    assert list(new.repo_digests) == [f"docker.io/a/b@{sha256('newer ab manifest')}"]
    assert status(client, old.id) == old == status(client, old.repo_digests[0])
    assert status(client, "docker.io/a/b:1") == new


def test_so_does_one_that_was_pulled_again_from_the_origin(
    make: MakeShim, store: ImageStore
) -> None:
    shim = make()
    client = shim.client()
    client.pull("a/b:1")
    from_origin(shim)
    client.pull("a/b:1")
    old, new = client.list_images()
    assert (list(old.repo_tags), list(new.repo_tags)) == ([], ["docker.io/a/b:1"])
    assert status(client, "a/b:1") == new
    shim.resolve = shim.in_order
    client.pull("a/b:1")
    old, new = client.list_images()
    assert (list(old.repo_tags), list(new.repo_tags)) == (["docker.io/a/b:1"], [])


@pytest.mark.parametrize(("names", "found"), [("only", False), ("keep", True), ("add", True)])
def test_a_tag_that_moved_and_went_is_not_the_image_of_before(
    make: MakeShim, store: ImageStore, names: str, found: bool
) -> None:
    """Not where clients see that the image of before has no such tag any more."""
    shim = make(names)
    client = shim.client()
    client.pull("a/b:1")
    from_origin(shim)
    client.pull("a/b:1")
    client.remove_image(status(client, "a/b:1").id)
    assert (client.image_status("a/b:1") is not None) is found
    listed = [image.id for image in client.list_images("a/b:1")]
    assert listed == ([sha256("ab")] if found else [])


@pytest.mark.parametrize("image", [f"quay.io/a/b@{AB}", f"quay.io/a/b:9@{AB}"])
def test_what_is_pulled_by_digest_has_its_own_digest(
    make: MakeShim, store: ImageStore, image: str
) -> None:
    client = make().client()
    client.pull(image)
    found = status(client, image)
    assert list(found.repo_tags) == []
    assert list(found.repo_digests) == [f"quay.io/a/b@{AB}"]
    assert client.list_images() == [found] == client.list_images(image)


def test_a_registrys_own_name_that_a_client_pulled_stays(make: MakeShim, store: ImageStore) -> None:
    client = make().client()
    client.pull("sealos.hub:5000/library/nginx:1")
    held = "sealos.hub:5000/library/nginx"
    for image in everywhere(client, f"{held}:1"):
        assert list(image.repo_tags) == [f"{held}:1"]
        assert list(image.repo_digests) == [f"{held}@{sha256('nginx manifest')}"]
    client.pull("nginx:1")
    assert list(status(client, "nginx:1").repo_tags) == ["docker.io/library/nginx:1", f"{held}:1"]


def test_a_registrys_own_name_that_was_there_before_is_not_taken_for_docker_hubs(
    make: MakeShim, store: ImageStore
) -> None:
    store.put("harbor.corp/library/app:1", "app")
    client = make().client()
    for image in everywhere(client, "harbor.corp/library/app:1"):
        assert list(image.repo_tags) == ["harbor.corp/library/app:1"]
        assert list(image.repo_digests) == [f"harbor.corp/library/app@{sha256('app manifest')}"]


def test_what_is_nobodys_business_keeps_its_name(make: MakeShim, store: ImageStore) -> None:
    store.put("registry.k8s.io/pause:3", "pause")
    store.put("sealos.hub:5000/x/y:1", "from before")
    client = make().client()
    tags = [tag for image in client.list_images() for tag in image.repo_tags]
    assert tags == ["registry.k8s.io/pause:3", "sealos.hub:5000/x/y:1"]


def test_a_runtime_that_tells_the_digest_of_a_pull_tells_the_original_one(
    make: MakeShim, store: ImageStore
) -> None:
    store.told = "digest"
    client = make().client()
    assert client.pull("quay.io/a/b:1") == f"quay.io/a/b@{AB}"


@pytest.mark.parametrize("names", ["keep", "add"])
def test_else_it_tells_what_it_holds(make: MakeShim, store: ImageStore, names: str) -> None:
    store.told = "digest"
    assert make(names).client().pull("quay.io/a/b:1") == f"sealos.hub:5000/a/b@{AB}"


def test_a_pull_whose_answer_makes_no_sense_is_a_pull_all_the_same(
    make: MakeShim, store: ImageStore, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = reply(b"\xff\xff")
    shim = make()
    answer = shim.client().raw(f"{IMAGES}PullImage", b"\x0a\x07\x0a\x05nginx")
    assert (answer.code, answer.body) == (grpc.StatusCode.OK, b"\xff\xff")
    assert len(upstream.of("PullImage")) == 1


def test_a_runtime_that_writes_short_names_is_understood(
    make: MakeShim, store: ImageStore, upstream: ScriptedUpstream
) -> None:
    """As Docker does: what goes without saying is left out."""
    shim = make()
    client = shim.client()
    from_origin(shim)
    client.pull("a/b:1")
    image = cri_pb2.Image(id=sha256("the origin's ab"), repo_tags=["a/b:1"])
    listed = cri_pb2.ListImagesResponse(images=[image]).SerializeToString()
    upstream.scripts["ListImages"] = reply(listed)
    assert client.list_images() == [image]
    assert shim.memory.originals.of("docker.io/a/b:1") == ("docker.io/a/b:1",)
    shim.resolve = shim.in_order
    client.pull("a/b:1")
    (moved,) = client.list_images()
    assert list(moved.repo_tags) == []


def test_a_tag_that_nobody_had_noted_moves_too(make: MakeShim, store: ImageStore) -> None:
    store.put("quay.io/a/b:1", "from before the shim was there")
    client = make().client()
    client.pull("quay.io/a/b:1")
    tagged = [image.id for image in client.list_images() if "quay.io/a/b:1" in image.repo_tags]
    assert tagged == [sha256("ab")] == [status(client, "quay.io/a/b:1").id]


def test_a_filter_finds_no_image_of_another_origin(make: MakeShim, store: ImageStore) -> None:
    client = make().client()
    client.pull("docker.io/a/b:1")
    assert [image.id for image in client.list_images("docker.io/a/b:1")] == [sha256("ab")]
    assert client.list_images("quay.io/a/b:1") == []


def test_a_tag_that_somebody_else_pulled_again_is_not_hidden(
    make: MakeShim, store: ImageStore
) -> None:
    client = make().client()
    client.pull("quay.io/a/b:1")
    store.names.clear()
    store.put("quay.io/a/b:1", "pulled past the shim")
    (found,) = client.list_images()
    assert list(found.repo_tags) == ["quay.io/a/b:1"]
    assert status(client, "quay.io/a/b:1") == found == status(client, found.id)
