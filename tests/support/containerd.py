"""Run a private containerd: a real container runtime with everything in one directory."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.processes import Process, accepts, environment_without_proxies, wait_until

PROGRAM = "containerd"
NAMESPACE = "k8s.io"
RUNC = "/run/containerd/runc"  # where the shims keep runc's state, a directory a namespace


def why_not() -> str | None:
    """Say why containerd cannot run here, or None where it can."""
    if os.geteuid() != 0:
        return "containerd needs root"
    search = environment_without_proxies()["PATH"]
    for program in (PROGRAM, "ctr", "runc"):
        if shutil.which(program, path=search) is None:
            return f"{program} is not installed (apt install containerd runc)"
    if not _can_mount("--bind"):
        return "containerd needs to mount (CAP_SYS_ADMIN), and this root may not"
    return None


def can_mount_overlayfs(directory: Path | str | None = None) -> bool:
    """Tell whether overlayfs can be mounted over `directory` (default: the temporary one)."""
    return _can_mount("overlay", directory)


class Containerd(Process):
    """Run containerd; `stop`, `kill` and `start` again keep the socket's path and the images.

    `mirrors` maps a host in image references to the base URL of the registry that serves it;
    there is no way from such a host to the internet. `snapshotter` is `native`, `overlayfs` or
    `auto` (overlayfs where it can be mounted).
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        mirrors: Mapping[str, str] | None = None,
        sandbox_image: str | None = None,
        snapshotter: str = "auto",
    ) -> None:
        super().__init__(PROGRAM, directory)
        self.socket = str(self.directory / "containerd.sock")
        if len(self.socket) > 100:
            raise ValueError(f"directory too long for a unix socket: {self.socket}")
        if snapshotter == "auto":
            snapshotter = "overlayfs" if can_mount_overlayfs(self.directory) else "native"
        self.snapshotter = snapshotter
        self._configuration = self.directory / "config.toml"
        self._configuration.write_text(
            CONFIGURATION.format(
                directory=self.directory,
                socket=self.socket,
                snapshotter=snapshotter,
                sandbox_image=sandbox_image or "127.0.0.1:9/none/pause:1",
                # Where overlayfs is refused, cgroups usually are too.
                disable_cgroup="true" if snapshotter == "native" else "false",
            )
        )
        (self.directory / "certs.d").mkdir(exist_ok=True)
        for host, url in (mirrors or {}).items():
            self.set_mirror(host, url)

    def set_mirror(self, host: str, url: str) -> None:
        """Serve `host` from the registry at `url` and nowhere else; takes effect at once."""
        place = self.directory / "certs.d" / host
        place.mkdir(parents=True, exist_ok=True)
        (place / "hosts.toml").write_text(
            f"server = {json.dumps(url)}\n\n[host.{json.dumps(url)}]\n"
            '  capabilities = ["pull", "resolve"]\n  skip_verify = true\n'
        )

    def ctr(self, *arguments: str) -> str:
        """Run ctr on this containerd in Kubernetes' namespace; return what it printed.

        Raises RuntimeError with what it wrote to standard error when it fails.
        """
        done = subprocess.run(
            ["ctr", "-a", self.socket, "-n", NAMESPACE, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env=self.environment(),
        )
        if done.returncode:
            raise RuntimeError(f"ctr {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def command(self) -> Sequence[str]:
        return (PROGRAM, "-c", str(self._configuration))

    def environment(self) -> Mapping[str, str]:
        temporary = self.directory / "tmp"
        temporary.mkdir(exist_ok=True)
        return environment_without_proxies({"TMPDIR": str(temporary)})

    def ready(self) -> bool:
        if not accepts(self.socket):
            return False
        # The CRI plugin comes up after the socket; it is ready when its state is "ok".
        try:
            plugins = self.ctr("plugins", "ls")
        except (RuntimeError, subprocess.TimeoutExpired):
            return False
        words = (line.split() for line in plugins.splitlines())
        return any(w[1:2] == ["cri"] and w[-1] == "ok" for w in words)

    def stop(self) -> None:
        """Stop what runs in it, then containerd, then what either left: shims and mounts."""
        if self.pid is not None:
            self._end_tasks()
        super().stop()
        self._end_shims()
        self._unmount()

    def _end_tasks(self) -> None:
        try:
            for task in self.ctr("tasks", "ls", "-q").split():
                self.ctr("tasks", "rm", "-f", task)
        except (RuntimeError, subprocess.TimeoutExpired):
            return  # _end_shims ends them then

    def _end_shims(self) -> None:
        """End what a crash left: containers by runc, then their shims.

        The shims of this containerd are those that were told its socket's address.
        """
        mine = self.socket.encode()

        def shims() -> dict[int, list[str]]:
            found = {}
            for entry in Path("/proc").iterdir():
                try:
                    line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
                except OSError:
                    continue
                words = line.split(b"\0")
                if b"containerd-shim" in words[0] and mine in words:
                    found[int(entry.name)] = [word.decode() for word in words]
            return found

        for words in shims().values():
            options = dict(itertools.pairwise(words))
            subprocess.run(
                ["runc", f"--root={RUNC}/{options['-namespace']}", "delete", "-f", options["-id"]],
                check=False,
                capture_output=True,
                env=self.environment(),
            )
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in shims():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            if wait_until(lambda: not shims(), 3):
                return

    def _unmount(self) -> None:
        """Unmount everything below the directory, deepest first."""
        below = f"{self.directory.resolve()}/"
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
        for point in reversed([p for p in points if p.startswith(below)]):
            subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)


def _can_mount(kind: str, directory: Path | str | None = None) -> bool:
    """Try a mount in a directory of its own below `directory`, and undo it."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        place = Path(name)
        for part in ("lower", "upper", "work", "merged"):
            (place / part).mkdir()
        merged = str(place / "merged")
        if kind == "overlay":
            layers = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
            command = ["mount", "-t", "overlay", "overlay", "-o", layers, merged]
        else:
            command = ["mount", "--bind", str(place / "lower"), merged]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            return False
        subprocess.run(["umount", merged], check=True, capture_output=True)
        return True


CONFIGURATION = """\
version = 2
root = "{directory}/root"
state = "{directory}/state"
# Plugins that this laboratory has no use for and that look outside of the directory.
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
]

[grpc]
  address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{directory}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  disable_cgroup = {disable_cgroup}
  sandbox_image = "{sandbox_image}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{directory}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{directory}/certs.d"
"""
