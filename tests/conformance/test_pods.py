"""Pod sandboxes, and what the runtime says about itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.conformance.conftest import IN_V1, Endpoint, on
from tests.support.pods import NOT_READY, READY, Pod
from tests.support.runtime_client import RuntimeClient
from tests.support.runtime_messages import message

pytestmark = on(*IN_V1)


@pytest.fixture(scope="module")
def pod(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A pod that every spec here leaves as it is."""
    labels = {"app": "one", "of": endpoint.way}
    with endpoint.client() as client:
        made = Pod(client, tmp_path_factory.mktemp("logs"), labels=labels)
        yield made
        made.remove()


@pytest.fixture
def second(client: RuntimeClient, tmp_path: Path) -> Iterator[Pod]:
    """A pod for the spec to end."""
    made = Pod(client, tmp_path, labels={"app": "two"})
    yield made
    made.remove()


def found(client: RuntimeClient, **chosen: object) -> list[str]:
    return [item.id for item in client.call("ListPodSandbox", filter=chosen).items]


def refusal(client: RuntimeClient, method: str, **fields: object) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        client.call(method, **fields)
    return caught.value.code()


def test_version_names_the_runtime_and_the_version_that_is_spoken(client: RuntimeClient) -> None:
    answer = client.call("Version", version="0.1.0")
    assert (answer.version, answer.runtime_name) == ("0.1.0", "containerd")
    assert answer.runtime_version
    assert answer.runtime_api_version == client.version_spoken


def test_status_says_that_the_runtime_is_ready(client: RuntimeClient) -> None:
    answer = client.call("Status")
    assert [c.type for c in answer.status.conditions] == ["RuntimeReady", "NetworkReady"]
    assert answer.status.conditions[0].status
    assert not answer.info
    assert {"config", "golang"} <= set(client.call("Status", verbose=True).info)


def test_a_call_that_the_runtime_does_not_know_yet_is_unimplemented(client: RuntimeClient) -> None:
    for method in ("RuntimeConfig", "MadeUpTomorrow"):
        answer = client.raw(client.method(method))
        assert answer.code == grpc.StatusCode.UNIMPLEMENTED
        assert answer.details.startswith(f"unknown method {method} for service runtime.")
    with pytest.raises(grpc.RpcError) as caught:
        client.stream(client.method("GetContainerEvents"))
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_the_pod_network_can_be_told(client: RuntimeClient) -> None:
    answer = client.call(
        "UpdateRuntimeConfig", runtime_config={"network_config": {"pod_cidr": "10.9.0.0/24"}}
    )
    assert answer == message("UpdateRuntimeConfigResponse")


def test_a_sandbox_is_what_its_config_says(client: RuntimeClient, pod: Pod) -> None:
    status = client.call("PodSandboxStatus", pod_sandbox_id=pod.id).status
    assert status.id == pod.id
    assert status.state == READY
    assert status.created_at > 0
    assert status.metadata == message("PodSandboxMetadata", **pod.config["metadata"])
    assert dict(status.labels) == pod.config["labels"]
    assert dict(status.annotations) == pod.config["annotations"]
    assert status == client.call("PodSandboxStatus", pod_sandbox_id=pod.id[:12]).status
    verbose = client.call("PodSandboxStatus", pod_sandbox_id=pod.id, verbose=True)
    assert verbose.status == status
    assert '"pid"' in verbose.info["info"]


def test_the_same_sandbox_cannot_be_run_twice(client: RuntimeClient, pod: Pod) -> None:
    answer = client.outcome("RunPodSandbox", config=pod.config)
    assert answer.code != grpc.StatusCode.OK
    assert f"is reserved for {pod.id!r}".replace("'", '"') in answer.details.replace('\\"', '"')


def test_an_unknown_runtime_handler_is_refused(client: RuntimeClient, pod: Pod) -> None:
    config = {**pod.config, "metadata": {"name": "handled", "uid": "u", "namespace": "lab"}}
    answer = client.outcome("RunPodSandbox", config=config, runtime_handler="absent")
    assert answer.code != grpc.StatusCode.OK
    assert 'no runtime for "absent" is configured' in answer.details


def test_a_list_of_sandboxes_takes_every_filter(
    client: RuntimeClient, pod: Pod, second: Pod
) -> None:
    everything = found(client)
    assert {pod.id, second.id} <= set(everything)
    assert len(set(everything)) == len(everything)
    assert found(client, id=pod.id) == [pod.id]
    assert found(client, id=pod.id[:12]) == [pod.id]
    assert found(client, label_selector={"app": "two"}) == [second.id]
    assert found(client, label_selector={"app": "two", "pod": "other"}) == []
    assert found(client, id=pod.id, label_selector={"app": "two"}) == []
    client.call("StopPodSandbox", pod_sandbox_id=second.id)
    assert second.id in found(client, state={"state": NOT_READY})
    assert second.id not in found(client, state={"state": READY})
    (item,) = client.call("ListPodSandbox", filter={"id": second.id}).items
    assert item.state == NOT_READY
    assert dict(item.annotations) == second.config["annotations"]


def test_a_sandbox_is_stopped_and_removed_as_often_as_one_likes(
    client: RuntimeClient, second: Pod
) -> None:
    for _ in range(3):
        client.call("StopPodSandbox", pod_sandbox_id=second.id)
    assert client.call("PodSandboxStatus", pod_sandbox_id=second.id).status.state == NOT_READY
    for _ in range(3):
        client.call("RemovePodSandbox", pod_sandbox_id=second.id)
    assert refusal(client, "PodSandboxStatus", pod_sandbox_id=second.id) == (
        grpc.StatusCode.NOT_FOUND
    )
    assert found(client, id=second.id) == []


def test_what_needs_a_sandbox_fails_alike_without_one(client: RuntimeClient) -> None:
    for method in ("PodSandboxStatus", "PodSandboxStats", "PortForward", "CreateContainer"):
        assert refusal(client, method, pod_sandbox_id="absent") == grpc.StatusCode.NOT_FOUND
