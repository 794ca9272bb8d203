"""What a file may say of each registry, and what it must not say of several."""

from __future__ import annotations

import attrs
import pytest

from image_cri_shim.config import OFFLINE_KEYS, parse
from image_cri_shim.decision import Registry
from image_cri_shim.errors import ConfigError

HTTP_ONLY = "leave this out, or write that address with https://"
ONCE = "leave one out, or give it another `prefix`"
FILE = "expected the absolute path of a file,"
PATH = "expected a path such as team/proxy,"
DURATION = "expected a duration of more than 0, such as 15m or 1h30m,"
CONNECTIONS = "expected a whole number from 1 to 1000,"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    return [str(problem).removeprefix("f:") for problem in caught.value.problems]


def registry(settings: str) -> Registry:
    (only,) = parse(f"registries: [{{address: a.corp, {settings}}}]", "f").registries
    return only


def offline(settings: str, address: str = "https://hub.corp") -> Registry:
    found = parse(f"address: {address}\noffline: {{{settings}}}", "f").offline
    assert found is not None
    return found


SETTINGS = [
    ("authFile: /root/.docker/config.json", {"auth_file": "/root/.docker/config.json"}),
    ("authFile: ''", {}),
    ("prefix: dockerhub-proxy", {"prefix": "dockerhub-proxy"}),
    ("prefix: /team/a_b/c--d/", {"prefix": "team/a_b/c--d"}),
    ("prefix: 2024", {"prefix": "2024"}),
    ("prefix: ''", {}),
    (f"prefix: {'a' * 200}", {"prefix": "a" * 200}),
    ("keepHost: yes", {"keep_host": True}),
    ("trustFor: all", {}),
    ("trustFor: digest", {"trust_for": "digest"}),
    ("trustFor: tag", {"trust_for": "tag"}),
    ("caFile: /etc/ssl/\u00e4 b.pem", {"ca_file": "/etc/ssl/\u00e4 b.pem"}),
    ("certFile: /c", {"cert_file": "/c"}),
    ("certFile: /c, keyFile: /k", {"cert_file": "/c", "key_file": "/k"}),
    ("certFile: /c, insecureSkipVerify: on", {"cert_file": "/c", "insecure_skip_verify": True}),
    ("caFile: /a, insecureSkipVerify: off", {"ca_file": "/a"}),
    ("caFile: '', insecureSkipVerify: on", {"insecure_skip_verify": True}),
    ("connectTimeout: 10s", {"connect_timeout": 10.0}),
    # It cannot take longer than the whole look-up; nobody has asked for that here.
    ("timeout: 500ms", {"timeout": 0.5}),
    ("timeout: 1m, connectTimeout: 20s", {"timeout": 60.0, "connect_timeout": 20.0}),
    ("maxConnections: 1", {"max_connections": 1}),
    ("maxConnections: 1000", {"max_connections": 1000}),
    (", ".join(f"{key.name}: " for key in OFFLINE_KEYS), {}),
]


@pytest.mark.parametrize(("text", "attributes"), SETTINGS)
def test_a_setting_is_the_registrys(text: str, attributes: dict[str, object]) -> None:
    assert registry(text) == attrs.evolve(Registry("a.corp"), **attributes)


@pytest.mark.parametrize(("text", "attributes"), SETTINGS)
def test_the_offline_registry_takes_the_same_settings(
    text: str, attributes: dict[str, object]
) -> None:
    plain = Registry("hub.corp", priority=1000, offline=True)
    assert offline(text) == attrs.evolve(plain, **attributes)


def test_the_default_offline_registry_takes_settings_too() -> None:
    found = parse("offline: {keepHost: true}", "f").offline
    assert found == Registry(
        "sealos.hub:5000", plain_http=True, priority=1000, offline=True, keep_host=True
    )


def test_no_file_that_is_named_has_to_be_there() -> None:
    # It may be mounted later; a daemon that does not start would help nobody.
    missing = "/no/such/file"
    found = registry(f"authFile: {missing}, caFile: {missing}, certFile: {missing}")
    assert found.auth_file == found.ca_file == found.cert_file == missing


def test_saying_nothing_about_an_offline_registry_that_is_not_there_is_no_mistake() -> None:
    for text in ("{}", "", "{keepHost: }"):
        assert parse(f"address: ''\noffline: {text}", "f").offline is None


def test_tls_settings_that_say_nothing_are_no_mistake_with_http() -> None:
    text = "caFile: '', certFile: '', keyFile: '', insecureSkipVerify: false"
    assert offline(text, "http://hub.corp") == Registry(
        "hub.corp", plain_http=True, priority=1000, offline=True
    )


def test_one_domain_may_be_listed_once_for_each_prefix() -> None:
    text = """\
address: https://harbor.corp
offline: {prefix: library}
registries:
  - address: harbor.corp
  - {address: harbor.corp, prefix: dockerhub, priority: 7}
  - {address: harbor.corp, prefix: dockerhub/more}
  - {address: harbor.corp:8443, prefix: dockerhub}
  - {address: "http://[::1]:5000", prefix: a}
"""
    config = parse(text, "f")
    assert [one.name for one in config.all_registries] == [
        "harbor.corp/library",
        "harbor.corp",
        "harbor.corp/dockerhub",
        "harbor.corp/dockerhub/more",
        "harbor.corp:8443/dockerhub",
        "[::1]:5000/a",
    ]
    assert config.registries[1].priority == 7


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("authFile: config.json", f"{FILE} found something that does not begin with /"),
        ("authFile: ~/.docker/config.json", f"{FILE} found something that does not begin with /"),
        ("caFile: /etc/ssl/", f"{FILE} found a directory (it ends with /)"),
        ('certFile: "/a\\nb"', f"{FILE} found a line break or another control character in it"),
        ("keyFile: [/a]", f"{FILE} found a list"),
        ("keyFile: /" + "\u00e4" * 2048, f"{FILE} found one of 4097 bytes, more than 4095"),
        ("prefix: Team", f"{PATH} found a capital letter: paths are lower case"),
        ("prefix: a//b", f"{PATH} found two slashes with nothing in between"),
        ("prefix: /", f"{PATH} found an empty path"),
        *(
            (
                f"prefix: {wrong}",
                f"{PATH} found something other than lower-case letters and digits with one of "
                ". _ __ - between them",
            )
            for wrong in ("a b", "-a", "a_-b", "a:1", "a@b", "a..b", "a/*", "\u00e4", "a/.b")
        ),
        (f"prefix: {'a' * 201}", f"{PATH} found one of 201 characters, more than 200"),
        ("keepHost: 1", "expected true or false, found 1 (did you mean true?)"),
        ("trustFor: tags", "expected all, digest or tag, found tags"),
        ("trustFor: Tag", "expected all, digest or tag, found Tag (did you mean tag?)"),
        ("connectTimeout: 0", f"{DURATION} found 0"),
        ("timeout: 0s", f"{DURATION} found 0s"),
        ("timeout: 10", f"{DURATION} found 10: it has no unit (did you mean 10s?)"),
        ("maxConnections: 0", f"{CONNECTIONS} found 0"),
        ("maxConnections: 1001", f"{CONNECTIONS} found 1001"),
        (
            "connectTimeout: 11s",
            "expected at most the `timeout` of 10s (its default), found 11s: "
            "a look-up takes no longer",
        ),
        (
            "keyFile: /k",
            "expected `certFile` beside it, found none: name the key's certificate",
        ),
        (
            "keyFile: /k\n  certFile: ''",
            "expected `certFile` beside it, found none: name the key's certificate",
        ),
    ],
)
def test_a_wrong_setting_is_one_problem_at_its_place(setting: str, problem: str) -> None:
    key = setting.partition(":")[0]
    column = len(f"  {key}: ") + 1
    (found,) = problems(f"registries:\n- address: a.corp\n  {setting}")
    assert found == f"3:{column}: registries[0].{key}: {problem}"
    (found,) = problems(f"address: https://a.corp\noffline:\n  {setting}")
    assert found == f"3:{column}: offline.{key}: {problem}"


def test_several_settings_that_do_not_go_together_are_all_told() -> None:
    text = """\
registries:
  - address: http://a.corp
    auth: robot:secret
    authFile: /a.json
    caFile: /ca.pem
    certFile: /c.pem
    keyFile: /k.pem
    insecureSkipVerify: true
  - address: b.corp
    caFile: /ca.pem
    insecureSkipVerify: true
    connectTimeout: 2m
    timeout: 1m30s
"""
    http = f"expected a registry with https:// for this, found http://a.corp (line 2): {HTTP_ONLY}"
    assert problems(text) == [
        (
            "4:15: registries[0].authFile: expected `auth` or `authFile`, found both (`auth` on "
            "line 3): leave one out"
        ),
        f"5:13: registries[0].caFile: {http}",
        f"6:15: registries[0].certFile: {http}",
        f"7:14: registries[0].keyFile: {http}",
        f"8:25: registries[0].insecureSkipVerify: {http}",
        (
            "11:25: registries[1].insecureSkipVerify: expected `caFile` (line 10) or this, found "
            "both: a certificate that is not verified needs no CA; leave one out"
        ),
        (
            "12:21: registries[1].connectTimeout: expected at most the `timeout` of 1m30s (line "
            "13), found 2m0s: a look-up takes no longer"
        ),
    ]


def test_the_offline_registrys_settings_are_held_against_the_keys_at_the_top() -> None:
    text = "auth: admin:secret\noffline:\n  authFile: /a.json\n  caFile: /ca.pem\n"
    both = "expected `auth` or `authFile`, found both (`auth` on line 1): leave one out"
    http = "expected a registry with https:// for this, found http://sealos.hub:5000 (its default)"
    assert problems(text) == [
        f"3:13: offline.authFile: {both}",
        f"4:11: offline.caFile: {http}: {HTTP_ONLY}",
    ]
    # These are about something else.
    assert parse("timeout: 1s\noffline: {connectTimeout: 2s}\n", "f").offline is not None


def test_an_empty_auth_goes_with_an_auth_file() -> None:
    assert registry("auth: '', authFile: /a").auth_file == "/a"
    assert registry("auth: a:b, authFile: ''").auth_file is None


def test_more_about_an_offline_registry_that_is_not_there_is_a_mistake() -> None:
    more = (
        'expected no more about the offline registry, found `address: ""` (line 3), which means '
        "none: leave this out, or write its address"
    )
    assert problems("offline:\n  prefix: a\naddress: ''\n") == [f"2:3: offline: {more}"]
    # Nobody's password is dropped in silence, nor repeated.
    assert problems("auth: a:hunter2\nofflinePriority: 0\naddress: ''\n") == [
        f"1:7: auth: {more}",
        f"2:18: offlinePriority: {more}",
    ]


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("harbor.corp/dockerhub-proxy", ": write it as `prefix: dockerhub-proxy`"),
        ("https://harbor.corp:8443/a/b/", ": write it as `prefix: a/b`"),
        ("http://harbor.corp/v2/proxy", ": write it as `prefix: proxy`"),
        ("http://harbor.corp/v2/", ": leave /v2 out"),
        ("http://harbor.corp/v2", ": leave /v2 out"),
        # What cannot be a prefix is not repeated.
        ("harbor.corp/Proxy", ""),
        ("harbor.corp/admin:secret", ""),
        ("harbor.corp//", ""),
        ("harbor.corp/" + "a" * 201, ""),
    ],
)
def test_an_address_with_a_path_is_told_where_to_write_it(address: str, hint: str) -> None:
    url = "expected http://host[:port] or https://host[:port]"
    assert problems(f"registries: [{{address: '{address}'}}]") == [
        f"1:24: registries[0].address: {url}, found a path after the host{hint}"
    ]
    where = hint.replace("write it as", "write it under `offline`, as")
    assert problems(f"address: '{address}'") == [
        (
            f'1:10: address: {url} (or "" for no offline registry), found a path after the '
            f"host{where}"
        )
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "registries:\n- {address: a.corp, prefix: x}\n- {prefix: /x/, address: A.corp}",
            (
                "3:26: registries[1].address: expected each registry once, found a.corp/x also as "
                f"`registries[0].address` (line 2): {ONCE}"
            ),
        ),
        (
            "registries:\n- {prefix: x, address: a.corp}\naddress: a.corp\noffline: {prefix: x}",
            (
                "2:24: registries[0].address: expected each registry once, found a.corp/x also as "
                f"`address` (line 3): {ONCE}"
            ),
        ),
        (
            "registries:\n- address: a.corp\n- {prefix: x, address: 'http://A.corp'}",
            (
                "3:24: registries[1].address: expected https://a.corp as in "
                "`registries[0].address` (line 2), found http://A.corp: "
                "write the same address for the same server"
            ),
        ),
        (
            "registries:\n- {prefix: x, address: 'https://sealos.hub:5000'}",
            (
                "2:24: registries[0].address: expected http://sealos.hub:5000 as in `address` "
                "(its default), found https://sealos.hub:5000: "
                "write the same address for the same server"
            ),
        ),
        *(
            (
                f"registries:\n- address: '{one}'\n- address: '{other}'",
                (
                    f"3:12: registries[1].address: expected each registry once, found {name}, "
                    f"which is {first} in `registries[0].address` (line 2): {ONCE}"
                ),
            )
            for one, first, other, name in (
                ("a.corp", "a.corp", "A.corp:443", "a.corp:443"),
                ("https://a.corp:443", "a.corp:443", "a.corp", "a.corp"),
                ("http://a.corp", "a.corp", "http://a.corp:80", "a.corp:80"),
                ("http://a.corp:443", "a.corp:443", "a.corp", "a.corp"),
                ("[::1]:5000", "[::1]:5000", "[0:0::1]:5000", "[0:0::1]:5000"),
                ("[::A]", "[::a]", "[::a]:443", "[::a]:443"),
            )
        ),
        *(
            (
                f"registries:\n- {{address: '{one}', prefix: x}}\n- address: '{other}'",
                (
                    f"3:12: registries[1].address: expected {url} as in "
                    f"`registries[0].address` (line 2), found {found}: "
                    "write the same address for the same server"
                ),
            )
            for one, url, other, found in (
                ("a.corp", "https://a.corp", "a.corp:443", "https://a.corp:443"),
                ("http://a.corp:80", "http://a.corp:80", "http://a.corp", "http://a.corp"),
                ("[::1]:5", "https://[::1]:5", "[0::1]:5", "https://[0::1]:5"),
                ("http://a.corp", "http://a.corp", "a.corp", "https://a.corp"),
            )
        ),
    ],
)
def test_a_registry_is_there_once_and_a_server_has_one_scheme(text: str, problem: str) -> None:
    assert problems(text) == [problem]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.corp", "a.corp:80"),
        ("a.corp", "http://a.corp:80"),
        ("http://a.corp", "a.corp:443"),
        ("http://a.corp", "http://a.corp:443"),
        ("[::1]", "[::1]:80"),
        ("[::1]:5000", "[::2]:5000"),
        ("a.corp:5000", "a.corp"),
    ],
)
def test_two_ports_of_a_host_are_two_servers(one: str, other: str) -> None:
    text = f"registries: [{{address: '{one}'}}, {{address: '{other}'}}]"
    assert len(parse(text, "f").registries) == 2


@pytest.mark.parametrize(
    "text",
    [
        # It may be another registry than the one before.
        "registries:\n- address: a.corp\n- address: a.corp\n  prefix: X",
        "registries:\n- address: a.corp\n- address: a.corp\n  prfix: x",
        "registries:\n- address: a.corp\n  prfix: x\n- address: a.corp",
        "registries:\n- address: a.corp\n- address: a.corp\n  1: x",
        "address: a.corp\noffline: {prefix: X}\nregistries: [{address: a.corp}]",
        "address: a.corp\noffline: {prfix: x}\nregistries: [{address: a.corp}]",
        # It may be on https.
        "address: a b\noffline: {caFile: /a}",
        "address: a b\nregistries: [{address: https://sealos.hub:5000, prefix: a}]",
        # It may have a certificate, a longer time.
        "registries: [{address: a.corp, keyFile: /k, certFile: c}]",
        "registries: [{address: a.corp, connectTimeout: 1m, timeout: 2}]",
        "registries: [{address: a.corp, auth: secret, authFile: /a}]",
        "address: ''\noffline: {prefix: X}",
        "address: ''\noffline: {unknown: X}",
    ],
)
def test_a_wrong_setting_has_no_other_problem_in_its_wake(text: str) -> None:
    assert len(problems(text)) == 1
