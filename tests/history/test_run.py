"""Whether the daemon that left a pull running is still alive."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import attrs

from image_cri_shim.history.run import is_alive, this_run


def test_this_run_is_alive_and_no_other_has_its_token() -> None:
    one, other = this_run(1.0), this_run(2.0)
    assert is_alive(one, newest=False)
    assert one.pid == os.getpid()
    assert one.token != other.token


def test_another_process_with_its_number_is_not_it() -> None:
    one = this_run(1.0)
    assert not is_alive(attrs.evolve(one, ticks=one.ticks + 1), newest=True)
    assert not is_alive(attrs.evolve(one, pid=1 << 30), newest=True)


def test_a_killed_one_is_dead_before_anybody_has_looked_after_it() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        ticks = int(Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19])
        run = attrs.evolve(this_run(1.0), pid=child.pid, ticks=ticks)
        assert is_alive(run, newest=False)
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not is_alive(run, newest=True)


def test_none_outlives_a_reboot() -> None:
    assert not is_alive(attrs.evolve(this_run(1.0), boot="another"), newest=True)


def test_where_it_cannot_be_looked_for_the_newest_is_taken_for_alive() -> None:
    one = this_run(1.0)
    for run in (
        attrs.evolve(one, namespace=one.namespace + 1),
        attrs.evolve(one, namespace=0),
        attrs.evolve(one, ticks=0),
    ):
        assert is_alive(run, newest=True)
        assert not is_alive(run, newest=False)
