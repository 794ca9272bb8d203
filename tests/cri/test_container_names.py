"""Answers about containers: no name of a held image in them where clients see original ones only."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest
from google.protobuf.message import Message

from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.decision import Registry
from tests.cri.image_store import ImageStore, sha256
from tests.cri.scripted import ScriptedUpstream, refuse, reply
from tests.cri.shim import Shim
from tests.support.cri_client import CRI

HUB = Registry("sealos.hub:5000", plain_http=True, offline=True, priority=1000)
RUNTIME = "/runtime.v1.RuntimeService/"
AB = sha256("ab manifest")
# Fields that the shim does not know, of containers and of messages: created_at, timestamp, ...
UNKNOWN = b"\xc0\x3e\x01"
HELD = "sealos.hub:5000/a/b"
ORIGINAL = "quay.io/a/b"


def container(name: str) -> cri_pb2.Container:
    made = cri_pb2.Container.FromString(UNKNOWN)
    made.image.image, made.image_ref = f"{name}:1", f"{name}@{AB}"
    return made


def status(name: str) -> cri_pb2.ContainerStatus:
    made = cri_pb2.ContainerStatus.FromString(UNKNOWN)
    made.image.image, made.image_ref = f"{name}:1", f"{name}@{AB}"
    mounted = made.mounts.add().image
    mounted.image, mounted.image_ref = f"{name}:1", f"{name}@{AB}"
    made.mounts.add()
    return made


ANSWERS: dict[str, Callable[[str], Message]] = {
    "ContainerStatus": lambda name: cri_pb2.ContainerStatusResponse(status=status(name)),
    "ListContainers": lambda name: cri_pb2.ListContainersResponse(containers=[container(name)] * 2),
    "StreamContainers": lambda name: cri_pb2.ListContainersResponse(containers=[container(name)]),
    "GetContainerEvents": lambda name: cri_pb2.ContainerEventResponse(
        containers_statuses=[status(name)] * 2
    ),
    "PodSandboxStatus": lambda name: cri_pb2.PodSandboxStatusResponse(
        containers_statuses=[status(name)]
    ),
}


@pytest.fixture
def make(upstream: ScriptedUpstream, make_shim: Callable[..., Shim]) -> Callable[[str], CRI]:
    """Return a function that starts a shim and pulls an image with it."""
    ImageStore(upstream).content = {f"{HELD}:1": "ab"}

    def start(names: str) -> CRI:
        client = make_shim(upstream.path, registries=[HUB], original_names=names).client()
        client.pull(f"{ORIGINAL}:1")
        assert client.image_status(f"{ORIGINAL}:1") is not None
        return client

    return start


@pytest.mark.parametrize("method", ANSWERS)
def test_only_the_original_name_is_told(
    make: Callable[[str], CRI], upstream: ScriptedUpstream, method: str
) -> None:
    held, original = ANSWERS[method](HELD), ANSWERS[method](ORIGINAL)
    told = held.SerializeToString() + UNKNOWN
    upstream.scripts[method] = reply(told, told)
    if method not in ("StreamContainers", "GetContainerEvents"):
        upstream.scripts[method] = reply(told)
    answers = make("only").stream(RUNTIME + method)
    assert len(answers) == (1 if method not in ("StreamContainers", "GetContainerEvents") else 2)
    for answer in answers:
        seen = type(original).FromString(answer)
        wanted = type(original).FromString(original.SerializeToString() + UNKNOWN)
        assert seen == wanted
        assert b"sealos" not in answer
        assert answer.count(UNKNOWN) == told.count(UNKNOWN)


@pytest.mark.parametrize("names", ["keep", "add"])
@pytest.mark.parametrize("method", ANSWERS)
def test_else_the_bytes_are_the_runtimes(
    make: Callable[[str], CRI], upstream: ScriptedUpstream, method: str, names: str
) -> None:
    # Fields in an unusual order, which a parser would put right; and nonsense.
    for told in (UNKNOWN + ANSWERS[method](HELD).SerializeToString(), b"\xff\xff"):
        upstream.scripts[method] = reply(told)
        assert make(names).stream(RUNTIME + method) == [told]


@pytest.mark.parametrize("method", ANSWERS)
@pytest.mark.parametrize("told", [b"", b"\xff\xff", UNKNOWN])
def test_what_tells_of_no_container_is_the_runtimes_too(
    make: Callable[[str], CRI], upstream: ScriptedUpstream, method: str, told: bytes
) -> None:
    upstream.scripts[method] = reply(told)
    assert make("only").stream(RUNTIME + method) == [told]


@pytest.mark.parametrize("method", ANSWERS)
def test_an_error_is_the_runtimes(
    make: Callable[[str], CRI], upstream: ScriptedUpstream, method: str
) -> None:
    upstream.scripts[method] = refuse(5, b"no such container")
    with pytest.raises(grpc.RpcError) as caught:
        make("only").stream(RUNTIME + method)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "no such container"


@pytest.mark.parametrize("name", ["sha256:" + "ab" * 32, "docker.io/other/image:1", "", "UPPER"])
def test_what_nobody_rewrote_stays(
    make: Callable[[str], CRI], upstream: ScriptedUpstream, name: str
) -> None:
    answer = cri_pb2.ContainerStatusResponse()
    answer.status.image.image = answer.status.image_ref = name
    told = UNKNOWN + answer.SerializeToString()
    upstream.scripts["ContainerStatus"] = reply(told)
    assert make("only").stream(f"{RUNTIME}ContainerStatus") == [told]


def test_a_method_of_that_name_of_another_service_is_left_alone(
    make: Callable[[str], CRI], upstream: ScriptedUpstream
) -> None:
    told = ANSWERS["ListContainers"](HELD).SerializeToString()
    upstream.scripts["ListContainers"] = reply(told)
    assert make("only").stream("/runtime.v1.ImageService/ListContainers") == [told]
