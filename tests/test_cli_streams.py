"""Standard streams that are closed, full, or read by nobody: no accident, and the right status."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import CONSOLE, environment
from tests.support.processes import wait_until

PROGRAM = shlex.join(CONSOLE)


def sleeps(pid: int) -> bool:
    """Tell whether a process waits for something."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


class Shell:
    """A shell in a directory with a good file and a bad one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "ok").write_text("address: ''\n")
        (directory / "bad").write_text("debug: maybe\n")
        (directory / "loud").write_text("address: https://a.b\noffline: {insecureSkipVerify: true}")

    def run(self, line: str) -> tuple[int, str, str]:
        """Run a line in which @ is the program: status, standard output and error."""
        ended = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line.replace("@", PROGRAM)],
            capture_output=True,
            text=True,
            input="",
            timeout=30,
            # As usual; else argparse itself sees what cannot be written, and says nothing.
            env=environment({"PYTHONUNBUFFERED": ""}),
            cwd=self.directory,
        )
        return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.mark.parametrize(
    "command",
    ["check ok", "check --json ok", "check loud", "resolve -c ok a:1", "resolve --json -c ok a"],
)
def test_what_cannot_be_written_is_1_and_said(shell: Shell, command: str) -> None:
    for where, why in ((">&-", "it is closed"), (">/dev/full", "no space left on device")):
        status, out, err = shell.run(f"@ {command} {where}")
        assert (status, out) == (1, "")
        assert err.splitlines()[-1] == (f"image-cri-shim: cannot write to standard output: {why}")
        assert len(err.splitlines()) == (2 if "loud" in command else 1)


def test_help_that_cannot_be_written_is_no_accident(shell: Shell) -> None:
    status, out, err = shell.run("@ check --help >/dev/full")
    assert (status, out) == (1, "")
    assert err == "image-cri-shim: cannot write to standard output: no space left on device\n"
    assert shell.run("@ check --help | true") == (0, "", "")


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
def test_what_cannot_be_complained_of_changes_nothing_else(shell: Shell, where: str) -> None:
    status, out, _ = shell.run(f"@ check loud {where}")
    assert (status, out.splitlines()[0]) == (0, "loud: ok, 1 registry, 0 rules")
    assert shell.run(f"@ check bad {where}") == (1, "", "")
    assert shell.run(f"@ resolve -c bad a:1 {where}") == (2, "", "")
    assert shell.run(f"@ resolve -c ok NONE {where}") == (2, "", "")


def test_nothing_gets_between_the_json(shell: Shell) -> None:
    # A note, which stands on standard error, and a refusal.
    missing = "from image_cri_shim.cli import check, configuration as c, main"
    quiet = (
        f"{missing}; c.read_configuration.__defaults__ = ('/none',); main.main(['check', '--json'])"
    )
    status, out, _ = shell.run(f'{CONSOLE[0]} -c "{quiet}" 2>&-')
    assert (status, json.loads(out)["file"]) == (0, "/none")
    status, out, _ = shell.run("@ check --json bad 2>&-")
    assert (status, json.loads(out)["ok"]) == (1, False)
    assert shell.run("@ check --json bad >&- 2>&-") == (1, "", "")


@pytest.mark.parametrize("command", ["check -", "check --json -", "resolve -c - a:1"])
def test_without_standard_input_it_is_2(shell: Shell, command: str) -> None:
    why = "cannot read standard input"
    for where, reason in (("<&-", "it is closed"), ("0>ok", "not readable")):
        status, out, err = shell.run(f"@ {command} {where}")
        assert (status, out) == (2, "")
        assert err.startswith(f"image-cri-shim: {why}: ")
        assert len(err.splitlines()) == 1
        assert reason in err or where != "<&-"
    assert shell.run(f"@ {command} <&- 2>&-") == (2, "", "")


def test_a_password_needs_standard_input(shell: Shell) -> None:
    status, out, err = shell.run("@ pull --user u --socket /none a:1 <&-")
    assert (status, out) == (2, "")
    assert err == "image-cri-shim: cannot read standard input: it is closed\n"


@pytest.mark.parametrize(
    ("command", "status"),
    [("check ok", 0), ("check --json ok", 0), ("check --json bad", 1), ("resolve -c ok a:1", 1)],
)
def test_a_reader_that_has_enough_changes_no_status(
    shell: Shell, command: str, status: int
) -> None:
    assert shell.run(f"(sleep 0.2; exec @ {command}) | true") == (status, "", "")


def test_an_interrupted_program_does_not_wait_for_a_reader(shell: Shell) -> None:
    lines = [f"- {{address: registry-{number}.corp}}" for number in range(2000)]
    (shell.directory / "many").write_text("\n".join(["registries:", *lines]))
    with subprocess.Popen(
        [*CONSOLE, "check", "many"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment({"PYTHONUNBUFFERED": ""}),
        cwd=shell.directory,
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        assert os.read(command.stdout.fileno(), 1)
        # The rest is more than fits into the pipe.
        assert wait_until(lambda: sleeps(command.pid), 10)
        command.send_signal(signal.SIGINT)
        assert command.wait(10) == 130
        assert command.stderr.read() == b"image-cri-shim: interrupted\n"


def test_a_file_gets_no_standard_streams_number(shell: Shell) -> None:
    """What opens the configuration would else write to it what is meant for the operator."""
    script = "from image_cri_shim.cli import streams; streams.prepare(); print(open('ok').fileno())"
    status, out, _ = shell.run(f'{CONSOLE[0]} -c "{script}" <&- 2>&-')
    assert status == 0
    assert int(out) > 2
