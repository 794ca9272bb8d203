"""A web page from elsewhere cannot read what is served on TCP by giving its name our address."""

from __future__ import annotations

import pytest

from image_cri_shim.admin.hosts import host_check
from tests.admin.stage import Stage

NAMES = ("10.0.0.7", "node1.corp")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:9317",
        "10.0.0.7",
        "192.0.2.99:9317",
        "[::1]:9317",
        "[fd00::7]",
        "localhost",
        "LOCALHOST:9317",
        "node1.corp:9317",
        "Node1.Corp.",
    ],
)
def test_addresses_and_names_of_this_machine_are_taken(host: str) -> None:
    stage = Stage(read_only=True, names=NAMES)
    assert stage.ask("/healthz", headers=(f"Host: {host}",)).code == 200


@pytest.mark.parametrize(
    "host",
    [
        "attacker.test",
        "attacker.test:9317",
        "127.0.0.1.attacker.test",
        "localhost.attacker.test",
        "node1.corp.attacker.test",
        "node1",
        "",
        "::1",
        "[127.0.0.1]",
        "[::1",
        "127.0.0.1:9317:1",
        "127.0.0.1@attacker.test",
        "user:127.0.0.1",
        "2130706433",
        "\xff",
    ],
)
@pytest.mark.parametrize("path", ["/", "/status", "/decisions", "/x"])
def test_any_other_name_is_refused(host: str, path: str) -> None:
    stage = Stage(read_only=True, names=NAMES)
    answer = stage.ask(path, headers=(f"Host: {host}",))
    assert answer.code == 403
    assert answer.error == "use this machine's IP address, or localhost"


def test_two_names_are_refused() -> None:
    stage = Stage(read_only=True, names=NAMES)
    headers = ("Host: localhost", "Host: attacker.test")
    assert stage.ask("/status", headers=headers).code == 403


def test_who_says_no_name_is_no_browser() -> None:
    assert host_check(NAMES)([])


def test_on_the_unix_socket_any_name_will_do() -> None:
    assert Stage().ask("/healthz", headers=("Host: anything",)).code == 200
