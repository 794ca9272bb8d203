"""The runtime may be absent, restart or die: calls fail fast and say why, the next one works."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import grpc
import pytest
from h2.settings import SettingCodes

from tests.cri.background import PATIENCE, Background
from tests.cri.scripted import FIRST, ScriptedUpstream, UpstreamCall, frame, hang, reply
from tests.cri.shim import IMAGES, Shim
from tests.support.cri_client import CRI

FS_INFO = f"{IMAGES}ImageFsInfo"
PATHS = [FS_INFO, f"{IMAGES}ImageStatus", f"{IMAGES}PullImage", f"{IMAGES}RemoveImage"]
NGINX = b"\x0a\x07\x0a\x05nginx"


def unavailable(client: CRI, path: str = FS_INFO) -> str:
    """Make a call that must fail as UNAVAILABLE; return the message."""
    answer = client.raw(path, NGINX, timeout=PATIENCE)
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    return answer.details


@pytest.fixture(params=["v1", "auto"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("path", PATHS)
def test_a_socket_that_does_not_exist_is_named(
    make_shim: Callable[..., Shim], tmp_path: Path, version: str, path: str
) -> None:
    shim = make_shim(str(tmp_path / "none.sock"), version=version)
    assert unavailable(shim.client(), path) == (
        f"image-cri-shim: the runtime's socket {tmp_path}/none.sock does not exist "
        "(is the runtime running?)"
    )


def test_a_stale_socket_is_named(
    make_shim: Callable[..., Shim], tmp_path: Path, version: str
) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    shim = make_shim(str(tmp_path / "dead.sock"), version=version)
    assert unavailable(shim.client()) == (
        f"image-cri-shim: nobody listens on the runtime's socket {tmp_path}/dead.sock "
        "(the runtime is down)"
    )


@pytest.fixture
def without_rights() -> Iterator[None]:
    """Be nobody for a while: root may open everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_socket_that_may_not_be_opened_is_named(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim], request: pytest.FixtureRequest
) -> None:
    shim = make_shim(upstream.path)
    client = shim.client()
    # The client's connection is made while it may be.
    assert client.raw(FS_INFO).code is grpc.StatusCode.UNIMPLEMENTED
    shim.background.call(shim.upstream.close)
    os.chmod(upstream.path, 0)
    request.getfixturevalue("without_rights")
    assert unavailable(client) == (
        f"image-cri-shim: the runtime's socket {upstream.path} may not be opened "
        "(permission denied)"
    )


def test_another_reason_is_told_as_the_system_tells_it(
    make_shim: Callable[..., Shim], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    shim = make_shim(str(tmp_path / "file" / "up.sock"))
    assert unavailable(shim.client()) == (
        f"image-cri-shim: the runtime's socket {tmp_path}/file/up.sock cannot be reached: "
        "Not a directory"
    )
    shim = make_shim("/" + "x" * 200)
    assert "cannot be reached" in unavailable(shim.client())


def test_no_known_socket_at_all_is_said(make_shim: Callable[..., Shim], version: str) -> None:
    shim = make_shim("", version=version)
    assert unavailable(shim.client()) == (
        "image-cri-shim: no container runtime's socket was found (is the runtime running? "
        "if it is, set `cri` to its socket)"
    )


def test_a_runtime_that_comes_later_is_found(
    background: Background, make_shim: Callable[..., Shim], tmp_path: Path, version: str
) -> None:
    upstream = ScriptedUpstream(background, str(tmp_path / "late.sock"))
    upstream.scripts["ImageFsInfo"] = reply(b"here")
    shim = make_shim(upstream.path, version=version)
    client = shim.client()
    unavailable(client)
    upstream.start()
    assert client.raw(FS_INFO).body == b"here"
    upstream.stop()


def test_a_runtime_that_comes_at_another_place_is_found(
    background: Background,
    upstream: ScriptedUpstream,
    make_shim: Callable[..., Shim],
    tmp_path: Path,
) -> None:
    shim = make_shim(upstream.path)
    upstream.scripts["ImageFsInfo"] = reply(b"first")
    client = shim.client()
    assert client.raw(FS_INFO).body == b"first"
    other = ScriptedUpstream(background, str(tmp_path / "other.sock")).start()
    other.scripts["ImageFsInfo"] = reply(b"second")
    upstream.stop()
    unavailable(client)
    shim.runtime = other.path
    assert client.raw(FS_INFO).body == b"second"
    other.stop()


def test_a_restarted_runtime_is_used_by_the_next_call(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim], version: str
) -> None:
    upstream.scripts["ImageFsInfo"] = reply(b"here")
    client = make_shim(upstream.path, version=version).client()
    for _ in range(3):
        assert client.raw(FS_INFO).body == b"here"
        upstream.stop()
        unavailable(client)
        upstream.start()
    assert client.raw(FS_INFO).body == b"here"


def test_a_killed_runtime_leaves_a_stale_socket_and_comes_back(
    upstream: ScriptedUpstream, client: CRI
) -> None:
    upstream.scripts["ImageFsInfo"] = reply(b"here")
    assert client.raw(FS_INFO).body == b"here"
    upstream.stop(keep_file=True)
    # The end of the connection may still be under way.
    messages = (unavailable(client) for _ in range(1000))
    assert any("nobody listens" in message for message in messages)
    os.unlink(upstream.path)
    upstream.start()
    assert client.raw(FS_INFO).body == b"here"


@pytest.mark.parametrize("path", PATHS)
def test_a_runtime_that_dies_in_the_middle_of_a_call_is_said(
    upstream: ScriptedUpstream, client: CRI, path: str
) -> None:
    async def die(call: UpstreamCall) -> None:
        await call.request()
        call.connection.transport.abort()

    upstream.scripts[path] = die
    assert unavailable(client, path) == (
        f"image-cri-shim: the connection to the runtime at {upstream.path} was lost "
        "in the middle of the call"
    )
    upstream.scripts[path] = reply(b"")
    assert client.raw(path).code is grpc.StatusCode.OK


@pytest.mark.parametrize("path", [FS_INFO, f"{IMAGES}ImageStatus"])
def test_a_runtime_that_dies_in_the_middle_of_a_message_is_said(
    upstream: ScriptedUpstream, client: CRI, path: str
) -> None:
    async def die(call: UpstreamCall) -> None:
        await call.request()
        call.headers_out(FIRST)
        await call.data(frame(bytes(1000))[:500])
        call.connection.transport.close()

    upstream.scripts[path] = die
    assert "was lost in the middle of the call" in unavailable(client, path)


def test_a_runtime_that_speaks_no_http2_is_unavailable(
    background: Background, make_shim: Callable[..., Shim], tmp_path: Path, version: str
) -> None:
    class Http1(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            # Not every event loop's transport is an instance of it.
            connection = cast("asyncio.Transport", transport)
            connection.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

    async def serve() -> asyncio.Server:
        return await asyncio.get_running_loop().create_unix_server(Http1, str(tmp_path / "1.sock"))

    server = background.run(serve())
    shim = make_shim(str(tmp_path / "1.sock"), version=version)
    for path in PATHS:
        unavailable(shim.client(), path)
    background.call(server.close)


@pytest.mark.parametrize("path", [FS_INFO, f"{IMAGES}RemoveImage"])
def test_all_calls_that_run_when_the_runtime_dies_end(
    upstream: ScriptedUpstream, client: CRI, path: str
) -> None:
    upstream.scripts[path] = hang
    calls = [client.start(path, b"") for _ in range(50)]
    for _ in calls:
        upstream.next_call()
    upstream.stop()
    assert {call.exception(PATIENCE).code() for call in calls} == {grpc.StatusCode.UNAVAILABLE}


def test_calls_that_wait_for_room_on_the_connection_end_with_it(
    background: Background, make_shim: Callable[..., Shim], tmp_path: Path
) -> None:
    upstream = ScriptedUpstream(background, str(tmp_path / "few.sock"))

    async def hang_here(call: UpstreamCall) -> None:
        call.connection.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 2})
        call.connection.flush()
        await asyncio.Event().wait()

    upstream.scripts["ImageFsInfo"] = hang_here
    upstream.start()
    client = make_shim(upstream.path).client()
    first = client.start(FS_INFO, b"")
    upstream.next_call()
    calls = [first, *(client.start(FS_INFO, b"") for _ in range(10))]
    upstream.next_call()
    background.call(upstream.drop)
    # Those that waited connect anew, and hang there; that connection goes too.
    upstream.stop()
    codes = {call.exception(PATIENCE).code() for call in calls}
    assert codes == {grpc.StatusCode.UNAVAILABLE}


def test_calls_wait_for_their_turn_when_the_runtime_takes_few_at_once(
    background: Background, make_shim: Callable[..., Shim], tmp_path: Path
) -> None:
    upstream = ScriptedUpstream(background, str(tmp_path / "few.sock"))
    running = most = 0

    async def slow(call: UpstreamCall) -> None:
        nonlocal running, most
        if len(upstream.calls) == 1:
            call.connection.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 2})
        running += 1
        most = max(most, running)
        await call.request()
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1
        await reply(b"here")(call)

    upstream.scripts["ImageFsInfo"] = slow
    upstream.start()
    client = make_shim(upstream.path).client()
    assert client.raw(FS_INFO).body == b"here"
    calls = [client.start(FS_INFO, b"", timeout=PATIENCE) for _ in range(30)]
    assert [call.result() for call in calls] == [b"here"] * 30
    assert most <= 2
    upstream.stop()
