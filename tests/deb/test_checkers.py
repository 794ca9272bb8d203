"""What those say who judge packages and units, and that two builds are one."""

from __future__ import annotations

import hashlib
import re
import subprocess

import pytest

from tests.deb.conftest import Lab
from tests.deb.support import package
from tests.deb.support.checkers import Results
from tests.deb.support.chroot import Chroot
from tests.deb.support.machine import SOCKET_UNIT, UNIT
from tests.deb.support.release import RELEASES

DROP_IN = "/usr/share/doc/image-cri-shim/examples/10-image-cri-shim.conf"
KUBELET = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"


def test_the_units_are_verified(chroot: Chroot) -> None:
    verified = chroot.run("systemd-analyze", "verify", "--man=yes", UNIT, SOCKET_UNIT)
    assert verified.stdout == ""


def test_the_kubelet_with_its_drop_in_is_verified(chroot: Chroot) -> None:
    directory = chroot.path("/etc/systemd/system/kubelet.service.d")
    directory.mkdir(parents=True)
    (directory / "10-image-cri-shim.conf").write_text(chroot.path(DROP_IN).read_text())
    (directory.parent / "kubelet.service").write_text(KUBELET)
    assert chroot.run("systemd-analyze", "verify", "--man=no", "kubelet.service").stdout == ""


def test_the_service_has_little_of_roots_power(chroot: Chroot) -> None:
    said = chroot.run("systemd-analyze", "security", "--offline=true", "--no-pager", UNIT).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found is not None, said
    print(found.group())
    assert float(found.group(1)) <= 2.0


def test_it_depends_on_nothing_of_one_architecture(lab: Lab) -> None:
    assert package.field(lab.deb, "Architecture") == "all"
    assert lab.deb.stat().st_size < 1_000_000


@pytest.fixture(scope="session")
def checks(lab: Lab) -> Results:
    return lab.checks()


def test_lintian_is_silent(checks: Results) -> None:
    done = checks.lintian.result()
    assert (done.stdout, done.returncode) == ("", 0)


def test_two_builds_are_the_same_bytes(checks: Results, lab: Lab) -> None:
    again = checks.second_build.result()
    one, other = (hashlib.sha256(deb.read_bytes()).hexdigest() for deb in (lab.deb, again))
    if one != other:
        listed = [
            subprocess.run(
                ["dpkg-deb", "--contents", deb], capture_output=True, text=True
            ).stdout.splitlines()
            for deb in (lab.deb, again)
        ]
        assert listed[0] == listed[1]
    assert one == other


def test_piuparts_finds_nothing_left(checks: Results) -> None:
    done = checks.piuparts.result()
    assert done.returncode == 0, done.stdout[-4000:]
    assert "PASS: All tests." in done.stdout


@pytest.mark.parametrize("suite", [release.suite for release in RELEASES])
def test_the_packages_own_tests_pass(checks: Results, suite: str) -> None:
    done = checks.autopkgtest[suite].result()
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(r"(?m)^smoke +PASS$", done.stdout)
