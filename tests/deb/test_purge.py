"""After a purge nothing says that the package was ever there."""

from __future__ import annotations

from tests.deb.conftest import Lab
from tests.deb.support import package
from tests.deb.support.chroot import PROGRAM, Chroot, Shim
from tests.deb.support.release import Release

# What apt and dpkg write of their own work, and what other packages leave behind when they go.
OTHERS = (
    "/etc/hosts",  # of netbase, on Debian 13
    "/tmp/",
    "/var/cache/",
    "/var/lib/apt/",
    "/var/lib/dpkg/",
    "/var/log/",
)


def used(chroot: Chroot) -> None:
    """Leave all that a life leaves: state, drop-ins, compiled modules, a stale socket."""
    with Shim(chroot):
        pass
    with Shim(chroot) as shim:
        shim.kill()
    chroot.path("/etc/image-cri-shim.d/10-tool.yaml").write_text("debug: true\n")
    chroot.path("/var/lib/image-cri-shim").mkdir(exist_ok=True)
    chroot.path("/var/lib/image-cri-shim/something").write_text("")


def test_a_removal_keeps_the_configuration_and_a_purge_removes_it(chroot: Chroot) -> None:
    used(chroot)
    chroot.run("apt-get", "remove", "--yes", package.NAME)
    assert chroot.path("/etc/image-cri-shim.yaml").exists()
    assert not chroot.path(PROGRAM).exists()
    chroot.run("apt-get", "purge", "--yes", package.NAME)
    assert chroot.named() == set()


def test_a_purge_leaves_no_file_no_user_and_no_unit(
    chroot: Chroot, lab: Lab, release: Release
) -> None:
    used(chroot)
    chroot.run("apt-get", "purge", "--yes", "--autoremove", package.NAME)
    assert chroot.named() == set()
    with Chroot(lab.directory(), lab.installed(release).base) as before:
        new = chroot.files() - before.files()
        for file in ("/etc/passwd", "/etc/group"):
            assert chroot.path(file).read_text() == before.path(file).read_text()
    assert {path for path in new if not path.startswith(OTHERS)} == set()
