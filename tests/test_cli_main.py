"""The command line of the commands: which options they take, and what they say of others."""

from __future__ import annotations

import subprocess
import sys

import pytest

from image_cri_shim.cli.main import main, parser
from image_cri_shim.cli.terminal import columns, complain, one_line
from image_cri_shim.reason import shown_duration

# What takes long to import and what the commands must do without unless they need it.
HEAVY = ("twisted", "grpclib", "google.protobuf", "asyncio", "OpenSSL")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    return told.err


@pytest.mark.parametrize("option", ["-c", "-f", "--config", "--file"])
def test_resolve_takes_the_file_as_the_daemon_does(option: str) -> None:
    options = parser().parse_args(["resolve", option, "x.yaml", "a", "b"])
    assert (options.configuration, options.images, options.json) == ("x.yaml", ["a", "b"], False)
    # The daemon's own option is another one.
    assert options.config is None


def test_the_options_may_stand_behind_the_images() -> None:
    options = parser().parse_args(["resolve", "a", "--json", "--config", "x.yaml"])
    assert (options.configuration, options.images, options.json) == ("x.yaml", ["a"], True)


def test_check_takes_one_file_or_none() -> None:
    assert parser().parse_args(["check"]).file is None
    options = parser().parse_args(["check", "--online", "-", "--json"])
    assert (options.file, options.online, options.json) == ("-", True, True)


@pytest.mark.parametrize("arguments", [["resolve"], ["resolve", "--json"], ["check", "a", "b"]])
def test_a_command_line_that_is_wrong_is_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert "usage: image-cri-shim" in refused(capsys, *arguments)


def test_a_file_that_is_named_in_front_of_the_command_is_not_silently_ignored(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = refused(capsys, "--config", "x.yaml", "resolve", "nginx")
    assert "--config is an option of the daemon; `resolve` has its own: " in error
    assert "image-cri-shim resolve --config FILE IMAGE" in error
    error = refused(capsys, "-c", "x.yaml", "check")
    assert "--config is an option of the daemon; `check` takes the file as it is: " in error
    for option in ("--shim", "--cri"):
        error = refused(capsys, option, "/x.sock", "resolve", "nginx")
        assert f"{option} is an option of the daemon; `resolve` does not take it" in error


@pytest.mark.parametrize("arguments", [["--version"], ["resolve", "--help"], ["check", "-"]])
def test_nothing_is_imported_that_is_not_needed(arguments: list[str]) -> None:
    script = f"""
import sys
from image_cri_shim.cli.main import main
try:
    main({arguments})
except SystemExit as end:
    assert not end.code, end.code
print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], input="", capture_output=True, text=True, timeout=60
    )
    assert ended.stderr == "[]\n"


def test_resolve_speaks_no_grpc() -> None:
    script = """
import sys
import image_cri_shim.cli.explanation, image_cri_shim.cli.explanation_json
import image_cri_shim.cli.reactor, image_cri_shim.cli.resolve, image_cri_shim.cli.probing
print([name for name in ("grpclib", "google.protobuf") if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


def test_what_is_said_is_one_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    complain("a\n\x1b[31mb\udcff")
    assert capsys.readouterr().err == "image-cri-shim: a  [31mb \n"
    assert one_line("a\tb") == "a b"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0 ms"), (0.0004, "0 ms"), (0.0126, "13 ms"), (1, "1.0 s"), (12.34, "12.3 s")],
)
def test_times_are_short(value: float, expected: str) -> None:
    assert shown_duration(value) == expected


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert columns([("a", "bb", "c"), ("ddd", "e", "")]) == ["a    bb  c", "ddd  e"]
    assert columns([]) == []
