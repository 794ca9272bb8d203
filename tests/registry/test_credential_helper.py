"""Credential helpers: what they may say, and how they are ended."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from image_cri_shim.credentials import Credentials
from image_cri_shim.registry.credential_helper import OUTPUT_LIMIT, PATIENCE, ask_helper
from image_cri_shim.registry.docker_config import Helper
from image_cri_shim.registry.failure import Unanswered
from tests.registry.network import fired, result_of
from tests.registry.processes import Machine, install

ROOT = Path(__file__).parent.parent.parent
HELPER = Helper("x", "harbor.corp")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    install(tmp_path / "bin", "x")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return Machine()


def problem_of(asking: Any) -> Unanswered:
    with pytest.raises(Unanswered) as caught:
        result_of(asking)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"s3cret",
        b"[]",
        b'"s3cret"',
        b"[" * 60000,
        b"\xff",
        b"{}",
        b'{"Username": "u"}',
        b'{"Secret": "s3cret"}',
        b'{"Username": 7, "Secret": "s3cret"}',
        b'{"Username": "u", "Secret": ["s3cret"]}',
    ],
)
def test_an_answer_that_is_none_is_not_repeated(machine: Machine, answer: bytes) -> None:
    asking = ask_helper(machine, HELPER)
    machine.program.says(answer).ends()
    problem = problem_of(asking)
    assert problem.detail == (
        "credential helper docker-credential-x: answered with something that is no credentials"
    )


@pytest.mark.parametrize("name", ["Username", "Secret"])
def test_an_answer_that_cannot_be_sent_is_none(machine: Machine, name: str) -> None:
    answer = {"Username": "u", "Secret": "s3cret", name: "s3cret\ud800"}
    asking = ask_helper(machine, HELPER)
    machine.program.says(json.dumps(answer).encode()).ends()
    assert problem_of(asking).detail == (
        "credential helper docker-credential-x: answered with characters that UTF-8 cannot hold"
    )


def test_an_empty_answer_means_no_credentials(machine: Machine) -> None:
    asking = ask_helper(machine, HELPER)
    machine.program.answers("", "")
    assert result_of(asking) is None


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"status": 1}, "failed with exit status 1"),
        ({"status": 127}, "failed with exit status 127"),
        ({"signal": 11}, "ended by signal 11"),
    ],
)
def test_a_failing_helper_is_not_quoted(machine: Machine, how: dict[str, int], why: str) -> None:
    asking = ask_helper(machine, HELPER)
    machine.program.says(b"error getting s3cret").says(b"s3cret", 2).ends(**how)
    problem = problem_of(asking)
    assert problem.detail == f"credential helper docker-credential-x: {why}"


def test_credentials_of_a_helper_that_fails_in_the_end_are_none(machine: Machine) -> None:
    asking = ask_helper(machine, HELPER)
    machine.program.says(b'{"Username": "u", "Secret": "s3cret"}').ends(status=2)
    assert problem_of(asking).detail.endswith("failed with exit status 2")


def test_a_helper_that_does_not_exist_is_named(machine: Machine) -> None:
    problem = problem_of(ask_helper(machine, Helper("missing", "harbor.corp")))
    assert problem.detail == "credential helper docker-credential-missing: not found in PATH"
    assert machine.programs == []


def test_a_helper_that_cannot_be_started_is_named(machine: Machine) -> None:
    machine.error = OSError(errno.EAGAIN, "Resource temporarily unavailable")
    problem = problem_of(ask_helper(machine, HELPER))
    assert problem.detail == (
        "credential helper docker-credential-x: cannot be started: Resource temporarily unavailable"
    )
    assert machine.getDelayedCalls() == []


def test_a_helper_that_does_not_answer_is_ended(machine: Machine) -> None:
    asking = ask_helper(machine, HELPER)
    machine.program.says(b'{"Username": "u"')
    machine.advance(PATIENCE - 0.25)
    assert not fired(asking)
    assert not machine.program.killed
    machine.advance(0.25)
    problem = problem_of(asking)
    assert problem.detail == "credential helper docker-credential-x: no answer within 10s"
    assert problem.timed_out
    assert (machine.program.killed, machine.program.let_go) == (True, True)
    machine.program.says(b', "Secret": "s3cret"}').ends(signal=9)


def test_the_answer_of_a_helper_counts_although_its_children_keep_its_output_open(
    machine: Machine,
) -> None:
    asking = ask_helper(machine, HELPER)
    machine.program.says(machine.program.answer("u", "s3cret"))
    assert not fired(asking)
    machine.program.exits()
    assert result_of(asking) == Credentials("u", "s3cret")
    assert machine.program.let_go
    assert machine.getDelayedCalls() == []


def test_what_is_still_in_the_pipe_when_a_helper_ends_is_read(machine: Machine) -> None:
    asking = ask_helper(machine, HELPER)
    secret = "s" * 40000
    answer = machine.program.answer("u", secret)
    machine.program.says(answer[:7])
    machine.program.unread = answer[7:]
    machine.program.exits()
    assert result_of(asking) == Credentials("u", secret)


def test_an_answer_that_a_child_completes_after_the_helper_has_ended_counts(
    machine: Machine,
) -> None:
    asking = ask_helper(machine, HELPER)
    answer = machine.program.answer("u", "s3cret")
    machine.program.says(answer[:7]).exits()
    assert not fired(asking)
    machine.program.says(answer[7:])
    assert result_of(asking) == Credentials("u", "s3cret")


def test_a_helper_that_has_failed_is_not_waited_for(machine: Machine) -> None:
    asking = ask_helper(machine, HELPER)
    machine.program.exits(status=3)
    assert problem_of(asking).detail.endswith("failed with exit status 3")


def test_a_helper_that_ended_without_an_answer_has_its_time_for_one(machine: Machine) -> None:
    asking = ask_helper(machine, HELPER)
    machine.program.says(b'{"Username": "u"').exits()
    machine.advance(PATIENCE)
    assert problem_of(asking).timed_out
    assert machine.program.let_go


def test_a_helper_that_leaves_far_too_much_in_the_pipe_is_read_to_the_limit(
    machine: Machine,
) -> None:
    asking = ask_helper(machine, HELPER)
    machine.program.unread = b"s" * 10 * OUTPUT_LIMIT
    machine.program.exits()
    assert problem_of(asking).detail.endswith("wrote far more than credentials")
    assert machine.program.unread


@pytest.mark.parametrize("descriptor", [1, 2])
def test_a_helper_that_writes_and_writes_is_ended(machine: Machine, descriptor: int) -> None:
    asking = ask_helper(machine, HELPER)
    machine.program.says(b"s" * OUTPUT_LIMIT, descriptor)
    assert not fired(asking)
    machine.program.says(b"s", descriptor)
    problem = problem_of(asking)
    assert problem.detail == (
        "credential helper docker-credential-x: wrote far more than credentials"
    )
    assert machine.program.killed
    machine.program.says(b"more", descriptor).ends(signal=9)


def test_nothing_that_it_wrote_is_kept(machine: Machine) -> None:
    asking = ask_helper(machine, HELPER)
    protocol = machine.program.protocol
    machine.program.answers("u", "s3cret")
    assert result_of(asking) == Credentials("u", "s3cret")
    assert "s3cret" not in repr(vars(protocol))


# Real programs

RUN = """
import json, os, sys
from image_cri_shim.bridge import install_reactor
install_reactor()
from twisted.internet import reactor
from image_cri_shim.registry.credential_helper import ask_helper
from image_cri_shim.registry.docker_config import Helper

def done(result):
    value = getattr(result, "value", None)
    print(json.dumps(str(value) if value else [result.username, result.password]))
    reactor.callLater(0, finish)

def finish():
    if PIDS and any(alive(pid) for pid in open(PIDS).read().split()):
        reactor.callLater(0.02, finish)
    else:
        # What is never over would have ended it with status 3.
        reactor.stop()

def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

def give_up():
    if os.path.exists(PIDS) and len(open(PIDS).read().split()) == 2:
        asking.cancel()
    else:
        reactor.callLater(0.02, give_up)

PIDS = sys.argv[1] if len(sys.argv) > 1 else ""
asking = ask_helper(reactor, Helper("real", "harbor.corp:5000"))
asking.addBoth(done)
if len(sys.argv) > 2:
    reactor.callLater(0, give_up)
reactor.callLater(30, os._exit, 3)
reactor.run()
"""


def run(tmp_path: Path, script: str, *arguments: str) -> object:
    """Ask a real helper from a process with a real reactor; return what it says."""
    install(tmp_path / "bin", "real", script)
    ended = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=ROOT,
        env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "MARK": "from the daemon; $(false)"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.stderr, ended.returncode) == ("", 0)
    return json.loads(ended.stdout)


def test_a_real_helper_gets_the_server_the_verb_and_our_environment(tmp_path: Path) -> None:
    script = """#!/bin/sh
read -r server
echo noise >&2
printf '{"ServerURL": "%s", "Username": "%s", "Secret": "%s"}' "$server" "$server $#$1" "$MARK"
"""
    assert run(tmp_path, script) == ["harbor.corp:5000 1get", "from the daemon; $(false)"]


def test_a_real_helper_that_fails_is_told_by_its_status(tmp_path: Path) -> None:
    assert run(tmp_path, "#!/bin/sh\necho s3cret\nexit 7\n") == (
        "credential helper docker-credential-real: failed with exit status 7"
    )


def test_a_program_without_a_known_form_is_a_failure_and_no_shell_script(tmp_path: Path) -> None:
    told = run(tmp_path, 'echo \'{"Username": "u", "Secret": "s3cret"}\'\n')
    assert told == "credential helper docker-credential-real: failed with exit status 1"


def test_a_real_helper_is_ended_with_all_that_it_has_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"#!/bin/sh\nsleep 1000 &\necho $! $$ > {pids}\nwait\n"
    # The process waits until none of them is there any more.
    assert run(tmp_path, script, str(pids), "give up") == ""


@pytest.mark.parametrize("kept", ["", ">/dev/null 2>&1 "])
def test_what_a_real_helper_leaves_behind_is_ended(tmp_path: Path, kept: str) -> None:
    pids = tmp_path / "pids"
    script = f"""#!/bin/sh
sleep 1000 {kept}&
echo $! > {pids}
printf '{{"Username": "u", "Secret": "%060000d"}}' 7
"""
    # The process waits until the child is not there any more.
    assert run(tmp_path, script, str(pids)) == ["u", f"{7:060000d}"]
