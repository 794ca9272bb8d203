"""Clients that say nothing, or too much, cost the node nothing: the kubelet's calls go on."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from tests.cri.background import Background
from tests.cri.scripted import ScriptedUpstream, reply
from tests.support.cri_client import CRI
from tests.support.daemon import TWISTD
from tests.support.processes import memory, wait_until
from tests.support.standin_runtime import StandinRuntime
from tests.system.conftest import StartDaemon

MANY = 10_000
# What the test itself has open besides.
OTHERS = 200
KIB = 1024
LIMITED = ("sh", "-c", 'ulimit -Sn 1024 && exec "$@"', "sh", *TWISTD, "--nodaemon", "--pidfile=")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BEGINNINGS = [
    b"",
    PREFACE[:5],
    PREFACE,
    PREFACE + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\4",
    b"\x16\x03\x01\x02\x00\x01",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\xff" * 100,
]


@pytest.fixture
def descriptors() -> Iterator[int]:
    """Return how many sockets the test may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = MANY + OTHERS if hard == resource.RLIM_INFINITY else min(MANY + OTHERS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))
    yield max(soft, enough) - OTHERS
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def forget_peak(pid: int) -> None:
    """Let VmHWM begin anew (proc_pid_clear_refs(5))."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def test_ten_thousand_clients_that_say_nothing_or_nonsense(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    standin: StandinRuntime,
    descriptors: int,
) -> None:
    shim = start_daemon(standin.socket, 'address: ""', program=(*LIMITED, "image-cri-shim"))
    assert shim.pid is not None
    pid = shim.pid
    kubelet = connect(shim.socket)
    assert kubelet.image_status("nginx:1.25") is None
    before = memory(pid, "VmRSS")
    forget_peak(pid)
    with contextlib.ExitStack() as stack:
        for number in range(min(MANY, descriptors)):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(shim.socket)
            # One that is there no more, or has no place, is no failure.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(BEGINNINGS[number % len(BEGINNINGS)])
            if number % 500 == 0:
                assert kubelet.image_status("nginx:1.25") is None
        # Somebody new comes in, too.
        newcomer = connect(shim.socket)
        assert wait_until(lambda: answers(newcomer), 20)
        assert kubelet.image_status("nginx:1.25") is None
        grown = memory(pid, "VmHWM") - before
        print(f"RSS was {before} KiB and grew by {grown} KiB at most")
        assert grown < 64 * KIB
    assert kubelet.image_status("nginx:1.25") is None
    assert shim.lines("Traceback") == []


def answers(client: CRI) -> bool:
    return client.raw("/runtime.v1.ImageService/ImageFsInfo").code is not (
        grpc.StatusCode.UNAVAILABLE
    )


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[ScriptedUpstream]:
    background = Background()
    running = ScriptedUpstream(background, str(tmp_path / "up.sock")).start()
    yield running
    running.stop()
    background.close()


def test_seventeen_mebibytes_either_way_are_refused_and_take_no_memory(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    upstream: ScriptedUpstream,
) -> None:
    large = bytes(17 * 1024 * 1024)
    paths = [
        "/runtime.v1.ImageService/ImageFsInfo",
        "/runtime.v1.ImageService/ImageStatus",
        "/runtime.v1.RuntimeService/Status",
    ]
    upstream.scripts["Version"] = reply(b"")
    for path in paths:
        upstream.scripts[path] = reply(b"")
    shim = start_daemon(upstream.path, "address: ''\nversion: v1")
    assert shim.pid is not None
    client = connect(shim.socket)
    for path in paths:
        assert client.raw(path).code is grpc.StatusCode.OK
    before = memory(shim.pid, "VmRSS")
    forget_peak(shim.pid)
    for path in paths:
        assert client.raw(path, large).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        upstream.scripts[path] = reply(large)
        assert client.raw(path).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        upstream.scripts[path] = reply(b"")
        assert client.raw(path).code is grpc.StatusCode.OK
    grown = memory(shim.pid, "VmHWM") - before
    print(f"RSS was {before} KiB and grew by {grown} KiB at most")
    # A window's worth each way, and what goes with it.
    assert grown < 12 * KIB
