"""The admin interface of a real daemon: what it tells and does, and that it costs nobody a pull."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.admin_client import Connection, Following, ask
from tests.support.cri_client import CRI
from tests.support.daemon import ROOT, Daemon
from tests.support.images import build_image, push
from tests.support.json_schema import mistakes
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import wait_until
from tests.support.standin_runtime import StandinRuntime
from tests.system.conftest import StartDaemon

SCHEMA = json.loads((ROOT / "docs" / "status.schema.json").read_text())
Connect = Callable[..., CRI]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment that chooses an event loop."""
    if request.param == "uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    return {"IMAGE_CRI_SHIM_LOOP": request.param}


@pytest.fixture
def shim(
    start_daemon: StartDaemon,
    standin: StandinRuntime,
    offline: MemoryRegistry,
    loop: dict[str, str],
) -> Daemon:
    push(offline.url, "library/nginx", "1.25", build_image("admin"))
    return start_daemon(standin.socket, f"address: {offline.url}", environment=loop)


@pytest.fixture
def following() -> Iterator[Callable[..., Following]]:
    made: list[Following] = []

    def follow(*arguments: Any) -> Following:
        made.append(Following(*arguments))
        return made[-1]

    yield follow
    for one in made:
        one.close()


def test_the_daemon_tells_how_it_is_on_a_socket_of_its_user_s_alone(shim: Daemon) -> None:
    assert stat.S_IMODE(os.stat(shim.admin).st_mode) == 0o600
    assert ask(shim.admin, "/healthz") == (200, "ok\n")
    assert wait_until(lambda: ask(shim.admin, "/readyz") == (200, "ok\n"), 10)
    status, document = ask(shim.admin, "/status")
    assert status == 200
    assert mistakes(document, SCHEMA) == []
    assert document["program"]["pid"] == shim.pid
    status, page = ask(shim.admin, "/")
    assert status == 200
    assert page.startswith("<!DOCTYPE html>")
    assert "<h1>image-cri-shim</h1>" in page
    status, _ = ask(shim.admin, "/metrics")
    assert status == (200 if importlib.util.find_spec("prometheus_client") else 501)
    assert ask(shim.admin, "/nothing")[0] == 404


def test_a_pull_is_seen_as_it_goes_on_and_told_afterwards(
    shim: Daemon, connect: Connect, following: Callable[..., Following]
) -> None:
    follower = iter(following(shim.admin))
    client = connect(shim.socket)
    client.pull("nginx:1.25")
    phases = []
    for record in follower:
        assert record["image"] == "nginx:1.25"
        phases.append(record["phase"])
        if record["phase"] in ("pulled", "failed"):
            break
    assert phases[0] == "looking up"
    assert phases[-1] == "pulled"
    assert phases == sorted(phases, key=["looking up", "pulling", "pulled"].index)
    _, document = ask(shim.admin, "/decisions?image=nginx*")
    (told,) = document["decisions"]
    assert told["phase"] == "pulled"
    assert told["client"]["pid"] == os.getpid()
    assert mistakes(told, {"$ref": "#/$defs/pull", "$defs": SCHEMA["$defs"]}) == []
    _, status = ask(shim.admin, "/status")
    assert mistakes(status, SCHEMA) == []
    assert status["pulls"]["recent"][0]["image"] == "nginx:1.25"
    _, page = ask(shim.admin, "/")
    assert "nginx:1.25" in page


def test_a_reload_is_waited_for_and_its_outcome_told(shim: Daemon) -> None:
    with shim.file.open("a") as file:
        file.write("timeout: 20m\n")
    status, outcome = ask(shim.admin, "/reload", "POST")
    assert (status, outcome["ok"], outcome["problems"]) == (200, True, [])
    # It may have been noticed before it was asked for.
    change = "Timeout: 15m0s -> 20m0s"
    assert outcome["changes"] in ([], [change])
    shim.wait_for(f"reload: {change}")
    with shim.file.open("a") as file:
        file.write("tiemout: 20m\n")
    status, outcome = ask(shim.admin, "/reload", "POST")
    assert (status, outcome["ok"]) == (409, False)
    assert any("tiemout" in one for one in outcome["problems"])
    assert ask(shim.admin, "/readyz")[0] == 503


def test_what_is_remembered_is_forgotten_when_somebody_says_so(
    shim: Daemon, connect: Connect, offline: MemoryRegistry
) -> None:
    connect(shim.socket).pull("nginx:1.25")
    assert ask(shim.admin, "/flush", "POST", {"image": "nginx:1.25"}) == (
        200,
        {"answers": 1, "breakers": 0},
    )
    assert ask(shim.admin, "/flush", "POST", {})[1]["answers"] == 0
    status, said = ask(shim.admin, "/flush", "POST", {"registry": "other.test"})
    assert (status, "other.test" in said["error"]) == (404, True)
    assert ask(shim.admin, "/flush", "POST", {"image": "A:B:C"})[0] == 400


def test_levels_are_changed_while_it_runs(shim: Daemon) -> None:
    body = {"component": "registry", "level": "debug"}
    status, said = ask(shim.admin, "/log-levels", "POST", body)
    assert (status, said["levels"]["registry"]) == (200, "debug")
    assert ask(shim.admin, "/status")[1]["logging"]["levels"]["registry"] == "debug"
    body = {"component": "registry", "level": ""}
    assert ask(shim.admin, "/log-levels", "POST", body)[1]["levels"]["registry"] == "info"
    assert ask(shim.admin, "/log-levels", "POST", {**body, "level": "loud"})[0] == 400


def test_on_tcp_nothing_can_be_changed_and_no_page_from_elsewhere_reads_it(
    shim: Daemon,
) -> None:
    where = ("127.0.0.1", free_port())
    with shim.file.open("a") as file:
        file.write(f"adminListen: 127.0.0.1:{where[1]}\n")
    assert ask(shim.admin, "/reload", "POST")[0] == 200
    assert ask(where, "/healthz") == (200, "ok\n")
    assert ask(where, "/status")[0] == 200
    assert ask(where, "/reload", "POST")[0] == 405
    assert ask(where, "/status", headers={"Host": "attacker.test"})[0] == 403
    assert ask(where, "/status", headers={"Host": f"127.0.0.1:{where[1]}"})[0] == 200


def test_a_reload_through_the_socket_that_it_moves_is_answered(
    shim: Daemon, following: Callable[..., Following]
) -> None:
    follower = following(shim.admin)
    another = f"{shim.admin}2"
    shim.file.write_text(shim.file.read_text().replace(shim.admin, another))
    status, outcome = ask(shim.admin, "/reload", "POST")
    assert (status, outcome["ok"]) == (200, True)
    assert not os.path.exists(shim.admin)
    assert ask(another, "/healthz") == (200, "ok\n")
    # Who followed on the old one hears that it is over.
    assert list(follower) == []


def test_following_ends_when_the_daemon_stops_and_nothing_is_left(
    shim: Daemon, following: Callable[..., Following]
) -> None:
    follower = following(shim.admin)
    assert shim.end() == 0
    assert list(follower) == []
    assert not os.path.lexists(shim.admin)
    assert not os.path.lexists(f"{shim.admin}.lock")


def test_a_socket_that_cannot_be_had_is_a_warning_and_pulls_go_on(
    start_daemon: StartDaemon,
    connect: Connect,
    standin: StandinRuntime,
    offline: MemoryRegistry,
    tmp_path: Path,
    loop: dict[str, str],
) -> None:
    push(offline.url, "library/nginx", "1.25", build_image("admin"))
    (tmp_path / "file").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config = (
            f"address: {offline.url}\n"
            f"adminSocket: {tmp_path / 'file' / 'admin.sock'}\n"
            f"adminListen: 127.0.0.1:{port}"
        )
        shim = start_daemon(standin.socket, config, environment=loop)
        shim.wait_for(f"the admin interface is not at 127.0.0.1:{port}: ")
        assert connect(shim.socket).pull("nginx:1.25")
        assert len(shim.lines("the admin interface is not at")) == 2
    # It is taken when it is free.
    shim.wait_for(f"the admin interface is at 127.0.0.1:{port}")
    assert ask(("127.0.0.1", port), "/healthz")[0] == 200


def test_a_daemon_that_was_killed_leaves_nothing_in_the_way(
    shim: Daemon,
) -> None:
    shim.send(signal.SIGKILL)
    shim.wait()
    assert os.path.exists(shim.admin)
    shim.start()
    assert ask(shim.admin, "/healthz") == (200, "ok\n")


def test_many_clients_who_take_nothing_hold_no_pull_up(
    shim: Daemon, connect: Connect, offline: MemoryRegistry
) -> None:
    client = connect(shim.socket)
    stuck = []
    for _ in range(40):
        one = socket.socket(socket.AF_UNIX)
        one.connect(shim.admin)
        one.sendall(b"GET /decisions?follow=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        stuck.append(one)
    try:
        for number in range(30):
            push(offline.url, "library/nginx", f"{number}", build_image(f"admin{number}"))
            assert client.pull(f"nginx:{number}", timeout=10)
    finally:
        for one in stuck:
            one.close()
    assert wait_until(lambda: ask(shim.admin, "/healthz")[0] == 200, 10)


def test_one_connection_takes_request_after_request(shim: Daemon) -> None:
    connection = Connection(shim.admin)
    for path in ("/healthz", "/status", "/", "/decisions", "/healthz"):
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
    connection.close()
