"""Colours: on a terminal that has them, unless somebody does not want them."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from image_cri_shim.cli import streams
from image_cri_shim.cli.colours import Colours, colours_for, is_terminal
from image_cri_shim.cli.terminal import wrapped
from image_cri_shim.pull_record import as_document
from tests.support.admin_standin import AdminStandIn
from tests.support.daemon import CONSOLE, environment
from tests.support.status_document import NOW, failed_record, status_document


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_a_terminal_gets_colours_if_it_has_them(given: Mapping[str, str], expected: bool) -> None:
    assert colours_for(Terminal(), given).enabled is expected
    assert colours_for(io.StringIO(), given).enabled is False
    assert colours_for(None, given).enabled is False


def test_without_colours_a_line_can_still_be_written_anew() -> None:
    assert is_terminal(Terminal(), {"TERM": "xterm", "NO_COLOR": "1"})
    assert not is_terminal(Terminal(), {"TERM": "dumb"})
    closed = io.StringIO()
    closed.close()
    assert not is_terminal(closed, {"TERM": "xterm"})


def test_what_is_painted_is_undone_and_nothing_is_painted_for_nothing() -> None:
    colours = Colours(enabled=True)
    for paint in (colours.good, colours.doubtful, colours.bad, colours.strong, colours.faint):
        assert paint("a").startswith("\x1b[")
        assert paint("a").endswith("a\x1b[0m")
        assert paint("") == ""
    assert Colours().bad("a") == "a"


def test_texts_are_broken_between_words_only() -> None:
    words = f"one {'x' * 90} two-three {'y' * 70}"
    assert wrapped(words, 4, "  a") == [
        "  a one",
        f"    {'x' * 90}",
        "    two-three",
        f"    {'y' * 70}",
    ]
    assert wrapped("", 4, "  a") == ["  a"]
    assert wrapped("a\nb\x1b[0m") == ["a b [0m"]


def test_the_width_of_what_is_no_terminal_is_80(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert streams.columns_of_error() == 80


def on_a_terminal(*arguments: str, **variables: str) -> str:
    """Run the program on a terminal of its own; return what is written there."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*CONSOLE, *arguments], stdout=slave, stderr=slave, env=environment(variables)
    ) as child:
        os.close(slave)
        said = b""
        try:
            while piece := os.read(master, 1000):
                said += piece
        except OSError:
            # The terminal's other end is closed.
            pass
        finally:
            os.close(master)
        child.wait(20)
    return said.decode()


def test_a_terminal_gets_colours_where_they_are_wanted_and_json_never() -> None:
    with tempfile.TemporaryDirectory() as name, AdminStandIn(Path(name, "a.sock")) as admin:
        admin.answers("GET /status", status_document())
        pulls = {"decisions": [as_document(failed_record(), NOW)], "last": 1}
        admin.answers("GET /decisions", pulls)
        for command in ("status", "decisions"):
            line = (command, "--socket", admin.path)
            assert "\x1b[31m" in on_a_terminal(*line, TERM="xterm", NO_COLOR="")
            for variables in ({"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}):
                assert "\x1b" not in on_a_terminal(*line, **variables)
            assert "\x1b" not in on_a_terminal(*line, "--json", TERM="xterm", NO_COLOR="")
