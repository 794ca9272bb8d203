"""Images that are not there, not there yet, or not for this node."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import containerd
from tests.support.containerd import Containerd
from tests.support.images import build_image, digest_of, image_index, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.standin_runtime import StandinRuntime
from tests.troubleshooting.conftest import MakeNode, RealRuntime
from tests.troubleshooting.page import Section, shows


def names(host: str) -> dict[str, str]:
    return {"sealos.hub:5000": host}


@shows("no-registry-has-the-image")
def test_an_image_that_nobody_has_is_told_with_everybody_who_was_asked(
    make_node: MakeNode, standin: StandinRuntime, offline: MemoryRegistry, section: Section
) -> None:
    node = make_node(standin.socket, f"address: {offline.url}\n")
    assert node.pull("quay.io/team/app:1").startswith("rpc error: code = NotFound")
    node.shows(section, names(offline.host))


@shows("an-image-that-was-just-pushed-is-not-found")
def test_a_no_that_is_remembered_is_shown_as_that_and_flush_forgets_it(
    make_node: MakeNode,
    standin: StandinRuntime,
    offline: MemoryRegistry,
    origin: MemoryRegistry,
    section: Section,
) -> None:
    image = build_image("just pushed")
    push(origin.url, "team/app", "2", image)
    node = make_node(standin.socket, f"address: {offline.url}\n")
    assert node.pull("quay.io/team/app:2") == ""
    push(offline.url, "team/app", "2", image)
    assert node.pull("quay.io/team/app:2") == ""
    node.shows(section, names(offline.host))
    node.run("flush", "quay.io/team/app:2")
    assert node.pull("quay.io/team/app:2") == ""
    assert f"{offline.host}/team/app:2" in node.run("decisions")


@shows("the-mirror-does-not-have-this-digest")
def test_a_digest_that_the_mirror_lacks_is_never_replaced_by_its_tag(
    make_node: MakeNode,
    standin: StandinRuntime,
    offline: MemoryRegistry,
    section: Section,
) -> None:
    push(offline.url, "team/app", "3", build_image("rebuilt"))
    wanted = build_image("as it was").manifest_digest
    node = make_node(standin.socket, f"address: {offline.url}\n")
    assert node.pull(f"quay.io/team/app:3@{wanted}").startswith("rpc error: code = NotFound")
    node.shows(section, names(offline.host) | {"sha256:3fb2...": wanted})


@shows("the-image-is-not-for-this-nodes-platform")
def test_an_image_for_other_machines_is_told_from_one_that_is_absent(
    make_node: MakeNode, runtime: RealRuntime, offline: MemoryRegistry, section: Section
) -> None:
    other = image_index([build_image("elsewhere", architecture="s390x")])
    push(offline.url, "team/app", "4", other)
    node = make_node(runtime.socket, f"address: {offline.url}\n")
    assert node.pull("quay.io/team/app:4")
    node.shows(section, names(offline.host))


@shows("the-image-is-listed-under-another-name")
def test_a_rewritten_name_is_shown_beside_the_one_that_was_asked_for(
    make_node: MakeNode, standin: StandinRuntime, offline: MemoryRegistry, section: Section
) -> None:
    push(offline.url, "library/nginx", "1.25", build_image("nginx"))
    node = make_node(standin.socket, f"address: {offline.url}\n")
    assert node.pull("nginx:1.25") == ""
    listed = [tag for image in node.kubelet.images() for tag in image.repo_tags]
    assert f"{offline.host}/library/nginx:1.25" in listed
    assert "docker.io/library/nginx:1.25" not in listed
    node.shows(section, names(offline.host))


@shows("the-nodes-disk-is-full")
def test_a_full_disk_of_the_node_is_told_from_a_registrys(
    make_node: MakeNode, offline: MemoryRegistry, tmp_path: Path, section: Section
) -> None:
    if reason := containerd.why_not():
        pytest.skip(reason)
    noise = b"".join(digest_of(b"%d" % number).encode() for number in range(100_000))
    push(offline.url, "team/app", "5", build_image("large", files={"noise": noise}))
    full = Containerd(tmp_path / "c", snapshotter="native")
    root = tmp_path / "c" / "root"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(root)], check=True)
    with full:
        node = make_node(full.socket, f"address: {offline.url}\n")
        assert "no space left on device" in node.pull("quay.io/team/app:5")
        node.shows(section, names(offline.host))
