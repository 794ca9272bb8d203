"""`image-cri-shim decisions`: each pull with what was decided, why, and what came of it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from image_cri_shim.cli.colours import Colours
from image_cri_shim.cli.decision_text import Ticker, entry
from image_cri_shim.cli.main import main
from image_cri_shim.pull_record import Phase, PullRecord, Tried, as_document
from tests.support.admin_standin import AdminStandIn, Reply
from tests.support.daemon import CONSOLE, environment
from tests.support.status_document import HUB, NOW, failed_record, pull_record, running_record

PLAIN = Colours()
PULLED = f"""\
2026-07-01 11:59:00  nginx:1.25 -> {HUB}/library/nginx:1.25
  pulled in 1.4 s (offline, present, 12 ms) for kubelet (pid 812, uid 0)
"""
FAILED = f"""\
2026-07-01 11:59:00  redis:7 -> redis:7, after harbor.corp/proxy/library/redis:7 failed
  failed after 3.2 s for kubelet (pid 812, uid 0)
  harbor.corp/proxy/library/redis:7 (registry, tried although unknown, \
harbor.corp: unknown (connection refused), {HUB}: absent (404), 103 ms): \
UNKNOWN: dial tcp 10.0.0.9:443: connect: connection refused (after 500 ms)
  redis:7: NOT_FOUND: docker.io/library/redis:7: not found (after 2.5 s)
"""


@pytest.fixture(autouse=True)
def utc(set_time_zone: Callable[[str], None]) -> None:
    set_time_zone("UTC")


def answer(*records: PullRecord) -> dict[str, Any]:
    return {"decisions": [as_document(one, NOW) for one in records], "last": len(records)}


def shown(
    admin: AdminStandIn, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["decisions", "--socket", admin.path, *arguments])
    return end.value.code, *capsys.readouterr()


def test_each_pull_is_told_with_its_reason_and_what_came_of_it(
    admin: AdminStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    admin.answers("GET /decisions", answer(pull_record(), failed_record()))
    assert shown(admin, capsys) == (0, PULLED + FAILED, "")
    assert admin.requests[0].query == {}


def test_machines_get_a_list(admin: AdminStandIn, capsys: pytest.CaptureFixture[str]) -> None:
    document = answer(pull_record(), failed_record())
    admin.answers("GET /decisions", document)
    status, out, err = shown(admin, capsys, "--json")
    assert (status, json.loads(out), err) == (0, document["decisions"], "")
    admin.answers("GET /decisions", answer())
    status, out, _ = shown(admin, capsys, "--json")
    assert (status, json.loads(out)) == (0, [])


def test_what_is_asked_for_reaches_the_daemon(
    admin: AdminStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    admin.answers("GET /decisions", answer())
    admin.replies["GET /decisions follow"] = Reply(lines=[])
    for arguments, query in (
        (("--image", "a*/b:1", "--limit", "3"), {"image": "a*/b:1", "limit": "3"}),
        (("--limit", "0"), {}),
        (("--follow",), {"limit": "10", "follow": "1"}),
        (("--follow", "--limit", "0", "--image", "a"), {"image": "a", "follow": "1"}),
    ):
        shown(admin, capsys, *arguments)
        assert admin.requests[-1].query == query


def test_where_there_is_nothing_that_is_said(
    admin: AdminStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    admin.answers("GET /decisions", answer())
    assert shown(admin, capsys) == (0, "", "image-cri-shim: no pull since the start\n")
    status, _, err = shown(admin, capsys, "--image", "none")
    assert (status, err) == (0, "image-cri-shim: no pull of such an image is known\n")


@pytest.mark.parametrize("limit", ["-1", "x", "1.5"])
def test_a_limit_that_is_no_number_is_2(capsys: pytest.CaptureFixture[str], limit: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(["decisions", "--limit", limit])
    assert end.value.code == 2
    assert f"expected a whole number, found '{limit}'" in capsys.readouterr().err


def test_what_is_not_known_yet_is_left_out() -> None:
    record = running_record(phase=Phase.LOOKING_UP, name="", reason="", client=None)
    lines = ["2026-07-01 11:59:56  nginx:1.25", "  looking up for 4.0 s"]
    assert entry(record, 4.0, PLAIN) == lines
    nothing = failed_record(name="", reason="a: absent (404); origin not allowed", attempts=())
    assert entry(attrs.evolve(nothing, error="NOT_FOUND: no"), 1.0, PLAIN) == [
        "2026-07-01 11:59:00  redis:7 -> nothing",
        "  failed after 1.0 s (a: absent (404); origin not allowed) for kubelet (pid 812, uid 0)",
        "  NOT_FOUND: no",
    ]
    # No image reference: nobody decides anything, the runtime gets it.
    odd = pull_record(image="A:::", name="", reason="", attempts=(), client=None)
    assert entry(odd, 1.0, PLAIN) == ["2026-07-01 11:59:00  A::: -> as it is", "  pulled in 1.0 s"]


def test_a_pull_that_ended_well_tells_what_had_failed_before() -> None:
    tried = (Tried("a.corp/nginx", "a.corp", "UNKNOWN: x509", 0.5), Tried("nginx", "d", "", 1.0))
    found = entry(pull_record(attempts=tried), 1.4, PLAIN)
    name = f"{HUB}/library/nginx:1.25"
    assert found == [
        f"2026-07-01 11:59:00  nginx:1.25 -> {name}, after a.corp/nginx failed",
        "  pulled in 1.4 s for kubelet (pid 812, uid 0)",
        "  a.corp/nginx (offline, present, 12 ms): UNKNOWN: x509 (after 500 ms)",
    ]
    # While it runs no more is known than that the reason is another's.
    running = running_record(name="nginx:1.25", registry="docker.io", kind="origin")
    assert entry(running, 4.0, PLAIN)[1] == "  pulling for 4.0 s for kubelet (pid 812, uid 0)"


def test_an_error_of_the_shims_own_is_told_beside_those_of_the_runtime() -> None:
    tried = (Tried("nginx", "docker.io", "CANCELLED: gone", 1.0),)
    record = failed_record(attempts=tried, error="DEADLINE_EXCEEDED: no time left")
    assert entry(record, 3.2, PLAIN)[2:] == [
        "  nginx: CANCELLED: gone (after 1.0 s)",
        "  DEADLINE_EXCEEDED: no time left",
    ]


def test_while_it_is_followed_each_change_is_a_line_that_names_its_image() -> None:
    ticker = Ticker(PLAIN)
    first = running_record(phase=Phase.LOOKING_UP, name="", reason="")
    decided = running_record(phase=Phase.LOOKING_UP)
    pulling = running_record()
    other = running_record(name="docker.io/library/nginx:1.25")
    over = attrs.evolve(other, phase=Phase.PULLED, seconds=4.0)
    assert [ticker.lines(*one) for one in ((first, 0.0), (decided, 0.1), (pulling, 0.1))] == [
        [],
        [
            f"2026-07-01 11:59:56  nginx:1.25 -> {HUB}/library/nginx:1.25",
            "  (offline, present, 12 ms) for kubelet (pid 812, uid 0)",
        ],
        [],
    ]
    assert ticker.lines(other, 2.0) == [
        "2026-07-01 11:59:58  nginx:1.25: that failed, now docker.io/library/nginx:1.25"
    ]
    assert ticker.lines(over, 4.0) == [
        "2026-07-01 12:00:00  nginx:1.25: pulled docker.io/library/nginx:1.25 in 4.0 s"
    ]
    # Another one meanwhile, that was over before anything was told of it; and one that fails.
    assert ticker.lines(pull_record(4), 1.4) == PULLED.splitlines()
    ticker.lines(running_record(5, image="redis:7"), 0.1)
    assert ticker.lines(failed_record(5, began=NOW - 4), 3.2) == [
        "2026-07-01 11:59:59  redis:7: failed after 3.2 s",
        *FAILED.splitlines()[2:],
    ]


def test_following_prints_as_it_happens_and_ends_with_the_daemon(
    admin: AdminStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [as_document(pull_record(), NOW), None, as_document(failed_record(), NOW)]
    admin.replies["GET /decisions follow"] = Reply(lines=lines)
    status, out, err = shown(admin, capsys, "--follow")
    assert (status, out) == (3, PULLED + FAILED)
    assert "has ended" in err


def test_who_reads_too_slowly_hears_that_it_was_that(
    admin: AdminStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    why = {"error": "this was read too slowly"}
    lines = [as_document(pull_record(), NOW), why]
    admin.replies["GET /decisions follow"] = Reply(lines=lines)
    said = "image-cri-shim: the daemon tells nothing more: this was read too slowly\n"
    assert shown(admin, capsys, "--follow") == (1, PULLED, said)
    status, out, err = shown(admin, capsys, "--follow", "--json")
    assert (status, [json.loads(one) for one in out.splitlines()], err) == (1, lines, said)


def test_a_pattern_that_is_no_text_matches_nothing(
    admin: AdminStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    admin.answers("GET /decisions", answer())
    status, _, err = shown(admin, capsys, "--image", "a\udcff")
    assert (status, err) == (0, "image-cri-shim: no pull of such an image is known\n")
    assert admin.requests[0].query == {"image": "a\ufffd"}


def test_a_program_that_follows_gets_a_document_a_line(admin: AdminStandIn) -> None:
    lines = [as_document(pull_record(), NOW), None, as_document(failed_record(), NOW)]
    admin.replies["GET /decisions follow"] = Reply(lines=lines, open=True)
    command = [*CONSOLE, "decisions", "--socket", admin.path, "--follow", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        # They come at once, though standard output is no terminal.
        assert json.loads(child.stdout.readline()) == lines[0]
        assert json.loads(child.stdout.readline()) == lines[2]
        child.send_signal(2)
        assert child.wait(10) == 130
        assert child.stderr.read() == "image-cri-shim: interrupted\n"


@pytest.mark.parametrize("pulls", [1, 2])
def test_a_reader_that_has_enough_ends_it_quietly(admin: AdminStandIn, pulls: int) -> None:
    """With the next thing that happens, or soon if nothing does."""
    documents = [as_document(pull_record(), NOW)] * pulls
    admin.replies["GET /decisions follow"] = Reply(lines=documents, open=True)
    line = f"{shlex.join([*CONSOLE, 'decisions', '--socket', admin.path, '--follow'])} | head -1"
    ended = subprocess.run(
        ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=20,
        env=environment({"TZ": "UTC"}),
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == PULLED.splitlines()[0] + "\n"


def test_hostile_names_are_text(admin: AdminStandIn, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "a\n\x1b]0;owned\x07\u202eb\ud800"
    record = failed_record(
        image=hostile,
        name=hostile,
        reason=hostile,
        error=hostile,
        attempts=(Tried(hostile, hostile, hostile, 0.1),),
    )
    admin.answers("GET /decisions", answer(record))
    admin.replies["GET /decisions follow"] = Reply(lines=[as_document(record, NOW)])
    for arguments in ((), ("--json",), ("--follow",), ("--follow", "--json")):
        _, out, err = shown(admin, capsys, *arguments)
        assert "owned" in out
        assert all(one.isprintable() for one in (out + err).replace("\n", ""))


def test_on_a_terminal_failures_are_red_and_nothing_else_changes() -> None:
    painted = "\n".join(entry(failed_record(), 3.2, Colours(enabled=True)))
    assert "\x1b[31mfailed after 3.2 s\x1b[0m" in painted
    assert re.sub(r"\x1b\[\d+m", "", painted) + "\n" == FAILED
