"""Every option is documented: in the manual page, in the README, in --help."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from image_cri_shim.cli.check_report import Report, as_object, problems_as_objects
from image_cri_shim.cli.explanation import Asked, Explanation, Unusable
from image_cri_shim.cli.explanation_json import as_objects
from image_cri_shim.cli.main import parser
from image_cri_shim.config import DEFAULT_CONFIG, KEYS, Config
from image_cri_shim.decision import Decision, LookUp, Outcome, Registry
from image_cri_shim.errors import Problem
from image_cri_shim.pattern import parse_pattern
from image_cri_shim.policy import Policy
from image_cri_shim.registry.probe import Probe
from image_cri_shim.rules import Rule
from image_cri_shim.tap import EX_CONFIG, Options

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "man" / "image-cri-shim.8"
README = (ROOT / "README.md").read_text()


def words(text: str) -> list[str]:
    """Return the macros' arguments and the text, with mdoc's `Fl -debug` as `--debug`."""
    text = re.sub(r"\bFl (-?[\w-]+)", r"-\1", text)
    return re.sub(r"[,\\&]", " ", text).split()


def words_of_the_page() -> list[str]:
    return words(PAGE.read_text())


def section(kind: str, title: str) -> str:
    """Return what stands under a heading: `Sh` for a section's, `Ss` for a subsection's."""
    ends = r"^\.Sh " if kind == "Sh" else r"^\.S[sh] "
    _, _, below = PAGE.read_text().partition(f"\n.{kind} {title}\n")
    assert below, f"no .{kind} {title}"
    return re.split(ends, below, maxsplit=1, flags=re.MULTILINE)[0]


def synopsis(command: str) -> str:
    """Return the lines of the synopsis that are a command's."""
    (found,) = re.findall(
        rf"^\.Cm {command}\n((?:\.(?!Nm\b).*\n)*)", section("Sh", "SYNOPSIS"), re.MULTILINE
    )
    return str(found)


def options_of(command: argparse.ArgumentParser) -> Iterator[str]:
    """Yield every option of a parser and of its subcommands."""
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from options_of(sub)
        else:
            yield from action.option_strings


def subcommands() -> dict[str, argparse.ArgumentParser]:
    return {
        name: sub
        for action in parser()._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, sub in action.choices.items()
    }


def twistd_options() -> list[str]:
    options = Options()
    long = [f"--{name.rstrip('=')}" for name in options.longOpt]
    short = [f"-{letter}" for letter in options.shortOpt.replace(":", "")]
    return [*long, *short]


# Every program has it; it describes itself.
HELP = {"-h", "--help", "--help-reactors"}
ALL = sorted({*options_of(parser()), *twistd_options()} - HELP)


def test_the_options_are_the_known_ones() -> None:
    """A new option makes this fail, and the tests below say where to document it."""
    for option in ("--config", "-c", "--file", "-f", "--shim", "--cri", "--debug", "--version"):
        assert option in ALL
    for option in ("--socket", "--timeout", "--user", "--cri-version", "--json", "--online"):
        assert option in ALL
    assert "--config" in twistd_options()
    assert "-c" in twistd_options()


@pytest.mark.parametrize("option", ALL)
def test_the_manual_page_has_the_option(option: str) -> None:
    assert option in words_of_the_page()


@pytest.mark.parametrize("name", subcommands())
def test_the_manual_page_has_the_command(name: str) -> None:
    assert f".Cm {name}" in PAGE.read_text()


@pytest.mark.parametrize("name", subcommands())
def test_a_commands_section_has_all_of_its_options_and_no_other(name: str) -> None:
    command = subcommands()[name]
    text = section("Ss", name)
    found = {
        one for line in re.findall(r"^\.It (Fl .*)$", text, re.MULTILINE) for one in words(line)
    }
    assert {one for one in found if one.startswith("-")} == set(options_of(command)) - HELP
    for action in command._actions:
        if not action.option_strings:
            assert f"Ar {str(action.metavar).lower()}" in text


@pytest.mark.parametrize("name", subcommands())
def test_the_synopsis_has_all_of_a_commands_options(name: str) -> None:
    shown = words(synopsis(name))
    for action in subcommands()[name]._actions:
        spellings = set(action.option_strings) or {str(action.metavar).lower()}
        assert spellings & (HELP | set(shown)), spellings


@pytest.mark.parametrize("name", subcommands())
def test_the_exit_statuses_of_a_command_are_those_that_its_help_says(name: str) -> None:
    description = subcommands()[name].description or ""
    told = re.findall(r"\b([0-9])\b", description.partition("Exit status:")[2])
    text = section("Sh", "EXIT STATUS").partition(f".Cm {name}\n")[2].partition(".Pp")[0]
    assert told
    assert re.findall(r"\b([0-9])\b", text) == told


def fields(value: object) -> Iterator[str]:
    """Yield the names of all fields in what is written as JSON."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from fields(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from fields(inner)


def test_every_field_that_machines_get_is_in_the_manual_page() -> None:
    registries = (Registry("a.corp"), Registry("b.corp", trust_for="digest"))
    config = Config(registries=registries, rules=(Rule(1, (parse_pattern("*"),)),))
    plan = Policy(config.registries, config.rules).plan("nginx")
    asked = Asked(LookUp(plan.candidates[0], Outcome.PRESENT))
    decision = Decision((plan.as_written,))
    explained = Explanation("nginx", plan, (asked,), asked, decision)
    problem = Problem("file", 1, 1, "key", "message")
    probes = tuple(
        Probe(one, reachable=True, tls="none", authentication="accepted")
        for one in config.all_registries
    )
    report = Report("file", config, (problem,), ("warning",), probes)
    told = {
        "resolve": [
            *as_objects([explained, Unusable("", "error")]),
            {"problems": problems_as_objects([problem])},
        ],
        "check": [as_object(report)],
    }
    for name, objects in told.items():
        documented = {
            word
            for line in re.findall(r"^\.(?:It )?Va (.*)$", section("Ss", name), re.MULTILINE)
            for word in words(line)
        }
        assert set(fields(objects)) == documented - {";", ":", "."}


@pytest.mark.parametrize("option", sorted(set(options_of(parser())) - HELP - {"--user"}))
def test_help_says_what_the_option_is_for(option: str) -> None:
    for command in (parser(), *subcommands().values()):
        for action in command._actions:
            if option in action.option_strings:
                assert action.help
                assert option in command.format_help()


def test_twistds_help_says_what_its_options_are_for() -> None:
    text = str(Options())
    for option in twistd_options():
        assert option in text
    assert DEFAULT_CONFIG in text


def spelled(option: str, text: str) -> bool:
    """Tell whether an option stands in a text as a word of its own: `--config/-c` has two."""
    return re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text) is not None


@pytest.mark.parametrize("option", sorted(set(twistd_options()) - HELP))
def test_the_readme_has_the_daemons_option(option: str) -> None:
    assert spelled(option, README)


@pytest.mark.parametrize("key", [key.name for key in KEYS])
def test_the_readme_has_the_configurations_key(key: str) -> None:
    assert f"`{key}`" in README


def test_the_manual_page_has_the_exit_statuses_the_signals_and_the_file() -> None:
    page = words_of_the_page()
    for word in (str(EX_CONFIG), "SIGHUP", "SIGTERM", "SIGINT", DEFAULT_CONFIG):
        assert word in page


def test_the_manual_page_is_well_formed() -> None:
    if shutil.which("mandoc"):
        command = ["mandoc", "-Tlint", "-Wwarning", str(PAGE)]
    elif shutil.which("man"):
        command = ["man", "--warnings", "--encoding=UTF-8", "--local-file", str(PAGE)]
    else:
        pytest.skip("neither mandoc nor man is installed (apt install mandoc)")
    done = subprocess.run(command, capture_output=True, text=True, env={"LC_ALL": "C.UTF-8"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    if command[0] == "man":
        assert "image-cri-shim" in done.stdout
