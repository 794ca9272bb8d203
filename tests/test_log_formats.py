"""How entries of the log are written."""

from __future__ import annotations

import json
from collections.abc import Callable

import attrs
import pytest

from image_cri_shim.call_identity import Client
from image_cri_shim.logs.entry import Entry, printable, printable_lines
from image_cri_shim.logs.formats import as_json, as_prefixed, as_text, journal_fields
from image_cri_shim.pull_record import Phase, PullRecord

ENTRY = Entry(1769828651.25, "warn", "registry", "harbor.corp does not answer")
PULL = PullRecord(
    number=7,
    call="4f1c-12",
    image="nginx:1.25",
    began=1769828650.0,
    client=Client(812, 0, 0, "kubelet"),
    trace="0af7651916cd43dd8448eb211c80319c",
    phase=Phase.PULLED,
    name="sealos.hub:5000/library/nginx:1.25",
    registry="sealos.hub:5000",
    seconds=1.4021234567,
)
PULLED = Entry(1769828651.25, "info", "pull", "pulled", call="4f1c-12", pull=PULL)
DECIDED = attrs.evolve(
    PULLED, pull=attrs.evolve(PULL, phase=Phase.LOOKING_UP, seconds=None, client=None, trace="")
)
BROKEN = attrs.evolve(ENTRY, level="error", traceback=("Traceback:", '  File "x"', "E: no"))


@pytest.fixture(autouse=True)
def utc(set_time_zone: Callable[[str], None]) -> None:
    set_time_zone("UTC-2")


def test_people_read_a_line_with_the_local_time_and_who_speaks() -> None:
    said = "2026-01-31T05:04:11+0200 [registry#warn] harbor.corp does not answer\n"
    assert as_text(ENTRY) == said


def test_a_traceback_cannot_be_taken_for_other_lines() -> None:
    first, *rest = as_text(BROKEN).splitlines()
    assert first.endswith("[registry#error] harbor.corp does not answer")
    assert rest == ["\tTraceback:", '\t  File "x"', "\tE: no"]


def test_programs_read_an_object_a_line_with_the_time_in_utc() -> None:
    assert as_json(ENTRY).count("\n") == 1
    assert json.loads(as_json(ENTRY)) == {
        "time": "2026-01-31T03:04:11.250Z",
        "level": "warn",
        "component": "registry",
        "message": "harbor.corp does not answer",
    }


def test_a_pull_has_fields_of_its_own() -> None:
    document = json.loads(as_json(PULLED))
    assert document == {
        "time": "2026-01-31T03:04:11.250Z",
        "level": "info",
        "component": "pull",
        "message": "pulled",
        "call": "4f1c-12",
        "image": "nginx:1.25",
        "name": "sealos.hub:5000/library/nginx:1.25",
        "registry": "sealos.hub:5000",
        "client": {"pid": 812, "uid": 0, "name": "kubelet"},
        "trace": "0af7651916cd43dd8448eb211c80319c",
        "outcome": "pulled",
        "seconds": 1.402123,
    }


def test_a_pull_that_runs_has_no_outcome_yet() -> None:
    document = json.loads(as_json(DECIDED))
    assert not {"outcome", "seconds", "client", "trace"} & set(document)
    fields = journal_fields(DECIDED)
    assert not {"OUTCOME", "SECONDS", "CLIENT_PID", "TRACE_ID"} & set(fields)


def test_an_exception_is_in_the_same_object() -> None:
    assert as_json(BROKEN).count("\n") == 1
    assert json.loads(as_json(BROKEN))["traceback"] == 'Traceback:\n  File "x"\nE: no'


def test_the_journal_gets_priorities_and_fields_and_no_time() -> None:
    assert journal_fields(PULLED) == {
        "MESSAGE": "pulled",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "image-cri-shim",
        "COMPONENT": "pull",
        "CALL_ID": "4f1c-12",
        "IMAGE": "nginx:1.25",
        "PULLED_NAME": "sealos.hub:5000/library/nginx:1.25",
        "REGISTRY": "sealos.hub:5000",
        "TRACE_ID": "0af7651916cd43dd8448eb211c80319c",
        "CLIENT_PID": "812",
        "CLIENT_UID": "0",
        "CLIENT_NAME": "kubelet",
        "OUTCOME": "pulled",
        "SECONDS": "1.402123",
    }


def test_a_traceback_is_one_entry_of_the_journal() -> None:
    fields = journal_fields(BROKEN)
    assert fields["MESSAGE"] == 'harbor.corp does not answer\nTraceback:\n  File "x"\nE: no'
    assert fields["PRIORITY"] == "3"


def test_systemd_finds_the_priority_on_each_line_of_standard_error() -> None:
    assert as_prefixed(ENTRY) == "<4>[registry#warn] harbor.corp does not answer\n"
    assert [line[:3] for line in as_prefixed(BROKEN).splitlines()] == ["<3>"] * 4


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, with ünïcode and 中文", "plain, with ünïcode and 中文"),
        ("two\nlines\r\n", "two\\nlines\\r\\n"),
        ("red \x1b[31m and a bell \x07", "red \\x1b[31m and a bell \\x07"),
        ("C1 \x9b31m, separators \u2028\u2029", "C1 \\x9b31m, separators \\u2028\\u2029"),
        ("half a character \udcff", "half a character \\udcff"),
    ],
)
def test_what_a_message_says_cannot_move_the_terminal_or_forge_a_line(
    text: str, shown: str
) -> None:
    assert printable(text) == shown


def test_a_text_without_end_is_cut() -> None:
    assert len(printable("x" * 10_000_000)) < 40_000
    (line,) = printable_lines("x" * 10_000_000 + "end")
    assert len(line) < 40_000
    assert line.endswith("end")


def test_an_exceptions_text_cannot_move_the_terminal() -> None:
    assert printable_lines("a\n\tb\x1b[1m\n") == ("a", "    b\\x1b[1m")
