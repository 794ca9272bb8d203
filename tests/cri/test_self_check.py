"""The shim's call to itself: it says whether the shim works, not whether the runtime does."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from image_cri_shim.cri.self_check import why_silent
from tests.cri.background import PATIENCE, Background
from tests.cri.scripted import ScriptedUpstream
from tests.cri.shim import Shim


def check(shim: Shim) -> str:
    return shim.background.run(why_silent(shim.path, PATIENCE))


def test_it_answers(shim: Shim) -> None:
    assert check(shim) == ""


def test_without_a_runtime_it_answers_all_the_same(shim: Shim, upstream: ScriptedUpstream) -> None:
    upstream.stop()
    assert check(shim) == ""


def test_nothing_of_it_is_left(shim: Shim) -> None:
    for _ in range(3):
        check(shim)
    shim.wait_idle()


def test_a_socket_that_is_not_there_is_named(background: Background, tmp_path: Path) -> None:
    path = str(tmp_path / "no.sock")
    assert background.run(why_silent(path, PATIENCE)) == f"{path}: No such file or directory"


@pytest.mark.parametrize("accepting", [True, False])
def test_who_never_answers_is_not_waited_for(
    background: Background, tmp_path: Path, accepting: bool
) -> None:
    path = str(tmp_path / "mute.sock")
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(path)
        mute.listen()
        if not accepting:
            mute.close()
            expected = f"{path}: Connection refused"
        else:
            expected = f"{path}: no answer within 0.05 s"
        assert background.run(why_silent(path, 0.05)) == expected
