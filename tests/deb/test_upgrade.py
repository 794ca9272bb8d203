"""A newer version takes the place of an older one, and what an operator wrote stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deb.conftest import Lab
from tests.deb.support import package
from tests.deb.support.chroot import Chroot
from tests.deb.support.release import Release

FILE = "/etc/image-cri-shim.yaml"
DROP_IN = "/etc/image-cri-shim.d/10-tool.yaml"
EDITED = "# mine\naddress: registry.test\n"


@pytest.fixture
def before(lab: Lab, release: Release) -> Iterator[Chroot]:
    """A Debian with the older version."""
    with Chroot(lab.directory(), lab.with_older(release)) as made:
        yield made


def installed(chroot: Chroot) -> str:
    return chroot.run("dpkg-query", "--show", "--showformat=${Version}", package.NAME).stdout


def leftovers(chroot: Chroot) -> list[str]:
    return sorted(p.name for p in chroot.path("/etc").rglob("image-cri-shim*.dpkg-*"))


def test_an_edited_configuration_and_its_drop_ins_stay(before: Chroot, lab: Lab) -> None:
    before.path(FILE).write_text(EDITED)
    before.path(DROP_IN).write_text("registries:\n- address: other.test\n")
    before.install(lab.deb)
    assert installed(before) == package.field(lab.deb, "Version")
    assert before.path(FILE).read_text() == EDITED
    assert before.path(DROP_IN).read_text() == "registries:\n- address: other.test\n"
    assert leftovers(before) == []
    shown = before.run("image-cri-shim", "check").stdout
    assert "registry.test" in shown
    assert "other.test" in shown


def test_an_edited_configuration_stays_also_when_the_new_one_has_other_comments(
    before: Chroot, lab: Lab, tmp_path: Path
) -> None:
    before.path(FILE).write_text(EDITED)
    other = package.changed(lab.deb, tmp_path, FILE, "# One more comment.\n")
    before.install(other, options=("--option=Dpkg::Options::=--force-confold",))
    assert before.path(FILE).read_text() == EDITED
    assert leftovers(before) == ["image-cri-shim.yaml.dpkg-dist"]


def test_a_configuration_that_nobody_edited_is_replaced(
    before: Chroot, lab: Lab, tmp_path: Path
) -> None:
    other = package.changed(lab.deb, tmp_path, FILE, "# One more comment.\n")
    before.install(other)
    assert before.path(FILE).read_text().endswith("# One more comment.\n")
    assert leftovers(before) == []


def test_what_is_there_after_an_upgrade_is_what_a_fresh_installation_has(
    before: Chroot, chroot: Chroot, lab: Lab
) -> None:
    before.install(lab.deb)
    assert before.named() == chroot.named()
