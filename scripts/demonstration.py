"""Show a container runtime pulling nginx:1.25 from an offline registry through the shim.

As root, with containerd and docker-registry installed, both are real; otherwise they are stand-ins
in memory. Everything runs privately in a temporary directory and ends with the program.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support import containerd, registries
from tests.support.cri_client import CRI
from tests.support.daemon import Daemon
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.standin_runtime import StandinRuntime

IMAGE = "nginx:1.25"


def main() -> int:
    """Run the demonstration; return 0 if the image was pulled from the offline registry."""
    with tempfile.TemporaryDirectory(prefix="image-cri-shim-demo-") as name:
        directory = Path(name)
        with contextlib.ExitStack() as stack:
            return demonstrate(directory, stack)


def demonstrate(directory: Path, stack: contextlib.ExitStack) -> int:
    """Start the parts, pull, and show what happened."""
    registry = stack.enter_context(make_registry(directory / "registry"))
    image = build_image("image-cri-shim demo", files={"etc/motd": b"hello from the demo\n"})
    push(registry.url, "library/nginx", "1.25", image)
    step("an offline registry", f"{registry.url} holds library/nginx:1.25")

    runtime = stack.enter_context(make_runtime(directory / "runtime"))
    step("a container runtime", f"serves the CRI on {runtime.socket}")

    shim = Daemon(
        directory / "shim", cri=runtime.socket, config=f"address: {registry.url}", program=twistd()
    )
    stack.enter_context(running(shim))
    step("the shim", f"twistd -n image-cri-shim --config {shim.file}")
    show(shim.file.read_text())

    step("before", "images that the runtime has")
    show(images(runtime.socket))

    step("pull", f"image-cri-shim pull {IMAGE} --config {shim.file}")
    pull = subprocess.run(
        [*program(), "pull", IMAGE, "--config", str(shim.file)],
        env=shim.environment(),
        # What is decided meanwhile is on standard error.
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    show(pull.stdout)

    step("what the shim decided", "its log")
    show("\n".join(line.split("] ", 1)[-1] for line in shim.lines("PullImage")))

    step("after", "images that the runtime has")
    after = images(runtime.socket)
    show(after)

    done = pull.returncode == 0 and registry.host in after
    print(f"\n{IMAGE} was pulled from {registry.host}." if done else "\nThe pull failed.")
    if not done:
        show(shim.text())
    return 0 if done else 1


def make_registry(directory: Path) -> Any:
    """Return a registry: a real one where it is installed."""
    why_not = registries.why_not(users=False)
    if why_not is None:
        print("The registry is Debian's docker-registry.")
        return registries.DockerRegistry(directory)
    print(f"No real registry here ({why_not}): a stand-in in memory plays it.")
    return MemoryRegistry()


def make_runtime(directory: Path) -> Any:
    """Return a container runtime: a real containerd where one can run."""
    why_not = containerd.why_not()
    if why_not is None:
        print("The container runtime is Debian's containerd.")
        return containerd.Containerd(directory)
    print(f"No real containerd here ({why_not}): a stand-in in memory plays it.")
    return StandinRuntime(directory)


@contextlib.contextmanager
def running(shim: Daemon) -> Iterator[Daemon]:
    """Run the daemon for a while."""
    shim.start()
    try:
        yield shim
    finally:
        shim.stop()


def twistd() -> tuple[str, ...]:
    """Return the beginning of the daemon's command line, as an operator types it."""
    return (beside("twistd"), "--nodaemon", "--pidfile=", "image-cri-shim")


def program() -> tuple[str, ...]:
    """Return the console script."""
    return (beside("image-cri-shim"),)


def beside(name: str) -> str:
    """Return a program of this virtual environment."""
    path = Path(sys.executable).parent / name
    return str(path) if path.exists() else shutil.which(name) or name


def images(socket: str) -> str:
    """Return the names of the images that a runtime has, one a line."""
    with CRI(socket) as runtime:
        names = [name for image in runtime.list_images() for name in image.repo_tags]
    return "\n".join(sorted(names)) or "(none)"


def step(title: str, text: str) -> None:
    """Print a heading."""
    bold: Callable[[str], str] = lambda t: f"\033[1m{t}\033[0m" if os.isatty(1) else t  # noqa: E731
    print(f"\n{bold(title)}: {text}", flush=True)


def show(text: str) -> None:
    """Print what a program said, indented."""
    for line in text.strip().splitlines():
        print(f"    {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
