"""Let many clients call the shim while its runtime is killed and started again and again.

    python -m tests.system.endurance --seconds 600      # as `make soak` does

The runtime is a real containerd; every pull is one from the offline registry.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.containerd import Containerd
from tests.support.cri_client import CRI
from tests.support.daemon import Daemon
from tests.support.daemon import environment as source_environment
from tests.support.images import build_image, push
from tests.support.load_client import DEADLINE
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import memory, wait_until

IMAGES = ("endure/a:1", "endure/b:1", "quay.io/endure/c:1")


@dataclass(frozen=True)
class Usage:
    """What a process holds: resident memory in KiB, and descriptors."""

    memory: int
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        return cls(memory(pid), len(os.listdir(f"/proc/{pid}/fd")))


@dataclass(frozen=True)
class Report:
    """What came of it; see load_client for `outcomes`."""

    outcomes: dict[str, object]
    kills: int
    before: Usage
    after: Usage
    log: str


def endure(directory: Path, *, seconds: float, clients: int = 64, period: float = 20.0) -> Report:
    """Run the load for some time, with a kill in every period; return when all is quiet again."""
    with MemoryRegistry() as registry:
        for name in IMAGES:
            repository, _, tag = name.removeprefix("quay.io/").partition(":")
            push(registry.url, repository, tag, build_image(repository))
        runtime = Containerd(directory / "r").start()
        daemon = Daemon(directory / "s", cri=runtime.socket, config=f"address: {registry.url}")
        try:
            daemon.start()
            _load(daemon.socket, seconds=2, clients=clients).communicate()
            before = _settled(daemon, 0)
            load = _load(daemon.socket, seconds=seconds, clients=clients)
            end = time.monotonic() + seconds
            kills = 0
            while time.monotonic() + period / 2 < end:
                time.sleep(period / 2)
                runtime.kill()
                kills += 1
                time.sleep(min(1.0, period / 10))
                runtime.start()
                time.sleep(max(0.0, min(period / 2, end - time.monotonic())))
            outcomes = json.loads(load.communicate(timeout=seconds + 2 * DEADLINE)[0])
            with CRI(daemon.socket) as client:
                client.version(timeout=DEADLINE)
            return Report(
                outcomes, kills, before, _settled(daemon, before.descriptors), daemon.text()
            )
        finally:
            daemon.stop()
            runtime.stop()


def _load(socket: str, *, seconds: float, clients: int) -> subprocess.Popen[str]:
    images = [word for name in IMAGES for word in ("--image", name)]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.support.load_client", socket, *images),
            *(f"--seconds={seconds}", f"--clients={clients}"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=source_environment(),
    )


def _settled(daemon: Daemon, descriptors: int) -> Usage:
    """Return what the daemon holds when connections of clients that left are closed."""
    if daemon.pid is None:
        raise RuntimeError(f"the daemon ended:\n{daemon.tail()}")
    pid = daemon.pid
    if descriptors:
        wait_until(lambda: Usage.of(pid).descriptors <= descriptors, 10)
    else:
        last = [Usage.of(pid).descriptors]

        def still() -> bool:
            last.append(Usage.of(pid).descriptors)
            return len(last) > 5 and len(set(last[-5:])) == 1

        wait_until(still, 10, 0.2)
    return Usage.of(pid)


def main() -> None:
    """Run it and say what came of it."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--period", type=float, default=20, help="seconds between two kills")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="image-cri-shim-soak-") as name:
        report = endure(
            Path(name), seconds=options.seconds, clients=options.clients, period=options.period
        )
    print(
        f"{options.clients} clients, {options.seconds:g} s, containerd killed {report.kills} times"
    )
    print(f"calls: {json.dumps(report.outcomes)}")
    print(f"resident memory: {report.before.memory} KiB before, {report.after.memory} KiB after")
    print(f"descriptors: {report.before.descriptors} before, {report.after.descriptors} after")


if __name__ == "__main__":
    main()
