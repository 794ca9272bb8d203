"""A call that can have had no effect is made once more when its connection goes."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from image_cri_shim.cri.status import parse_timeout
from tests.cri.background import PATIENCE, Background
from tests.cri.scripted import FIRST, Script, ScriptedUpstream, UpstreamCall, hang, reply
from tests.cri.shim import IMAGES, Shim
from tests.support.cri_client import CRI
from tests.support.processes import wait_until

RUNTIME = "/runtime.v1.RuntimeService/"
NGINX = b"\x0a\x07\x0a\x05nginx"
READ_ONLY = [
    f"{IMAGES}ImageFsInfo",
    f"{IMAGES}ImageStatus",
    f"{RUNTIME}Version",
    f"{RUNTIME}ListContainers",
    f"{RUNTIME}StreamContainers",
]
CHANGING = [
    f"{IMAGES}PullImage",
    f"{IMAGES}RemoveImage",
    f"{RUNTIME}StartContainer",
    f"{RUNTIME}ExecSync",
    f"{RUNTIME}GetContainerEvents",
    f"{RUNTIME}NotYetInvented",
    "/made.up.Service/Talk",
]


def first(failing: Script, otherwise: Script) -> Script:
    """Play one script for the first call, and another one for those after it."""
    calls = 0

    async def script(call: UpstreamCall) -> None:
        nonlocal calls
        calls += 1
        await (failing if calls == 1 else otherwise)(call)

    return script


async def refuse_stream(call: UpstreamCall) -> None:
    await call.request()
    call.abort(7)


async def go_away(call: UpstreamCall) -> None:
    """Say that this call was not begun, and end the connection."""
    await call.request()
    call.connection.transport.write(GoAwayFrame(0, last_stream_id=max(call.id - 2, 0)).serialize())
    call.connection.transport.close()


async def lose(call: UpstreamCall) -> None:
    await call.request()
    call.connection.transport.abort()


@pytest.mark.parametrize("path", READ_ONLY + CHANGING)
@pytest.mark.parametrize("failing", [refuse_stream, go_away])
def test_any_call_that_the_runtime_did_not_begin_is_made_again(
    upstream: ScriptedUpstream, client: CRI, path: str, failing: Script
) -> None:
    upstream.scripts[path] = first(failing, reply(b""))
    assert client.raw(path, NGINX, timeout=PATIENCE).code is grpc.StatusCode.OK
    one, other = upstream.of(path.rpartition("/")[2])
    assert one.body == other.body


@pytest.mark.parametrize("path", READ_ONLY)
def test_a_call_that_changes_nothing_is_made_again_when_its_connection_goes(
    upstream: ScriptedUpstream, client: CRI, path: str
) -> None:
    upstream.scripts[path] = first(lose, reply(b"\x0a\x00"))
    answer = client.raw(path, NGINX, timeout=PATIENCE)
    assert (answer.code, answer.body) == (grpc.StatusCode.OK, b"\x0a\x00")
    one, other = upstream.of(path.rpartition("/")[2])
    assert one.body == other.body
    assert one.connection is not other.connection


@pytest.mark.parametrize("path", CHANGING)
def test_a_call_that_may_have_changed_something_is_not_made_again(
    upstream: ScriptedUpstream, client: CRI, path: str
) -> None:
    upstream.scripts[path] = first(lose, reply(b""))
    answer = client.raw(path, NGINX, timeout=PATIENCE)
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert "was lost in the middle of the call" in answer.details
    assert len(upstream.of(path.rpartition("/")[2])) == 1


@pytest.mark.parametrize("path", [READ_ONLY[0], READ_ONLY[1]])
@pytest.mark.parametrize("failing", [refuse_stream, go_away, lose])
def test_there_is_no_third_try(
    upstream: ScriptedUpstream, client: CRI, path: str, failing: Script
) -> None:
    upstream.scripts[path] = failing
    assert client.raw(path, NGINX, timeout=PATIENCE).code is grpc.StatusCode.UNAVAILABLE
    assert len(upstream.of(path.rpartition("/")[2])) == 2


@pytest.mark.parametrize("path", READ_ONLY[:2])
def test_a_call_whose_answer_has_begun_is_not_made_again(
    upstream: ScriptedUpstream, client: CRI, path: str
) -> None:
    async def begin(call: UpstreamCall) -> None:
        await call.request()
        call.headers_out(FIRST)
        call.connection.transport.close()

    upstream.scripts[path] = begin
    assert client.raw(path, NGINX, timeout=PATIENCE).code is grpc.StatusCode.UNAVAILABLE
    assert len(upstream.of(path.rpartition("/")[2])) == 1


@pytest.mark.parametrize("path", READ_ONLY[:2])
@pytest.mark.parametrize("reset", [2, 8, 11])
def test_a_call_that_the_runtime_gave_up_is_not_made_again(
    upstream: ScriptedUpstream, client: CRI, path: str, reset: int
) -> None:
    async def give_up(call: UpstreamCall) -> None:
        await call.request()
        call.abort(reset)

    upstream.scripts[path] = give_up
    assert client.raw(path, NGINX, timeout=PATIENCE).code is not grpc.StatusCode.OK
    assert len(upstream.of(path.rpartition("/")[2])) == 1


def test_a_streamed_request_that_has_begun_is_not_made_again(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    async def refuse_stream_now(call: UpstreamCall) -> None:
        await call.next_frame()
        call.abort(7)

    path = f"{RUNTIME}ListContainers"
    upstream.scripts[path] = refuse_stream_now
    words: queue.Queue[bytes | None] = queue.Queue()
    words.put(b"one")
    call = shim.channel().stream_stream(path)(iter(words.get, None), timeout=PATIENCE)
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    words.put(None)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert len(upstream.of("ListContainers")) == 1


@pytest.mark.parametrize("path", [f"{IMAGES}ImageFsInfo", f"{IMAGES}ImageStatus"])
@pytest.mark.parametrize("failing", [refuse_stream, lose])
def test_the_second_try_has_no_more_time_than_the_first_left(
    upstream: ScriptedUpstream, client: CRI, path: str, failing: Script
) -> None:
    upstream.scripts[path] = first(failing, reply(b""))
    assert client.raw(path, NGINX, timeout=PATIENCE).code is grpc.StatusCode.OK
    one, other = (parse_timeout(call.headers) for call in upstream.of(path.rpartition("/")[2]))
    assert one is not None
    assert other is not None
    # grpcio rounds up to tenths of a second, and uvloop's clock ticks once in a millisecond.
    assert 0 < other <= one <= PATIENCE + 0.1


def test_a_second_try_that_hangs_ends_with_the_deadline(
    upstream: ScriptedUpstream, client: CRI
) -> None:
    path = f"{IMAGES}ImageFsInfo"
    upstream.scripts[path] = first(lose, hang)
    answer = client.raw(path, NGINX, timeout=0.3)
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(upstream.of("ImageFsInfo")) == 2


@pytest.mark.parametrize(
    ("failing", "message"),
    [
        # What ended the call, and not what is found out later.
        (lose, "was lost in the middle of the call"),
        # Nothing ended it, for it had not begun.
        (go_away, "does not exist (is the runtime running?)"),
    ],
)
def test_a_second_try_for_which_there_is_no_runtime_says_why(
    background: Background,
    make_shim: Callable[..., Shim],
    tmp_path: Path,
    failing: Script,
    message: str,
) -> None:
    upstream = ScriptedUpstream(background, str(tmp_path / "gone.sock"))
    remove = Path(upstream.path).unlink

    async def die(call: UpstreamCall) -> None:
        remove()
        await failing(call)

    upstream.scripts["ImageFsInfo"] = die
    upstream.start()
    answer = make_shim(upstream.path).client().raw(f"{IMAGES}ImageFsInfo", timeout=PATIENCE)
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert message in answer.details
    upstream.stop()


def test_a_call_that_waited_for_its_turn_is_made_on_the_next_connection(
    background: Background, make_shim: Callable[..., Shim], tmp_path: Path
) -> None:
    upstream = ScriptedUpstream(background, str(tmp_path / "few.sock"))

    async def fill(call: UpstreamCall) -> None:
        call.connection.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
        call.connection.flush()
        await asyncio.Event().wait()

    upstream.scripts["Exec"] = fill
    upstream.scripts["StartContainer"] = reply(b"started")
    upstream.start()
    shim = make_shim(upstream.path)
    client = shim.client()
    blocking = client.start(f"{RUNTIME}Exec", b"", timeout=PATIENCE)
    upstream.next_call("Exec")
    connection = shim.upstream._connector.current

    def limited() -> bool:
        return connection._channel._protocol.http2.remote_settings.max_concurrent_streams == 1

    assert wait_until(lambda: background.call(limited), PATIENCE)
    waiting = client.start(f"{RUNTIME}StartContainer", b"x", timeout=PATIENCE)
    assert wait_until(lambda: background.call(lambda: connection.running == 2), PATIENCE)
    assert upstream.of("StartContainer") == []
    background.call(upstream.drop)
    assert waiting.result() == b"started"
    assert blocking.exception().code() is grpc.StatusCode.UNAVAILABLE
    upstream.stop()


def test_a_large_message_is_sent_again_as_it_was(upstream: ScriptedUpstream, client: CRI) -> None:
    path = f"{RUNTIME}ListContainers"
    body = bytes(range(256)) * 60

    upstream.scripts[path] = first(lose, reply(b"here"))
    assert client.raw(path, body, timeout=PATIENCE).body == b"here"
    assert [call.message for call in upstream.of("ListContainers")] == [body, body]
