"""`flush`, `reload` and `log-level`: what the daemon is asked, and what is said of its answer."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from image_cri_shim.cli.main import main
from tests.support.admin_standin import AdminStandIn
from tests.support.status_document import ANSWERS, status_document

LEVELS = ANSWERS["log-level"]["levels"]


class Shell:
    """Runs commands with an admin interface."""

    def __init__(self, admin: AdminStandIn, capsys: pytest.CaptureFixture[str]) -> None:
        self.admin = admin
        self._capsys = capsys

    def run(self, command: str, *arguments: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as end:
            main([command, "--socket", self.admin.path, *arguments])
        return end.value.code, *self._capsys.readouterr()

    def asked(self) -> object:
        """Return what the daemon was asked last."""
        return self.admin.requests[-1].body


@pytest.fixture
def shell(admin: AdminStandIn, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(admin, capsys)


def test_flush_says_what_was_forgotten(shell: Shell) -> None:
    shell.admin.answers("POST /flush", {"answers": 12, "breakers": 0})
    assert shell.run("flush") == (0, "forgot 12 answers\n", "")
    assert shell.asked() == {}
    shell.admin.answers("POST /flush", {"answers": 1, "breakers": 2})
    said = "forgot 1 answer; 2 registries that failed may be asked again\n"
    assert shell.run("flush", "--registry", "harbor.corp") == (0, said, "")
    assert shell.asked() == {"registry": "harbor.corp"}
    status, out, err = shell.run("flush", "nginx:1.25", "--json")
    assert (status, json.loads(out), err) == (0, {"answers": 1, "breakers": 2}, "")
    assert shell.asked() == {"image": "nginx:1.25"}


def test_flush_of_a_registry_that_there_is_not_is_1(shell: Shell) -> None:
    shell.admin.answers("POST /flush", {"error": "there is no registry x"}, 404)
    expected = (1, "", "image-cri-shim: there is no registry x\n")
    assert shell.run("flush", "--registry", "x") == expected
    status, out, _ = shell.run("flush", "--registry", "x", "--json")
    assert (status, json.loads(out)) == (1, {"error": "there is no registry x"})


def test_flush_of_what_is_no_image_reference_is_2(shell: Shell) -> None:
    shell.admin.answers("POST /flush", {"error": "'A' has an uppercase letter"}, 400)
    assert shell.run("flush", "A") == (2, "", "image-cri-shim: 'A' has an uppercase letter\n")


def test_flush_takes_an_image_or_a_registry(shell: Shell) -> None:
    status, out, err = shell.run("flush", "a", "--registry", "b")
    assert (status, out) == (2, "")
    assert "expected an image or --registry REGISTRY, found both" in err
    assert shell.admin.requests == []


def test_reload_shows_what_has_changed(shell: Shell) -> None:
    shell.admin.answers("POST /reload", ANSWERS["reload"])
    said = "the new configuration runs\n  Timeout: 15m0s -> 20m0s\n"
    assert shell.run("reload") == (0, said, "")
    status, out, _ = shell.run("reload", "--json")
    assert (status, json.loads(out)) == (0, ANSWERS["reload"])


def test_a_reload_that_changes_nothing_says_since_when(
    shell: Shell, set_time_zone: Callable[[str], None]
) -> None:
    same = ANSWERS["reload"] | {"changes": []}
    shell.admin.answers("POST /reload", same)
    set_time_zone("Asia/Tokyo")
    status, out, err = shell.run("reload")
    since = "  nothing has changed since 2026-01-31 12:04:05, when it was read last\n"
    assert (status, out, err) == (0, f"the new configuration runs\n{since}", "")
    # A daemon that is older than this command does not tell.
    shell.admin.answers("POST /reload", {k: v for k, v in same.items() if k != "loadedAt"})
    assert shell.run("reload")[1].endswith("\n  nothing has changed\n")
    shell.admin.answers("POST /reload", same | {"loadedAt": "yesterday"})
    assert shell.run("reload")[0] == 3


def test_reload_of_a_configuration_that_is_refused_is_1_and_says_where(shell: Shell) -> None:
    refused = {
        "ok": False,
        "outcome": "the configuration is refused since ...",
        "problems": ["a.yaml:1:1: adress: unknown key", "a.yaml:2:1: x: unknown \x1b key"],
        "changes": [],
    }
    shell.admin.answers("POST /reload", refused, 409)
    status, out, err = shell.run("reload")
    assert (status, out) == (1, "")
    assert err.splitlines() == [
        "image-cri-shim: the new configuration is refused, the one before runs:",
        "a.yaml:1:1: adress: unknown key",
        "a.yaml:2:1: x: unknown   key",
    ]
    status, out, err = shell.run("reload", "--json")
    assert (status, json.loads(out), err) == (1, refused, "")
    shell.admin.answers("POST /reload", refused | {"problems": [], "outcome": "stopping"}, 409)
    assert shell.run("reload") == (1, "", "image-cri-shim: stopping\n")


def test_the_levels_are_shown(shell: Shell) -> None:
    shell.admin.answers("GET /status", status_document())
    status, out, err = shell.run("log-level")
    assert (status, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        [name, "debug" if name == "registry" else "info"] for name in LEVELS
    ]
    assert shell.run("log-level", "registry") == (0, "registry  debug\n", "")
    assert json.loads(shell.run("log-level", "--json", "all")[1]) == {
        "levels": LEVELS | {"registry": "debug"}
    }


def test_a_level_is_changed_and_shown(shell: Shell) -> None:
    shell.admin.answers("POST /log-levels", {"levels": LEVELS | {"pull": "debug"}})
    assert shell.run("log-level", "pull", "debug") == (0, "pull  debug\n", "")
    assert shell.asked() == {"component": "pull", "level": "debug"}
    assert len(shell.run("log-level", "all", "configured")[1].splitlines()) == len(LEVELS)
    assert shell.asked() == {"component": "all", "level": ""}


@pytest.mark.parametrize("words", [["nonsense"], ["pull", "loud"], ["pull", ""]])
def test_a_part_or_a_level_that_there_is_not_is_2(shell: Shell, words: list[str]) -> None:
    status, out, err = shell.run("log-level", *words)
    assert (status, out) == (2, "")
    assert "invalid choice" in err
    assert shell.admin.requests == []


def test_a_refusal_is_1(shell: Shell) -> None:
    for address, command in (("log-levels", ["log-level", "all", "info"]), ("reload", ["reload"])):
        shell.admin.answers(f"POST /{address}", {"error": "something went wrong here"}, 500)
        status, out, err = shell.run(*command)
        assert (status, out) == (1, "")
        assert err == "image-cri-shim: the daemon refuses: something went wrong here\n"
