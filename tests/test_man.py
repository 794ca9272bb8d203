"""Every command and option is documented: in its manual page, in the README, in --help."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from image_cri_shim.bridge import LOOP_VARIABLE
from image_cri_shim.cli import status
from image_cri_shim.cli.check_report import Report, as_object, problems_as_objects
from image_cri_shim.cli.cleanup_sockets import default_sockets
from image_cri_shim.cli.explanation import Asked, Explanation, Unusable
from image_cri_shim.cli.explanation_json import as_objects
from image_cri_shim.cli.main import parser
from image_cri_shim.cli.pulling import Result
from image_cri_shim.cli.pulling import as_object as pulled
from image_cri_shim.config import DEFAULT_CONFIG, KEYS, Config
from image_cri_shim.config.sockets import KNOWN_SOCKETS
from image_cri_shim.cri._generated.cri_pb2 import ImageStatusResponse
from image_cri_shim.decision import Decision, LookUp, Outcome, Registry
from image_cri_shim.errors import Problem
from image_cri_shim.history.reading import Entry
from image_cri_shim.history.reading import as_object as as_object_of_history
from image_cri_shim.pattern import parse_pattern
from image_cri_shim.policy import Policy
from image_cri_shim.pull_record import as_document
from image_cri_shim.registry.probe import Probe
from image_cri_shim.rules import Rule
from image_cri_shim.stale_sockets import PAUSE
from image_cri_shim.stale_sockets import Outcome as Removal
from image_cri_shim.state_file import NAME as STATE_FILE
from image_cri_shim.tap import EX_CONFIG, Options
from tests.support.commands import subcommands
from tests.support.mdoc import PAGES, heads, literals, section, words
from tests.support.status_document import ANSWERS, pull_record, status_document

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SOURCES = "".join(path.read_text() for path in (ROOT / "image_cri_shim").rglob("*.py"))
DAEMON = "image-cri-shim.8"
# What a shell makes of a program that SIGINT has ended.
INTERRUPTED = 130
# Every program has them; they describe themselves.
HELP = {"-h", "--help", "--help-reactors"}


def page_of(command: str) -> str:
    return f"image-cri-shim-{command}.8"


def options_of(command: argparse.ArgumentParser) -> set[str]:
    """Return the options of a parser, without those of its subcommands."""
    return {one for action in command._actions for one in action.option_strings} - HELP


def twistd_options() -> set[str]:
    options = Options()
    long = [f"--{name.rstrip('=')}" for name in options.longOpt]
    short = [f"-{letter}" for letter in options.shortOpt.replace(":", "")]
    return {*long, *short} - HELP


def documented_options(page: str) -> set[str]:
    """Return the options that have an item of their own in a page's description."""
    items = heads(section(page, "Sh", "DESCRIPTION"))
    found = {word for item in items if item.startswith("Fl ") for word in words(item)}
    return {word for word in found if word.startswith("-")}


def synopsis(page: str) -> list[str]:
    return words(section(page, "Sh", "SYNOPSIS"))


def statuses(page: str) -> list[int]:
    items = heads(section(page, "Sh", "EXIT STATUS"))
    assert items == sorted(items, key=int)
    return [int(item) for item in items]


commands = pytest.mark.parametrize("name", subcommands())


def test_the_options_are_the_known_ones() -> None:
    """A new option makes the tests below fail, which say where to document it."""
    daemon = {"--config", "-c", "--file", "-f", "--shim", "--cri", "--debug", "--version", "-v"}
    assert options_of(parser()) == daemon
    assert twistd_options() == daemon - {"-f", "--file", "-v"}
    assert {"--socket", "--timeout", "--user"} < options_of(subcommands()["pull"])


def test_each_command_has_a_page_and_each_page_a_command() -> None:
    pages = {page_of(name) for name in subcommands()}
    assert {*PAGES} == {*pages, DAEMON, "image-cri-shim.yaml.5"}


def test_the_daemons_page_has_its_options_and_no_other() -> None:
    assert documented_options(DAEMON) == options_of(parser())
    for option in ("-c", "--shim", "--cri", "--debug", "-v"):
        assert option in synopsis(DAEMON)


def test_the_daemons_page_leads_to_each_command() -> None:
    overview = section(DAEMON, "Sh", "COMMANDS")
    assert [words(head)[1] for head in heads(overview)] == [*subcommands()]
    for name in subcommands():
        assert f".Xr image-cri-shim-{name} 8" in overview


@commands
def test_a_commands_page_has_all_of_its_options_and_no_other(name: str) -> None:
    assert documented_options(page_of(name)) == options_of(subcommands()[name])


@commands
def test_a_commands_synopsis_has_all_of_its_options_and_arguments(name: str) -> None:
    shown = synopsis(page_of(name))
    assert f".Cm {name}" in section(page_of(name), "Sh", "SYNOPSIS")
    for action in subcommands()[name]._actions:
        spellings = set(action.option_strings) or {str(action.metavar).lower()}
        assert spellings & (HELP | set(shown)), spellings


@commands
def test_the_overview_has_a_commands_arguments(name: str) -> None:
    found = heads(section(DAEMON, "Sh", "COMMANDS"))
    (head,) = (one for one in found if f"{one} ".startswith(f"Cm {name} "))
    expected = f"Cm {name}"
    for action in subcommands()[name]._actions:
        if not action.option_strings:
            repeated = " ..." if action.nargs in ("+", "*") else ""
            before = "Op Ar" if action.nargs in ("?", "*") else "Ar"
            expected += f" {before} {str(action.metavar).lower()}{repeated}"
    assert head == expected


@commands
def test_the_exit_statuses_of_a_command_are_those_that_its_help_says(name: str) -> None:
    description = subcommands()[name].description or ""
    told = re.findall(r"\b([0-9])\b", description.partition("Exit status:")[2])
    assert told
    assert statuses(page_of(name)) == [*map(int, told), INTERRUPTED]
    known = {value for key, value in vars(status).items() if key.isupper()}
    assert {*map(int, told)} <= known


def test_the_daemons_page_has_its_exit_statuses() -> None:
    # argparse exits with 2, sys.exit with a sentence in 1.
    assert statuses(DAEMON) == [0, 1, 2, EX_CONFIG]


def fields(value: object) -> Iterator[str]:
    """Yield the names of all fields in what is written as JSON."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from fields(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from fields(inner)


def test_every_field_that_machines_get_is_in_the_commands_page() -> None:
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
        assert set(fields(objects)) == documented_fields(name)


def documented_fields(command: str) -> set[str]:
    text = section(page_of(command), "Sh", "JSON")
    lines = re.findall(r"^\.(?:It )?Va (.*)$", text, re.MULTILINE)
    return {word for line in lines for word in words(line)} - {";", ":", "."}


def test_every_field_of_what_the_daemon_tells_is_in_the_commands_page() -> None:
    document = status_document()
    pull = as_document(pull_record(), 0)
    error = {"error"}
    assert documented_fields("decisions") == {*fields(pull)} | error
    problem = {*document["problems"][0]}
    assert documented_fields("status") == {*document} | problem | error
    # What the tests of these commands let a daemon answer.
    for name, answer in ANSWERS.items():
        assert documented_fields(name) == {*answer} | error
    past = as_object_of_history(Entry(pull_record(), "pulled", ""), 0)
    refused = {"problems": problems_as_objects([Problem("file", 1, 1, "key", "message")])}
    assert documented_fields("history") == {*fields(past)} | {*fields(refused)} | error
    result = Result("nginx", held=ImageStatusResponse(image={"id": "sha256:0"}))
    assert documented_fields("pull") == {*fields(pulled(result, None)), "problems"}


def command_lines() -> Iterator[str]:
    """Yield the program's calls in the examples of all pages, as far as they are the program's."""
    for page in PAGES.values():
        for line in "".join(literals(page)).replace("\\\n", "").splitlines():
            own = re.split(r" [<|&]", line)[0]
            # Before it may stand what starts it, as in a unit.
            if found := re.search(r"(?:^|[-/])image-cri-shim (.*)$", own):
                yield found[1]


COMMAND_LINES = list(command_lines())


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_a_command_of_an_example_is_one_that_the_program_takes(line: str) -> None:
    assert parser().parse_args(shlex.split(line)).command in subcommands()


def test_the_examples_show_every_command() -> None:
    assert {line.split()[0] for line in COMMAND_LINES} == {*subcommands()}


def test_the_page_of_the_log_levels_has_them_all() -> None:
    text = section(page_of("log-level"), "Sh", "DESCRIPTION")
    found = set(re.findall(r"^\.Ql (\w+)", text, re.MULTILINE))
    actions = subcommands()["log-level"]._actions
    assert found == {str(one) for action in actions for one in action.choices or ()}


@pytest.mark.parametrize("option", sorted(set().union(*map(options_of, subcommands().values()))))
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


@pytest.mark.parametrize("option", sorted(twistd_options()))
def test_the_readme_has_the_daemons_option(option: str) -> None:
    assert spelled(option, README)


@pytest.mark.parametrize("key", [key.name for key in KEYS])
def test_the_readme_has_the_configurations_key(key: str) -> None:
    assert f"`{key}`" in README


def test_the_daemons_page_has_its_signals_and_files() -> None:
    assert heads(section(DAEMON, "Sh", "SIGNALS")) == ["Dv SIGHUP", "Dv SIGTERM , SIGINT"]
    files = [head.removeprefix("Pa ") for head in heads(section(DAEMON, "Sh", "FILES"))]
    shim, image = Config().shim, Config().image
    drop_ins = DEFAULT_CONFIG.removesuffix("yaml") + "d/"
    assert files[:2] == [DEFAULT_CONFIG, drop_ins]
    assert {f"{image}/", f"{image}/{STATE_FILE}", shim, f"{shim}.lock"} <= {*files}


def test_the_daemons_page_has_the_variables_that_the_program_knows() -> None:
    lines = heads(section(DAEMON, "Sh", "ENVIRONMENT"))
    documented = {word for line in lines for word in words(line.removeprefix("Ev "))}
    known = re.findall(r'"((?:NOTIFY|WATCHDOG|LISTEN|CREDENTIALS|IMAGE_CRI_SHIM)_[A-Z]+)"', SOURCES)
    assert {LOOP_VARIABLE, *known} | {"PATH", "NO_COLOR", "TERM"} == documented


def test_the_known_places_of_sockets_are_in_the_pages_that_tell_of_them() -> None:
    places = {"image-cri-shim.yaml.5": KNOWN_SOCKETS, page_of("cleanup-sockets"): default_sockets()}
    for page, expected in places.items():
        found = re.findall(
            r"^\.Pa (/\S+\.sock)",
            section(page, "Sh", "DESCRIPTION" if page.endswith("8") else "KEYS"),
            re.MULTILINE,
        )
        assert tuple(found) == expected


def test_the_outcomes_for_a_socket_are_in_the_page_of_its_command() -> None:
    listed = heads(section(page_of("cleanup-sockets"), "Sh", "DESCRIPTION"))
    assert [head for head in listed if not head.startswith("Fl ")] == [one.value for one in Removal]
    assert f"{PAUSE * 1000:g} ms apart" in PAGES[page_of("cleanup-sockets")]


@pytest.mark.parametrize(
    ("page", "name"),
    [("cleanup-sockets", "10-image-cri-shim.conf"), ("", "crictl.yaml")],
)
def test_an_example_of_the_package_is_the_same_in_the_page_that_shows_it(
    page: str, name: str
) -> None:
    file = (ROOT / "examples" / name).read_text()
    said = [line for line in file.splitlines() if not line.startswith("#")]
    shown = literals(PAGES[page_of(page) if page else DAEMON])
    assert "\n".join(said).strip() in [block.strip() for block in shown]
