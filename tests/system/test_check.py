"""`image-cri-shim check --online`: are the registries of a configuration what it takes them for?"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import self_signed
from tests.support.daemon import CONSOLE, run_program
from tests.support.faults import Status, always
from tests.support.http_server import Tarpit
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import free_port
from tests.support.registries import DockerRegistry
from tests.support.token_server import TokenServer
from tests.system.conftest import accidents
from tests.system.test_secrets import PASSWORDS, USER, betrayals

MakeRegistry = Callable[..., DockerRegistry]


class Check:
    """The command with a configuration file of its own."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "image-cri-shim.yaml"

    def run(self, *arguments: str) -> tuple[int, str, str]:
        ended = run_program(CONSOLE, "check", *arguments, str(self.file))
        assert accidents(ended.stdout + ended.stderr) == []
        return ended.returncode, ended.stdout, ended.stderr

    def configure(self, *registries: str) -> None:
        """Write a file; each registry is the inside of a mapping. The first is asked first."""
        lines = [f"- {{priority: {100 - number}, {one}}}" for number, one in enumerate(registries)]
        self.file.write_text("\n".join(["address: ''", "registries:", *lines]) + "\n")
        self.file.chmod(0o600)

    def probed(self, *registries: str) -> tuple[int, list[dict[str, Any]]]:
        """Return the status and what is told of each registry."""
        self.configure(*registries)
        status, out, err = self.run("--online", "--json")
        told = json.loads(out)
        assert (err, told["problems"]) == ("", [])
        return status, [one["probe"] for one in told["registries"]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    return Check(tmp_path)


def test_registries_that_can_be_used_are_0_and_a_line_each(
    check: Check, make_registry: MakeRegistry, offline: MemoryRegistry, tmp_path: Path
) -> None:
    certificate, key = self_signed(tmp_path / "tls")
    private = make_registry(htpasswd=(USER, "geheim"))
    secured = make_registry(tls=(certificate, key))
    with TokenServer(tmp_path / "tokens", users={USER: "geheim"}) as tokens:
        bearer = MemoryRegistry(bearer=tokens.bearer)
        with bearer:
            check.configure(
                f"address: '{private.url}', auth: '{USER}:geheim'",
                f"address: '{secured.url}', caFile: '{certificate}'",
                f"address: '{bearer.url}', auth: '{USER}:geheim'",
                f"address: '{offline.url}'",
            )
            status, out, err = check.run("--online")
    assert (status, err) == (0, "")
    first, *lines = out.splitlines()
    assert first == f"{check.file}: ok, 4 registries, 0 rules"
    assert [re.sub(r"  +\d+ ms$", "", re.sub(" {3,}", "  ", line)).strip() for line in lines] == [
        f"1  {private.host}  priority 100  can be used  plain http  basic accepted",
        f"2  {secured.host}  priority 99  can be used  TLS verified  no authentication",
        f"3  {bearer.host}  priority 98  can be used  plain http  bearer accepted",
        f"4  {offline.host}  priority 97  can be used  plain http  no authentication",
    ]


def test_a_registry_that_cannot_be_used_is_3_and_says_why(
    check: Check, make_registry: MakeRegistry, tmp_path: Path
) -> None:
    certificate, key = self_signed(tmp_path / "tls")
    private = make_registry(htpasswd=(USER, "geheim"))
    secured = make_registry(tls=(certificate, key))
    other = make_registry(tls=(certificate, key))
    third = make_registry(tls=(certificate, key))
    with MemoryRegistry() as failing:
        failing.faults = always(Status(500))
        status, probes = check.probed(
            f"address: '{private.url}', auth: '{USER}:falsch'",
            f"address: '{secured.url}'",
            f"address: 'http://127.0.0.1:{free_port()}'",
            f"address: '{failing.url}'",
            f"address: '{other.url.replace('https', 'http')}'",
            f"address: '{third.url}', insecureSkipVerify: true",
        )
    assert status == 3
    assert [one["usable"] for one in probes] == [False, False, False, False, False, True]
    assert [one["reachable"] for one in probes] == [True, False, False, True, True, True]
    wrong, untrusted, dead, broken, plain, unverified = probes
    assert (wrong["authentication"], wrong["detail"]) == ("refused", "401 wrong credentials")
    assert (wrong["tls"], wrong["scheme"]) == ("none", "basic")
    assert untrusted["detail"].startswith("TLS: certificate verify failed")
    assert dead["detail"] == "connection refused"
    assert broken["detail"].startswith("500")
    assert plain["detail"].startswith("400")
    assert unverified["tls"] == "not verified"


def test_one_odd_credential_spoils_nothing_else(
    check: Check, offline: MemoryRegistry, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"auths": {"odd": {"username": USER, "password": "\ud800"}}}).replace(
            "odd", offline.host
        )
    )
    offline.basic = (USER, "right")
    check.configure(
        f"address: '{offline.url}', authFile: {tmp_path}/config.json",
        f"address: '{offline.url}', prefix: a, auth: '{USER}:right'",
    )
    status, out, _ = check.run("--online", "--json")
    odd, good = (one["probe"] for one in json.loads(out)["registries"])
    assert status in (1, 3)
    assert (odd["usable"], good["usable"]) == (False, True)


def test_a_password_leaves_the_words_about_it_whole(check: Check, offline: MemoryRegistry) -> None:
    offline.basic = (USER, "right")
    status, (probe,) = check.probed(f"address: '{offline.url}', auth: '{USER}:d'")
    assert (status, probe["detail"]) == (3, "401 wrong credentials")


def test_they_are_tried_at_the_same_time_and_within_their_time_outs(check: Check) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(Tarpit()) for _ in range(5)]
        started = time.monotonic()
        status, probes = check.probed(*(f"address: '{one.url}', timeout: 2s" for one in silent))
        took = time.monotonic() - started
    assert status == 3
    assert {one["detail"] for one in probes} == {"timed out after 2s"}
    assert took < 8


def test_a_file_that_cannot_be_used_is_1_whatever_the_registries_do(
    check: Check, offline: MemoryRegistry, tmp_path: Path
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    check.configure(
        f"address: '{offline.url}'", f"address: '{dead}', authFile: {tmp_path}/none.json"
    )
    status, out, err = check.run("--online")
    assert status == 1
    assert err == (
        f"{check.file}: registries[1].authFile: cannot use {tmp_path}/none.json: no such file\n"
    )
    first, usable, lost = out.splitlines()
    assert first == f"{check.file}: 2 registries, 0 rules"
    assert "can be used" in usable
    assert lost.endswith(f"cannot use {tmp_path}/none.json: no such file")


def test_a_configuration_that_is_refused_asks_nobody(check: Check, offline: MemoryRegistry) -> None:
    check.file.write_text(f"address: {offline.url}\ndebug: maybe\n")
    status, out, err = check.run("--online")
    assert (status, out, offline.connections) == (1, "", 0)
    assert err.startswith(f"{check.file}:2:8: debug: ")


def test_it_writes_no_secret(check: Check, offline: MemoryRegistry, tmp_path: Path) -> None:
    offline.basic = (USER, PASSWORDS["accepted"])
    (tmp_path / "config.json").write_text(
        json.dumps({"auths": {offline.host: {"auth": PASSWORDS["named"]}}})
    )
    check.configure(
        f"address: '{offline.url}', auth: '{USER}:{PASSWORDS['accepted']}'",
        f"address: '{offline.url}', prefix: a, auth: '{USER}:{PASSWORDS['refused']}'",
        f"address: '{offline.url}', prefix: b, authFile: {tmp_path}/config.json",
    )
    for arguments in ((), ("--json",), ("--online",), ("--online", "--json")):
        status, out, err = check.run(*arguments)
        assert status == 1
        assert betrayals(out + err) == []
    check.file.write_text(f"auth: {PASSWORDS['own'].replace(':', '')}\nauht: {PASSWORDS['own']}\n")
    _, out, err = check.run()
    assert betrayals(out + err) == []
