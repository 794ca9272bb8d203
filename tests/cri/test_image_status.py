"""ImageStatus, RemoveImage and ListImages: answered from what the runtime has, never by waiting."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.decision import Decision, Registry
from tests.cri.scripted import Script, ScriptedUpstream, UpstreamCall, frame, refuse, reply
from tests.cri.shim import IMAGES, Shim
from tests.support.cri_client import CRI

OFFLINE = Registry("sealos.hub:5000", plain_http=True, offline=True, priority=1000)
HARBOR = Registry("harbor.corp")
HUB_NGINX = "sealos.hub:5000/library/nginx:1.25"
HARBOR_NGINX = "harbor.corp/library/nginx:1.25"
# A name that may be the beginning of an image ID, too.
HUB_DD8 = "sealos.hub:5000/library/dd8:latest"
ID = "sha256:" + "ab" * 32
OTHER_ID = "sha256:" + "cd" * 32
DD8_ID = "sha256:dd8" + "0" * 61


class Node:
    """A scripted runtime that holds images by name, and answers as a runtime does."""

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self.upstream = upstream
        self.held: dict[str, str] = {}
        # A field of ImageStatusResponse that the shim does not know: `info`.
        self.unknown = b"\x12\x04\x0a\x02ab"
        upstream.scripts["ImageStatus"] = self._status
        upstream.scripts["RemoveImage"] = self._remove
        upstream.scripts["ListImages"] = self._list

    def asked(self, method: str = "ImageStatus") -> list[str]:
        """Return the images that the runtime was asked about, in order."""
        return [_image(call) for call in self.upstream.of(method)]

    def id_of(self, image: str) -> str | None:
        if image in self.held:
            return self.held[image]
        bare = image.removeprefix("sha256:")
        return next(
            (i for i in self.held.values() if bare and i.removeprefix("sha256:").startswith(bare)),
            None,
        )

    async def _status(self, call: UpstreamCall) -> None:
        await call.request()
        answer = cri_pb2.ImageStatusResponse()
        found = self.id_of(_image(call))
        if found:
            answer.image.id = found
        await reply(answer.SerializeToString() + self.unknown, first=[(b"x-by", b"node")])(call)

    async def _remove(self, call: UpstreamCall) -> None:
        await call.request()
        found = self.id_of(_image(call))
        self.held = {name: i for name, i in self.held.items() if i != found}
        await reply(b"")(call)

    async def _list(self, call: UpstreamCall) -> None:
        await call.request()
        request = cri_pb2.ListImagesRequest.FromString(call.message)
        wanted = request.filter.image.image
        answer = cri_pb2.ListImagesResponse()
        for name, found in self.held.items():
            if not wanted or name == wanted:
                answer.images.add(id=found, repo_tags=[name])
        await reply(answer.SerializeToString())(call)


def _image(call: UpstreamCall) -> str:
    if call.method == "ListImages":
        return str(cri_pb2.ListImagesRequest.FromString(call.message).filter.image.image)
    return str(cri_pb2.ImageStatusRequest.FromString(call.message).image.image)


async def never_asked(image: str) -> Decision:
    raise AssertionError(f"a local question went to the registries: {image}")


@pytest.fixture
def shim(upstream: ScriptedUpstream, make_shim: Callable[..., Shim]) -> Shim:
    shim = make_shim(upstream.path, registries=[HARBOR, OFFLINE])
    shim.resolve = never_asked
    return shim


@pytest.fixture
def node(upstream: ScriptedUpstream) -> Node:
    return Node(upstream)


def test_an_image_from_the_first_registry_costs_one_question(client: CRI, node: Node) -> None:
    node.held = {HUB_NGINX: ID}
    found = client.image_status("nginx:1.25")
    assert found is not None
    assert found.id == ID
    assert node.asked() == [HUB_NGINX]


def test_the_answer_goes_back_as_the_runtime_gave_it(client: CRI, node: Node) -> None:
    node.held = {HUB_NGINX: ID}
    question = cri_pb2.ImageStatusRequest(verbose=True)
    question.image.image = "nginx:1.25"
    answer = client.raw(f"{IMAGES}ImageStatus", question.SerializeToString())
    assert answer.body.endswith(node.unknown)
    assert ("x-by", "node") in answer.initial_metadata
    asked = cri_pb2.ImageStatusRequest.FromString(node.upstream.next_call().message)
    assert asked.verbose


def test_unknown_fields_of_the_question_reach_the_runtime(client: CRI, node: Node) -> None:
    # ImageSpec.annotations (2), user_specified_image (18); and a field nobody knows yet.
    spec = b"\x0a\x0anginx:1.25" + b"\x12\x06\x0a\x01a\x12\x01b" + b"\x92\x01\x01u"
    body = b"\x0a" + bytes([len(spec)]) + spec + b"\x7a\x01z"
    client.raw(f"{IMAGES}ImageStatus", body)
    for call in node.upstream.of("ImageStatus"):
        assert b"\x12\x06\x0a\x01a\x12\x01b" in call.message
        assert b"\x92\x01\x01u" in call.message
        assert b"\x7a\x01z" in call.message


def test_the_names_are_asked_in_order_and_as_written_last(client: CRI, node: Node) -> None:
    assert client.image_status("nginx:1.25") is None
    assert node.asked() == [HUB_NGINX, HARBOR_NGINX, "nginx:1.25"]


def test_the_first_name_that_is_present_is_the_answer(client: CRI, node: Node) -> None:
    node.held = {HARBOR_NGINX: ID, "nginx:1.25": OTHER_ID}
    found = client.image_status("nginx:1.25")
    assert found is not None
    assert found.id == ID
    assert node.asked() == [HUB_NGINX, HARBOR_NGINX]


def test_the_name_that_was_present_last_is_asked_first(client: CRI, node: Node) -> None:
    node.held = {"nginx:1.25": ID}
    assert client.image_status("nginx:1.25") is not None
    assert client.image_status("nginx:1.25") is not None
    assert node.asked() == [HUB_NGINX, HARBOR_NGINX, "nginx:1.25", "nginx:1.25"]


def test_a_wrong_memory_costs_a_question_and_no_wrong_answer(client: CRI, node: Node) -> None:
    node.held = {HARBOR_NGINX: ID}
    assert client.image_status("nginx:1.25") is not None
    node.held = {HUB_NGINX: ID}
    node.upstream.calls.clear()
    assert client.image_status("nginx:1.25") is not None
    assert node.asked() == [HARBOR_NGINX, HUB_NGINX]


def test_a_name_of_a_configured_registry_is_asked_for_as_it_is(client: CRI, node: Node) -> None:
    assert client.image_status("harbor.corp/a/b:1") is None
    assert node.asked() == ["harbor.corp/a/b:1"]


@pytest.mark.parametrize("image", [ID, "ab" * 32])
@pytest.mark.parametrize("method", ["ImageStatus", "RemoveImage", "ListImages"])
def test_an_id_goes_as_it_is(client: CRI, node: Node, image: str, method: str) -> None:
    node.held = {HUB_NGINX: ID}
    spec = cri_pb2.ImageSpec(image=image)
    if method == "ListImages":
        body = cri_pb2.ListImagesRequest(filter=cri_pb2.ImageFilter(image=spec))
    else:
        body = cri_pb2.ImageStatusRequest(image=spec)
    assert client.raw(IMAGES + method, body.SerializeToString()).code is grpc.StatusCode.OK
    assert [call.method for call in node.upstream.calls] == [method]
    assert node.asked(method) == [image]


def test_a_short_id_is_one_when_no_such_name_is_present(client: CRI, node: Node) -> None:
    node.held = {HUB_NGINX: ID}
    found = client.image_status("abab")
    assert found is not None
    assert found.id == ID
    assert node.asked() == [
        "sealos.hub:5000/library/abab:latest",
        "harbor.corp/library/abab:latest",
        "abab",
    ]


def test_a_name_goes_before_the_id_that_begins_like_it(client: CRI, node: Node) -> None:
    node.held = {HUB_NGINX: DD8_ID, HUB_DD8: ID}
    found = client.image_status("dd8")
    assert found is not None
    assert found.id == ID
    assert node.asked() == [HUB_DD8]


def test_a_short_id_is_not_remembered_as_a_name(client: CRI, node: Node) -> None:
    node.held = {HUB_NGINX: DD8_ID}
    assert client.image_status("dd8") is not None
    node.held[HUB_DD8] = ID
    found = client.image_status("dd8")
    assert found is not None
    assert found.id == ID


def test_an_absent_name_that_looks_like_a_short_id_is_asked_for_once(
    client: CRI, node: Node
) -> None:
    assert client.image_status("cafe") is None
    assert node.asked() == [
        "sealos.hub:5000/library/cafe:latest",
        "harbor.corp/library/cafe:latest",
        "cafe",
    ]


def test_what_is_no_reference_goes_to_the_runtime(client: CRI, node: Node) -> None:
    client.raw(f"{IMAGES}ImageStatus", b"\x0a\x07\x0a\x05UPPER")
    client.raw(f"{IMAGES}ImageStatus", b"")
    assert node.asked() == ["UPPER", ""]


def test_not_found_for_one_name_is_no_answer_for_the_others(
    client: CRI, node: Node, upstream: ScriptedUpstream
) -> None:
    status = upstream.scripts["ImageStatus"]

    async def strict(call: UpstreamCall) -> None:
        if _image(call) in node.held:
            await status(call)
        else:
            await refuse(5, b"no such image")(call)

    upstream.scripts["ImageStatus"] = strict
    node.held = {HARBOR_NGINX: ID}
    assert client.image_status("nginx:1.25") is not None
    node.held = {}
    with pytest.raises(grpc.RpcError) as caught:
        client.image_status("nginx:1.25")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "no such image"


def failing(node: Node, errors: dict[str, Script]) -> None:
    """Let the runtime answer with an error for some names."""
    status = node.upstream.scripts["ImageStatus"]

    async def script(call: UpstreamCall) -> None:
        await call.request()
        await errors.get(_image(call), status)(call)

    node.upstream.scripts["ImageStatus"] = script


def test_an_error_about_one_name_does_not_hide_the_image_under_another(
    client: CRI, node: Node
) -> None:
    node.held = {"nginx:1.25": ID}
    failing(node, {HUB_NGINX: refuse(2, b"bad reference")})
    found = client.image_status("nginx:1.25")
    assert found is not None
    assert found.id == ID
    assert node.asked() == [HUB_NGINX, HARBOR_NGINX, "nginx:1.25"]


def test_an_error_about_one_name_does_not_keep_the_image_from_being_removed(
    client: CRI, node: Node
) -> None:
    node.held = {HARBOR_NGINX: ID}
    failing(node, {HUB_NGINX: refuse(2, b"bad reference")})
    client.remove_image("nginx:1.25")
    assert node.held == {}


def test_the_first_error_is_the_answer_when_nothing_is_found(client: CRI, node: Node) -> None:
    broken = refuse(13, b"broken store", (b"x-why", b"disk"))
    failing(node, {HUB_NGINX: refuse(5), HARBOR_NGINX: broken, "nginx:1.25": refuse(2, b"other")})
    answer = client.raw(f"{IMAGES}ImageStatus", b"\x0a\x0c\x0a\x0anginx:1.25")
    assert (answer.code, answer.details) == (grpc.StatusCode.INTERNAL, "broken store")
    assert ("x-why", "disk") in answer.trailing_metadata
    assert node.asked() == [HUB_NGINX, HARBOR_NGINX, "nginx:1.25"]


def test_removing_removes_the_name_that_is_present(client: CRI, node: Node) -> None:
    node.held = {HARBOR_NGINX: ID}
    client.remove_image("nginx:1.25")
    assert node.held == {}
    assert node.asked("RemoveImage") == [HARBOR_NGINX]


def test_removing_what_is_absent_is_no_error(client: CRI, node: Node) -> None:
    client.remove_image("nginx:1.25")
    client.remove_image("nginx:1.25")
    assert node.asked("RemoveImage") == ["nginx:1.25", "nginx:1.25"]


def test_removing_by_short_id_removes_that_image(client: CRI, node: Node) -> None:
    node.held = {HUB_NGINX: ID, HUB_DD8: OTHER_ID}
    client.remove_image("abab")
    assert node.asked("RemoveImage") == ["abab"]
    assert list(node.held) == [HUB_DD8]


def test_removing_a_name_leaves_the_image_alone_whose_id_begins_like_it(
    client: CRI, node: Node
) -> None:
    node.held = {HUB_NGINX: DD8_ID, HUB_DD8: ID}
    client.remove_image("dd8")
    assert node.asked("RemoveImage") == [HUB_DD8]
    assert list(node.held) == [HUB_NGINX]


def test_unknown_fields_of_a_removal_reach_the_runtime(client: CRI, node: Node) -> None:
    node.held = {HUB_NGINX: ID}
    spec = b"\x0a\x0anginx:1.25" + b"\x92\x01\x01u"
    client.raw(f"{IMAGES}RemoveImage", b"\x0a" + bytes([len(spec)]) + spec + b"\x7a\x01z")
    message = node.upstream.of("RemoveImage")[0].message
    assert _image(node.upstream.of("RemoveImage")[0]) == HUB_NGINX
    assert b"\x92\x01\x01u" in message
    assert b"\x7a\x01z" in message


def test_a_list_without_a_filter_is_one_question(client: CRI, node: Node) -> None:
    node.held = {HUB_NGINX: ID, "other:1": OTHER_ID}
    assert [image.id for image in client.list_images()] == [ID, OTHER_ID]
    assert len(node.upstream.calls) == 1


def test_a_list_with_a_filter_merges_the_names_without_doubles(client: CRI, node: Node) -> None:
    node.held = {HUB_NGINX: ID, HARBOR_NGINX: ID, "nginx:1.25": OTHER_ID, "redis:7": "x"}
    assert [image.id for image in client.list_images("nginx:1.25")] == [ID, OTHER_ID]
    assert node.asked("ListImages") == [HUB_NGINX, HARBOR_NGINX, "nginx:1.25"]


def test_an_error_of_one_list_is_the_answer(client: CRI, upstream: ScriptedUpstream) -> None:
    upstream.scripts["ListImages"] = refuse(8, b"too many")
    with pytest.raises(grpc.RpcError) as caught:
        client.list_images("nginx:1.25")
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.details() == "too many"


def test_a_pulled_name_is_asked_for_first(client: CRI, node: Node, shim: Shim) -> None:
    node.upstream.scripts["PullImage"] = reply(
        cri_pb2.PullImageResponse(image_ref=ID).SerializeToString()
    )

    async def harbor(image: str) -> Decision:
        return Decision((shim.policy.candidates(image)[1],))

    shim.resolve = harbor
    client.pull("nginx:1.25")
    node.held = {HARBOR_NGINX: ID}
    assert client.image_status("nginx:1.25") is not None
    assert node.asked() == [HARBOR_NGINX]


def test_the_clients_message_goes_as_it_is_when_only_one_name_is_possible(
    client: CRI, node: Node
) -> None:
    # Fields in an unusual order, which a parser would put right.
    body = b"\x10\x01\x0a\x13\x0a\x11harbor.corp/a/b:1"
    client.raw(f"{IMAGES}ImageStatus", body)
    assert node.upstream.next_call().body == frame(body)
