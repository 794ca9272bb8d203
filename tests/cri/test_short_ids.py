"""A name that looks like the beginning of an image ID is never taken for another image."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.decision import Decision
from tests.cri.scripted import ScriptedUpstream, UpstreamCall, refuse, reply
from tests.cri.shim import Shim
from tests.cri.test_image_status import HARBOR, HUB_NGINX, ID, OFFLINE, Node, _image
from tests.support.cri_client import CRI

HUB_CAFE = "sealos.hub:5000/library/cafe:latest"
VICTIM = "sha256:cafe" + "0" * 60


@pytest.fixture
def shim(upstream: ScriptedUpstream, make_shim: Callable[..., Shim]) -> Shim:
    return make_shim(upstream.path, registries=[HARBOR, OFFLINE])


def test_what_was_pulled_by_such_a_name_is_not_remembered_as_it(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    node = Node(upstream)
    pulled = cri_pb2.PullImageResponse(image_ref=ID).SerializeToString()
    upstream.scripts["PullImage"] = reply(pulled)

    async def origin(image: str) -> Decision:
        return Decision(shim.policy.candidates(image)[-1:])

    shim.resolve = origin
    client.pull("cafe")
    node.held = {HUB_NGINX: VICTIM, HUB_CAFE: ID}
    client.remove_image("cafe")
    assert list(node.held) == [HUB_NGINX]


def test_an_error_about_the_name_does_not_make_it_an_id(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    node = Node(upstream)
    status = upstream.scripts["ImageStatus"]

    async def failing(call: UpstreamCall) -> None:
        await call.request()
        await (refuse(13, b"broken") if _image(call) == HUB_CAFE else status)(call)

    upstream.scripts["ImageStatus"] = failing
    node.held = {HUB_NGINX: VICTIM, HUB_CAFE: ID}
    with pytest.raises(grpc.RpcError) as caught:
        client.remove_image("cafe")
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert HUB_NGINX in node.held
