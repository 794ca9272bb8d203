"""A runtime that is connected and hangs is seen, and seen again when it has come back."""

from __future__ import annotations

import json
import os
import signal

from tests.support.daemon import CONSOLE, run_program
from tests.support.processes import wait_until
from tests.support.standin_runtime import StandinRuntime
from tests.system.conftest import StartDaemon


def test_a_runtime_that_hangs_is_no_node_that_is_well(
    start_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, "address: ''")

    def status() -> tuple[int, str]:
        ended = run_program(CONSOLE, "status", "--json", "--socket", shim.admin)
        return ended.returncode, str(json.loads(ended.stdout)["state"])

    assert wait_until(lambda: status() == (0, "ok"), 10)
    assert standin.pid is not None
    os.kill(standin.pid, signal.SIGSTOP)
    try:
        assert wait_until(lambda: status() == (1, "failing"), 30)
        ended = run_program(CONSOLE, "status", "--socket", shim.admin)
        assert f"the runtime at {standin.socket} does not answer" in " ".join(ended.stdout.split())
        assert "The runtime hangs: restart it" in " ".join(ended.stdout.split())
    finally:
        os.kill(standin.pid, signal.SIGCONT)
    assert wait_until(lambda: status() == (0, "ok"), 30)
    shim.wait_for("the runtime answers again")
