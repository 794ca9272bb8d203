"""``image-cri-shim history`` as an operator sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from image_cri_shim.cli.colours import Colours
from image_cri_shim.cli.history_table import as_table
from image_cri_shim.cli.main import main
from image_cri_shim.history.store import Bounds, Store
from image_cri_shim.pull_record import PullRecord, Tried
from tests.history.pulls import (
    BEGAN,
    begun,
    dead_run,
    entries,
    failed,
    file_of,
    pulled,
)
from tests.support.daemon import ROOT, environment


@pytest.fixture(autouse=True)
def _zone(set_time_zone: Callable[[str], None]) -> None:
    set_time_zone("Europe/Berlin")


def fail_over() -> PullRecord:
    tried = (
        Tried("harbor.corp/nginx:4", "harbor.corp", "UNKNOWN: no\nroute", 1.0),
        Tried("docker.io/library/nginx:4", "docker.io", "", 1.0),
    )
    return attrs.evolve(pulled(4, BEGAN + 30), registry="docker.io", attempts=tried, seconds=0.42)


RECORDS = (pulled(1), failed(2, BEGAN + 10), begun(3, BEGAN + 20), fail_over())


def write(directory: Path, *records: PullRecord) -> Path:
    with closing(Store(str(directory), dead_run())) as store:
        store.write(records, Bounds(100_000, 0.0))
    return directory


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return write(tmp_path / "state", *RECORDS)


def history(
    capsys: pytest.CaptureFixture[str], *arguments: Path | str
) -> tuple[object, list[str], list[str]]:
    """Return the exit status, and the lines of standard output and of standard error."""
    with pytest.raises(SystemExit) as ended:
        main(["history", *map(str, arguments)])
    told = capsys.readouterr()
    return ended.value.code, told.out.splitlines(), told.err.splitlines()


def test_each_pull_has_a_line_and_what_went_wrong_stands_below(
    capsys: pytest.CaptureFixture[str], state: Path
) -> None:
    by = "kubelet (pid 812, uid 0)"
    assert history(capsys, "--state", state) == (
        0,
        [
            "WHEN                 OUTCOME      TOOK    TRIES  IMAGE    FROM             CLIENT",
            f"2026-01-31 04:04:35  pulled       420 ms  2      nginx:4  docker.io        {by}",
            "    harbor.corp/nginx:4 (offline, present, 12 ms): UNKNOWN: no route (after 1.0 s)",
            f"2026-01-31 04:04:25  interrupted  -       -      nginx:3  -                {by}",
            f"2026-01-31 04:04:15  failed       3.2 s   1      nginx:2  sealos.hub:5000  {by}",
            "    (offline, present, 12 ms)",
            "    sealos.hub:5000/library/nginx:2: NOT_FOUND: it is not there (after 500 ms)",
            f"2026-01-31 04:04:05  pulled       3.2 s   1      nginx:1  sealos.hub:5000  {by}",
        ],
        [],
    )


def test_a_failed_pull_says_what_each_attempt_came_to_and_what_was_not_tried(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tried = (
        Tried("sealos.hub:5000/nginx:1", "sealos.hub:5000", "UNKNOWN: connection refused", 0.02),
        Tried("nginx:1", "docker.io", "UNKNOWN: no such host", 2.0),
    )
    reason = "offline, tried although unknown; slow.corp: unknown (no answer in time)"
    error = "UNKNOWN: no such host (image-cri-shim tried before: sealos.hub:5000/nginx:1: ...)"
    several = attrs.evolve(failed(1), attempts=tried, reason=reason, error=error)
    # The client gave up: that is in no attempt's error.
    given_up = attrs.evolve(failed(2), attempts=tried[:1], reason="", error="CANCELLED: gone")
    alone = "origin, slow.corp: unknown (no answer in time)"
    late = attrs.evolve(failed(3), attempts=tried[1:], reason=alone, error=tried[1].error)
    write(tmp_path, several, given_up, late)
    _, told, _ = history(capsys, "--state", tmp_path, "--failed")
    assert [line for line in told if line.startswith(" ")] == [
        f"    ({alone})",
        "    nginx:1: UNKNOWN: no such host (after 2.0 s)",
        "    sealos.hub:5000/nginx:1: UNKNOWN: connection refused (after 20 ms)",
        "    CANCELLED: gone",
        f"    sealos.hub:5000/nginx:1 ({reason}): UNKNOWN: connection refused (after 20 ms)",
        "    nginx:1: UNKNOWN: no such host (after 2.0 s)",
    ]


def test_for_machines_it_is_json(capsys: pytest.CaptureFixture[str], state: Path) -> None:
    status, told, complaints = history(capsys, "--state", state, "--json")
    objects = json.loads("\n".join(told))
    assert (status, complaints) == (0, [])
    assert [(one["image"], one["outcome"]) for one in objects] == [
        ("nginx:4", "pulled"),
        ("nginx:3", "interrupted"),
        ("nginx:2", "failed"),
        ("nginx:1", "pulled"),
    ]
    assert objects[3]["began"] == "2026-01-31T03:04:05.000Z"
    assert objects[0]["attempts"][0]["error"] == "UNKNOWN: no\nroute"


@pytest.mark.parametrize(
    ("arguments", "images"),
    [
        (["--limit", "1"], "4"),
        (["--limit=0"], "4321"),
        (["--image", "nginx:[13]"], "31"),
        (["--failed"], "2"),
        (["--since", "2026-01-31T04:04:20"], "43"),
        (["--since", "2026-01-31T03:04:20Z"], "43"),
        (["--since", "2026-01-31T03:04:20+00:00"], "43"),
        (["--since", "2026-01-31"], "4321"),
        (["--since", "2h"], ""),
        (["--since", "1000000h"], "4321"),
    ],
)
def test_the_options_choose(
    capsys: pytest.CaptureFixture[str], state: Path, arguments: list[str], images: str
) -> None:
    status, told, _ = history(capsys, "--state", state, "--json", *arguments)
    assert status == 0
    assert [one["image"] for one in json.loads("\n".join(told))] == [f"nginx:{n}" for n in images]


def test_without_a_limit_it_is_the_last_20(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write(tmp_path, *(pulled(number) for number in range(30)))
    assert len(history(capsys, "--state", tmp_path)[1]) == 21


def test_that_there_is_nothing_is_said_and_no_failure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write(tmp_path)
    none = ["image-cri-shim: the history has no pulls yet"]
    assert history(capsys, "--state", tmp_path) == (0, [], none)
    # To a program an empty list says it.
    assert history(capsys, "--state", tmp_path, "--json") == (0, ["[]"], [])
    assert history(capsys, "--state", tmp_path, "--json", "--failed") == (0, ["[]"], [])
    other = ["image-cri-shim: the history has no such pull"]
    assert history(capsys, "--state", tmp_path, "--failed") == (0, [], other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "-1"], "expected a number, or 0 for all, found '-1'"),
        (["--limit", "x"], "expected a number, or 0 for all, found 'x'"),
        (["--limit", "9" * 30], "expected a number, or 0 for all"),
        (["--state", ""], "expected the name of a directory, found nothing"),
        (["--since", "yesterday"], "expected a duration, such as 2h or 30m, or a time"),
        (["--since=-2h"], "expected a duration"),
        (["--since", "0001-01-01"], "expected a duration"),
        (["--socket", "x"], "unrecognized arguments"),
    ],
)
def test_a_wrong_command_line_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    status, told, complaints = history(capsys, *arguments)
    assert (status, told) == (2, [])
    assert message in complaints[-1]


def test_it_reads_the_directory_that_the_configuration_names(
    capsys: pytest.CaptureFixture[str], state: Path, tmp_path: Path
) -> None:
    file = tmp_path / "shim.yaml"
    file.write_text(f"image: {state}\n")
    status, told, complaints = history(capsys, "--config", file)
    assert (status, len(told), complaints) == (0, 8, [])


def test_a_bad_configuration_is_named_and_what_to_do_without_it(
    capsys: pytest.CaptureFixture[str], state: Path, tmp_path: Path
) -> None:
    file = tmp_path / "shim.yaml"
    file.write_text("imgae: /x\n")
    status, told, complaints = history(capsys, "--config", file, "--json")
    assert status == 2
    assert complaints[0] == (
        "image-cri-shim: the configuration is refused; name its state directory with --state:"
    )
    assert complaints[1].startswith(f"{file}:1:1: ")
    assert json.loads("\n".join(told))["problems"][0]["key"] == "imgae"
    assert history(capsys, "--config", file, "--state", state)[0] == 0


def test_that_there_is_no_history_is_another_status(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, told, complaints = history(capsys, "--state", tmp_path, "--json")
    assert status == 3
    assert complaints[0].startswith(f"image-cri-shim: there is no {file_of(tmp_path)}: ")
    assert json.loads("\n".join(told)) == {"error": complaints[0].partition(": ")[2]}
    assert os.listdir(tmp_path) == []


def test_rows_that_make_no_sense_are_counted(
    capsys: pytest.CaptureFixture[str], state: Path
) -> None:
    import sqlite3

    with closing(sqlite3.connect(file_of(state), isolation_level=None)) as file:
        file.execute("UPDATE pull SET phase = 'x' WHERE number < 3")
    status, told, complaints = history(capsys, "--state", state)
    assert (status, len(told)) == (0, 4)
    assert complaints == ["image-cri-shim: 2 more make no sense: the file is damaged"]


def test_a_python_without_sqlite_says_so(state: Path) -> None:
    script = (
        "import sys; sys.modules['sqlite3'] = None\n"
        "from image_cri_shim.cli.main import main; main(['history', *sys.argv[1:]])"
    )
    command = [sys.executable, "-c", script, "--state", str(state)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment())
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("image-cri-shim: this Python cannot read SQLite files: ")


HOSTILE = "a\x1b]0;pwned\x07\u202e\nb\x9b31m"


def hostile(directory: Path) -> Path:
    bad = attrs.evolve(
        failed(),
        image=HOSTILE,
        registry=HOSTILE,
        error=HOSTILE,
        client=attrs.evolve(failed().client, name=HOSTILE),  # type: ignore[arg-type]
    )
    tried = (Tried(HOSTILE, HOSTILE, HOSTILE, 1.0), Tried(HOSTILE, HOSTILE, "", 1.0))
    return write(directory, bad, attrs.evolve(pulled(2), attempts=tried))


def test_hostile_names_do_not_reach_the_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    hostile(tmp_path)
    for arguments in (["--state", tmp_path], ["--state", tmp_path, "--json"]):
        with pytest.raises(SystemExit):
            main(["history", *map(str, arguments)])
        told = capsys.readouterr()
        assert all(c.isprintable() or c == "\n" for c in told.out + told.err)
    lines = list(as_table(entries(tmp_path), BEGAN, 80, Colours(enabled=False)))
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("width", [80, 100, 110, 140])
def test_a_line_fits_into_the_terminal(tmp_path: Path, width: int) -> None:
    long = attrs.evolve(
        fail_over(),
        image="registry.example.com/some/very/deep/path/to/an/application:v1.2.3-rc4",
        registry="a-registry-with-a-long-name.example.com:5000",
    )
    error = "UNKNOWN: failed to pull and unpack image: failed to resolve reference: " * 4
    write(tmp_path, long, attrs.evolve(failed(5), error=error))
    lines = list(as_table(entries(tmp_path), BEGAN, width, Colours(enabled=False)))
    assert max(map(len, lines)) <= width
    assert any(":v1.2.3-rc4  " in line for line in lines), "the tag is the last to go"
    assert "".join(" ".join(lines).split()).count("failedtoresolvereference") == 4
    assert ("CLIENT" in lines[0]) is (width >= 110)


def test_a_tiny_terminal_gets_something_all_the_same(state: Path) -> None:
    for width in (0, 1, 20, 60):
        assert len(list(as_table(entries(state), BEGAN, width, Colours(enabled=False)))) >= 7


def test_colours_tell_the_outcomes_apart(state: Path) -> None:
    lines = list(as_table(entries(state), BEGAN, None, Colours(enabled=True)))
    assert "\x1b[32mpulled\x1b[0m" in lines[1]
    assert lines[2].startswith("\x1b[33m    harbor.corp/nginx:4 ")
    assert "\x1b[33minterrupted\x1b[0m" in lines[3]
    assert "\x1b[31mfailed\x1b[0m" in lines[4]
    assert lines[5].startswith("\x1b[31m    (offline, ")
    assert lines[6].startswith("\x1b[31m    sealos.hub:5000/library/nginx:2: NOT_FOUND")
    plain = list(as_table(entries(state), BEGAN, None, Colours(enabled=False)))
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m"):
        lines = [line.replace(code, "") for line in lines]
    assert lines == plain
