"""Where the daemon finds the runtime, and where not: on its own sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from image_cri_shim.config import Config
from image_cri_shim.daemon import locate


@pytest.fixture
def own(tmp_path: Path) -> Iterator[str]:
    """A socket of the shim's own, that systemd has passed."""
    path = str(tmp_path / "passed.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        yield path


def test_the_configured_socket_is_the_runtimes(own: str, tmp_path: Path) -> None:
    cri = str(tmp_path / "runtime.sock")
    assert locate(Config(cri=cri), lambda: (own,))() == cri


def test_a_passed_socket_is_not_the_runtimes_however_it_is_named(own: str, tmp_path: Path) -> None:
    link = tmp_path / "dockershim.sock"
    link.symlink_to(own)
    for path in (own, str(link)):
        with pytest.raises(OSError, match="the shim's own socket"):
            locate(Config(cri=path), lambda: ("/run/shim.sock", own))()


def test_a_known_place_that_leads_to_the_shim_is_passed_over(
    own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, real = tmp_path / "containerd.sock", tmp_path / "crio.sock"
    link.symlink_to(own)
    places = (str(link), str(real))
    monkeypatch.setattr("image_cri_shim.config.sockets.KNOWN_SOCKETS", places)
    find = locate(Config(), lambda: (own,))
    assert find() == ""
    real.touch()
    assert find() == str(real)
