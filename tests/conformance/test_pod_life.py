"""The whole life of a pod, with the endpoint as the only one: in each pair of CRI versions."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.conftest import ALL, on
from tests.conformance.images import BUSYBOX, BUSYBOX_NAME, expected
from tests.support.channel_stream import STDIN, STDOUT, ChannelStream
from tests.support.pods import EXITED, NOT_READY, READY, RUNNING, Pod
from tests.support.processes import wait_until
from tests.support.runtime_client import RuntimeClient

pytestmark = on(*ALL)

SCRIPT = 'echo "begin"; while read line; do echo "got $line"; done'


def test_a_pod_lives_from_pull_to_removal(clean: RuntimeClient, tmp_path: Path) -> None:
    # What a client does at its start.
    assert clean.call("Version").runtime_api_version == clean.version_spoken
    assert clean.call("Status").status.conditions[0].status
    assert len(clean.call("ImageFsInfo").image_filesystems) == 1
    # What a kubelet does for a pod with one container (imagePullPolicy: Always).
    pod = Pod(clean, tmp_path, labels={"life": clean.version_spoken})
    try:
        assert clean.call("PodSandboxStatus", pod_sandbox_id=pod.id).status.state == READY
        ref = clean.pull(BUSYBOX_NAME, timeout=None)
        assert clean.status_of(BUSYBOX_NAME) == expected(BUSYBOX, [BUSYBOX_NAME])
        image = clean.status_of(BUSYBOX_NAME)
        assert image.id == ref
        container = pod.create(image.id, "/bin/sh", "-c", SCRIPT, stdin=True)
        clean.call("StartContainer", container_id=container)
        status = pod.status(container)
        assert status.state == RUNNING
        assert status.image.image == BUSYBOX_NAME
        assert status.image_ref == image.repo_digests[0]
        (listed,) = clean.call("ListContainers", filter={"pod_sandbox_id": pod.id}).containers
        assert (listed.id, listed.image_ref) == (container, ref)
        # What people do with it.
        command = ["/bin/sh", "-c", "echo out; exit 3"]
        answer = clean.call("ExecSync", container_id=container, cmd=command)
        assert (answer.stdout, answer.exit_code) == (b"out\n", 3)
        url = clean.call("Attach", container_id=container, stdin=True, stdout=True).url
        with ChannelStream(url) as stream:
            stream.send(STDIN, b"there\n")
            stream.read_until(STDOUT, b"got there\n")
        log = tmp_path / "main.log"
        assert wait_until(lambda: " stdout F got there\n" in log.read_text(), 10)
        stats = clean.call("ContainerStats", container_id=container).stats
        assert stats.memory.working_set_bytes.value > 0
        # And its end.
        clean.call("StopContainer", container_id=container, timeout=0)
        assert pod.status(container).state == EXITED
        clean.call("RemoveContainer", container_id=container)
        clean.call("StopPodSandbox", pod_sandbox_id=pod.id)
        assert clean.call("PodSandboxStatus", pod_sandbox_id=pod.id).status.state == NOT_READY
    finally:
        pod.remove()
    assert not clean.call("ListPodSandbox", filter={"id": pod.id}).items
    clean.remove(image.id)
    assert clean.status_of(BUSYBOX_NAME) is None
