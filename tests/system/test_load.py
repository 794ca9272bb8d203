"""Many pulls at once, and very many look-ups: nothing is asked twice and nothing is left behind."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.cri_client import CRI
from tests.support.daemon import run_program
from tests.support.faults import Slow, always
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.standin_runtime import StandinRuntime
from tests.system.conftest import StartDaemon

PULLS, IMAGES, CONNECTIONS = 200, 50, 4


def established(pid: int, port: int) -> int:
    """Count the TCP connections of a process to a port of this machine."""
    mine = set()
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        try:
            mine.add(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
        except OSError:
            continue
    count = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        remote = int(fields[2].rpartition(":")[2], 16)
        # 1 is ESTABLISHED.
        count += remote == port and fields[3] == "01" and f"socket:[{fields[9]}]" in mine
    return count


def test_two_hundred_pulls_of_fifty_images_ask_each_registry_once_for_each(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    standin: StandinRuntime,
) -> None:
    image = build_image("crowd")
    with MemoryRegistry() as first, MemoryRegistry() as second:
        for number in range(IMAGES):
            push(second.url, f"lab/crowd{number}", "1", image)
        for registry in (first, second):
            registry.faults = always(Slow(0.02))
            registry.forget_requests()
        shim = start_daemon(
            standin.socket,
            "address: ''\nregistries:\n"
            f"  - {{address: '{first.url}', maxConnections: {CONNECTIONS}, priority: 900}}\n"
            f"  - {{address: '{second.url}', maxConnections: {CONNECTIONS}}}\n",
        )
        assert shim.pid is not None
        pid = shim.pid
        seen = {first.port: 0, second.port: 0}
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.005):
                for port, most in seen.items():
                    seen[port] = max(most, established(pid, port))

        watching = threading.Thread(target=watch)
        watching.start()
        client = connect(shim.socket)
        try:
            with ThreadPoolExecutor(PULLS) as pool:
                names = [f"origin.test/lab/crowd{n % IMAGES}:1" for n in range(PULLS)]
                pulled = list(pool.map(lambda name: client.pull(name, timeout=120), names))
        finally:
            over.set()
            watching.join()
        assert set(pulled) == {image.config_digest}
        for registry in (first, second):
            asked = Counter(
                request.path
                for request in registry.requests
                if request.headers.get("user-agent", "").startswith("image-cri-shim/")
            )
            assert len(asked) == IMAGES
            assert set(asked.values()) == {1}
            assert 0 < seen[registry.port] <= CONNECTIONS
            assert established(pid, registry.port) <= CONNECTIONS


@pytest.mark.parametrize("count", [10_000])
def test_ten_thousand_look_ups_leave_nothing_behind(count: int) -> None:
    image = build_image("load")
    with MemoryRegistry() as registry:
        for number in range(0, 500, 2):
            push(registry.url, f"lab/image{number}", str(number), image)
        registry.forget_requests()
        ended = run_program(
            (sys.executable, "-m", "tests.system.look_up_load"),
            registry.url,
            str(count),
            seconds=120,
        )
        assert ended.stderr == ""
        left = json.loads(ended.stdout)
        assert len(registry.requests) == count
        # One connection for each that may be asked at once, and not one more in all that time.
        assert registry.connections <= 16
    assert left["outcomes"] == {"Outcome.PRESENT": 250, "Outcome.ABSENT": count - 250}
    assert left["cached"] == 100
    assert left["after"]["sockets"] <= left["before"]["sockets"]
    assert left["closed"]["sockets"] <= left["before"]["sockets"] - 1
    assert left["after"]["memory"] - left["before"]["memory"] < 4096, "KiB"
