"""What the Debian package ships and says fits the program."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

from image_cri_shim import __version__
from image_cri_shim.config import DEFAULT_CONFIG, load
from image_cri_shim.config.sockets import same_path
from image_cri_shim.private_libraries import DIRECTORY

ROOT = Path(__file__).parent.parent
DEBIAN = ROOT / "debian"
CONFFILE = DEBIAN / "conf" / "image-cri-shim.yaml"


def unit(name: str) -> dict[str, dict[str, list[str]]]:
    """Read a unit: sections of keys, each with all its values."""
    sections: dict[str, dict[str, list[str]]] = {}
    keys: dict[str, list[str]] = {}
    for line in (DEBIAN / name).read_text().splitlines():
        if line.startswith("["):
            keys = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            keys.setdefault(key, []).append(value)
    return sections


def test_the_package_has_the_programs_version() -> None:
    first = (DEBIAN / "changelog").read_text().splitlines()[0]
    assert first.startswith(f"image-cri-shim ({__version__}) ")


def test_a_fresh_node_passes_everything_through_and_waits_for_its_runtime() -> None:
    config = load(str(CONFFILE))
    assert config.all_registries == ()
    assert config.rules == ()
    assert config.force
    assert config.cri is None


def test_the_examples_in_the_configuration_are_good_when_they_are_uncommented(
    tmp_path: Path,
) -> None:
    text = CONFFILE.read_text().replace('\naddress: ""\n', "\n")
    (tmp_path / "c.yaml").write_text(re.sub(r"^#(?=\S|  )", "", text, flags=re.MULTILINE))
    config = load(str(tmp_path / "c.yaml"))
    assert [registry.domain for registry in config.all_registries] == [
        "sealos.hub:5000",
        "harbor.corp",
    ]
    assert len(config.rules) == 1
    assert config.cri == "/run/containerd/containerd.sock"
    assert config.debug


def test_systemd_listens_where_the_daemon_serves_by_default(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("debug: false\n")
    socket = unit("image-cri-shim.socket")["Socket"]
    (listened,) = socket["ListenStream"]
    assert same_path(listened, load(str(tmp_path / "empty.yaml")).shim)
    assert socket["Accept"] == ["no"]


def test_the_service_never_gives_up_and_is_not_waited_for_too_short(tmp_path: Path) -> None:
    service = unit("image-cri-shim.service")
    assert service["Unit"]["StartLimitIntervalSec"] == ["0"]
    assert service["Service"]["Restart"] == ["always"]
    (tmp_path / "empty.yaml").write_text("debug: false\n")
    grace = load(str(tmp_path / "empty.yaml")).shutdown_grace
    assert float(service["Service"]["TimeoutStopSec"][0]) > grace


def test_the_package_holds_what_the_program_looks_for() -> None:
    files = dict(
        line.rsplit(maxsplit=1)
        for line in (DEBIAN / "image-cri-shim.install").read_text().splitlines()
    )
    assert "/" + files["debian/conf/image-cri-shim.yaml"] == str(Path(DEFAULT_CONFIG).parent)
    assert "/" + files["third-party/grpclib/grpclib"] == DIRECTORY
    assert (DEBIAN / "py3dist-overrides").read_text() == "grpclib\n"


def test_the_kubelets_drop_in_cleans_up_before_and_after_and_cannot_keep_it_from_starting() -> None:
    parser = configparser.ConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(ROOT / "examples" / "10-image-cri-shim.conf")
    # The "-" in front: a failure is ignored.
    command = "-/usr/bin/image-cri-shim cleanup-sockets"
    assert dict(parser["Service"]) == {
        "ExecStartPre": command,
        "ExecStopPost": command,
        "Restart": "always",
        "RestartSec": "10",
    }
    assert parser["Unit"]["StartLimitInterval"] == "0"
