"""The manual pages can be shown, and lead to one another."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.support.mdoc import DIRECTORY, PAGES, literals, references, section

pages = pytest.mark.parametrize("page", PAGES)
# Other programs' pages that are referred to; who reads ours may not have them all.
OTHERS = {
    "sd_listen_fds.3",
    "sd_notify.3",
    "sd_watchdog_enabled.3",
    "systemd.exec.5",
    "systemd.service.5",
    "systemd.socket.5",
}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "MANWIDTH": "78"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


@pages
def test_a_page_is_well_formed_for_mandoc(page: str) -> None:
    if not shutil.which("mandoc"):
        pytest.skip("mandoc is not installed (apt install mandoc)")
    done = run("mandoc", "-Tlint", str(DIRECTORY / page))
    # Whether other pages are installed says nothing of this one.
    told = [line for line in done.stdout.splitlines() if "referenced manual not found" not in line]
    assert told == []


@pages
def test_a_page_is_well_formed_for_man(page: str) -> None:
    # mandoc may bring a man of its own, with other options.
    if not shutil.which("man") or run("man", "--version").returncode != 0:
        pytest.skip("man-db is not installed (apt install man-db)")
    done = run("man", "--warnings", "--encoding=UTF-8", "--local-file", str(DIRECTORY / page))
    assert (done.returncode, done.stderr) == (0, "")
    assert page.rpartition(".")[0] in done.stdout


@pages
def test_a_page_is_called_as_its_file(page: str) -> None:
    name, _, number = page.rpartition(".")
    assert f".Dt {name.upper()} {number}\n" in PAGES[page]
    assert section(page, "Sh", "NAME").startswith(f".Nm {name}\n.Nd ")


@pages
def test_what_a_page_refers_to_is_there(page: str) -> None:
    found = {*references(page)}
    assert found
    assert found <= {*PAGES} | OTHERS
    for title in re.findall(r"^\.Sx (.*?)(?: [.,;])?$", PAGES[page], re.MULTILINE):
        assert re.search(rf"^\.S[sh] {re.escape(title)}$", PAGES[page], re.MULTILINE), title


@pages
def test_see_also_is_sorted_and_no_page_refers_to_itself(page: str) -> None:
    below = section(page, "Sh", "SEE ALSO").splitlines()
    listed = [tuple(line.split()[1:3]) for line in below]
    assert listed == sorted(listed, key=lambda found: (found[1], found[0]))
    assert page not in references(page)


def test_every_page_is_reached_from_the_daemons_and_leads_back_to_it() -> None:
    daemon = "image-cri-shim.8"
    assert {*PAGES} - {daemon} <= {*references(daemon)}
    for page in {*PAGES} - {daemon}:
        assert daemon in section_references(page)


def section_references(page: str) -> set[str]:
    return {".".join(line.split()[1:3]) for line in section(page, "Sh", "SEE ALSO").splitlines()}


@pages
def test_what_is_to_be_copied_fits_into_a_terminal(page: str) -> None:
    for block in literals(PAGES[page]):
        # Displays are indented.
        assert max(map(len, block.splitlines())) <= 72


@pages
def test_no_page_has_a_path_of_a_machine_that_it_was_written_on(page: str) -> None:
    assert not re.search(r"/(home|work|tmp)/", PAGES[page])
