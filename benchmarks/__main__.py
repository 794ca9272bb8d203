"""Measure what the shim costs and print it as Markdown.

Each timing is a ratio to the direct call, which is measured in turn with it, in several rounds. The
runtime is a real containerd where one can run, else the stand-in, which is slower itself and so
makes the ratios look better than they are; the output says which it was.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support import containerd
from tests.support.containerd import Containerd
from tests.support.cri_client import CRI
from tests.support.daemon import Daemon
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.standin_runtime import StandinRuntime

IMAGE = "nginx:1.25"


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each timing [default: 5]")
    parser.add_argument("--calls", type=int, default=300, help="calls in a round [default: 300]")
    parser.add_argument(
        "--memory-calls", type=int, default=20_000, help="calls of the memory test [default: 20000]"
    )
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="image-cri-shim-bench-") as name,
        contextlib.ExitStack() as stack,
    ):
        print(f"# {time.strftime('%Y-%m-%d')}\n")
        directory = Path(name)
        registry = stack.enter_context(MemoryRegistry())
        push(registry.url, "library/nginx", "1.25", build_image("bench"))
        count_upstream_calls(directory, registry)
        real = containerd.why_not() is None
        runtime = stack.enter_context(
            Containerd(directory / "r") if real else StandinRuntime(directory / "r")
        )
        print(f"Runtime: {'containerd' if real else 'stand-in'}\n")
        daemon = Daemon(directory / "s", cri=runtime.socket, config=f"address: {registry.url}")
        time_start(daemon, options.rounds)
        daemon.start()
        stack.callback(daemon.stop)
        with CRI(daemon.socket) as shim, CRI(runtime.socket) as direct:
            shim.pull(IMAGE)
            held = shim.image_status(IMAGE).repo_tags[0]
            time_calls(shim, direct, held, options)
            grow(shim, daemon, options.memory_calls)
    sys.stdout.flush()
    # In a process of its own: it has a reactor.
    subprocess.run([sys.executable, "-m", "benchmarks.look_ups", str(options.rounds)], check=True)


def count_upstream_calls(directory: Path, registry: MemoryRegistry) -> None:
    """Count how often the runtime is asked for one ImageStatus of a present image."""
    with StandinRuntime(directory / "counted") as runtime:
        daemon = Daemon(
            directory / "counting", cri=runtime.socket, config=f"address: {registry.url}"
        )
        daemon.start()
        try:
            with CRI(daemon.socket) as shim:
                shim.pull(IMAGE)
                runtime.forget_journal()
                for _ in range(100):
                    shim.image_status(IMAGE)
                calls = [e for e in runtime.journal() if e["event"] == "call"]
        finally:
            daemon.stop()
    print(f"Upstream calls for 100 ImageStatus of a present image: {len(calls)}\n")
    methods = {entry["method"] for entry in calls}
    print(f"They were: {json.dumps(sorted(methods))}\n")


def time_start(daemon: Daemon, rounds: int) -> None:
    """Measure from the start of the process to the first answered connection."""
    took = []
    for _ in range(rounds):
        started = time.perf_counter()
        daemon.start()
        took.append(time.perf_counter() - started)
        daemon.stop()
    print(f"Start to serving: median {statistics.median(took):.2f} s, worst {max(took):.2f} s\n")


def time_calls(shim: CRI, direct: CRI, held: str, options: argparse.Namespace) -> None:
    """Measure calls through the shim and direct ones in turn."""
    print("| call | direct p50 | shim p50 | ratio of p50 | spread of the ratio |")
    print("|---|---|---|---|---|")
    cases: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
        (
            "ImageStatus, present",
            lambda: direct.image_status(held),
            lambda: shim.image_status(IMAGE),
        ),
        ("ListImages", direct.list_images, shim.list_images),
        ("Version (passed through)", direct.version, shim.version),
        ("PullImage, present", lambda: direct.pull(held), lambda: shim.pull(IMAGE)),
    ]
    for name, one, other in cases:
        calls = options.calls if "Pull" not in name else max(options.calls // 10, 5)
        pairs = [(p50(one, calls), p50(other, calls)) for _ in range(options.rounds)]
        report(name, pairs)
    for width in (16,):
        pairs = [
            (
                1 / rate(cases[0][1], width, options.calls),
                1 / rate(cases[0][2], width, options.calls),
            )
            for _ in range(options.rounds)
        ]
        best = max(1 / pair[1] for pair in pairs)
        report(f"ImageStatus, {width} concurrent, per call (best {best:.0f}/s)", pairs)
    print()


def report(name: str, pairs: list[tuple[float, float]]) -> None:
    """Print one row from (direct, shim) seconds."""
    ratios = [shim / direct for direct, shim in pairs]
    direct = statistics.median(pair[0] for pair in pairs) * 1000
    shim = statistics.median(pair[1] for pair in pairs) * 1000
    print(
        f"| {name} | {direct:.2f} ms | {shim:.2f} ms | {statistics.median(ratios):.1f} "
        f"| {min(ratios):.1f} to {max(ratios):.1f} |",
        flush=True,
    )


def p50(call: Callable[[], object], count: int) -> float:
    """Return the median seconds of sequential calls."""
    took = []
    for _ in range(count):
        started = time.perf_counter()
        call()
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def rate(call: Callable[[], object], width: int, count: int) -> float:
    """Return calls in a second from several threads."""
    with ThreadPoolExecutor(width) as pool:
        started = time.perf_counter()
        for future in [pool.submit(call) for _ in range(count * 2)]:
            future.result()
        return count * 2 / (time.perf_counter() - started)


def grow(shim: CRI, daemon: Daemon, calls: int) -> None:
    """Measure memory before and after many calls."""
    if daemon.pid is None:
        raise RuntimeError("the daemon ended")
    for _ in range(1000):
        shim.image_status(IMAGE)
    before = resident(daemon.pid)
    for _ in range(calls):
        shim.image_status(IMAGE)
    after = resident(daemon.pid)
    print(
        f"Resident memory: {before / 1024:.1f} MiB after 1,000 calls, "
        f"{after / 1024:.1f} MiB after {calls:,} more (ratio {after / before:.3f})\n"
    )


def resident(pid: int) -> int:
    """Return a process's resident memory in KiB (proc(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError(f"no VmRSS for {pid}")


if __name__ == "__main__":
    main()
