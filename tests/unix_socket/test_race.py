"""Many programs that want one socket at the same moment."""

from __future__ import annotations

import collections
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.unix_socket.sockets import ROOT, accepts, leave_stale, names

RACERS = 8
TURNS = 10

# Each forks from one that has imported everything, and all wait for one byte each.
RACE = """
import os, sys
from image_cri_shim.unix_socket import SocketError, listen

path, racers = sys.argv[1], int(sys.argv[2])
start, go = os.pipe()
over, end = os.pipe()
for _ in range(racers):
    if os.fork() == 0:
        os.close(end)
        os.read(start, 1)
        listener = None
        try:
            listener = listen(path)
            said = f"{os.getpid()} serves"
        except SocketError as error:
            said = f"{os.getpid()} {error}"
        os.write(1, (said + "\\n").encode())
        # Until all have had their turn.
        os.read(over, 1)
        if listener is not None:
            listener.remove()
        os._exit(0)
os.close(over)
os.write(go, b"x" * racers)
sys.stdin.read()
os.close(end)
for _ in range(racers):
    os.wait()
"""


@pytest.mark.parametrize("stale", [False, True], ids=["nothing there", "a stale socket there"])
def test_exactly_one_serves_and_the_others_say_who(
    tmp_path: Path, stack: ExitStack, stale: bool
) -> None:
    path = tmp_path / "s"
    outcomes: collections.Counter[str] = collections.Counter()
    for _ in range(TURNS):
        if stale:
            leave_stale(path)
        race = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", RACE, str(path), str(RACERS)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert race.stdout is not None
        said = dict(race.stdout.readline().rstrip("\n").split(" ", 1) for _ in range(RACERS))
        (winner,) = (pid for pid, outcome in said.items() if outcome == "serves")
        assert accepts(path)
        assert names(tmp_path) == ["s", "s.lock"]
        for pid, outcome in said.items():
            if pid != winner:
                assert outcome == (
                    f"cannot serve {path}: process {winner} serves it already; stop that first, "
                    "or set `shim` to another path"
                )
                outcomes["refused"] += 1
        race.communicate()
        assert race.returncode == 0
        assert names(tmp_path) == []
    assert outcomes["refused"] == TURNS * (RACERS - 1)
