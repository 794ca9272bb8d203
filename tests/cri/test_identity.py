"""Who made a call: its id, the client's process, and its trace."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from image_cri_shim.cri.identity import trace_of
from tests.cri.scripted import ScriptedUpstream, reply
from tests.cri.shim import IMAGES, Shim
from tests.support.cri_client import CRI

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
BINARY = b"\0\0" + bytes.fromhex(TRACE) + b"\1" + bytes(8) + b"\2\1"


def test_a_pull_says_which_process_asked_for_it(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = reply(b"")
    client.pull("nginx:1.25")
    (caller,) = shim.notes.callers
    assert caller.client is not None
    own = (os.getpid(), os.getuid(), os.getgid())
    assert (caller.client.pid, caller.client.uid, caller.client.gid) == own
    assert caller.client.name == Path("/proc/self/comm").read_text().strip()


def test_each_call_has_an_id_of_its_own(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = reply(b"")
    for _ in range(3):
        client.pull("nginx:1.25")
    ids = {caller.call for caller in shim.notes.callers}
    assert len(ids) == 3
    assert len({one.partition("-")[0] for one in ids}) == 1, "one run of the daemon"


def test_a_trace_is_passed_on_to_the_runtime_and_known_of_the_pull(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = reply(b"")
    metadata = (("traceparent", PARENT), ("tracestate", "a=b"))
    client.raw(f"{IMAGES}PullImage", b"\x0a\x07\x0a\x05nginx", metadata=metadata)
    (caller,) = shim.notes.callers
    assert caller.trace == TRACE
    (call,) = upstream.of("PullImage")
    headers = dict(call.headers)
    assert headers[b"traceparent"] == PARENT.encode()
    assert headers[b"tracestate"] == b"a=b"


@pytest.mark.parametrize(
    ("name", "value", "trace"),
    [
        (b"traceparent", PARENT.encode(), TRACE),
        (b"traceparent", b"cc" + PARENT.encode()[2:] + b"-what-comes-later", TRACE),
        (b"traceparent", PARENT.upper().encode(), ""),
        (b"traceparent", b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01", ""),
        (b"traceparent", b"", ""),
        (b"traceparent", b"nonsense", ""),
        (b"grpc-trace-bin", base64.b64encode(BINARY), TRACE),
        (b"grpc-trace-bin", base64.b64encode(BINARY).rstrip(b"="), TRACE),
        (b"grpc-trace-bin", base64.b64encode(BINARY[:12]), ""),
        (b"grpc-trace-bin", base64.b64encode(b"\1" + BINARY[1:]), ""),
        (b"grpc-trace-bin", base64.b64encode(b"\0\0" + bytes(16)), ""),
        (b"grpc-trace-bin", b"!!!", ""),
        (b"x-other", PARENT.encode(), ""),
    ],
)
def test_a_trace_is_read_as_w3c_and_grpc_write_it(name: bytes, value: bytes, trace: str) -> None:
    assert trace_of([(b":path", b"/x"), (name, value)]) == trace
