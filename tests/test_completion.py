"""bash completes the command line: commands, options, files, sockets."""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from image_cri_shim.cli.main import parser
from image_cri_shim.config import Config
from image_cri_shim.config.sockets import KNOWN_SOCKETS
from tests.support.commands import subcommands

COMPLETION = Path(__file__).parent.parent / "completions" / "image-cri-shim"

# Those that ask the daemon.
ADMIN = ("status", "decisions", "reload", "flush", "log-level")

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")

# Does what bash does with a command line, and tells what it is offered. Its builtin compopt only
# works while somebody types.
DRIVER = r"""
compopt() { echo "compopt $*"; }
source "$1"
shift
COMP_WORDS=(image-cri-shim "$@")
COMP_CWORD=$#
$(complete -p image-cri-shim | sed 's/.*-F \([^ ]*\) .*/\1/') image-cri-shim "${@: -1}" "${@: -2:1}"
printf 'offer %s\n' "${COMPREPLY[@]}"
"""


@attrs.frozen
class Offer:
    """What is offered: words, and the options of readline such as `default` for its own files."""

    words: list[str]
    options: set[str]


@pytest.fixture
def directory() -> Iterator[Path]:
    """Return a directory with a file, a socket and a directory; its path is short."""
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as one:
        one.bind(f"{name}/a.sock")
        Path(name, "a.yaml").touch()
        Path(name, "a.d").mkdir()
        yield Path(name)


def complete(*words: str, cwd: Path | None = None) -> Offer:
    """Complete the last of the words, which bash has split as it does: at each = and :."""
    command = ["bash", "--norc", "--noprofile", "-c", DRIVER, "bash", str(COMPLETION), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    told = [line.partition(" ") for line in done.stdout.splitlines()]
    # Whatever else is said there comes from the completion, and would stand in the terminal.
    assert {kind for kind, _, _ in told} <= {"offer", "compopt"}, done.stdout
    offered = [rest for kind, _, rest in told if kind == "offer" and rest]
    options = {rest.removeprefix("-o ") for kind, _, rest in told if kind == "compopt"}
    return Offer(offered, options)


def options_of(command: argparse.ArgumentParser) -> list[str]:
    return [one for action in command._actions for one in action.option_strings]


def actions() -> Iterator[tuple[list[str], argparse.Action]]:
    """Yield what the program and its commands take, each behind the words that lead to it."""
    for lead, one in [([], parser()), *(([name], sub) for name, sub in subcommands().items())]:
        for action in one._actions:
            if not isinstance(action, argparse._SubParsersAction):
                yield lead, action


def test_the_commands_are_offered() -> None:
    assert complete("").words == [*subcommands()]
    assert complete("re").words == ["resolve", "reload"]


def test_the_daemons_options_are_offered() -> None:
    assert sorted(complete("-").words) == sorted(options_of(parser()))
    assert complete("--de").words == ["--debug"]


@pytest.mark.parametrize("name", subcommands())
def test_a_commands_options_are_offered_and_no_others(name: str) -> None:
    assert sorted(complete(name, "-").words) == sorted(options_of(subcommands()[name]))
    assert complete(name, "x", "--h").words == ["--help"]


@pytest.mark.parametrize(
    "words",
    [
        [*lead, option]
        for lead, action in actions()
        for option in action.option_strings
        if action.metavar == "FILE"
    ],
)
def test_an_option_that_takes_a_file_gets_files(words: list[str]) -> None:
    assert complete(*words, "") == Offer([], {"default"})
    assert complete(*words, "=") == Offer([], {"default"})
    assert complete(*words, "=", "/et") == Offer([], {"default"})


@pytest.mark.parametrize(
    "words",
    [
        [*lead, option]
        for lead, action in actions()
        for option in action.option_strings
        if action.metavar == "SOCKET"
    ],
)
def test_an_option_that_takes_a_socket_gets_sockets_and_the_way_to_them(
    words: list[str], directory: Path
) -> None:
    path = str(directory)
    expected = Offer([f"{path}/a.d", f"{path}/a.sock"], {"filenames"})
    for given in (
        [*words, f"{path}/a"],
        [*words, "=", f"{path}/a"],
    ):
        found = complete(*given)
        assert attrs.evolve(found, words=sorted(found.words)) == expected
    for given in (
        [*words, "unix", ":", f"//{path}/a.s"],
        [*words, "=", "unix", ":", f"//{path}/a.s"],
    ):
        assert complete(*given) == Offer([f"//{path}/a.sock"], {"filenames"})


def test_an_option_with_a_choice_gets_the_words_to_choose_from() -> None:
    found = [(lead, action) for lead, action in actions() if action.choices]
    assert found
    for lead, action in found:
        for option in action.option_strings:
            assert complete(*lead, option, "").words == list(action.choices or ())
            assert complete(*lead, option, "=").words == list(action.choices or ())
            assert complete(*lead, option, "=", "v1a").words == ["v1alpha2"]


def test_the_parts_of_the_daemon_are_offered_and_then_their_levels() -> None:
    found = {action.dest: action for action in subcommands()["log-level"]._actions}
    components, levels = found["component"].choices, found["level"].choices
    assert components
    assert levels
    assert complete("log-level", "").words == [*components]
    assert complete("log-level", "--json", "ru").words == ["runtime"]
    assert complete("log-level", "runtime", "").words == [*levels]
    assert complete("log-level", "runtime", "d").words == ["debug"]


def test_what_only_the_user_knows_is_not_guessed() -> None:
    for words in (
        *(["pull", "--timeout"], ["pull", "--user"], ["pull"], ["resolve"]),
        *(["flush"], ["flush", "--registry"], ["decisions", "--image"], ["decisions", "--limit"]),
        *(["status"], ["reload"], ["decisions"], ["history"], ["history", "--since"]),
    ):
        assert complete(*words, "") == Offer([], set())
    for option in ("--timeout", "--user"):
        assert complete("pull", option, "-") == Offer([], set())


def test_the_file_to_check_is_a_file() -> None:
    assert complete("check", "") == Offer([], {"default"})
    assert complete("check", "--online", "/etc/im") == Offer([], {"default"})


def test_the_sockets_to_clean_up_are_sockets(directory: Path) -> None:
    words = complete("cleanup-sockets", "/run/a.sock", f"{directory}/a.s").words
    assert words == [f"{directory}/a.sock"]
    assert complete("cleanup-sockets", "-n", f"{directory}/a.y").words == []


def test_the_first_sockets_to_be_offered_are_those_of_the_known_places(directory: Path) -> None:
    there = [path for path in (*KNOWN_SOCKETS, Config().shim) if Path(path).is_socket()]
    offered = complete("--cri", "", cwd=directory).words
    assert sorted(offered) == sorted(there or ["a.d", "a.sock"])
    text = COMPLETION.read_text()
    assert all(path in text for path in (*KNOWN_SOCKETS, Config().shim))


def test_the_first_admin_socket_to_be_offered_is_the_defaults(directory: Path) -> None:
    path = Config().admin_socket
    assert path is not None
    assert path in COMPLETION.read_text()
    expected = [path] if Path(path).is_socket() else ["a.d", "a.sock"]
    for words in (*([name, "--socket"] for name in ADMIN), ["pull", "--admin-socket"]):
        assert sorted(complete(*words, "", cwd=directory).words) == expected


def test_a_command_that_there_is_not_gets_nothing() -> None:
    assert complete("frobnicate", "-") == Offer([], set())


def test_nothing_is_said_on_a_line_of_any_length() -> None:
    """Whatever stands there, the terminal of who types is not written to."""
    for words in (["="], [":"], ["--shim", "="], ["--shim", "unix", ":"], ["pull", "-c", "="]):
        complete(*words)
