"""The history of pulls is right about what clients were told, however the daemon ended."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import attrs
import grpc
import pytest

from image_cri_shim.cri._generated import cri_pb2
from tests.support.cri_client import CRI
from tests.support.daemon import CONSOLE, Daemon, run_program
from tests.support.processes import wait_until
from tests.support.standin_runtime import StandinRuntime
from tests.system.conftest import StartDaemon

NO_REGISTRY = 'address: ""'
PULLS = 50
Connect = Callable[..., CRI]


def history(daemon: Daemon, *arguments: str) -> list[dict[str, Any]]:
    """Return what the command tells for machines, the newest first."""
    options = ("--config", str(daemon.file), "--json", "--limit", "0")
    done = run_program(CONSOLE, "history", *options, *arguments)
    assert done.returncode == 0, done.stderr
    objects: list[dict[str, Any]] = json.loads(done.stdout)
    return objects


def outcomes(daemon: Daemon) -> dict[str, str]:
    found = history(daemon)
    assert len({one["image"] for one in found}) == len(found), "a pull has one row"
    return {one["image"]: one["outcome"] for one in found}


@attrs.define
class Pulls:
    """Many pulls at once, and what their client was told of those that ended."""

    client: CRI
    told: dict[str, str] = attrs.field(factory=dict)
    _calls: list[grpc.Future] = attrs.field(factory=list)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def begin(self, image: str) -> None:
        request = cri_pb2.PullImageRequest(image=cri_pb2.ImageSpec(image=image))
        path = self.client.path("ImageService", "PullImage")
        call = self.client.start(path, request.SerializeToString(), timeout=60)
        call.add_done_callback(lambda call: self._over(image, call))
        self._calls.append(call)

    def _over(self, image: str, call: Any) -> None:
        code, details = call.code(), call.details() or ""
        with self._lock:
            if code is grpc.StatusCode.OK:
                self.told[image] = "pulled"
            elif details.startswith("fault "):
                self.told[image] = "failed"

    def wait(self) -> None:
        """Wait until all have ended, or were lost with the daemon."""
        assert wait_until(lambda: all(call.done() for call in self._calls), 20)


def image(number: int, run: int = 0) -> str:
    """Return an image of which the pull is held, fails, or takes up to two thirds of a second."""
    if number % 5 == 0:
        return f"fault.test/hang:{run}-{number}"
    if number % 5 == 1:
        return f"fault.test/code-{13 - number % 3}:{run}-{number}"
    return f"fault.test/slow-{number * 13}:{run}-{number}"


def kill(daemon: Daemon) -> None:
    assert daemon.end(signal.SIGKILL) == -signal.SIGKILL


def test_after_kill_9_in_the_middle_of_50_pulls_it_is_right_about_what_finished(
    start_daemon: StartDaemon, standin: StandinRuntime, connect: Connect
) -> None:
    daemon = start_daemon(standin.socket, NO_REGISTRY)
    expected: dict[str, str] = {}
    for run, wanted in enumerate((5, 20, 35)):
        pulls = Pulls(connect(daemon.socket))
        names = [image(number, run) for number in range(PULLS)]
        for name in names:
            pulls.begin(name)
        assert wait_until(lambda: len(pulls.told) >= wanted, 20)  # noqa: B023 - called at once
        kill(daemon)
        pulls.wait()
        assert wanted <= len(pulls.told) < PULLS
        found = {name: outcome for name, outcome in outcomes(daemon).items() if name in names}
        assert {name: found.get(name) for name in pulls.told} == pulls.told
        for name in set(names) - set(pulls.told):
            # Some may have ended, and the answer was on its way; none may still run.
            assert found.get(name) != "running"
            assert "hang" not in name or found.get(name) in ("interrupted", None)
        expected |= found
        assert outcomes(daemon) == expected, "the earlier ones are still there"
        daemon.start()
        assert outcomes(daemon) == expected, "the next run changes nothing of it"
    assert {"pulled", "failed", "interrupted"} == set(expected.values())


def test_pulls_that_run_are_running_until_they_end(
    start_daemon: StartDaemon, standin: StandinRuntime, connect: Connect
) -> None:
    daemon = start_daemon(standin.socket, NO_REGISTRY)
    pulls = Pulls(connect(daemon.socket))
    pulls.begin("fault.test/slow-1200:1")
    assert wait_until(lambda: outcomes(daemon) == {"fault.test/slow-1200:1": "running"}, 10)
    pulls.wait()
    (found,) = history(daemon)
    assert (found["outcome"], found["imageRef"]) == ("pulled", "slow-1200:1")
    assert found["client"]["uid"] == os.geteuid()
    assert found["client"]["pid"] == os.getpid()
    assert 1.1 < found["seconds"] < 20
    assert daemon.end() == 0
    assert history(daemon) == [found]
    assert sorted(os.listdir(daemon.directory / "state")) == ["history.sqlite3"]


def test_pulls_that_a_stop_ends_are_no_riddle(
    start_daemon: StartDaemon, standin: StandinRuntime, connect: Connect
) -> None:
    daemon = start_daemon(standin.socket, f"{NO_REGISTRY}\nshutdownGrace: 100ms")
    pulls = Pulls(connect(daemon.socket))
    pulls.begin("fault.test/hang:1")
    assert wait_until(lambda: outcomes(daemon) == {"fault.test/hang:1": "running"}, 10)
    assert daemon.end() == 0
    (found,) = history(daemon)
    assert found["outcome"] == "failed"
    assert found["error"]


@pytest.mark.parametrize("lies_there", ["garbage", "directory"])
def test_whatever_lies_in_its_place_the_daemon_pulls(
    make_daemon: Callable[..., Daemon], standin: StandinRuntime, connect: Connect, lies_there: str
) -> None:
    daemon = make_daemon(standin.socket, NO_REGISTRY)
    state = daemon.directory / "state"
    state.mkdir()
    path = state / "history.sqlite3"
    if lies_there == "garbage":
        path.write_bytes(b"garbage" * 5000)
    else:
        path.mkdir()
    daemon.start()
    assert connect(daemon.socket).pull("fault.test/slow-1:1") == "slow-1:1"
    if lies_there == "garbage":
        assert "history: " in daemon.wait_for("it is set aside as")
        assert outcomes(daemon) == {"fault.test/slow-1:1": "pulled"}
        assert (state / "history.sqlite3.bad").exists()
    else:
        daemon.wait_for("it is no regular file; move it away; pulls are not recorded")
        done = run_program(CONSOLE, "history", "--config", str(daemon.file))
        assert (done.returncode, done.stdout) == (3, "")
    assert daemon.end() == 0


def test_a_reload_turns_it_off_and_on(
    start_daemon: StartDaemon, standin: StandinRuntime, connect: Connect
) -> None:
    daemon = start_daemon(standin.socket, f"{NO_REGISTRY}\nhistorySize: 0")
    client = connect(daemon.socket)
    client.pull("fault.test/slow-1:1")
    assert not (daemon.directory / "state" / "history.sqlite3").exists()
    daemon.reload(f"{NO_REGISTRY}\nhistorySize: 2")
    for number in range(2, 6):
        client.pull(f"fault.test/slow-1:{number}")
    assert list(outcomes(daemon)) == ["fault.test/slow-1:5", "fault.test/slow-1:4"]
