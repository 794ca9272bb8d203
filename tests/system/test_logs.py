"""The daemon's log as its readers have it: people, programs, systemd."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from image_cri_shim.config.settings import COMPONENTS
from tests.support.containerd import Containerd
from tests.support.cri_client import CRI
from tests.support.daemon import CONSOLE, TWISTD, Daemon
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.standin_runtime import StandinRuntime
from tests.system.conftest import StartDaemon

NO_REGISTRY = 'address: ""'
JOURNAL = Path("/run/systemd/journal/socket")
LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[([\w.]+)#(debug|info|warn|error)\] .+"
)
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def everything(client: CRI) -> None:
    """Make a pull that works, one that fails, and some local questions."""
    client.pull("origin.test/logs/there:1", metadata=[("traceparent", PARENT)])
    with pytest.raises(grpc.RpcError):
        client.pull("origin.test/logs/absent:1")
    client.image_status("origin.test/logs/there:1")
    client.list_images()


@pytest.fixture
def there(offline: MemoryRegistry) -> MemoryRegistry:
    push(offline.url, "logs/there", "1", build_image("logs there"))
    return offline


@pytest.mark.parametrize("program", [CONSOLE, None], ids=["image-cri-shim", "twistd"])
def test_people_read_one_line_an_event_from_who_it_is_about(
    program: tuple[str, ...] | None,
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    there: MemoryRegistry,
) -> None:
    shim = start_daemon(runtime.socket, f"address: {there.url}", program=program)
    everything(connect(shim.socket))
    shim.reload("timeout: soon")
    assert shim.end() == 0
    matches = [LINE.fullmatch(line) for line in shim.text().splitlines()]
    assert None not in matches, shim.text()
    speakers = {match[1] for match in matches if match}
    assert {"daemon", "config", "pull", "runtime"} <= speakers
    assert all(one in COMPONENTS or one.startswith("twisted.") for one in speakers), speakers
    client = re.escape(f"(pid {os.getpid()}, uid {os.getuid()})")
    (pulled,) = shim.lines("pulled ")
    assert re.search(rf"\[[0-9a-f]+-\d+, \S+ {client}, trace {TRACE}\]$", pulled)


def test_programs_read_an_object_a_line_from_the_first_line_on(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    there: MemoryRegistry,
) -> None:
    shim = start_daemon(runtime.socket, f"address: {there.url}\nlogFormat: json", program=CONSOLE)
    everything(connect(shim.socket))
    shim.reload("timeout: soon")
    assert shim.end() == 0
    documents = [json.loads(line) for line in shim.text().splitlines()]
    assert all({"time", "level", "component", "message"} <= set(one) for one in documents)
    pulls = [one for one in documents if one["component"] == "pull"]
    calls = [one["call"] for one in pulls]
    assert (len(pulls), len(set(calls))) == (4, 2)
    (pulled,) = [one for one in pulls if one.get("outcome") == "pulled"]
    assert pulled["image"] == "origin.test/logs/there:1"
    assert pulled["name"] == f"{there.host}/logs/there:1"
    assert pulled["registry"] == there.host
    assert pulled["trace"] == TRACE
    assert pulled["client"]["pid"] == os.getpid()
    assert pulled["client"]["uid"] == os.getuid()
    assert 0 < pulled["seconds"] < 60
    (failed,) = [one for one in pulls if one.get("outcome") == "failed"]
    assert (failed["image"], failed["level"]) == ("origin.test/logs/absent:1", "warn")


def test_the_format_and_the_levels_change_with_a_reload(
    start_daemon: StartDaemon, connect: Callable[..., CRI], standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    shim.configure(f"{NO_REGISTRY}\nlogFormat: json\nlogLevels: {{cri: debug}}")
    shim.hang_up()
    shim.wait_for('"message": "reload: the new configuration runs"}\n')
    shim.forget_log()
    client = connect(shim.socket)
    client.version()
    shim.wait_for("/runtime.v1.RuntimeService/Version")
    documents = [json.loads(line) for line in shim.text().splitlines()]
    assert {one["component"] for one in documents if one["level"] == "debug"} == {"cri"}
    (call,) = [one for one in documents if "Version took" in one["message"]]
    assert call["call"] in call["message"]
    shim.configure(f"{NO_REGISTRY}\nlogFormat: text")
    shim.hang_up()
    shim.wait_for("[config#info] reload: the new configuration runs\n")
    client.version()
    client.version()
    assert shim.end() == 0
    after = shim.text().partition("the new configuration runs\n")[2]
    assert "RuntimeService/Version" not in after
    assert LINE.match(after)


def test_a_pull_costs_three_lines_at_most_and_local_questions_none(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
    there: MemoryRegistry,
) -> None:
    push(origin.url, "logs/origin", "1", build_image("logs origin"))
    with MemoryRegistry() as dead:
        registries = f"registries: [{{address: '{dead.url}'}}]\nlogFormat: json"
        shim = start_daemon(runtime.socket, f"address: {there.url}\n{registries}")
    client = connect(shim.socket)
    for name in ("there", "origin"):
        client.pull(f"origin.test/logs/{name}:1")
    for name in ("absent", "gone"):
        with pytest.raises(grpc.RpcError):
            client.pull(f"origin.test/logs/{name}:1")
    before = shim.text()
    for _ in range(20):
        assert client.image_status("origin.test/logs/there:1") is not None
        assert client.image_status("origin.test/logs/nowhere:1") is None
        assert client.list_images()
    # What would have been logged of them is there when what follows them is.
    client.pull("origin.test/logs/there:1")
    new = shim.wait_for("").removeprefix(before)
    calls: dict[str, int] = {}
    for line in shim.text().splitlines():
        call = json.loads(line).get("call")
        if call is not None:
            calls[call] = calls.get(call, 0) + 1
    assert len(calls) == 5, calls
    assert min(calls.values()) >= 1
    assert max(calls.values()) <= 3, calls
    assert {json.loads(line)["component"] for line in new.splitlines()} <= {"pull", "registry"}
    assert "nowhere" not in new


@pytest.mark.skipif(JOURNAL.exists(), reason="the entries would be in this machine's journal")
def test_systemd_reads_priorities_where_its_journal_does_not_answer(
    start_daemon: StartDaemon, tmp_path: Path, standin: StandinRuntime
) -> None:
    # As systemd says it: standard error is the file of this device and inode.
    log = tmp_path / "shim0" / "shim.log"
    log.parent.mkdir()
    log.touch()
    found = log.stat()
    shim = start_daemon(
        standin.socket,
        NO_REGISTRY,
        program=CONSOLE,
        environment={"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"},
    )
    assert shim.end() == 0
    lines = shim.text().splitlines()
    assert all(re.match(r"<[3467]>\[[\w.]+#\w+\] ", line) for line in lines), shim.text()
    assert any(line.startswith("<6>[daemon#info] serving on ") for line in lines)


class Elsewhere(Daemon):
    """A daemon that writes its log to a file of its own."""

    def text(self) -> str:
        file = self.directory / "own.log"
        return file.read_text() if file.exists() else ""


def test_who_wants_twistds_own_log_has_it(tmp_path: Path, standin: StandinRuntime) -> None:
    options = ("--nodaemon", "--pidfile=", f"--logfile={tmp_path / 'own.log'}")
    with Elsewhere(
        tmp_path,
        cri=standin.socket,
        config=f"{NO_REGISTRY}\nlogFormat: json",
        program=(*TWISTD, *options, "image-cri-shim"),
    ) as shim:
        shim.wait_for("[daemon#info] serving on ")
    assert shim.log.read_text() == ""
