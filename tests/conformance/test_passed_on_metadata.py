"""Calls that are passed on, of any kind: messages, metadata and outcome are the runtime's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import grpc
import pytest

from tests.support.cri_client import Answer
from tests.support.daemon import Daemon
from tests.support.runtime_client import RuntimeClient
from tests.support.runtime_messages import message
from tests.support.talkative_runtime import CODES, DETAILS, INITIAL, MESSAGE, TalkativeRuntime

ANY = ("/runtime.v1.RuntimeService/", "/runtime.v1.ImageService/", "/made.up.Service/")
FAILURES = [code for code in CODES if code]
READ = ("Version", "ImageStatus", "ListImages", "PullImage", "RemoveImage", "ImageFsInfo")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TalkativeRuntime]:
    with TalkativeRuntime(tmp_path_factory.mktemp("runtime")) as running:
        yield running


@pytest.fixture(scope="module")
def clients(
    tmp_path_factory: pytest.TempPathFactory, runtime: TalkativeRuntime
) -> Iterator[tuple[RuntimeClient, RuntimeClient]]:
    """One client of the runtime itself and one of the shim."""
    config = 'address: ""\nversion: v1'
    directory = tmp_path_factory.mktemp("shim")
    with (
        Daemon(directory, cri=runtime.socket, config=config) as shim,
        RuntimeClient(runtime.socket) as direct,
        RuntimeClient(shim.socket) as client,
    ):
        yield direct, client


def talk(client: RuntimeClient, path: str, messages: list[bytes]) -> tuple[list[bytes], Answer]:
    """Stream messages, and return what came back and how it ended."""
    call = client._channel.stream_stream(path)(iter(messages), timeout=30)
    received = []
    with contextlib.suppress(grpc.RpcError):
        received.extend(call)
    return received, Answer(
        body=b"",
        code=call.code(),
        details=call.details(),
        initial_metadata=tuple((key, value) for key, value in call.initial_metadata()),
        trailing_metadata=tuple((key, value) for key, value in call.trailing_metadata()),
    )


@pytest.mark.parametrize("body", [b"", b"\x0a\x00", 100_000 * b"\x00\xff"], ids=len)
@pytest.mark.parametrize("service", ANY)
def test_a_success_arrives_as_it_is(
    clients: tuple[RuntimeClient, RuntimeClient], service: str, body: bytes
) -> None:
    expected, found = (client.raw(f"{service}Succeed", body) for client in clients)
    assert found == expected
    assert (found.code, found.body) == (grpc.StatusCode.OK, body)
    assert set(INITIAL) <= set(found.initial_metadata)


@pytest.mark.parametrize("service", ANY)
@pytest.mark.parametrize("number", FAILURES)
def test_a_failure_arrives_as_it_is(
    clients: tuple[RuntimeClient, RuntimeClient], service: str, number: int
) -> None:
    expected, found = (client.raw(f"{service}Fail{number}") for client in clients)
    assert found == expected
    assert (found.code, found.details) == (CODES[number], MESSAGE)
    assert DETAILS in found.trailing_metadata


@pytest.mark.parametrize("method", READ)
def test_metadata_arrive_with_the_answers_that_are_read_on_the_way(
    clients: tuple[RuntimeClient, RuntimeClient], method: str
) -> None:
    request = {"image": {"image": "nginx:1.25"}}
    if method in ("Version", "ListImages", "ImageFsInfo"):
        request = {}
    direct, client = clients
    expected, found = (one.outcome(method, **request) for one in (direct, client))
    assert found.initial_metadata == expected.initial_metadata
    assert found.trailing_metadata == expected.trailing_metadata
    assert (found.code, found.body) == (expected.code, expected.body)


@pytest.mark.parametrize("count", [0, 1, 3, 200])
@pytest.mark.parametrize("method", ["Succeed", "Fail9"])
def test_a_stream_in_both_directions_arrives_as_it_is(
    clients: tuple[RuntimeClient, RuntimeClient], method: str, count: int
) -> None:
    messages = [b"%d" % number * number for number in range(count)]
    expected, found = (talk(client, f"{ANY[0]}{method}", messages) for client in clients)
    assert found == expected
    assert found[0] == messages


@pytest.mark.parametrize("method", READ)
def test_fields_that_nobody_knows_yet_survive_in_both_directions(
    clients: tuple[RuntimeClient, RuntimeClient], method: str
) -> None:
    """The request comes back as the answer; an image with a field 99 in it, and a field 98."""
    later = b"\x9a\x06\x05later"
    spec = message("ImageSpec", image="nginx:1.25").SerializeToString() + later
    body = b"\x0a" + bytes([len(spec)]) + spec + b"\x92\x06\x04more"
    if method == "Version":
        body = message("VersionRequest", version="0.1.0").SerializeToString() + later
    elif method == "ListImages":
        body = later
    direct, client = clients
    path = client.method(method)
    assert client.raw(path, body).body == direct.raw(path, body).body == body
