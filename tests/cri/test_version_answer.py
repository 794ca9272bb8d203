"""Version: clients are told the CRI version that they speak, whatever the runtime speaks."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from image_cri_shim.cri._generated import cri_pb2
from tests.cri.scripted import Script, ScriptedUpstream, refuse, reply
from tests.cri.shim import Shim

V1, OLD = ("/runtime.v1.RuntimeService/Version", "/runtime.v1alpha2.RuntimeService/Version")
# A field that nobody knows yet.
UNKNOWN = b"\x7a\x01z"


def answer(api: str) -> bytes:
    told = cri_pb2.VersionResponse(
        version="0.1.0",
        runtime_name="containerd",
        runtime_version="v1.6.20",
        runtime_api_version=api,
    )
    return told.SerializeToString() + UNKNOWN


def script(api: str) -> Script:
    return reply(answer(api), first=[(b"x-by", b"runtime")])


@pytest.mark.parametrize("speaks", [["v1"], ["v1alpha2"], ["v1", "v1alpha2"]])
@pytest.mark.parametrize("client", ["v1", "v1alpha2"])
@pytest.mark.parametrize("names", ["keep", "only"])
def test_a_client_is_told_its_own_version(
    upstream: ScriptedUpstream,
    make_shim: Callable[..., Shim],
    speaks: list[str],
    client: str,
    names: str,
) -> None:
    for version, path in (("v1", V1), ("v1alpha2", OLD)):
        if version in speaks:
            upstream.scripts[path] = script(version)
    shim = make_shim(upstream.path, version="auto", original_names=names)
    told = shim.client(client).raw(V1 if client == "v1" else OLD)
    assert told.body == answer(client)
    assert ("x-by", "runtime") in told.initial_metadata


@pytest.mark.parametrize("api", ["", "1.41.0", "v2", "V1"])
def test_what_is_no_version_of_the_cri_stays(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim], api: str
) -> None:
    told = UNKNOWN + answer(api)
    upstream.scripts[V1] = reply(told)
    shim = make_shim(upstream.path)
    assert shim.client("v1alpha2").raw(OLD).body == told


def test_an_error_is_the_runtimes(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim]
) -> None:
    upstream.scripts[V1] = refuse(13, b"broken")
    told = make_shim(upstream.path).client("v1alpha2").raw(OLD)
    assert (told.code, told.details) == (grpc.StatusCode.INTERNAL, "broken")


def test_what_cannot_be_read_is_passed_on(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim]
) -> None:
    upstream.scripts[V1] = reply(b"\xff\xff")
    assert make_shim(upstream.path).client("v1alpha2").raw(OLD).body == b"\xff\xff"
