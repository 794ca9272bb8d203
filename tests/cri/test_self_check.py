"""The shim's call to itself: it says whether the shim works, not whether the runtime does."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from image_cri_shim.cri.self_check import why_silent
from tests.cri.background import PATIENCE, Background
from tests.cri.scripted import ScriptedUpstream
from tests.cri.shim import Shim
from tests.unix_socket.sockets import leave_stale, serve


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


def test_a_socket_on_which_nobody_listens_is_named(background: Background, tmp_path: Path) -> None:
    leave_stale(tmp_path / "dead.sock")
    path = str(tmp_path / "dead.sock")
    assert background.run(why_silent(path, PATIENCE)) == f"{path}: Connection refused"


def test_who_never_answers_is_not_waited_for(
    background: Background, tmp_path: Path, stack: ExitStack
) -> None:
    serve(tmp_path / "mute.sock", stack)
    path = str(tmp_path / "mute.sock")
    assert background.run(why_silent(path, 0.05)) == f"{path}: no answer within 0.05 s"
