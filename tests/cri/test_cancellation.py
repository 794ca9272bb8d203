"""A client that gives up takes everything with it that was done for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from image_cri_shim.cri.status import Code
from image_cri_shim.decision import Decision
from tests.cri.background import PATIENCE
from tests.cri.scripted import FIRST, ScriptedUpstream, UpstreamCall, frame, hang, refuse
from tests.cri.shim import IMAGES, Shim
from tests.cri.wire import Wire
from tests.support.cri_client import CRI
from tests.support.processes import wait_until

PATHS = [f"{IMAGES}ImageFsInfo", f"{IMAGES}ImageStatus", f"{IMAGES}PullImage", "/made.up.S/M"]
NGINX = b"\x0a\x07\x0a\x05nginx"
CANCEL = 8


@pytest.mark.parametrize("path", PATHS)
def test_a_cancel_reaches_the_runtime(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, path: str
) -> None:
    upstream.scripts[path] = hang
    call = client.start(path, NGINX)
    seen = upstream.next_call()
    call.cancel()
    assert seen.reset.result(PATIENCE) == CANCEL
    shim.wait_idle()


@pytest.mark.parametrize("path", PATHS)
def test_a_client_that_dies_cancels_its_calls(
    shim: Shim, upstream: ScriptedUpstream, path: str
) -> None:
    upstream.scripts[path] = hang
    with Wire(shim.path) as wire:
        wire.body(wire.start(path.encode()), frame(NGINX))
        seen = upstream.next_call()
    assert seen.reset.result(PATIENCE) == CANCEL
    shim.wait_idle()


def test_a_cancel_in_the_middle_of_a_stream_reaches_the_runtime(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    async def script(call: UpstreamCall) -> None:
        await call.next_frame()
        call.headers_out(FIRST)
        await call.data(frame(b"one"))
        await asyncio.Event().wait()

    upstream.scripts["/made.up.S/M"] = script
    words = iter([b"one"])
    call = shim.channel().stream_stream("/made.up.S/M")(words)
    assert next(call) == b"one"
    seen = upstream.next_call()
    call.cancel()
    assert seen.reset.result(PATIENCE) == CANCEL
    shim.wait_idle()


def test_a_cancel_ends_the_look_ups(shim: Shim, upstream: ScriptedUpstream, client: CRI) -> None:
    asked, cancelled = (shim.background.call(asyncio.Event) for _ in range(2))

    async def never(_: str) -> Decision:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    shim.resolve = never
    call = client.start(f"{IMAGES}PullImage", NGINX)
    shim.background.run(asked.wait())
    call.cancel()
    shim.background.run(cancelled.wait())
    pull = shim.notes.next_pull()
    assert (pull.image, pull.attempts, pull.error) == ("nginx", (), "cancelled")
    assert shim.notes.decisions == []
    assert upstream.calls == []


def test_a_cancelled_pull_is_noted_once(
    shim: Shim, upstream: ScriptedUpstream, client: CRI
) -> None:
    upstream.scripts["PullImage"] = hang
    call = client.start(f"{IMAGES}PullImage", NGINX)
    upstream.next_call()
    call.cancel()
    assert shim.notes.next_pull().error == "cancelled"
    shim.wait_idle()
    assert len(shim.notes.pulls) == len(shim.notes.decisions) == 1


def test_a_cancel_during_the_negotiation_of_the_version_does_not_spoil_the_next_call(
    upstream: ScriptedUpstream, make_shim, event: asyncio.Event
) -> None:
    async def slow(call: UpstreamCall) -> None:
        await event.wait()
        await refuse(0)(call)

    upstream.scripts["Version"] = slow
    shim = make_shim(upstream.path, version="auto")
    call = shim.client().start(f"{IMAGES}ImageFsInfo", b"")
    upstream.next_call("Version")
    call.cancel()
    # It goes on without the call, which has left no other trace.
    shim.background.call(event.set)
    upstream.scripts["ImageFsInfo"] = refuse(9)
    assert shim.client().raw(f"{IMAGES}ImageFsInfo").code.value[0] == 9
    assert len(upstream.of("Version")) == len(upstream.of("ImageFsInfo")) == 1
    shim.wait_idle()


def test_a_call_that_is_reset_before_it_began_leaves_nothing_behind(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["ImageFsInfo"] = refuse(Code.NOT_FOUND)
    with Wire(shim.path) as wire:
        for _ in range(50):
            number = wire.h2.get_next_available_stream_id()
            wire.h2.send_headers(number, [(b":method", b"POST"), (b":path", b"/a/b")])
            wire.h2.reset_stream(number, CANCEL)
        # In one piece: the server sees each call and its end together.
        wire.flush()
        assert wire.call(f"{IMAGES}ImageFsInfo".encode()).status[0] == 5
        shim.wait_idle()
        assert wait_until(lambda: held(shim) == 0, PATIENCE)


def held(shim: Shim) -> int:
    """Count the calls that the server keeps for its connections."""

    def count() -> int:
        server = shim.server._server
        handlers: list[Any] = [protocol.handler for protocol in server._protocols]
        return len(server._tasks) + sum(len(handler._tasks) for handler in handlers)

    return shim.background.call(count)
