"""Exec, Attach and PortForward lead to the runtime's own streaming server, past the shim."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from tests.conformance.conftest import IN_V1, Endpoint, on
from tests.conformance.images import BUSYBOX_NAME
from tests.support.channel_stream import (
    STDERR,
    STDIN,
    STDOUT,
    ChannelStream,
    upgrade_to_spdy,
)
from tests.support.pods import Pod
from tests.support.processes import accepts, free_port, wait_until
from tests.support.runtime_client import RuntimeClient

pytestmark = on(*IN_V1)

ALL_THREE = {"stdin": True, "stdout": True, "stderr": True}


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def pod(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    with endpoint.client() as client:
        client.pull(BUSYBOX_NAME)
        made = Pod(client, tmp_path_factory.mktemp("logs"))
        yield made
        made.remove()


@pytest.fixture(scope="module")
def container(pod: Pod, port: int) -> str:
    """A container that answers lines on its standard input, and echoes on a port."""
    script = (
        f"/bin/busybox nc -ll -p {port} -e /bin/busybox cat & "
        "while read line; do echo got $line; echo heard $line >&2; done"
    )
    return pod.run(BUSYBOX_NAME, "/bin/sh", "-c", script, stdin=True)


def test_a_streamed_command_has_its_own_streams_and_status(
    client: RuntimeClient, container: str
) -> None:
    script = "read line; echo out $line; echo err $line >&2; exit 3"
    command = ["/bin/sh", "-c", script]
    url = client.call("Exec", container_id=container, cmd=command, **ALL_THREE).url
    with ChannelStream(url) as stream:
        stream.send(STDIN, b"there\n")
        stream.read_all()
        assert stream.received(STDOUT) == b"out there\n"
        assert stream.received(STDERR) == b"err there\n"
        outcome = stream.outcome()
        assert (outcome["status"], outcome["reason"]) == ("Failure", "NonZeroExitCode")
        assert outcome["details"] == {"causes": [{"reason": "ExitCode", "message": "3"}]}
    # An address is good for one use.
    with pytest.raises(OSError, match="404"):
        ChannelStream(url)


def test_a_streamed_command_that_succeeds_says_so(client: RuntimeClient, container: str) -> None:
    command = ["/bin/sh", "-c", "/bin/busybox tty; read line"]
    answer = client.call(
        "Exec", container_id=container, cmd=command, tty=True, stdin=True, stdout=True
    )
    with ChannelStream(answer.url) as stream:
        stream.read_until(STDOUT, b"/dev/pts/")
        stream.send(STDIN, b"\n")
        stream.read_all()
        assert stream.outcome()["status"] == "Success"


def test_a_running_container_is_attached_to(client: RuntimeClient, container: str) -> None:
    url = client.call("Attach", container_id=container, **ALL_THREE).url
    with ChannelStream(url) as stream:
        for word in (b"one", b"two"):
            stream.send(STDIN, word + b"\n")
            stream.read_until(STDOUT, b"got " + word + b"\n")
            stream.read_until(STDERR, b"heard " + word + b"\n")


def test_a_port_of_the_pod_is_forwarded(
    client: RuntimeClient, pod: Pod, container: str, port: int
) -> None:
    assert wait_until(lambda: accepts(("127.0.0.1", port)), 10)
    url = client.call("PortForward", pod_sandbox_id=pod.id, port=[port]).url
    data, error = 0, 1
    with ChannelStream(url) as stream:
        stream.send(data, b"there and back")
        stream.read_until(data, b"there and back")
        number = port.to_bytes(2, "little")
        assert stream.received(data) == number + b"there and back"
        assert stream.received(error) in (b"", number)


def test_kubelets_and_crictl_get_the_spdy_that_they_ask_for(
    client: RuntimeClient, pod: Pod, container: str, port: int
) -> None:
    command = ["/bin/busybox", "true"]
    for answer, protocol in (
        (
            client.call("Exec", container_id=container, cmd=command, stdout=True),
            "v4.channel.k8s.io",
        ),
        (client.call("Attach", container_id=container, stdout=True), "v4.channel.k8s.io"),
        (client.call("PortForward", pod_sandbox_id=pod.id, port=[port]), "portforward.k8s.io"),
    ):
        assert upgrade_to_spdy(answer.url) == (101, protocol)


def test_the_addresses_are_the_runtimes_own(
    client: RuntimeClient, endpoint: Endpoint, container: str
) -> None:
    def server(of: RuntimeClient) -> str:
        answer = of.call("Exec", container_id=container, cmd=["/bin/sh"], stdout=True)
        return answer.url.rpartition("/")[0]

    with RuntimeClient(endpoint.lab.runtime.socket) as direct:
        assert server(client) == server(direct)


def test_what_cannot_be_streamed_is_the_runtimes_refusal(
    client: RuntimeClient, pod: Pod, container: str
) -> None:
    nothing = client.outcome("Exec", container_id=container, cmd=["/bin/sh"])
    assert nothing.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "must be set" in nothing.details
    for method in ("Exec", "Attach"):
        answer = client.outcome(method, container_id="absent", stdout=True)
        assert answer.code == grpc.StatusCode.NOT_FOUND
        assert "not found" in answer.details
