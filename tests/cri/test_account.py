"""What calls leave behind: numbers, times, and a note of those that failed."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import quote

import pytest

from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.cri.account import account
from image_cri_shim.cri.versions import parse_method
from image_cri_shim.redaction import Redactor
from tests.cri.scripted import ScriptedUpstream, hang, refuse, reply
from tests.cri.shim import IMAGES, Shim
from tests.support.cri_client import CRI

RUNTIME = "/runtime.v1.RuntimeService/"
HELD = cri_pb2.ImageStatusResponse(image=cri_pb2.Image(id="sha256:0"))


def test_calls_are_counted_by_version_method_and_code(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["ImageStatus"] = reply(HELD.SerializeToString())
    upstream.scripts["ListContainers"] = refuse(14, b"away")
    client.raw(f"{IMAGES}ImageStatus", b"\x0a\x07\x0a\x05nginx")
    client.raw(f"{IMAGES.replace('v1', 'v1alpha2')}ImageStatus", b"\x0a\x07\x0a\x05nginx")
    client.raw(f"{RUNTIME}ListContainers", b"")
    shim.wait_idle()
    assert shim.measurements.ended == {
        ("v1", "ImageStatus", 0): 1,
        ("v1alpha2", "ImageStatus", 0): 1,
        ("v1", "ListContainers", 14): 1,
    }
    assert shim.measurements.services == {"ImageService": 2, "RuntimeService": 1}


def test_methods_that_nobody_knows_are_counted_as_one(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    for number in range(5):
        client.raw(f"{RUNTIME}Made{number}Up", b"")
        client.raw(f"/made.up{number}/ListContainers", b"")
    shim.wait_idle()
    assert {name for _, name, _ in shim.measurements.ended} == {"other"}
    assert set(shim.measurements.services) == {"other"}
    assert shim.measurements.times == {}


def test_the_time_in_the_runtime_is_told_from_the_rest(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["ImageStatus"] = reply(HELD.SerializeToString())
    upstream.scripts["ListContainers"] = reply(b"")
    client.raw(f"{IMAGES}ImageStatus", b"\x0a\x07\x0a\x05nginx")
    client.raw(f"{RUNTIME}ListContainers", b"")
    shim.wait_idle()
    for method in ("ImageStatus", "ListContainers"):
        times = shim.measurements.times[method]
        assert sum(times.whole.counts) == sum(times.runtime.counts) == sum(times.shim.counts) == 1
        assert 0 < times.runtime.total < times.whole.total
        assert times.shim.total == pytest.approx(times.whole.total - times.runtime.total)


def test_calls_that_failed_are_remembered_without_secrets(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    shim.redactor = Redactor(["s3cret"])
    said = 'failed to get sandbox image "registry.k8s.io/pause:3.8": denied: s3cret\n'
    upstream.scripts["RunPodSandbox"] = refuse(2, quote(said).encode())
    client.raw(f"{RUNTIME}RunPodSandbox", b"")
    shim.wait_idle()
    (failed,) = shim.measurements.failed
    assert (failed.method, failed.code) == ("RunPodSandbox", 2)
    assert failed.message == (
        'failed to get sandbox image "registry.k8s.io/pause:3.8": denied: *** '
    )


@pytest.mark.parametrize("code", [1, 5, 12])
def test_what_is_absent_or_was_given_up_is_no_failure(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, code: int
) -> None:
    upstream.scripts["ContainerStatus"] = refuse(code, b"no")
    client.raw(f"{RUNTIME}ContainerStatus", b"")
    shim.wait_idle()
    assert shim.measurements.ended == {("v1", "ContainerStatus", code): 1}
    assert list(shim.measurements.failed) == []


def test_a_call_whose_client_went_away_was_cancelled(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["ListContainers"] = hang
    future = client.start(f"{RUNTIME}ListContainers", b"")
    upstream.next_call("ListContainers")
    future.cancel()
    shim.wait_idle()
    assert shim.measurements.ended == {("v1", "ListContainers", 1): 1}


def test_a_pod_that_lacks_something_is_a_failure(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["RunPodSandbox"] = refuse(5, b'failed to get sandbox image "x/pause:1"')
    client.raw(f"{RUNTIME}RunPodSandbox", b"")
    shim.wait_idle()
    assert [(one.method, one.code) for one in shim.measurements.failed] == [("RunPodSandbox", 5)]


def test_a_call_whose_deadline_is_over_in_the_runtime_is_a_failure(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["Status"] = hang
    client.raw(f"{RUNTIME}Status", b"", timeout=0.5)
    shim.wait_idle()
    assert shim.measurements.ended == {("v1", "Status", 4): 1}
    (failed,) = shim.measurements.failed
    assert "deadline" in failed.message


@pytest.mark.parametrize("method", ["ExecSync", "CreateContainer"])
def test_no_commands_and_variables_of_pods_are_remembered(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, method: str
) -> None:
    upstream.scripts[method] = refuse(2, b'exec "curl -u admin:pw http://x": DB_PASSWORD=pw')
    client.raw(f"{RUNTIME}{method}", b"")
    shim.wait_idle()
    (failed,) = shim.measurements.failed
    assert failed.message == ""


def test_what_the_shims_own_commands_call_is_told_apart(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["ListImages"] = reply(b"")
    method = parse_method(f"{IMAGES}ListImages".encode())
    stream = SimpleNamespace(outcome=[(b"grpc-status", b"0")], deadline=None, in_runtime=0.0)
    headers = [(b"user-agent", b"image-cri-shim/1.0")]

    async def end() -> None:
        account(shim.measurements, stream, headers, method, 0.0, Redactor)  # type: ignore[arg-type]

    shim.background.run(end())
    assert shim.measurements.own == {"ImageService": 1}
    assert shim.measurements.last is None
