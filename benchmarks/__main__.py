"""Measure what the shim costs and print it as Markdown.

Each timing is a ratio to the direct call on the same runtime in the same run: the direct call, the
shim and a bare proxy are measured in turn, in several rounds. One runtime does nothing, so what is
measured is the proxies; the other is a real containerd, where one can run.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs

from benchmarks import report
from benchmarks.burden import Burden, burden
from benchmarks.cases import (
    BARE,
    DIRECT,
    LIST_IMAGES,
    SHIM,
    VERSION,
    Case,
    Result,
    by_grpcio,
    each_new,
    events,
    image_status,
    measure,
    pull_image,
    repeated,
)
from benchmarks.load import CallFailed, Connection, drive
from benchmarks.report import IMAGE_STATUS, TARGETED
from benchmarks.ways import Program, bare_proxy, null_runtime, shim
from tests.support import containerd
from tests.support.containerd import Containerd
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import environment_without_proxies

IMAGE = "nginx:1.25"
HELD = 20  # images of the real runtime
EVENTS = 1000
NEW_ON_NULL, NEW_ON_CONTAINERD = 10, 3  # pulls on one way in one round

Say = Callable[[str], None]


@attrs.frozen
class Scale:
    """How much is measured.

    :ivar rounds: of each case.
    :ivar seconds: for one way in one round.
    :ivar calls: before memory is read.
    :ivar starts: of the shim.
    :ivar idle: seconds without a call.
    """

    rounds: int
    seconds: float
    calls: int
    starts: int
    idle: float


FULL = Scale(rounds=7, seconds=0.4, calls=100_000, starts=5, idle=60)
QUICK = Scale(rounds=3, seconds=0.1, calls=5_000, starts=2, idle=2)


def main() -> None:
    """Run the benchmarks.

    :raises SystemExit: a target is missed and that was to be told.
    """
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a minute instead of several; rough figures"
    )
    parser.add_argument("--rounds", type=int, help=f"of each case [default: {FULL.rounds}]")
    parser.add_argument("--null-only", action="store_true", help="leave out the real runtime")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="put the results between the marks of a document"
    )
    parser.add_argument(
        "--strict", action="store_true", help="end with status 1 if a target is missed"
    )
    options = parser.parse_args()
    scale = QUICK if options.quick else FULL
    if options.rounds is not None:
        scale = attrs.evolve(scale, rounds=options.rounds)
    parts = []

    def say(text: str) -> None:
        parts.append(text)
        print(text, flush=True)

    why_not = "left out" if options.null_only else containerd.why_not()
    judged = run(scale, why_not, say)
    # In a process of its own: it has a reactor.
    command = [sys.executable, "-m", "benchmarks.look_ups", str(min(scale.rounds, 5))]
    say(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if options.write is not None:
        report.write_section(options.write, "\n".join(parts))
    if options.strict and any(one.met is False for one in judged):
        sys.exit(1)


def run(scale: Scale, why_not: str | None, say: Say) -> list[report.Target]:
    """Measure everything; return the targets.

    :param why_not: why the real runtime is not measured, or None.
    :param say: is given each piece of the results.
    """
    with (
        tempfile.TemporaryDirectory(prefix="shim-bench-") as name,
        MemoryRegistry() as registry,
    ):
        place = Path(name)
        push(registry.url, "library/nginx", "1.25", build_image("bench"))
        say(report.machine(runtime_version() if why_not is None else f"no containerd: {why_not}"))
        nothing = on_null_runtime(place / "null", registry, scale)
        real = on_containerd(place / "real", registry, scale) if why_not is None else []
        burdens = burdens_of(place / "burden", scale)
        judged = report.targets(real, burdens[report.names(uvloop=False)[SHIM]])
        say("### Targets\n\n" + report.target_table(judged))
        if real:
            say("### On containerd\n\n" + report.results_table(real))
        say("### On a runtime that does nothing\n\n" + report.results_table(nothing))
        say("### Processor, memory, start\n\n" + report.burden_table(burdens))
        return judged


def on_null_runtime(place: Path, registry: MemoryRegistry, scale: Scale) -> list[Result]:
    """Measure everything on a runtime that does nothing."""
    runtime = null_runtime(place / "r", HELD, EVENTS)
    held = f"{registry.url.partition('//')[2]}/library/{IMAGE}"
    with ways_to(place, runtime, registry) as ways:
        fresh = new_images(registry, "null", len(ways) * scale.rounds * NEW_ON_NULL)
        cases = [
            *calls(held),
            repeated(f"ListImages, {HELD} images", 1, LIST_IMAGES),
            repeated("PullImage, present", 1, pull_image(held), pull_image(IMAGE)),
            each_new("PullImage, new", NEW_ON_NULL, fresh),
            events(f"GetContainerEvents, {EVENTS:,} events each", 1, EVENTS),
            events(f"GetContainerEvents, {EVENTS:,} events each", 16, EVENTS),
        ]
        results = [measure(case, ways, scale.rounds, scale.seconds) for case in cases]
        runtime.stop()
        runtime.arguments = ("1000", str(EVENTS))
        runtime.start()
        wait_for(ways)
        case = repeated("ListImages, 1,000 images", 1, LIST_IMAGES)
        results.insert(7, measure(case, ways, scale.rounds, scale.seconds))
    return results


def on_containerd(place: Path, registry: MemoryRegistry, scale: Scale) -> list[Result]:
    """Measure what a real runtime does, too."""
    host = registry.url.partition("//")[2]
    held = f"{host}/library/{IMAGE}"
    runtime = Containerd(place / "r")
    with ways_to(place, runtime, registry) as ways:
        for number in range(HELD - 1):
            push(registry.url, f"lab/held{number}", "1", build_image(f"held{number}"))
            pull(ways[DIRECT], f"{host}/lab/held{number}:1")
        pull(ways[SHIM], IMAGE)
        fresh = new_images(registry, "real", len(ways) * scale.rounds * NEW_ON_CONTAINERD)
        cases = [
            by_grpcio(TARGETED, held, IMAGE),
            *calls(held),
            repeated(f"ListImages, {HELD} images", 1, LIST_IMAGES),
            repeated("PullImage, present", 1, pull_image(held), pull_image(IMAGE)),
            each_new("PullImage, new", NEW_ON_CONTAINERD, fresh),
        ]
        return [measure(case, ways, scale.rounds, scale.seconds) for case in cases]


def calls(held: str) -> list[Case]:
    """Return the calls of which many come at once."""
    status = image_status(held), image_status(IMAGE)
    return [
        *(repeated(IMAGE_STATUS, width, *status) for width in (1, 16, 64)),
        *(repeated("Version", width, VERSION) for width in (1, 16, 64)),
    ]


@contextlib.contextmanager
def ways_to(
    place: Path, runtime: Program | Containerd, registry: MemoryRegistry
) -> Iterator[dict[str, str]]:
    """Start a runtime and what is before it; yield the sockets."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(runtime)
        ways = {DIRECT: runtime.socket}
        for way, loop in report.names(uvloop=has_uvloop()).items():
            daemon = stack.enter_context(shim(place / loop, runtime.socket, registry.url, loop))
            ways[way] = daemon.socket
        ways[BARE] = stack.enter_context(bare_proxy(place / "bare", runtime.socket)).socket
        yield ways


def burdens_of(place: Path, scale: Scale) -> dict[str, Burden]:
    """Measure what a shim costs its node, on each event loop that there is."""
    with null_runtime(place / "r", HELD, EVENTS) as runtime:
        return {
            loop: burden(
                place / loop,
                runtime.socket,
                loop,
                calls=scale.calls,
                starts=scale.starts,
                idle=scale.idle,
            )
            for loop in report.names(uvloop=has_uvloop()).values()
        }


def new_images(registry: MemoryRegistry, name: str, count: int) -> Iterator[tuple[str, str]]:
    """Push images; return their names for the runtime and for the shim."""
    host = registry.url.partition("//")[2]
    repositories = [f"lab/{name}{number}" for number in range(count)]
    for repository in repositories:
        push(registry.url, repository, "1", build_image(repository))
    return (
        (f"{host}/{repository}:1", f"origin.test/{repository}:1") for repository in repositories
    )


def wait_for(ways: Mapping[str, str]) -> None:
    """Wait until a runtime that was restarted is reached on every way."""
    for socket in ways.values():
        for _ in range(100):
            with contextlib.suppress(CallFailed), Connection(socket, VERSION) as connection:
                drive(connection, count=1)
                break
            time.sleep(0.1)


def has_uvloop() -> bool:
    """Tell whether the faster event loop is there."""
    return importlib.util.find_spec("uvloop") is not None


def runtime_version() -> str:
    """Return the name and the version of the real runtime."""
    words = subprocess.run(
        [containerd.PROGRAM, "--version"],
        check=True,
        capture_output=True,
        text=True,
        env=environment_without_proxies(),
    ).stdout.split()
    return f"containerd {words[2]}"


def pull(socket: str, image: str) -> None:
    """Pull an image once."""
    with Connection(socket, pull_image(image)) as connection:
        drive(connection, count=1)


if __name__ == "__main__":
    main()
