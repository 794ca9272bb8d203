"""The upstream's connection: which CRI version it speaks, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
import pytest

from image_cri_shim.cri.upstream import forwarded
from image_cri_shim.cri.versions import parse_method
from tests.cri.background import PATIENCE
from tests.cri.scripted import Script, ScriptedUpstream, UpstreamCall, frame, hang, refuse, reply
from tests.cri.shim import Shim
from tests.support.processes import wait_until

PULL = b"\x0a\x07\x0a\x05nginx"


def speak(upstream: ScriptedUpstream, version: str, **scripts: Script) -> None:
    """Make the upstream speak one CRI version."""
    upstream.scripts[f"/runtime.{version}.RuntimeService/Version"] = reply(b"")
    for name, script in scripts.items():
        upstream.scripts[f"/runtime.{version}.ImageService/{name}"] = script


@pytest.mark.parametrize("ours", ["v1", "v1alpha2"])
@pytest.mark.parametrize("theirs", ["v1", "v1alpha2"])
@pytest.mark.parametrize("auto", [True, False])
@pytest.mark.parametrize("method", ["ImageFsInfo", "ImageStatus", "PullImage", "ListImages"])
def test_every_client_version_is_served_by_every_runtime_version(
    upstream: ScriptedUpstream,
    make_shim: Callable[..., Shim],
    *,
    ours: str,
    theirs: str,
    auto: bool,
    method: str,
) -> None:
    speak(upstream, theirs, **{method: reply(b"")})
    shim = make_shim(upstream.path, version="auto" if auto else theirs)
    body = b"" if method == "ListImages" else PULL
    answer = shim.client(ours).raw(f"/runtime.{ours}.ImageService/{method}", body)
    assert answer.code is grpc.StatusCode.OK
    assert upstream.next_call(method).path == f"/runtime.{theirs}.ImageService/{method}".encode()


def test_the_runtime_is_asked_for_its_version_once_a_connection(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim]
) -> None:
    speak(upstream, "v1alpha2", ImageFsInfo=reply(b""))
    shim = make_shim(upstream.path, version="auto")
    calls = [shim.client().start("/runtime.v1.ImageService/ImageFsInfo", b"") for _ in range(20)]
    for call in calls:
        assert call.result(PATIENCE) == b""
    asked = [call.path for call in upstream.of("Version")]
    assert asked == [
        b"/runtime.v1.RuntimeService/Version",
        b"/runtime.v1alpha2.RuntimeService/Version",
    ]
    assert upstream.of("Version")[0].body == frame(b"")


def test_a_runtime_that_comes_back_with_another_version_is_asked_again(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim]
) -> None:
    speak(upstream, "v1alpha2", ImageFsInfo=reply(b"old"))
    shim = make_shim(upstream.path, version="auto")
    client = shim.client()
    path = "/runtime.v1.ImageService/ImageFsInfo"
    assert client.raw(path).body == b"old"
    upstream.stop()
    upstream.scripts.clear()
    speak(upstream, "v1", ImageFsInfo=reply(b"new"))
    upstream.start()
    assert wait_until(lambda: client.raw(path).body == b"new", PATIENCE)


def test_a_retired_upstream_closes_its_idle_connection(
    upstream: ScriptedUpstream, shim: Shim
) -> None:
    upstream.scripts["ImageFsInfo"] = reply(b"")
    shim.client().raw("/runtime.v1.ImageService/ImageFsInfo")
    shim.background.call(shim.upstream.retire)
    assert wait_until(upstream.connections[0].transport.is_closing, PATIENCE)


def test_a_retired_upstream_lets_its_calls_finish(
    upstream: ScriptedUpstream, shim: Shim, event: asyncio.Event
) -> None:
    async def waiting(call: UpstreamCall) -> None:
        await event.wait()
        await reply(b"finished")(call)

    upstream.scripts["ImageFsInfo"] = waiting
    call = shim.client().start("/runtime.v1.ImageService/ImageFsInfo", b"")
    upstream.next_call()
    shim.background.call(shim.upstream.retire)
    assert not upstream.connections[0].transport.is_closing()
    shim.background.call(event.set)
    assert call.result(PATIENCE) == b"finished"
    assert wait_until(upstream.connections[0].transport.is_closing, PATIENCE)


def test_a_call_that_had_begun_before_the_retirement_leaves_no_connection(
    upstream: ScriptedUpstream, shim: Shim
) -> None:
    # A pull whose look-ups still run when the configuration is reloaded.
    upstream.scripts["ImageFsInfo"] = reply(b"late")
    shim.background.call(shim.upstream.retire)
    assert shim.client().raw("/runtime.v1.ImageService/ImageFsInfo").body == b"late"
    assert wait_until(upstream.connections[0].transport.is_closing, PATIENCE)


def test_a_connection_that_is_closed_while_it_is_made_is_not_forgotten(
    upstream: ScriptedUpstream, shim: Shim
) -> None:
    upstream.scripts["ImageFsInfo"] = reply(b"")

    async def race() -> None:
        method = parse_method(b"/runtime.v1.ImageService/ImageFsInfo")
        headers = [*forwarded([], None), (b"content-type", b"application/grpc")]
        task = asyncio.create_task(shim.upstream.unary(method, headers, frame(b"")))
        await asyncio.sleep(0)
        shim.upstream.retire()
        assert (await task).code == 0

    shim.background.run(race())

    def all_closed() -> bool:
        return all(c.transport.is_closing() for c in upstream.connections)

    assert wait_until(all_closed, PATIENCE)


def test_a_closed_upstream_ends_its_calls_and_connects_again_for_the_next(
    upstream: ScriptedUpstream, shim: Shim
) -> None:
    upstream.scripts["ImageFsInfo"] = hang
    client = shim.client()
    call = client.start("/runtime.v1.ImageService/ImageFsInfo", b"")
    upstream.next_call()
    shim.background.call(shim.upstream.close)
    assert call.exception(PATIENCE).code() is grpc.StatusCode.UNAVAILABLE
    upstream.scripts["ImageFsInfo"] = refuse(5)
    answer = client.raw("/runtime.v1.ImageService/ImageFsInfo")
    assert answer.code is grpc.StatusCode.NOT_FOUND


def test_a_connection_that_has_no_stream_numbers_left_is_replaced(
    upstream: ScriptedUpstream, shim: Shim
) -> None:
    upstream.scripts["ImageFsInfo"] = reply(b"")
    client = shim.client()
    path = "/runtime.v1.ImageService/ImageFsInfo"
    assert client.raw(path).code is grpc.StatusCode.OK

    def use_up() -> None:
        protocol = shim.upstream._connector.current._channel._protocol
        protocol.connection._connection.highest_outbound_stream_id = 2**31 - 1

    shim.background.call(use_up)
    assert client.raw(path).code is grpc.StatusCode.OK
    assert len(upstream.connections) == 2


def test_many_calls_at_once_share_one_connection(upstream: ScriptedUpstream, shim: Shim) -> None:
    upstream.scripts["ImageFsInfo"] = reply(b"")
    client = shim.client()
    calls = [client.start("/runtime.v1.ImageService/ImageFsInfo", b"") for _ in range(100)]
    for call in calls:
        assert call.result(PATIENCE) == b""
    assert len(upstream.connections) == 1
