"""Where the daemon tells how it is, what it logs, and what it keeps of the pulls."""

from __future__ import annotations

import attrs
import pytest

from image_cri_shim.config import (
    COMPONENTS,
    KNOWN_SOCKETS,
    Config,
    parse,
    parse_listen,
    warnings,
)
from image_cri_shim.config.sockets import format_listen
from image_cri_shim.daemon import _of_registries
from image_cri_shim.errors import ConfigError

ADMIN = Config().admin_socket
LISTEN = "expected an address and a port such as 127.0.0.1:9317 or [::1]:9317,"


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    (found,) = caught.value.problems
    return str(found).removeprefix("f:")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9317", "127.0.0.1", 9317),
        ("0.0.0.0:1", "0.0.0.0", 1),
        ("[::1]:65535", "::1", 65535),
        ("[FD00:0::A]:80", "fd00::a", 80),
        ("[::]:9317", "::", 9317),
        ("localhost:9317", "127.0.0.1", 9317),
        ("LocalHost:9317", "127.0.0.1", 9317),
    ],
)
def test_an_address_to_listen_on_is_taken_apart_without_asking_a_resolver(
    text: str, host: str, port: int
) -> None:
    assert parse_listen(text) == (host, port)
    written = parse(f"adminListen: '{text}'", "f").admin_listen
    assert written == format_listen(host, port)
    assert parse_listen(written) == (host, port)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1", "found no port in 127.0.0.1: write 127.0.0.1:9317"),
        ("[::1]", "found no port in [::1]: write [::1]:9317"),
        ("localhost", "found no port in localhost: write localhost:9317"),
        ("9317", "found no address in 9317: write 127.0.0.1 for this machine"),
        (":9317", "found no address in :9317: write 127.0.0.1 for this machine"),
        ("::1:9317", "found ::1:9317: write an IPv6 address in brackets, [::1]:9317"),
        ("[::1]9317", "found [::1]9317: write an IPv6 address in brackets, [::1]:9317"),
        ("127.0.0.1:", "found the port , which is not from 1 to 65535"),
        ("127.0.0.1:0", "found the port 0, which is not from 1 to 65535"),
        ("127.0.0.1:65536", "found the port 65536, which is not from 1 to 65535"),
        ("127.0.0.1:\u0663", "found the port \u0663, which is not from 1 to 65535"),
        ("127.0.0.1:http", "found the port http, which is not from 1 to 65535"),
        *(
            (
                f"{host}:9317",
                (
                    f"found {host}, which is neither an IP address nor localhost; "
                    "names are not looked up"
                ),
            )
            for host in ("node.corp", "*", "127.1", "[127.0.0.1]", "[fe80::1%eth0]", "[]", "1 2")
        ),
        ("http://127.0.0.1:1", "found http://127.0.0.1:1: write the address and the port alone"),
        ("/run/a.sock", "found the path /run/a.sock: write it as `adminSocket`"),
        ("unix:///run/a", "found the path unix:///run/a: write it as `adminSocket`"),
        ("a:geheim@127.0.0.1:1", "found an @ in it: write the address and the port alone"),
    ],
)
def test_what_is_no_address_to_listen_on_is_told_with_what_to_write(text: str, found: str) -> None:
    told = problem(f"adminListen: '{text}'")
    assert told == f"1:14: adminListen: {LISTEN} {found}"


@pytest.mark.parametrize(
    ("listen", "open_to_others"),
    [
        ("127.0.0.1:9317", False),
        ("127.8.9.1:9317", False),
        ("localhost:9317", False),
        ("[::1]:9317", False),
        ("[::ffff:127.0.0.1]:9317", False),
        ("0.0.0.0:9317", True),
        ("10.0.0.4:9317", True),
        ("[::]:9317", True),
        ("[fe80::1]:9317", True),
    ],
)
def test_an_address_that_others_may_reach_is_warned_of(listen: str, open_to_others: bool) -> None:
    found = warnings(parse(f"adminListen: '{listen}'", "f"))
    assert len(found) == open_to_others
    for one in found:
        assert one.startswith(f"adminListen {listen}: whoever reaches this address can read")
        assert "images and registries" in one
        assert "write [::1]:9317" in one if "[" in listen else "write 127.0.0.1:9317" in one


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("adminSocket: /var/run/image-cri-shim.sock", "1:14: adminSocket: {} `shim` (the default)"),
        ("adminSocket: /run/image-cri-shim.sock", "1:14: adminSocket: {} `shim` (the default)"),
        ("shim: /a\nadminSocket: //a", "2:14: adminSocket: {} `shim` (line 1)"),
        ("adminSocket: /a\ncri: /a", "1:14: adminSocket: {} `cri` (line 2)"),
        (f"shim: {ADMIN}", "1:7: shim: {} `adminSocket` (the default)"),
        (f"cri: unix:///var{ADMIN}", "1:6: cri: {} `adminSocket` (the default)"),
    ],
)
def test_the_admin_socket_is_none_of_the_other_sockets(text: str, told: str) -> None:
    assert problem(text) == told.format("expected a socket of its own, found the same file as in")


@pytest.mark.parametrize("path", KNOWN_SOCKETS)
def test_the_admin_socket_is_at_no_place_where_a_runtime_is_looked_for(path: str) -> None:
    expected = "1:14: adminSocket: expected a socket of its own, found the place of a runtime's"
    assert problem(f"adminSocket: {path}") == expected


def test_without_an_admin_socket_its_place_is_free() -> None:
    config = parse(f"adminSocket: ''\nshim: {ADMIN}", "f")
    assert (config.admin_socket, config.shim) == (None, ADMIN)


def test_two_wrong_sockets_are_one_problem_each() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("adminSocket: a\nshim: /b\ncri: /b", "f")
    assert [one.path for one in caught.value.problems] == ["adminSocket", "cri"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "logFormat: xml",
            "1:12: logFormat: expected auto, text, json or journal, found xml",
        ),
        (
            "logFormat: JSON",
            (
                "1:12: logFormat: expected auto, text, json or journal, found JSON "
                "(did you mean json?)"
            ),
        ),
        (
            "logLevels: {cri: warning}",
            "1:18: logLevels.cri: expected debug, info, warn or error, found warning",
        ),
        (
            "logLevels: {cri: off}",
            "1:18: logLevels.cri: expected debug, info, warn or error, found off",
        ),
        (
            "logLevels: {pulls: info}",
            "1:13: logLevels.pulls: unknown key (did you mean `pull`?)",
        ),
        (
            "logLevels: debug",
            (
                "1:12: logLevels: expected a mapping of daemon, cri, pull, runtime, registry, "
                "config, admin; found a text"
            ),
        ),
        (
            "historySize: 1000001",
            "1:14: historySize: expected a whole number from 0 to 1000000, found 1000001",
        ),
        (
            "historySize: -1",
            "1:14: historySize: expected a whole number from 0 to 1000000, found -1",
        ),
        (
            "historyAge: 90d",
            (
                "1:13: historyAge: expected a duration such as 15s or 1h30m, or 0, found 90d: it "
                "has the unknown unit d (the units are h, m, s, ms, us, ns)"
            ),
        ),
        (
            "historyAge: -1h",
            "1:13: historyAge: expected a duration such as 15s or 1h30m, or 0, found -1h",
        ),
    ],
)
def test_a_wrong_value_is_told_with_its_place(text: str, told: str) -> None:
    assert problem(text) == told


def test_a_component_of_which_nothing_is_said_logs_as_debug_says() -> None:
    assert Config().levels == dict.fromkeys(COMPONENTS, "info")
    said = "logLevels: {pull: warn, admin: ''}"
    assert parse(f"debug: true\n{said}", "f").levels == {
        **dict.fromkeys(COMPONENTS, "debug"),
        "pull": "warn",
    }
    assert parse(said, "f").levels == {**dict.fromkeys(COMPONENTS, "info"), "pull": "warn"}


def test_what_is_said_of_the_log_and_the_history_makes_no_registry_be_asked_anew() -> None:
    text = (
        "adminSocket: ''\nadminListen: 127.0.0.1:1\nlogFormat: json\n"
        "logLevels: {cri: warn}\nhistorySize: 1\nhistoryAge: 1h"
    )
    config = parse(text, "f")
    changed = {
        field.name
        for field in attrs.fields(Config)
        if getattr(config, field.name) != getattr(Config(), field.name)
    }
    assert len(changed) == len(text.split("\n"))
    assert _of_registries(config) == _of_registries(Config())
