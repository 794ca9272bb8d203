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


# What a daemon that was killed leaves in /run.
SOCKETS = {
    "image-cri-shim",
    "image-cri-shim/admin.sock",
    "image-cri-shim/admin.sock.lock",
    "image-cri-shim.sock",
    "image-cri-shim.sock.lock",
}


def running(chroot: Chroot) -> set[str]:
    """Return what is in /run, where the daemon's sockets are."""
    run = chroot.path("/run")
    return {str(path.relative_to(run)) for path in run.rglob("*")}


def used(chroot: Chroot) -> None:
    """Leave all that a life leaves: state, drop-ins, compiled modules, stale sockets."""
    with Shim(chroot):
        pass
    with Shim(chroot) as shim:
        shim.kill()
    assert running(chroot) >= SOCKETS
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
    assert not [name for name in running(chroot) if "image-cri-shim" in name]


def test_a_purge_leaves_no_file_no_user_and_no_unit(
    chroot: Chroot, lab: Lab, release: Release
) -> None:
    used(chroot)
    chroot.run("apt-get", "purge", "--yes", "--autoremove", package.NAME)
    assert chroot.named() == set()
    assert not [name for name in running(chroot) if "image-cri-shim" in name]
    with Chroot(lab.directory(), lab.installed(release).base) as before:
        new = chroot.files() - before.files()
        for file in ("/etc/passwd", "/etc/group"):
            assert chroot.path(file).read_text() == before.path(file).read_text()
    assert {path for path in new if not path.startswith(OTHERS)} == set()
