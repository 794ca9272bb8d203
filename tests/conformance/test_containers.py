"""Containers: made from any name of an image, observed, changed, stopped and removed."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import grpc
import pytest

from tests.conformance.conftest import IN_V1, Endpoint, on
from tests.conformance.images import BUSYBOX, BUSYBOX_NAME
from tests.support.pods import CREATED, EXITED, RUNNING, Pod
from tests.support.processes import wait_until
from tests.support.runtime_client import RuntimeClient
from tests.support.runtime_messages import message

pytestmark = on(*IN_V1)

DIGEST_NAME = f"origin.test/lab/busybox@{BUSYBOX.manifest_digest}"
SLEEP = ("/bin/busybox", "sleep", "1000")
LOG_LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(?:Z|[+-]\d\d:\d\d) (stdout|stderr) F (.*)"
)


@pytest.fixture(scope="module")
def pod(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A pod on a node that has pulled what its containers need."""
    with endpoint.client() as client:
        for image in client.images():
            client.remove(image.id)
        made = Pod(client, tmp_path_factory.mktemp("logs"))
        for _ in range(3):
            assert client.pull(BUSYBOX_NAME) == BUSYBOX.config_digest
            if is_whole(client, made):
                break
            client.remove(BUSYBOX.config_digest)
        else:
            pytest.fail("no container can be made from what was pulled, three times in a row")
        yield made
        made.remove()


def is_whole(client: RuntimeClient, pod: Pod) -> bool:
    """Tell whether a container can be made from what was pulled.

    containerd 1.6 may throw a layer away, after an image with it was removed, that the next pull
    has found to be there.
    """
    try:
        container = pod.create(BUSYBOX_NAME, *SLEEP, name="whole")
    except grpc.RpcError as error:
        if "failed to get reader from content store" not in error.details():
            raise
        return False
    client.call("RemoveContainer", container_id=container)
    return True


@pytest.fixture(scope="module")
def container(pod: Pod) -> str:
    """A running container that every spec here leaves as it is."""
    script = "echo out; echo err >&2; while true; do /bin/busybox sleep 0.05; echo more; done"
    return pod.run(BUSYBOX_NAME, "/bin/sh", "-c", script, name="shared")


def execute(client: RuntimeClient, container: str, *command: str, timeout: int = 0):
    return client.call("ExecSync", container_id=container, cmd=list(command), timeout=timeout)


def found(client: RuntimeClient, **chosen: object) -> list[str]:
    return [item.id for item in client.call("ListContainers", filter=chosen).containers]


def logged(pod: Pod, name: str) -> list[tuple[str, str]]:
    """Return the lines of a container's log: stream and text."""
    lines = (pod.logs / f"{name}.log").read_text().splitlines()
    matches = [LOG_LINE.fullmatch(line) for line in lines]
    assert all(matches), lines
    return [(match[1], match[2]) for match in matches if match]


@pytest.mark.parametrize(
    "name",
    [BUSYBOX_NAME, DIGEST_NAME, BUSYBOX.config_digest, BUSYBOX.config_digest[7:]],
    ids=["tag", "digest", "id", "hex id"],
)
def test_a_container_is_made_from_any_name_of_its_image(
    client: RuntimeClient, pod: Pod, name: str
) -> None:
    container = pod.run(name, *SLEEP, name="named")
    try:
        status = pod.status(container)
        assert status.state == RUNNING
        # The runtime tells how it names the image, whatever it was asked with.
        assert status.image.image == BUSYBOX_NAME
        assert status.image_ref == DIGEST_NAME
        (listed,) = client.call("ListContainers", filter={"id": container}).containers
        assert listed.image.image == name
        assert listed.image_ref == BUSYBOX.config_digest
    finally:
        client.call("RemoveContainer", container_id=container)


def test_a_container_is_made_from_what_a_kubelet_learnt(client: RuntimeClient, pod: Pod) -> None:
    """It sends the reference of the status, and the name that the pod was written with."""
    ref = client.pull(BUSYBOX_NAME, timeout=None)
    status = client.status_of(BUSYBOX_NAME)
    assert status == client.status_of(BUSYBOX_NAME)
    assert status.id == ref
    spec = {"image": status.id, "user_specified_image": BUSYBOX_NAME}
    container = pod.run(spec, *SLEEP, name="kubelet")
    answer = pod.status(container)
    assert (answer.image.image, answer.image_ref) == (BUSYBOX_NAME, DIGEST_NAME)
    # By what it finds there it knows which images are in use.
    assert client.status_of(answer.image_ref) == status
    client.call("RemoveContainer", container_id=container)


def test_a_container_outlives_the_names_of_its_image(client: RuntimeClient, pod: Pod) -> None:
    name = "origin.test/lab/busybox:removed"
    client.pull(name)
    container = pod.run(name, *SLEEP, name="outlives")
    client.remove(BUSYBOX.config_digest)
    try:
        assert client.status_of(name) is None
        status = pod.status(container)
        assert (status.state, status.image.image) == (RUNNING, name)
        assert status.image_ref == BUSYBOX.config_digest
        (listed,) = client.call("ListContainers", filter={"id": container}).containers
        assert (listed.image.image, listed.image_ref) == (name, BUSYBOX.config_digest)
    finally:
        client.call("RemoveContainer", container_id=container)
        client.pull(BUSYBOX_NAME)


def test_a_container_of_an_absent_image_is_refused(client: RuntimeClient, pod: Pod) -> None:
    name = "origin.test/lab/absent:1"
    with pytest.raises(grpc.RpcError) as caught:
        pod.create(name, *SLEEP, name="refused")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert f'failed to resolve image "{name}"' in caught.value.details().replace('\\"', '"')
    assert found(client, label_selector={"name": "refused"}) == []


def test_a_status_tells_all_that_the_config_said(
    client: RuntimeClient, pod: Pod, container: str
) -> None:
    status = pod.status(container)
    assert status.id == container
    assert status.metadata == message("ContainerMetadata", name="shared")
    assert 0 < status.created_at < status.started_at
    assert status.finished_at == 0
    assert dict(status.labels) == {"name": "shared"}
    assert dict(status.annotations) == {"note": "kept as well"}
    assert status.log_path == str(pod.logs / "shared.log")
    verbose = client.call("ContainerStatus", container_id=container, verbose=True)
    assert verbose.status == status
    assert pod.id in verbose.info["info"]


def test_a_container_goes_through_its_states(client: RuntimeClient, pod: Pod) -> None:
    container = pod.create(BUSYBOX_NAME, *SLEEP, name="states")
    assert pod.status(container).state == CREATED
    client.call("StartContainer", container_id=container)
    assert pod.status(container).state == RUNNING
    for _ in range(3):
        client.call("StopContainer", container_id=container, timeout=0)
    status = pod.status(container)
    assert (status.state, status.exit_code, status.reason) == (EXITED, 137, "Error")
    assert 0 < status.started_at < status.finished_at
    for _ in range(3):
        client.call("RemoveContainer", container_id=container)
    with pytest.raises(grpc.RpcError) as caught:
        pod.status(container)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_running_container_is_removed_by_force(client: RuntimeClient, pod: Pod) -> None:
    container = pod.run(BUSYBOX_NAME, *SLEEP, name="forced")
    client.call("RemoveContainer", container_id=container)
    assert found(client, id=container) == []


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7)])
def test_how_a_container_ended_is_told(pod: Pod, script: str, code: int) -> None:
    name = f"ended{code}"
    container = pod.run(BUSYBOX_NAME, "/bin/sh", "-c", f"echo said; {script}", name=name)
    assert wait_until(lambda: pod.status(container).state == EXITED, 10)
    status = pod.status(container)
    assert (status.exit_code, status.reason) == (code, "Error" if code else "Completed")
    assert wait_until(lambda: logged(pod, name) == [("stdout", "said")], 10)


def test_a_list_of_containers_takes_every_filter(
    client: RuntimeClient, pod: Pod, container: str
) -> None:
    other = pod.create(BUSYBOX_NAME, *SLEEP, name="listed")
    assert set(found(client)) == set(found(client, pod_sandbox_id=pod.id))
    assert {container, other} <= set(found(client))
    assert found(client, id=other) == [other]
    assert found(client, id=other[:12]) == [other]
    assert found(client, label_selector={"name": "listed"}) == [other]
    assert other in found(client, state={"state": CREATED})
    assert other not in found(client, state={"state": RUNNING})
    assert found(client, id=other, label_selector={"name": "shared"}) == []
    assert found(client, pod_sandbox_id="absent") == []
    (item,) = client.call("ListContainers", filter={"id": other}).containers
    assert item.pod_sandbox_id == pod.id
    assert item.image.image == BUSYBOX_NAME
    client.call("RemoveContainer", container_id=other)


def test_a_command_in_a_container_returns_what_it_wrote(
    client: RuntimeClient, container: str
) -> None:
    answer = execute(client, container, "/bin/sh", "-c", "echo out; echo err >&2; exit 3")
    assert (answer.stdout, answer.stderr, answer.exit_code) == (b"out\n", b"err\n", 3)
    # 8 bits, zeros, and more than one frame of HTTP/2.
    answer = execute(client, container, "/bin/busybox", "dd", "if=/dev/zero", "bs=1k", "count=300")
    assert (answer.stdout, answer.exit_code) == (bytes(300 * 1024), 0)


def test_a_command_that_takes_too_long_is_cut_off(client: RuntimeClient, container: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        execute(client, container, *SLEEP, timeout=1)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert caught.value.details().startswith("failed to exec in container: timeout 1s exceeded")


def test_a_command_that_is_not_there_is_the_runtimes_error(
    client: RuntimeClient, container: str
) -> None:
    answer = client.outcome("ExecSync", container_id=container, cmd=["/bin/absent"])
    assert answer.code == grpc.StatusCode.UNKNOWN
    assert "/bin/absent" in answer.details


def test_what_a_container_writes_is_logged_in_the_format_of_the_cri(
    client: RuntimeClient, pod: Pod, container: str
) -> None:
    begin = [("stdout", "out"), ("stderr", "err"), ("stdout", "more")]
    assert wait_until(lambda: sorted(logged(pod, "shared")[:3]) == sorted(begin), 10)


def test_a_log_is_reopened_after_it_was_moved(
    client: RuntimeClient, pod: Pod, container: str
) -> None:
    log = pod.logs / "shared.log"
    log.rename(pod.logs / "shared.log.1")
    assert not log.exists()
    client.call("ReopenContainerLog", container_id=container)
    assert wait_until(lambda: ("stdout", "more") in logged(pod, "shared"), 10)
    answer = client.outcome("ReopenContainerLog", container_id="absent")
    assert answer.code == grpc.StatusCode.NOT_FOUND


def test_stats_of_a_container_tell_what_it_uses(
    client: RuntimeClient, pod: Pod, container: str
) -> None:
    before = time.time_ns()
    stats = client.call("ContainerStats", container_id=container).stats
    attributes = stats.attributes
    assert (attributes.id, attributes.metadata.name) == (container, "shared")
    assert dict(attributes.labels) == {"name": "shared"}
    assert stats.cpu.timestamp >= before
    assert stats.cpu.usage_core_nano_seconds.value > 0
    assert stats.memory.working_set_bytes.value > 0
    for chosen in ({"id": container}, {"label_selector": {"name": "shared"}}):
        (listed,) = client.call("ListContainerStats", filter=chosen).stats
        assert listed.attributes == attributes
    listed = client.call("ListContainerStats", filter={"pod_sandbox_id": pod.id}).stats
    assert container in [one.attributes.id for one in listed]
    answer = client.outcome("ContainerStats", container_id="absent")
    assert answer.code == grpc.StatusCode.NOT_FOUND


def test_stats_of_a_pod_without_a_cgroup_of_its_own_fail_alike(
    client: RuntimeClient, pod: Pod
) -> None:
    answer = client.outcome("PodSandboxStats", pod_sandbox_id=pod.id)
    assert answer.code == grpc.StatusCode.UNKNOWN
    assert "because cgroupPath is empty" in answer.details
    answer = client.outcome("ListPodSandboxStats", filter={"label_selector": {"no": "pod"}})
    assert (answer.code, answer.body) == (grpc.StatusCode.OK, b"")


def test_the_resources_of_a_container_are_changed(
    client: RuntimeClient, pod: Pod, container: str
) -> None:
    answer = client.call(
        "UpdateContainerResources", container_id=container, linux={"cpu_shares": 512}
    )
    assert answer == message("UpdateContainerResourcesResponse")
    shares = client.call("ContainerStatus", container_id=container, verbose=True)
    assert '"shares":512' in shares.info["info"].replace(" ", "")
