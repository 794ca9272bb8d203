"""The connection to the runtime keeps itself up, and what it costs and says meanwhile."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import grpc
import pytest

from image_cri_shim.cri.connection import RuntimeUnavailable
from image_cri_shim.cri.connector import Connector
from image_cri_shim.cri.upstream import Upstream
from tests.cri.background import PATIENCE, Background
from tests.cri.scripted import ScriptedUpstream, UpstreamCall, hang, refuse, reply
from tests.cri.shim import IMAGES, Shim
from tests.support.processes import wait_until

FS_INFO = f"{IMAGES}ImageFsInfo"
LOGGERS = ("image_cri_shim.cri.connector", "image_cri_shim.cri.connection")


def connected(shim: Shim) -> bool:
    return shim.background.call(lambda: shim.upstream.connected)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return what was logged of the connection so far."""
    caplog.set_level(logging.INFO, "image_cri_shim")

    def lines() -> list[str]:
        return [r.getMessage() for r in caplog.get_records("call") if r.name in LOGGERS]

    return lines


@pytest.mark.parametrize("version", ["v1", "auto"])
def test_the_runtime_is_connected_before_the_first_call(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim], version: str
) -> None:
    upstream.scripts["Version"] = reply(b"")
    shim = make_shim(upstream.path, version=version)
    shim.background.call(shim.upstream.start)
    assert wait_until(lambda: connected(shim), PATIENCE)
    assert len(upstream.connections) == 1


def test_a_lost_connection_is_made_again_without_a_call(
    upstream: ScriptedUpstream, shim: Shim
) -> None:
    shim.background.call(shim.upstream.start)
    for number in (1, 2):
        assert wait_until(lambda: connected(shim), PATIENCE)
        assert len(upstream.connections) == number
        shim.background.call(upstream.drop)
        # It has gone when the other side has dropped it and this one has seen that.
        assert wait_until(lambda: len(upstream.connections) == number + 1, PATIENCE)  # noqa: B023


def test_a_runtime_that_comes_back_is_connected_without_a_call(
    upstream: ScriptedUpstream, shim: Shim
) -> None:
    shim.background.call(shim.upstream.start)
    assert wait_until(lambda: connected(shim), PATIENCE)
    upstream.stop()
    assert wait_until(lambda: not connected(shim), PATIENCE)
    upstream.start()
    assert wait_until(lambda: connected(shim), PATIENCE)


def test_many_calls_while_the_runtime_starts_make_one_connection(
    background: Background, make_shim: Callable[..., Shim], tmp_path: Path
) -> None:
    upstream = ScriptedUpstream(background, str(tmp_path / "late.sock"))
    upstream.scripts["ImageFsInfo"] = reply(b"here")
    client = make_shim(upstream.path).client()
    assert client.raw(FS_INFO).code is grpc.StatusCode.UNAVAILABLE
    upstream.start()
    calls = [client.start(FS_INFO, b"", timeout=PATIENCE) for _ in range(50)]
    assert [call.result() for call in calls] == [b"here"] * 50
    assert len(upstream.connections) == 1
    upstream.stop()


def test_a_call_that_is_cancelled_leaves_the_attempt_to_the_others(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim], event: asyncio.Event
) -> None:
    async def slow(call: UpstreamCall) -> None:
        await event.wait()
        await reply(b"")(call)

    upstream.scripts["Version"] = slow
    upstream.scripts["ImageFsInfo"] = reply(b"here")
    shim = make_shim(upstream.path, version="auto")
    first, second = (shim.client().start(FS_INFO, b"", timeout=PATIENCE) for _ in range(2))
    upstream.next_call("Version")
    first.cancel()
    shim.background.call(event.set)
    assert second.result() == b"here"
    assert len(upstream.of("Version")) == 1


def make_upstream(path: str, version: str = "v1", patience: float = 0.05) -> Upstream:
    """Return an upstream that waits for an attempt only briefly."""
    return Upstream(lambda: path, version, partial(Connector, patience=patience))


async def refused(upstream: Upstream) -> str:
    with pytest.raises(RuntimeUnavailable) as caught:
        await upstream._connector.connection()
    return caught.value.message


@pytest.mark.parametrize("version", ["v1", "auto"])
def test_a_runtime_that_accepts_and_never_answers_is_given_up(
    background: Background, tmp_path: Path, version: str
) -> None:
    path = str(tmp_path / "mute.sock")
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(path)
        mute.listen(100)

        async def story() -> None:
            upstream = make_upstream(path, version)
            assert await refused(upstream) == (
                f"image-cri-shim: the runtime at {path} does not answer "
                "(a new connection was given 0.05 s)"
            )
            # Nobody waits for the next attempt, which would take as long as the test may.
            connector = upstream._connector
            connector._patience = PATIENCE
            assert "does not answer" in await refused(upstream)
            while not connector._attempting:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.001)
            assert "does not answer" in await refused(upstream)
            assert connector._attempting
            upstream.close()

        background.run(story())


def test_a_runtime_whose_queue_is_full_is_said_to_be(
    background: Background, tmp_path: Path
) -> None:
    path = str(tmp_path / "full.sock")
    waiting = []
    with socket.socket(socket.AF_UNIX) as full:
        full.bind(path)
        full.listen(0)
        for _ in range(2):
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            try:
                waiting[-1].connect(path)
            except BlockingIOError:
                break

        async def story() -> str:
            upstream = make_upstream(path, patience=PATIENCE)
            reason = await refused(upstream)
            upstream.close()
            return reason

        assert background.run(story()) == (
            f"image-cri-shim: the runtime's socket {path} cannot be reached: "
            "too many connections wait to be accepted"
        )
    for one in waiting:
        one.close()


def test_each_state_is_logged_once(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim], said: Callable[[], list[str]]
) -> None:
    upstream.scripts["Version"] = reply(b"")
    shim = make_shim(upstream.path, version="auto")
    client = shim.client()
    client.raw(FS_INFO)
    upstream.stop(keep_file=True)
    assert wait_until(lambda: not connected(shim), PATIENCE)
    attempts = shim.upstream._connector._draw
    drawn = []
    shim.upstream._connector._draw = lambda: drawn.append(1) or attempts()
    # Attempts go on, in silence.
    assert wait_until(lambda: len(drawn) >= 3, PATIENCE)
    for _ in range(10):
        client.raw(FS_INFO)
    Path(upstream.path).unlink()
    upstream.start()
    assert wait_until(lambda: connected(shim), PATIENCE)
    path = upstream.path
    assert [line for line in said() if "does not exist" not in line] == [
        f"the runtime at {path} speaks CRI v1",
        f"the connection to the runtime at {path} was lost",
        f"nobody listens on the runtime's socket {path} (the runtime is down)",
        f"the runtime at {path} speaks CRI v1",
    ]


def test_closing_is_no_loss(
    upstream: ScriptedUpstream, shim: Shim, said: Callable[[], list[str]]
) -> None:
    shim.client().raw(FS_INFO)
    shim.background.call(shim.upstream.close)
    assert wait_until(upstream.connections[0].transport.is_closing, PATIENCE)
    assert said() == [f"the runtime at {upstream.path} is spoken to in CRI v1, as configured"]


def test_a_runtime_that_knows_no_version_yet_is_asked_again(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim]
) -> None:
    shim = make_shim(upstream.path, version="auto")
    client = shim.client()
    # As the runtime itself would answer.
    answer = client.raw(FS_INFO)
    assert answer.code is grpc.StatusCode.UNIMPLEMENTED
    assert answer.details == f"unknown service or method {FS_INFO}"
    upstream.scripts["/runtime.v1alpha2.RuntimeService/Version"] = reply(b"")
    upstream.scripts["/runtime.v1alpha2.ImageService/ImageFsInfo"] = reply(b"here")
    assert wait_until(lambda: client.raw(FS_INFO).body == b"here", PATIENCE)
    assert len(upstream.connections) == 1


def test_a_runtime_that_knows_no_version_is_not_asked_with_every_call(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim]
) -> None:
    shim = make_shim(upstream.path, version="auto")
    client = shim.client()
    client.raw(FS_INFO)
    connection = shim.background.call(lambda: shim.upstream._connector.current)
    connection._ask_at = float("inf")
    asked = len(upstream.of("Version"))
    for _ in range(10):
        client.raw(FS_INFO)
    assert len(upstream.of("Version")) == asked
    connection._ask_at = 0.0
    client.raw(FS_INFO)
    assert len(upstream.of("Version")) == asked + 2


@pytest.fixture
def old(upstream: ScriptedUpstream) -> Iterator[ScriptedUpstream]:
    """A runtime that speaks v1alpha2."""
    upstream.scripts["/runtime.v1alpha2.RuntimeService/Version"] = reply(b"")
    return upstream


def test_a_call_that_runs_while_the_runtime_is_upgraded_is_made_again_in_the_new_version(
    old: ScriptedUpstream, make_shim: Callable[..., Shim]
) -> None:
    async def upgraded(call: UpstreamCall) -> None:
        await call.request()
        old.scripts.clear()
        old.scripts["/runtime.v1.RuntimeService/Version"] = reply(b"")
        old.scripts["/runtime.v1.ImageService/ImageFsInfo"] = reply(b"new")
        call.connection.transport.abort()

    old.scripts["/runtime.v1alpha2.ImageService/ImageFsInfo"] = upgraded
    client = make_shim(old.path, version="auto").client()
    assert client.raw(FS_INFO).body == b"new"
    assert [call.path.split(b"/")[1] for call in old.of("ImageFsInfo")] == [
        b"runtime.v1alpha2.ImageService",
        b"runtime.v1.ImageService",
    ]


def test_a_stream_that_runs_while_the_runtime_is_upgraded_ends(
    old: ScriptedUpstream, make_shim: Callable[..., Shim]
) -> None:
    old.scripts["GetContainerEvents"] = hang
    shim = make_shim(old.path, version="auto")
    path = "/runtime.v1.RuntimeService/GetContainerEvents"
    call = shim.channel().unary_stream(path)(b"", timeout=PATIENCE)
    assert old.next_call("GetContainerEvents").path.startswith(b"/runtime.v1alpha2.")
    old.stop()
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    old.scripts.clear()
    old.scripts["/runtime.v1.RuntimeService/Version"] = reply(b"")
    old.scripts[path] = refuse(0)
    old.start()
    assert list(shim.channel().unary_stream(path)(b"", timeout=PATIENCE)) == []


def test_a_retired_upstream_does_not_connect_again(upstream: ScriptedUpstream, shim: Shim) -> None:
    shim.client().raw(FS_INFO)
    shim.wait_idle()
    shim.background.call(shim.upstream.retire)
    shim.background.call(shim.upstream.start)
    assert shim.upstream._connector._keeper is None
    assert wait_until(upstream.connections[0].transport.is_closing, PATIENCE)
    assert not connected(shim)


def test_nothing_is_kept_of_connections_that_were_lost(
    upstream: ScriptedUpstream, shim: Shim
) -> None:
    upstream.scripts["StartContainer"] = hang
    client = shim.client()
    for _ in range(5):
        call = client.start("/runtime.v1.RuntimeService/StartContainer", b"", timeout=PATIENCE)
        upstream.next_call("StartContainer")
        shim.background.call(upstream.drop)
        assert call.exception().code() is grpc.StatusCode.UNAVAILABLE
    connector = shim.upstream._connector
    assert shim.background.call(lambda: len(connector._leaving)) <= 1
    assert wait_until(lambda: connected(shim), PATIENCE)
    assert shim.background.call(lambda: connector.living == {connector.current})
