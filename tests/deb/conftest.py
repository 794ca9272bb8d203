"""Where the package's tests run: copies of Debian 12 and 13, with and without their systemd.

They need root, mounts, and namespaces of their own: scripts/test-deb gives them all that and names
the package in IMAGE_CRI_SHIM_DEB. Without it nothing here is collected.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deb.support import checkers, package
from tests.deb.support.chroot import Chroot
from tests.deb.support.layer import Layer, mount
from tests.deb.support.machine import UNIT, Machine
from tests.deb.support.release import RELEASES, Release, base
from tests.support import registries
from tests.support.images import build_image, push
from tests.support.registries import DockerRegistry
from tests.support.standin_runtime import StandinRuntime

VARIABLE = "IMAGE_CRI_SHIM_DEB"
# Short: paths of unix sockets are below it.
PLACE = Path("/run/image-cri-shim-deb")
USER = ("admin", "laboratory-passw0rd")

collect_ignore_glob = [] if VARIABLE in os.environ else ["test_*.py"]


Prepare = Callable[[Layer], object]


def nothing(layer: Layer) -> None:
    """Leave a layer as it is before it is booted."""


@dataclass(frozen=True)
class Installed:
    """A release with the package: its layers (`frozen` ones) and what the installation took.

    `base` is the release before it, `folder` has the .deb files that apt fetched for it.
    """

    release: Release
    base: tuple[Path, ...]
    layers: tuple[Path, ...]
    folder: Path
    seconds: float
    output: str


class Lab:
    """Everything that tests share: the package, and releases that are made in the background."""

    def __init__(self, deb: Path) -> None:
        self.deb = deb
        self._numbers = itertools.count()
        self._older: dict[str, tuple[Path, ...]] = {}
        self.older = package.older(deb, self.directory())
        self._pool = ThreadPoolExecutor(2)
        self._checking = ThreadPoolExecutor(1)
        self._results: checkers.Results | None = None
        self._installed: dict[str, Future[Installed]] = {
            release.suite: self._pool.submit(self._install, release) for release in RELEASES
        }

    def directory(self, name: str = "") -> Path:
        """Return a new directory, in memory."""
        made = PLACE / f"{next(self._numbers)}{name}"
        made.mkdir()
        return made

    def installed(self, release: Release) -> Installed:
        """Return the release with the package installed from the archive."""
        return self._installed[release.suite].result()

    def with_older(self, release: Release) -> tuple[Path, ...]:
        """Return the layers of the release with the package in an older version."""
        if release.suite not in self._older:
            self._older[release.suite] = self._downgrade(release)
        return self._older[release.suite]

    def _downgrade(self, release: Release) -> tuple[Path, ...]:
        with Chroot(self.directory(), self.installed(release).layers) as chroot:
            chroot.run("dpkg", "--purge", package.NAME)
            chroot.install(self.older)
        return chroot.frozen

    def _install(self, release: Release) -> Installed:
        below, folder = (base(release),), self.directory()
        with Chroot(self.directory(), below) as chroot:
            chroot.run("apt-get", "update")
            begin = time.monotonic()
            output = chroot.install(self.deb)
            seconds = time.monotonic() - begin
            for fetched in chroot.path("/var/cache/apt/archives").glob("*.deb"):
                shutil.move(fetched, folder)
        return Installed(release, below, chroot.frozen, folder, seconds, output)

    def checks(self) -> checkers.Results:
        """Begin with what Debian's checkers say, one after the other, and return it for later."""
        if self._results is None:
            later, deb, first = self._checking.submit, self.deb, RELEASES[0]

            def own_tests(release: Release) -> checkers.Done:
                layers = self.installed(release).layers
                return checkers.autopkgtest(deb, self.directory(), layers)

            self._results = checkers.Results(
                second_build=later(checkers.build_again, self.directory()),
                lintian=later(checkers.lintian, deb),
                autopkgtest={release.suite: later(own_tests, release) for release in RELEASES},
                piuparts=later(
                    lambda: checkers.piuparts(
                        deb, self.directory(), first, self.installed(first).base
                    )
                ),
            )
        return self._results

    def close(self) -> None:
        """Wait for what runs in the background; nothing new begins."""
        for pool in (self._pool, self._checking):
            pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    deb = Path(os.environ[VARIABLE]).resolve(strict=True)
    # Of a run that was killed nothing is left: the mounts were in its own namespace.
    PLACE.mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", "mode=755,size=75%", "tmpfs", str(PLACE))
    made = Lab(deb)
    # They take their time, so they begin first.
    if any("checks" in getattr(item, "fixturenames", ()) for item in request.session.items):
        made.checks()
    try:
        yield made
    finally:
        made.close()
        subprocess.run(["umount", "--recursive", "--lazy", str(PLACE)], check=False)
        PLACE.rmdir()


@pytest.fixture(scope="session", params=RELEASES, ids=lambda release: f"debian{release.number}")
def release(request: pytest.FixtureRequest) -> Release:
    found: Release = request.param
    return found


@pytest.fixture
def chroot(lab: Lab, release: Release) -> Iterator[Chroot]:
    """A Debian with the package, where nothing runs."""
    with Chroot(lab.directory(), lab.installed(release).layers) as made:
        yield made


@pytest.fixture
def boot(lab: Lab, release: Release) -> Iterator[Callable[..., Machine]]:
    """Return a function that boots a copy of a Debian with the package, or of other layers."""
    with contextlib.ExitStack() as ends:

        def start(layers: Sequence[Path] | None = None, *, prepare: Prepare = nothing) -> Machine:
            below = layers or lab.installed(release).layers
            layer = ends.enter_context(Layer(lab.directory(), below))
            prepare(layer)
            machine = Machine(layer, lab.directory("shared"))
            ends.callback(machine.stop)
            return machine.start()

        yield start


@pytest.fixture
def machine(boot: Callable[..., Machine]) -> Machine:
    """A Debian with the package that has just booted."""
    return boot()


@pytest.fixture
def standin(machine: Machine) -> Iterator[StandinRuntime]:
    """A runtime out here that misbehaves on demand; it is the shim's in `machine`."""
    with StandinRuntime(machine.shared) as running:
        machine.write("/etc/image-cri-shim.d/50-runtime.yaml", "cri: /run/lab/runtime.sock\n")
        machine.run("systemctl", "restart", UNIT)
        yield running


@pytest.fixture(scope="session")
def registry(lab: Lab) -> Iterator[DockerRegistry]:
    """A registry that wants a password; it has `library/nginx:1.25` and `library/redis:7`."""
    if reason := registries.why_not():
        pytest.skip(reason)
    with DockerRegistry(lab.directory(), htpasswd=USER) as running:
        encoded = base64.b64encode(":".join(USER).encode()).decode()
        for name, tag in (("library/nginx", "1.25"), ("library/redis", "7")):
            push(running.url, name, tag, build_image(name), authorization=f"Basic {encoded}")
        yield running
