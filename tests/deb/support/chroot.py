"""Work in a copy of a Debian without an init system, as in a container."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

from tests.deb.support.command import ENVIRONMENT, run
from tests.deb.support.layer import Layer, mount
from tests.support.processes import Process, accepts

PROGRAM = "/usr/bin/image-cri-shim"
SOCKET = "/run/image-cri-shim.sock"
RUNTIME = "/run/containerd/containerd.sock"
MOUNTED = frozenset({"proc", "sys", "dev", "run"})


class Chroot(Layer):
    """A layer with what programs expect: /proc, /sys, /dev and an empty /run."""

    def open(self) -> Self:
        super().open()
        mount("-t", "proc", "proc", str(self.path("/proc")))
        mount("--rbind", "/sys", str(self.path("/sys")))
        mount("--rbind", "/dev", str(self.path("/dev")))
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(self.path("/run")))
        self.path("/run/lock").mkdir()
        return self

    def share(self, directory: Path) -> Path:
        """Make a directory that has the same path inside and outside; return it."""
        inside = self.path(str(directory))
        for place in (directory, inside):
            place.mkdir(parents=True, exist_ok=True)
        mount("--bind", str(directory), str(inside))
        return directory

    def run(
        self, *command: str, check: bool = True, seconds: float = 120, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside to its end."""
        prefix = ("chroot", str(self.root))
        return run(prefix, command, check=check, seconds=seconds, text=text)

    def run_offline(self, *command: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a program inside where there is no network, not even a loopback device that is up."""
        prefix = ("unshare", "--net", "chroot", str(self.root))
        return run(prefix, command, check=True, seconds=seconds, text="")

    def install(self, *packages: Path, options: tuple[str, ...] = ()) -> str:
        """Install .deb files with apt; return what it said."""
        names = []
        for package in packages:
            shutil.copy(package, self.path("/tmp"))
            names.append(f"/tmp/{package.name}")
        return self.run("apt-get", "install", "--yes", *options, *names).stdout

    def files(self) -> set[str]:
        """Return the paths of all files inside but for those in what is mounted."""
        found = set()
        for directory, directories, names in os.walk(self.root):
            if Path(directory) == self.root:
                directories[:] = [name for name in directories if name not in MOUNTED]
            inside = Path("/") / Path(directory).relative_to(self.root)
            found.update(str(inside / name) for name in (*directories, *names))
        return found

    def named(self) -> set[str]:
        """Return the paths that bear the package's name, but for those of .deb files."""
        found = {path for path in self.files() if "image-cri-" in path or "image_cri_" in path}
        return {path for path in found if not path.endswith(".deb")}


class Inside(Process):
    """Run a program inside a chroot as a child; it is ready when its socket accepts.

    `socket` is a path inside.
    """

    ready_seconds = 20.0

    def __init__(self, chroot: Chroot, *command: str, socket: str = SOCKET) -> None:
        super().__init__(Path(command[0]).name, chroot.directory / "logs")
        self._command = ("chroot", str(chroot.root), *ENVIRONMENT, *command)
        self.socket = str(chroot.path(socket))

    def command(self) -> tuple[str, ...]:
        return self._command

    def ready(self) -> bool:
        return accepts(self.socket)


class Runtime(Inside):
    """Run Debian's containerd as it is configured by Debian."""

    def __init__(self, chroot: Chroot) -> None:
        super().__init__(chroot, "/usr/bin/containerd", socket=RUNTIME)


class Shim(Inside):
    """Run the installed daemon with more options; it is ready when it says that it serves."""

    def __init__(self, chroot: Chroot, *options: str, socket: str = SOCKET) -> None:
        super().__init__(chroot, PROGRAM, *options, socket=socket)
        self._begin = 0

    def start(self) -> Self:
        self._begin = self.log.stat().st_size if self.log.exists() else 0
        return super().start()

    def ready(self) -> bool:
        return "serving on" in self.log.read_text()[self._begin :]
