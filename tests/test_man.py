"""Every option is documented: in the manual page, in the README, in --help."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from image_cri_shim.cli.main import parser
from image_cri_shim.config import CACHE_KEYS, KEYS, REGISTRY_KEYS
from image_cri_shim.tap import DEFAULT_CONFIG, EX_CONFIG, Options

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "man" / "image-cri-shim.8"
README = (ROOT / "README.md").read_text()


def words_of_the_page() -> list[str]:
    """Return the macros' arguments and the text, with mdoc's `Fl -debug` as `--debug`."""
    text = re.sub(r"\bFl (-?[\w-]+)", r"-\1", PAGE.read_text())
    return re.sub(r"[,\\&]", " ", text).split()


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
    for option in ("--socket", "--timeout", "--user", "--cri-version"):
        assert option in ALL
    assert "--config" in twistd_options()
    assert "-c" in twistd_options()


@pytest.mark.parametrize("option", ALL)
def test_the_manual_page_has_the_option(option: str) -> None:
    assert option in words_of_the_page()


@pytest.mark.parametrize("name", subcommands())
def test_the_manual_page_has_the_command(name: str) -> None:
    assert f".Cm {name}" in PAGE.read_text()


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


@pytest.mark.parametrize("key", [key.name for key in (*KEYS, *CACHE_KEYS, *REGISTRY_KEYS)])
def test_the_readme_has_the_configurations_key(key: str) -> None:
    assert f"`{key}`" in README


def test_the_manual_page_has_the_exit_statuses_the_signals_and_the_file() -> None:
    words = words_of_the_page()
    for word in (str(EX_CONFIG), "SIGHUP", "SIGTERM", "SIGINT", DEFAULT_CONFIG):
        assert word in words


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
