"""`image-cri-shim status`: the status document in words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from image_cri_shim.cli.colours import Colours
from image_cri_shim.cli.main import main
from image_cri_shim.cli.status_text import as_text
from image_cri_shim.pull_record import Phase, as_document, moment
from tests.support.admin_standin import AdminStandIn
from tests.support.status_document import (
    HARBOR,
    HUB,
    NOW,
    failed_record,
    pull_record,
    registry,
    running_record,
    status_document,
)

PLAIN = Colours()


@pytest.fixture(autouse=True)
def utc(set_time_zone: Callable[[str], None]) -> None:
    set_time_zone("UTC")


def shown(**fields: Any) -> str:
    return as_text(status_document(**fields), PLAIN)


def row(label: str, **fields: Any) -> list[str]:
    """Return the values of one row."""
    lines = shown(**fields).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"{label} "))
    found = [lines[first]]
    for line in lines[first + 1 :]:
        if not line.startswith(" " * 10):
            break
        found.append(line)
    return [line[18:] for line in found]


def part(title: str, **fields: Any) -> list[str]:
    """Return the lines below a title."""
    for one in shown(**fields).split("\n\n"):
        first, *rest = one.splitlines()
        if first == title:
            return rest
    return []


def test_everything_is_told_and_what_is_wrong_comes_first() -> None:
    assert (
        shown()
        == """\
degraded: 1 problem

registry harbor.corp/proxy (since 2026-07-01 11:54:00, 6 min ago)
  left alone, tried again in 24 s: timed out after 10s
  cure: It does not answer: is it up, and does a firewall drop what is sent to
        it?

daemon            version 1.2.3, process 700, running for 3 d 4 h
sockets           /run/image-cri-shim.sock, passed by systemd
clients           2 connected, 1 call running, the last 3 s ago
                  calls: 1,204 about images, 33 about pods; 1,230 in v1, 7 in
                  v1alpha2
runtime           containerd 1.7.2, spoken to in CRI v1, connected for 3 d 3 h
                  /run/containerd/containerd.sock
configuration     /etc/image-cri-shim.yaml
                  runs since 2026-07-01 11:00:00, 1 h ago
                  warning: auth: sent in clear text to http://sealos.hub:5000
cache             12 of 1,024 answers held; 120 look-ups answered from it, 30
                  not
pulls             1,204 pulled, 1 failed, 1 in progress
history           /var/lib/image-cri-shim/history.sqlite3: ok
admin             /run/image-cri-shim/admin.sock
log               format journal; level info but for registry debug
names in answers  keep

registries
  name               access        state       latency  last answer
  sealos.hub:5000    http, login   answers     12 ms    present, 1 min ago
  harbor.corp/proxy  https, login  left alone  10 s     tried again in 24 s;
                                                        unknown (timed out after
                                                        10s), 16 s ago

in progress
  nginx:1.25 -> sealos.hub:5000/library/nginx:1.25
    pulling for 4.0 s for kubelet (pid 812, uid 0)

last pulls that failed
  2026-07-01 11:59:00  redis:7 -> redis:7, after
  harbor.corp/proxy/library/redis:7 failed
    harbor.corp/proxy/library/redis:7 (registry, tried although unknown,
    harbor.corp: unknown (connection refused), sealos.hub:5000: absent (404),
    103 ms): UNKNOWN: dial tcp 10.0.0.9:443: connect: connection refused (after
    500 ms)
    redis:7: NOT_FOUND: docker.io/library/redis:7: not found (after 2.5 s)

last calls that failed
  2026-07-01 11:59:30  RunPodSandbox, UNKNOWN
    failed to get sandbox image "registry.k8s.io/pause:3.9\""""
    )


def test_it_fits_into_80_columns() -> None:
    for line in shown().splitlines():
        assert len(line) <= 80, line


def test_a_node_that_is_well_is_ok_in_the_first_line() -> None:
    pulls = status_document()["pulls"] | {"inProgress": [], "failures": []}
    text = shown(state="ok", problems=[], failedCalls=[], registries=[registry()], pulls=pulls)
    assert text.startswith("ok\n\ndaemon  ")
    assert "\nin progress\n" not in text
    assert "failed\n" not in text


def test_notes_are_counted_apart() -> None:
    problem = status_document()["problems"][0]
    note = problem | {"severity": "note", "cure": "", "since": None}
    assert shown(state="ok", problems=[note]).startswith(
        "ok: 1 note\n\nregistry harbor.corp/proxy\n  left alone, tried again"
    )
    failing = problem | {"severity": "failing"}
    text = shown(state="failing", problems=[failing, problem, note, note])
    assert text.startswith("failing: 2 problems, 2 notes\n")


def test_a_runtime_that_is_not_there_is_said_with_its_socket() -> None:
    runtime = status_document()["runtime"] | {"connected": False, "since": None, "name": ""}
    absent = "the runtime's socket /run/containerd/containerd.sock does not exist"
    assert row("runtime", runtime=runtime | {"state": absent}) == [
        "not connected: the runtime's socket",
        "/run/containerd/containerd.sock does not exist",
    ]
    found = row("runtime", runtime=runtime | {"state": "permission denied"})
    assert found == ["not connected: permission denied", "/run/containerd/containerd.sock"]
    # One that has not been asked yet.
    runtime |= {"connected": True, "version": "", "criVersion": ""}
    assert row("runtime", runtime=runtime)[0] == "not introduced yet"


def test_a_configuration_that_is_refused_says_since_when_and_what_runs() -> None:
    refused = status_document()["configuration"] | {
        "current": False,
        "refusedSince": moment(NOW - 120),
        "files": [],
        "warnings": [],
    }
    assert row("configuration", configuration=refused) == [
        "/etc/image-cri-shim.yaml, which is not there",
        "REFUSED since 2026-07-01 11:58:00, 2 min ago",
        "the one before runs since 2026-07-01 11:00:00, 1 h ago",
    ]


def test_a_socket_that_is_not_served_is_said() -> None:
    trouble = "/run/a.sock is served by process 12"
    assert row("sockets", sockets=[], socketTrouble=trouble) == [trouble]
    assert row("sockets", sockets=[]) == ["none"]


def test_a_daemon_that_has_just_started_has_nothing_to_tell_and_no_accident() -> None:
    clients = {
        "connected": 0,
        "calls": 0,
        "imageCalls": 0,
        "runtimeCalls": 0,
        "lastCallAt": None,
        "versions": {"v1": 0, "v1alpha2": 0},
    }
    never = {"lastOutcome": "", "lastAskedAt": None, "latencySeconds": None}
    fields = {"clients": clients, "cache": {}, "history": {"path": "", "state": "off"}}
    assert row("clients", **fields) == [
        "0 connected, 0 calls running, none yet",
        "calls: 0 about images, 0 about pods",
    ]
    assert row("cache", **fields) == ["not there yet"]
    assert row("history", **fields) == ["off"]
    admin = {"addresses": [], "trouble": "/run/a.sock: permission denied"}
    # It is among the problems, and told once.
    assert row("admin", admin=admin) == ["none"]
    header, line = part("registries", registries=[registry(**never)])
    assert line.split("  ")[1:] == [HUB, "http, login", "not asked yet", "-"]
    assert header.split()[0] == "name"
    assert part("registries", registries=[]) == ["  none: every image is pulled from its origin"]


@pytest.mark.parametrize(
    ("fields", "access", "state"),
    [
        ({}, "http, login", "answers"),
        ({"credentials": False}, "http", "answers"),
        ({"url": f"https://{HUB}", "credentials": False}, "unverified", "answers"),
        ({"url": f"https://{HUB}", "insecure": False}, "https, login", "answers"),
        ({"configured": False}, "origin", "answers"),
        ({"lastOutcome": "absent", "lastDetail": "404"}, "http, login", "answers"),
        ({"lastOutcome": "unknown"}, "http, login", "failing"),
        ({"breaker": "open", "retryInSeconds": 4.1}, "http, login", "left alone"),
        ({"breaker": "open"}, "http, login", "on trial"),
        ({"breaker": "half-open"}, "http, login", "on trial"),
    ],
)
def test_a_registrys_state_is_told_in_words(
    fields: dict[str, Any], access: str, state: str
) -> None:
    (_, line, *_) = part("registries", registries=[registry(**fields)])
    assert [cell.strip() for cell in line.split("  ") if cell][1:3] == [access, state]


def test_a_long_name_leaves_the_last_answer_its_own_line() -> None:
    name = f"registry.{'a' * 40}.corp:5000"
    (*_, line, below) = part("registries", registries=[registry(name)])
    assert line.startswith(f"  {name}  http, login")
    assert below == "    present, 1 min ago"


def test_of_many_failures_the_last_are_told_and_where_the_others_are() -> None:
    failures = [as_document(failed_record(number, image=f"a:{number}"), NOW) for number in range(9)]
    call = status_document()["failedCalls"][0]
    pulls = status_document()["pulls"] | {"failures": failures}
    text = shown(pulls=pulls, failedCalls=[call] * 7)
    assert [f"  a:{number} -> " in text for number in range(9)] == [True] * 5 + [False] * 4
    assert "\n  and 4 more: image-cri-shim decisions\n" in text
    assert text.endswith("\n  and 2 more: image-cri-shim status --json")


def test_an_image_that_fails_again_and_again_is_told_once_with_how_often() -> None:
    often = [as_document(failed_record(number, image="a:1"), NOW) for number in (9, 8, 7)]
    other = [as_document(failed_record(number, image="b:1"), NOW) for number in range(6, 1, -1)]
    once = as_document(failed_record(1, image="c:1", attempts=()), NOW)
    pulls = status_document()["pulls"] | {"failures": [often[0], *other, *often[1:], once]}
    text = " ".join("\n".join(part("last pulls that failed", pulls=pulls)).split())
    assert text.count("a:1 -> ") == text.count("b:1 -> ") == 1
    assert "failed (3 times) harbor.corp" in text
    assert "failed (5 times or more) harbor.corp" in text
    assert "c:1 -> redis:7 (registry, tried" in text


def test_a_pull_that_is_looked_up_has_no_name_yet() -> None:
    record = running_record(phase=Phase.LOOKING_UP, name="", reason="", client=None)
    pulls = status_document()["pulls"] | {"inProgress": [as_document(record, NOW)]}
    assert part("in progress", pulls=pulls) == ["  nginx:1.25", "    looking up for 4.0 s"]


def test_the_levels_of_the_log_are_told_in_short() -> None:
    levels = {"daemon": "warn", "cri": "warn", "pull": "warn"}
    logging = {"format": "text", "levels": levels}
    assert row("log", logging=logging) == ["format text; level warn"]
    logging["levels"] = {**levels, "cri": "debug", "admin": "error"}
    assert row("log", logging=logging) == ["format text; level warn but for cri debug, admin error"]


HOSTILE = "a\n\x1b[31mb\x07\u202egnp\x9b"


def planted(value: Any) -> Any:
    """Return a document in which every name is hostile that somebody else may choose."""
    if isinstance(value, dict):
        kept = ("phase", "began", "at", "since", "startedAt", "loadedAt", "changedAt", "lastCallAt")
        kept += ("lastAskedAt", "refusedSince", "outcome", "kind", "breaker", "severity", "state")
        return {key: one if key in kept else planted(one) for key, one in value.items()}
    if isinstance(value, list):
        return [planted(one) for one in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) else value


def test_no_name_of_others_does_anything_to_the_terminal() -> None:
    text = as_text(planted(status_document()), PLAIN)
    assert "sealos.hub:5000" in text
    assert all(one.isprintable() for one in text.replace("\n", ""))


def test_colours_change_nothing_but_the_colour() -> None:
    painted = as_text(status_document(), Colours(enabled=True))
    assert re.sub(r"\x1b\[\d+m", "", painted) == shown()
    assert "\x1b[33mdegraded: 1 problem\x1b[0m" in painted
    assert f"\x1b[31m  {HARBOR}/proxy" in painted


@pytest.mark.parametrize(("state", "status"), [("ok", 0), ("degraded", 1), ("failing", 1)])
def test_the_exit_status_is_the_nodes_state(
    admin: AdminStandIn, capsys: pytest.CaptureFixture[str], state: str, status: int
) -> None:
    document = status_document(state=state)
    admin.answers("GET /status", document)
    with pytest.raises(SystemExit) as end:
        main(["status", "--socket", admin.path])
    told = capsys.readouterr()
    assert (end.value.code, told.err) == (status, "")
    assert told.out == as_text(document, PLAIN) + "\n"
    with pytest.raises(SystemExit) as end:
        main(["status", "--socket", admin.path, "--json"])
    told = capsys.readouterr()
    assert (end.value.code, told.err) == (status, "")
    assert json.loads(told.out) == document


def test_the_example_is_what_a_daemon_would_tell() -> None:
    """Its parts are the schema's, and no others."""
    schema = json.loads((Path(__file__).parent.parent / "docs/status.schema.json").read_text())
    document = status_document()
    assert set(schema["required"]) == {*document}
    for name in ("problem", "registry", "pull"):
        known = set(schema["$defs"][name]["required"])
        example = {
            "problem": document["problems"][0],
            "registry": document["registries"][0],
            "pull": as_document(pull_record(), NOW),
        }[name]
        assert known == {*example}
    for name, part in schema["properties"].items():
        if "properties" in part:
            assert set(part["properties"]) == {*document[name]}, name
