"""grpcio gets byte for byte what the runtime sends: message, metadata, status, text, details."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import grpc
import pytest

from tests.conformance.conftest import Endpoint, on
from tests.conformance.images import BUSYBOX, BUSYBOX_NAME, ONE, TWO
from tests.support.cri_client import Answer
from tests.support.pods import Pod
from tests.support.runtime_client import RuntimeClient
from tests.support.runtime_messages import message, parse

pytestmark = on("passing-v1", "rewriting-v1")

ONE_NAME = "origin.test/lab/one:1"
ABSENT = "origin.test/lab/absent:1"

# Method and fields; POD and CONTAINER stand for the IDs of those that run. Everything here gives
# the same answer each time it is asked.
POD, CONTAINER = "<pod>", "<container>"
SH = ["/bin/sh", "-c"]
CALLS: list[tuple[str, dict[str, object]]] = [
    ("Version", {}),
    ("Version", {"version": "0.1.0"}),
    ("Status", {}),
    ("RuntimeConfig", {}),
    ("UpdateRuntimeConfig", {"runtime_config": {"network_config": {"pod_cidr": "10.9.0.0/24"}}}),
    ("ListImages", {}),
    ("ListImages", {"filter": {"image": {"image": ONE_NAME}}}),
    ("ListImages", {"filter": {"image": {"image": ""}}}),
    ("ImageStatus", {"image": {"image": ONE_NAME}}),
    ("ImageStatus", {"image": {"image": ONE_NAME}, "verbose": True}),
    ("ImageStatus", {"image": {"image": ONE.config_digest}, "verbose": True}),
    ("ImageStatus", {"image": {"image": f"origin.test/lab/one@{ONE.manifest_digest}"}}),
    ("ImageStatus", {"image": {"image": ABSENT}}),
    ("ImageStatus", {"image": {"image": "UPPER/Case"}}),
    ("ImageStatus", {"image": {"image": ""}}),
    ("ImageStatus", {}),
    ("RemoveImage", {"image": {"image": ABSENT}}),
    ("RemoveImage", {}),
    ("PullImage", {"image": {"image": ABSENT}}),
    ("PullImage", {"image": {"image": "UPPER/Case"}}),
    ("PullImage", {"image": {"image": ONE.config_digest}}),
    ("PullImage", {}),
    ("PodSandboxStatus", {"pod_sandbox_id": POD}),
    ("PodSandboxStatus", {"pod_sandbox_id": "absent"}),
    ("ListPodSandbox", {}),
    ("ListPodSandbox", {"filter": {"id": "absent"}}),
    ("StopPodSandbox", {"pod_sandbox_id": "absent"}),
    ("RemovePodSandbox", {"pod_sandbox_id": "absent"}),
    ("RunPodSandbox", {}),
    ("PodSandboxStats", {"pod_sandbox_id": POD}),
    ("PodSandboxStats", {"pod_sandbox_id": "absent"}),
    ("CreateContainer", {"pod_sandbox_id": "absent"}),
    ("CreateContainer", {"pod_sandbox_id": POD}),
    ("StartContainer", {"container_id": CONTAINER}),
    ("StartContainer", {"container_id": "absent"}),
    ("StopContainer", {"container_id": "absent"}),
    ("RemoveContainer", {"container_id": "absent"}),
    ("ListContainers", {}),
    ("ListContainers", {"filter": {"pod_sandbox_id": POD, "state": {"state": 1}}}),
    ("ContainerStatus", {"container_id": CONTAINER}),
    ("ContainerStatus", {"container_id": CONTAINER, "verbose": True}),
    ("ContainerStatus", {"container_id": "absent"}),
    ("UpdateContainerResources", {"container_id": CONTAINER, "linux": {"cpu_shares": 300}}),
    ("UpdateContainerResources", {"container_id": "absent"}),
    ("ReopenContainerLog", {"container_id": CONTAINER}),
    ("ReopenContainerLog", {"container_id": "absent"}),
    ("ExecSync", {"container_id": CONTAINER, "cmd": [*SH, "echo out; echo err >&2; exit 3"]}),
    ("ExecSync", {"container_id": CONTAINER, "cmd": [*SH, "echo $0", 4000 * "long "]}),
    ("ExecSync", {"container_id": CONTAINER, "cmd": ["/bin/absent"]}),
    ("ExecSync", {"container_id": CONTAINER}),
    ("ExecSync", {"container_id": "absent", "cmd": ["/bin/sh"]}),
    ("Exec", {"container_id": CONTAINER, "cmd": ["/bin/sh"]}),
    ("Attach", {"container_id": "absent", "stdout": True}),
    ("PortForward", {"pod_sandbox_id": "absent", "port": [80]}),
    ("ContainerStats", {"container_id": "absent"}),
    ("ListContainerStats", {"filter": {"id": "absent"}}),
    ("ListPodSandboxStats", {"filter": {"id": "absent"}}),
]


NUMBER = re.compile(r"[0-9a-f]{64}")
LISTS = {"ListImages": "images", "ListPodSandbox": "items", "ListContainers": "containers"}


@pytest.fixture(scope="module")
def container(
    endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Pod, str]]:
    """A container on a node whose images came from the origins, as before there was a shim."""
    lab = endpoint.lab
    lab.play_origins(lab.public)
    with RuntimeClient(lab.runtime.socket) as direct:
        for image in direct.images():
            direct.remove(image.id)
        assert direct.pull(BUSYBOX_NAME) == BUSYBOX.config_digest
        assert direct.pull(ONE_NAME) == ONE.config_digest
        made = Pod(direct, tmp_path_factory.mktemp("logs"))
        yield made, made.run(BUSYBOX_NAME, "/bin/busybox", "sleep", "1000")
        made.remove()


@pytest.fixture
def direct(endpoint: Endpoint) -> Iterator[RuntimeClient]:
    with RuntimeClient(endpoint.lab.runtime.socket, endpoint.version) as client:
        yield client


def filled(value: object, pod: str, container: str) -> object:
    """Return `value` with the IDs in the places of POD and CONTAINER."""
    if isinstance(value, dict):
        return {name: filled(inner, pod, container) for name, inner in value.items()}
    return {POD: pod, CONTAINER: container}.get(value, value) if isinstance(value, str) else value


def items(method: str, answer: Answer) -> list[bytes]:
    """Return the bytes of each item of a list, in the order of their bytes."""
    found = getattr(parse(f"{method}Response", answer.body), LISTS[method])
    return sorted(item.SerializeToString() for item in found)


@pytest.mark.parametrize(("method", "fields"), CALLS)
def test_an_answer_of_containerd_arrives_as_it_is(
    client: RuntimeClient,
    direct: RuntimeClient,
    container: tuple[Pod, str],
    method: str,
    fields: dict[str, object],
) -> None:
    pod, running = container
    request = filled(fields, pod.id, running)
    found, expected = (one.outcome(method, **request) for one in (client, direct))
    if method in LISTS:
        # The runtime lists in any order.
        assert items(method, found) == items(method, expected)
        found, expected = replace(found, body=b""), replace(expected, body=b"")
    if method == "ExecSync":
        # A command that could not be run has an ID of its own in the text.
        found, expected = (
            replace(one, details=NUMBER.sub("*", one.details)) for one in (found, expected)
        )
    assert found == expected


def test_the_calls_are_successes_and_failures_of_all_kinds(
    direct: RuntimeClient, container: tuple[Pod, str]
) -> None:
    pod, running = container
    codes = [
        direct.outcome(method, **filled(fields, pod.id, running)).code for method, fields in CALLS
    ]
    assert codes.count(grpc.StatusCode.OK) > 20
    assert len(set(codes)) >= 5


@pytest.mark.parametrize(
    "body",
    [b"\xff", b"\x0a\xff", b"\x0a\x05\x0a\x03\xff\xfe\xfd", b"\x08\x01", b"\x9a\x3e\x03new"],
    ids=["no tag", "cut short", "no text", "wrong type", "unknown field"],
)
@pytest.mark.parametrize("method", ["Version", "ContainerStatus"])
def test_what_is_no_request_is_the_runtimes_refusal(
    client: RuntimeClient, direct: RuntimeClient, method: str, body: bytes
) -> None:
    path = client.method(method)
    assert client.raw(path, body) == direct.raw(path, body)


@pytest.mark.parametrize("path", ["/made.up.Service/Call", "/runtime.v9.ImageService/Call"])
def test_what_nobody_serves_is_the_runtimes_refusal(
    client: RuntimeClient, direct: RuntimeClient, path: str
) -> None:
    assert client.raw(path, b"anything") == direct.raw(path, b"anything")


def test_a_pull_that_succeeds_answers_the_same(
    client: RuntimeClient, direct: RuntimeClient, container: tuple[Pod, str]
) -> None:
    request = {"image": {"image": "origin.test/lab/two:1"}}
    answers = []
    for one in (direct, client):
        answers.append(one.outcome("PullImage", **request))
        assert one.outcome("RemoveImage", **request).code == grpc.StatusCode.OK
    assert answers[0] == answers[1]
    expected = message("PullImageResponse", image_ref=TWO.config_digest)
    assert answers[0].body == expected.SerializeToString()
