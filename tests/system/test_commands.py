"""The commands that ask a running daemon: exit statuses for scripts, words, JSON."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.cri_client import CRI
from tests.support.daemon import CONSOLE, Daemon, environment, run_program
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import wait_until
from tests.support.standin_runtime import StandinRuntime
from tests.system.conftest import StartDaemon, accidents

# Nobody listens there.
DEAD = "127.0.0.1:1"


class Operator:
    """Runs commands on a node, with its configuration."""

    def __init__(self, shim: Daemon) -> None:
        self.shim = shim

    def run(self, command: str, *arguments: str) -> tuple[int, str, str]:
        ended = run_program(CONSOLE, command, "-c", str(self.shim.file), *arguments)
        assert accidents(ended.stdout + ended.stderr) == []
        return ended.returncode, ended.stdout, ended.stderr

    def json(self, command: str, *arguments: str) -> Any:
        """Return what a command writes for machines."""
        _, out, err = self.run(command, *arguments, "--json")
        assert err == ""
        return json.loads(out)

    def start(self, command: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*CONSOLE, command, "-c", str(self.shim.file), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )


@pytest.fixture
def shim(start_daemon: StartDaemon, standin: StandinRuntime, offline: MemoryRegistry) -> Daemon:
    push(offline.url, "team/app", "1", build_image("commands"))
    return start_daemon(standin.socket, f"address: {offline.url}")


@pytest.fixture
def operator(shim: Daemon) -> Operator:
    return Operator(shim)


@pytest.fixture
def client(shim: Daemon, connect: Callable[..., CRI]) -> CRI:
    return connect(shim.socket)


APP = "origin.test/team/app:1"
MISSING = "origin.test/team/none:1"


def test_a_node_that_is_well_is_0_and_ok(operator: Operator, offline: MemoryRegistry) -> None:
    assert operator.run("pull", APP)[0] == 0
    status, out, err = operator.run("status")
    assert (status, err) == (0, "")
    assert out.startswith("ok")
    for words in (
        operator.shim.socket,
        offline.host,
        str(operator.shim.file),
        "1 pulled, 0 failed",
    ):
        assert words in out
    document = operator.json("status")
    assert document["state"] == "ok"
    assert document["program"]["pid"] == operator.shim.pid
    assert document["pulls"]["recent"][0]["image"] == APP


def test_a_node_with_a_dead_registry_is_1_and_says_which(
    start_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    operator = Operator(start_daemon(standin.socket, f"address: http://{DEAD}"))
    assert operator.run("pull", MISSING)[0] == 1
    status, out, err = operator.run("status")
    assert (status, err) == (1, "")
    first, second, *_ = out.split("\n\n")
    assert first.startswith("degraded: ")
    assert f"registry {DEAD}" in second
    assert "connection refused" in second
    assert "cure: Nobody listens there" in second
    assert f" {MISSING} -> {MISSING}, after {DEAD}/" in " ".join(out.split())
    status, out, err = operator.run("history", "--failed")
    assert (status, err) == (0, "")
    # Of both: the registry that is down, and the origin that came after it.
    assert "connection refused" in out
    assert f"    {DEAD}/" in out
    assert f"    {MISSING}: NOT_FOUND" in out


def test_decisions_say_what_why_and_for_whom(
    operator: Operator, client: CRI, offline: MemoryRegistry
) -> None:
    client.pull(APP)
    assert operator.run("pull", MISSING)[0] == 1
    status, out, err = operator.run("decisions")
    assert (status, err) == (0, "")
    first, below, *rest = out.splitlines()
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d [\d:]{{8}}  {APP} -> {offline.host}/team/app:1", first)
    assert re.search(rf"pulled in .* \(offline, present, .*\) for .* \(pid {os.getpid()}, ", below)
    assert any("NOT_FOUND" in line for line in rest)
    assert [one["image"] for one in operator.json("decisions")] == [APP, MISSING]
    assert [one["image"] for one in operator.json("decisions", "--limit", "1")] == [MISSING]
    assert [one["image"] for one in operator.json("decisions", "--image", "*/app:*")] == [APP]


def test_what_is_followed_is_told_as_it_happens_until_interrupted(
    operator: Operator, client: CRI, offline: MemoryRegistry
) -> None:
    client.pull(APP)
    with operator.start("decisions", "--follow") as follower:
        assert follower.stdout is not None
        before = [follower.stdout.readline() for _ in range(2)]
        client.pull(APP)
        told = [follower.stdout.readline() for _ in range(3)]
        follower.send_signal(signal.SIGINT)
        out, err = follower.communicate(timeout=20)
    assert f"{APP} -> {offline.host}" in before[0]
    assert f"{APP} -> {offline.host}" in told[0]
    assert "(offline, present, cached" in told[1]
    assert f"{APP}: pulled {offline.host}/team/app:1 in " in told[2]
    assert (follower.returncode, out, err) == (130, "", "image-cri-shim: interrupted\n")


def test_following_ends_with_the_daemon(operator: Operator, client: CRI) -> None:
    client.pull(APP)
    with operator.start("decisions", "--follow", "--json") as follower:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["image"] == APP
        assert operator.shim.end() == 0
        _, err = follower.communicate(timeout=20)
    assert follower.returncode == 3
    assert "nobody answers" in err or "has ended" in err


def test_what_was_answered_is_forgotten_on_demand(
    operator: Operator, client: CRI, offline: MemoryRegistry
) -> None:
    client.pull(APP)
    assert operator.run("flush", APP) == (0, "forgot 1 answer\n", "")
    assert operator.json("flush") == {"answers": 0, "breakers": 0}
    client.pull(APP)
    assert operator.run("flush", "--registry", offline.host) == (0, "forgot 1 answer\n", "")
    status, out, err = operator.run("flush", "--registry", "none.corp")
    assert (status, out) == (1, "")
    assert f"there is no registry none.corp; configured are: {offline.host}" in err
    assert operator.run("flush", "NO/../REFERENCE")[0] == 2


def test_a_reload_waits_for_its_outcome(operator: Operator, offline: MemoryRegistry) -> None:
    operator.shim.configure(f"address: {offline.url}\ntimeout: 20m\nreloadInterval: 0s")
    status, out, err = operator.run("reload")
    assert (status, err) == (0, "")
    assert out.startswith("the new configuration runs\n  ")
    # As if a change had been noticed before anybody asked.
    since = r"the new configuration runs\n  nothing has changed since [\d: -]{19}, when it was .*\n"
    assert re.fullmatch(since, operator.run("reload")[1])
    good = operator.shim.file.read_text()
    operator.shim.configure("adress: x\ndebug: maybe")
    admin = ("--socket", operator.shim.admin)
    ended = run_program(CONSOLE, "reload", *admin)
    assert (ended.returncode, ended.stdout) == (1, "")
    first, *problems = ended.stderr.splitlines()
    assert first == "image-cri-shim: the new configuration is refused, the one before runs:"
    assert [line.split(": ")[1] for line in problems] == ["adress", "debug"]
    told = json.loads(run_program(CONSOLE, "reload", *admin, "--json").stdout)
    assert (told["ok"], told["changes"], len(told["problems"])) == (False, [], 2)
    # The daemon is asked all the same where its file is the refused one, at the usual place.
    assert run_program(CONSOLE, "status", *admin).stdout.startswith("degraded: ")
    operator.shim.file.write_text(good)
    assert operator.run("reload")[0] == 0
    assert operator.run("status")[0] == 0


def test_a_level_holds_until_it_is_taken_back(operator: Operator, client: CRI) -> None:
    assert operator.json("log-level")["levels"]["pull"] == "info"
    assert operator.run("log-level", "pull", "error") == (0, "pull  error\n", "")
    seen = len(operator.shim.lines("PullImage"))
    client.pull(APP)
    assert operator.run("log-level", "pull") == (0, "pull  error\n", "")
    assert len(operator.shim.lines("PullImage")) == seen
    assert operator.run("log-level", "all", "configured")[0] == 0
    assert operator.json("log-level", "pull")["levels"] == {"pull": "info"}


def test_a_pull_shows_the_decision_beside_what_the_node_then_has(
    operator: Operator, offline: MemoryRegistry
) -> None:
    name = f"{offline.host}/team/app:1"
    status, out, err = operator.run("pull", APP)
    assert status == 0
    assert out.startswith(f"pulled {APP} in ")
    assert re.fullmatch(rf"{APP} -> {name} \(offline, present, .*\)\n", err)
    status, out, err = operator.run("pull", MISSING)
    assert (status, out) == (1, "")
    decision, said = err.splitlines()
    assert decision.startswith(f"{MISSING} -> {MISSING} (origin, {offline.host}: absent (404)")
    assert said.startswith(f"image-cri-shim: {MISSING}: NOT_FOUND: ")


def test_a_pull_for_machines_has_the_record_and_what_the_node_then_has(
    operator: Operator, offline: MemoryRegistry
) -> None:
    told = operator.json("pull", APP)
    assert (told["image"], told["pulled"], told["error"]) == (APP, True, None)
    assert told["decision"]["phase"] == "pulled"
    assert told["decision"]["reason"].startswith("offline, present")
    assert told["held"]["id"] == told["imageRef"]
    assert f"{offline.host}/team/app:1" in told["held"]["tags"]
    status, out, err = operator.run("pull", "--json", MISSING)
    told = json.loads(out)
    assert (status, told["pulled"], told["held"]) == (1, False, None)
    assert told["error"].startswith("NOT_FOUND: ")
    assert told["decision"]["phase"] == "failed"
    assert told["decision"]["attempts"][0]["name"] == MISSING
    # The daemon's own time lies within it.
    assert told["seconds"] >= told["decision"]["seconds"] > 0
    assert err == f"image-cri-shim: {MISSING}: {told['error']}\n"


def test_a_name_that_is_no_text_is_an_image_that_is_not_there(operator: Operator) -> None:
    status, out, err = operator.run("pull", "origin.test/\udcff")
    assert (status, out) == (1, "")
    assert "Traceback" not in err
    status, out, err = operator.run("decisions", "--image", "\udcff")
    assert (status, out) == (0, "")
    assert err == "image-cri-shim: no pull of such an image is known\n"


def test_a_pull_goes_on_without_an_admin_interface(
    start_daemon: StartDaemon, standin: StandinRuntime, offline: MemoryRegistry
) -> None:
    push(offline.url, "team/app", "1", build_image("commands"))
    off = Operator(start_daemon(standin.socket, f"address: {offline.url}\nadminSocket: ''"))
    status, out, err = off.run("pull", APP)
    assert (status, out.startswith(f"pulled {APP} in ")) == (0, True)
    (line,) = err.splitlines()
    assert "the decision cannot be shown: the configuration turns the admin interface off" in line
    arguments = ("--admin-socket", f"{off.shim.directory}/none.sock")
    status, out, err = off.run("pull", *arguments, APP)
    assert (status, out.startswith(f"pulled {APP} in ")) == (0, True)
    assert "the decision cannot be shown: nobody answers on" in err
    # The others need it.
    status, out, err = off.run("status")
    assert (status, out) == (3, "")
    assert "turns the admin interface off" in err


def test_on_a_terminal_a_pull_shows_the_time_that_passes(
    operator: Operator, standin: StandinRuntime
) -> None:
    image = "fault.test/slow-2500:1"
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*CONSOLE, "pull", "-c", str(operator.shim.file), image],
        stdout=subprocess.PIPE,
        stderr=slave,
        env=environment({"TERM": "xterm", "NO_COLOR": "1"}),
    ) as child:
        os.close(slave)
        said = b""
        try:
            while piece := os.read(master, 1000):
                said += piece
        except OSError:
            # Its other end is closed.
            pass
        finally:
            os.close(master)
        assert child.stdout is not None
        out = child.stdout.read()
        assert child.wait(20) == 0
    assert out.startswith(f"pulled {image} in ".encode())
    shown = said.decode().split("\r\x1b[K")
    assert f"pulling {image} (0 s)" in shown
    assert any(re.fullmatch(rf"pulling {image} \([12] s\)", line) for line in shown)
    assert any(line.startswith(f"{image} -> {image} (origin, ") for line in shown)
    # Nothing is left of it.
    assert not shown[-1].startswith("pulling ")
    assert "\x1b[1m" not in said.decode()


def test_pulls_in_progress_are_shown_with_the_time_that_they_have_taken(
    operator: Operator, standin: StandinRuntime
) -> None:
    standin.forget_journal()
    with operator.start("pull", "fault.test/hang:1") as pull:
        standin.wait_for("PullImage")
        _, out, _ = operator.run("status")
        (running,) = operator.json("status")["pulls"]["inProgress"]
        pull.send_signal(signal.SIGINT)
        pull.communicate(timeout=20)
    assert pull.returncode == 130
    assert "\nin progress\n  fault.test/hang:1 -> fault.test/hang:1\n    pulling for " in out
    assert f"(pid {pull.pid}, uid {os.getuid()})" in out
    assert (running["phase"], running["client"]["pid"]) == ("pulling", pull.pid)

    def over() -> bool:
        return operator.json("status")["pulls"]["inProgress"] == []

    assert wait_until(over, 10)


def test_nobody_there_is_3_for_each_command(operator: Operator) -> None:
    operator.shim.kill()
    for command in ("status", "decisions", "reload", "flush", "log-level"):
        status, out, err = operator.run(command)
        assert (status, out) == (3, ""), command
        assert err.startswith(f"image-cri-shim: nobody answers on {operator.shim.admin}: ")
        assert "is the daemon running" in err
