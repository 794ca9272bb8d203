"""Measure what has become of the shim's cost since another commit.

The shim of that commit and this one serve the same runtime that does nothing, and are called in
turn, in many short rounds. This one has everything on that an operator sees, and somebody looks at
it meanwhile: see ``onlooker``. It ends with status 1 if a limit is passed.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.cases import SHIM, Case, Result, image_status, measure, pull_image, repeated
from benchmarks.load import Connection, drive
from benchmarks.onlooker import Onlooker
from benchmarks.ways import null_runtime, resident_bytes
from tests.support.daemon import ROOT, Daemon
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import free_port

BEFORE = "before"
IMAGE = "nginx:1.25"
# What ImageStatus may take in relation to before, and how many bytes of memory more.
LONGEST, LARGEST = 1.05, 10e6
_HELD = 20


class Older(Daemon):
    """The daemon of another source tree."""

    def __init__(self, tree: Path, directory: Path, cri: str, config: str) -> None:
        self.tree = tree
        # Not what is in the current directory.
        variables = {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
        super().__init__(directory, cri=cri, config=config, environment=variables)

    def configure(self, config: str) -> None:
        """Write the configuration file with the keys that have always been."""
        lines = [f"shim: {self.socket}", f"cri: {self.cri}", f"image: {self.directory / 'state'}"]
        self.file.write_text("\n".join([*lines, config]) + "\n")


def main() -> None:
    """Run the measurement and print it."""
    parser = argparse.ArgumentParser(prog="benchmarks.change", description=__doc__)
    parser.add_argument("commit", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=0.25, help="of each way in each round")
    parser.add_argument("--calls", type=int, default=100_000, help="before memory is read")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shim-change-")))
        tree = check_out(options.commit, place / "tree", stack)
        registry = stack.enter_context(MemoryRegistry())
        push(registry.url, "library/nginx", "1.25", build_image("change"))
        runtime = stack.enter_context(null_runtime(place / "r", _HELD, 1))
        config = f"address: {registry.url}"
        older = stack.enter_context(Older(tree, place / "older", runtime.socket, config))
        seen = f"{config}\nadminListen: 127.0.0.1:{free_port()}"
        newer = stack.enter_context(Daemon(place / "newer", cri=runtime.socket, config=seen))
        begin = {name: resident(one) for name, one in ((BEFORE, older), (SHIM, newer))}
        for daemon in (older, newer):
            with Connection(daemon.socket, pull_image(IMAGE)) as connection:
                drive(connection, count=50)
        onlooker = stack.enter_context(Onlooker(newer.admin, newer.socket, IMAGE))
        ways = {BEFORE: older.socket, SHIM: newer.socket}
        ratios = [
            tell(measure(status_case(width), ways, options.rounds, options.seconds))
            for width in (1, 16)
        ]
        for daemon in (older, newer):
            with Connection(daemon.socket, image_status(IMAGE)) as connection:
                drive(connection, width=16, count=options.calls)
        onlooker.stop()
        print(f"looked at {onlooker.looks} times, {onlooker.followed} lines of decisions followed")
        for name, daemon in ((BEFORE, older), (SHIM, newer)):
            end = resident(daemon)
            print(f"{name}: {begin[name] / 1e6:.1f} MB at first, {end / 1e6:.1f} MB at the end")
        more = resident(newer) - resident(older)
    print(f"more memory: {more / 1e6:+.1f} MB")
    if max(ratios) > LONGEST or more > LARGEST:
        sys.exit(f"passed a limit: {LONGEST} times the time, or {LARGEST / 1e6:.0f} MB more")


def status_case(width: int) -> Case:
    """Return the case of ImageStatus for an image that is held."""
    return repeated("ImageStatus", width, image_status(IMAGE))


def tell(result: Result) -> float:
    """Print a result, and return the newer in relation to the older: the median of the rounds."""
    pairs = zip(result.samples[SHIM], result.samples[BEFORE], strict=True)
    ratios = sorted(new.p50 / old.p50 for new, old in pairs)
    quarter = len(ratios) // 4
    median = statistics.median(ratios)
    print(
        f"ImageStatus, {result.case.width} at once: {median:.3f} times the time "
        f"before (half of the rounds between {ratios[quarter]:.3f} and {ratios[-quarter - 1]:.3f}; "
        f"{result.p50(BEFORE) * 1e6:.0f} us before, {result.p50(SHIM) * 1e6:.0f} us now)"
    )
    return median


def check_out(commit: str, tree: Path, stack: contextlib.ExitStack) -> Path:
    """Return another commit's source tree, ready to run."""
    git = ("git", "-C", str(ROOT))
    subprocess.run([*git, "worktree", "add", "--detach", str(tree), commit], check=True)
    stack.callback(subprocess.run, [*git, "worktree", "remove", "--force", str(tree)], check=False)
    command = [sys.executable, "setup.py", "-q", "build_protos"]
    subprocess.run(command, check=True, cwd=tree)
    return tree


def resident(daemon: Daemon) -> int:
    """Return a daemon's resident memory in bytes."""
    if daemon.pid is None:
        raise RuntimeError(f"the shim ended:\n{daemon.tail()}")
    return resident_bytes(daemon.pid)


if __name__ == "__main__":
    main()
