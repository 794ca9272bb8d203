"""Files that are YAML and say something wrong: place, key, what was expected, what was found."""

from __future__ import annotations

import pytest

from image_cri_shim.config import parse
from image_cri_shim.errors import ConfigError, Problem

ALL = (
    "shim, shimMode, shimOwner, shimGroup, cri, address, auth, force, debug, image, version, "
    "timeout, shutdownGrace, reloadInterval, offlinePriority, offline, registries, rules, "
    "lookupGrace, originalNames, cache, adminSocket, adminListen, logFormat, logLevels, "
    "historySize, historyAge"
)
MORE = (
    "authFile, authCredential, prefix, keepHost, trustFor, caFile, certFile, keyFile, "
    "insecureSkipVerify, connectTimeout, timeout, maxConnections"
)
SOCKET = "expected the absolute path of a socket, of at most 107 bytes,"
REGISTRY = "expected http://host[:port] or https://host[:port],"
TIMEOUT = "expected a duration of more than 0, such as 15m or 1h30m,"
INTERVAL = "expected a duration such as 15s or 1h30m, or 0,"
PRIORITY = "expected a whole number from 0 to 10000,"
ANCHOR = "found an anchor (&name): write the value itself, in quotes if it begins like that"
ALIAS = "found an alias (*name): write the value itself, in quotes if it begins like that"
TAG = "found a tag (!name): write the value itself, in quotes if it begins like that"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    lines = str(caught.value).split("\n")
    assert len(lines) == len(caught.value.problems)
    return [line.removeprefix("f:") for line in lines]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("shmi: /a", "1:1: shmi: unknown key (did you mean `shim`?)"),
        ("Shim: /a", "1:1: Shim: unknown key (did you mean `shim`?)"),
        ("SHIM: /a", "1:1: SHIM: unknown key (did you mean `shim`?)"),
        (
            "reload_interval: 1s",
            "1:1: reload_interval: unknown key (did you mean `reloadInterval`?)",
        ),
        (
            "reload-interval: 1s",
            "1:1: reload-interval: unknown key (did you mean `reloadInterval`?)",
        ),
        ("xyzzy: 1", f"1:1: xyzzy: unknown key (known: {ALL})"),
        (
            "{debug: on, xyz}",
            (
                f"1:13: unknown key without a value (known: {ALL}): "
                "put a value with a comma in quotes"
            ),
        ),
        (
            "cache:\n  imageCacheTtl:\n",
            (
                "2:3: cache: unknown key without a value (did you mean `imageCacheTTL`?): "
                "put a value with a comma in quotes"
            ),
        ),
        ("cache: {ttl: 1}", None),
        (
            "cache:\n  imageCacheTtl: 1s",
            "2:3: cache.imageCacheTtl: unknown key (did you mean `imageCacheTTL`?)",
        ),
        (
            "registries:\n  - address: a.corp\n    prio: 1",
            "3:5: registries[0].prio: unknown key (did you mean `priority`?)",
        ),
        ("shim: /a\nshim: /b", "2:1: shim: given twice; the first is on line 1"),
        ("auth:\n'auth': a:b", "2:1: auth: given twice; the first is on line 1"),
        (
            "cache: {disableStats: on,\n disableStats: on}",
            "2:2: cache.disableStats: given twice; the first is on line 1",
        ),
        *(
            (f"{head}{{{name}: 's3cret'}}", f"{place}: unknown key ({instead})")
            for head, place, name, instead in (
                ("", "1:2: plainHTTP", "plainHTTP", "write http:// in `address`"),
                ("", "1:2: password", "password", "write `auth: user:password`"),
                (
                    "offline: ",
                    "1:11: offline.auth",
                    "auth",
                    "write it at the top, beside `address`",
                ),
                ("offline: ", "1:11: offline.address", "address", "write it at the top"),
                (
                    "offline: ",
                    "1:11: offline.username",
                    "username",
                    "write `auth: user:password` at the top, beside `address`",
                ),
                (
                    "offline: ",
                    "1:11: offline.priority",
                    "priority",
                    "write it at the top, as `offlinePriority`",
                ),
                (
                    "offline: ",
                    "1:11: offline.plain-http",
                    "plain-http",
                    "write http:// in `address`, at the top",
                ),
            )
        ),
        (
            "registries: [{address: a.corp, plainHttp: true}]",
            "1:32: registries[0].plainHttp: unknown key (write http:// in `address`)",
        ),
        (
            "cache: {password: 1}",
            "1:9: cache.password: unknown key (known: imageCacheSize, imageCacheTTL, absentTTL, "
            "domainCacheTTL, statsLogInterval, disableStats)",
        ),
        ("1: a", "1:1: expected a key, found a whole number"),
        ("1.5: a", "1:1: expected a key, found a number"),
        ("on: a", "1:1: expected a key, found a boolean"),
        ("~: a", "1:1: expected a key, found nothing"),
        ("2001-12-14: a", "1:1: expected a key, found a date or a special value"),
        ("[a]: a", "1:1: expected a key, found a list"),
        ("{a: b}: a", "1:1: expected a key, found a mapping"),
        ("<<: {shim: /a}", "1:1: expected a key, found a merge key (<<): write the keys out"),
        (
            "{auth:a}",
            "1:2: expected a key, found something else (is a space missing after a colon?)",
        ),
        ("&a shim: /a", f"1:1: expected a key, {ANCHOR}"),
        ("[]", f"1:1: expected a mapping of {ALL}; found a list"),
        ("some text", f"1:1: expected a mapping of {ALL}; found a text"),
        ("12", f"1:1: expected a mapping of {ALL}; found a whole number"),
        ("&a {}", f"1:1: expected a mapping of {ALL}; {ANCHOR}"),
        ("shim: [/a]", f"1:7: shim: {SOCKET} found a list"),
        ("shim: {a: b}", f"1:7: shim: {SOCKET} found a mapping"),
        ("shim: ''", f"1:7: shim: {SOCKET} found an empty text"),
        ("shim: unix://", f"1:7: shim: {SOCKET} found unix://"),
        ("shim: run/a", f"1:7: shim: {SOCKET} found run/a"),
        ("shim: true", f"1:7: shim: {SOCKET} found true"),
        ("cri: unix://run/a", f"1:6: cri: {SOCKET} found unix://run/a"),
        ("cri: tcp://a:1", f"1:6: cri: {SOCKET} found tcp://a:1"),
        ("cri: /run/", f"1:6: cri: {SOCKET} found /run/, a directory"),
        ("cri: " + "x" * 500, f"1:6: cri: {SOCKET} found {'x' * 60}..."),
        ("shim: /" + "x" * 500 + "/", f"1:7: shim: {SOCKET} found /{'x' * 59}..., a directory"),
        ('shim: "x\\u202ea\\u200b\u00e4"', f"1:7: shim: {SOCKET} found x\\u202ea\\u200b\u00e4"),
        ("cri: /" + "x" * 107, f"1:6: cri: {SOCKET} found one of 108 bytes"),
        ("cri: /" + "\u00e4" * 54, f"1:6: cri: {SOCKET} found one of 109 bytes"),
        ('cri: "/a\\0b"', f"1:6: cri: {SOCKET} found a NUL in it"),
        (
            'cri: "/a\\nb"',
            f"1:6: cri: {SOCKET} found a line break or another control character in it",
        ),
        ('cri: "/\\ud800"', f"1:6: cri: {SOCKET} found characters in it that UTF-8 cannot hold"),
        ("shim: &a /a", f"1:7: shim: {SOCKET} {ANCHOR}"),
        ("shim: *a", f"1:7: shim: {SOCKET} {ALIAS}"),
        ("shim: !!str /a", f"1:7: shim: {SOCKET} {TAG}"),
        (
            "shim: /a\ncri: /a",
            "2:6: cri: expected the runtime's socket, found the same file as in `shim` (line 1)",
        ),
        (
            "cri: /x/..//a/.\nshim: unix:///a",
            "1:6: cri: expected the runtime's socket, found the same file as in `shim` (line 2)",
        ),
        (
            "cri: /run/image-cri-shim.sock",
            (
                "1:6: cri: expected the runtime's socket, found the same file as in `shim` "
                "(the default)"
            ),
        ),
        ("image: state", "1:8: image: expected the absolute path of a directory, found state"),
        ("image: ''", "1:8: image: expected the absolute path of a directory, found an empty text"),
        (
            "force: 'true'",
            '1:8: force: expected true or false, found the text "true" (write it without quotes)',
        ),
        ("force: 1", "1:8: force: expected true or false, found 1 (did you mean true?)"),
        ("force: n", "1:8: force: expected true or false, found n (did you mean false?)"),
        ("debug: maybe", "1:8: debug: expected true or false, found maybe"),
        ("debug: ''", '1:8: debug: expected true or false, found the text ""'),
        ("debug: {}", "1:8: debug: expected true or false, found a mapping"),
        ("version: v2", "1:10: version: expected auto, v1 or v1alpha2, found v2"),
        ("version: 1", "1:10: version: expected auto, v1 or v1alpha2, found 1 (did you mean v1?)"),
        (
            "version: V1",
            "1:10: version: expected auto, v1 or v1alpha2, found V1 (did you mean v1?)",
        ),
        (
            "timeout: 15",
            f"1:10: timeout: {TIMEOUT} found 15: it has no unit (did you mean 15s?)",
        ),
        (
            "timeout: '15'",
            f'1:10: timeout: {TIMEOUT} found the text "15": it has no unit (did you mean 15s?)',
        ),
        (
            "timeout: 15min",
            (
                f"1:10: timeout: {TIMEOUT} found 15min: it has the unknown unit min "
                "(the units are h, m, s, ms, us, ns)"
            ),
        ),
        (
            "timeout: ''",
            f"1:10: timeout: {TIMEOUT} found an empty text: it has no number and no unit",
        ),
        ("timeout: 0", f"1:10: timeout: {TIMEOUT} found 0"),
        ("timeout: -1s", f"1:10: timeout: {TIMEOUT} found -1s"),
        ("timeout: 87601h", f"1:10: timeout: {TIMEOUT} found 87601h, more than 10 years"),
        (
            "timeout: 9999999h",
            (
                f"1:10: timeout: {TIMEOUT} found 9999999h: it is longer than the 292 years that can be "
                "counted"
            ),
        ),
        ("reloadInterval: -1ns", f"1:17: reloadInterval: {INTERVAL} found -1ns"),
        ("reloadInterval: []", f"1:17: reloadInterval: {INTERVAL} found a list"),
        ("offlinePriority: 10001", f"1:18: offlinePriority: {PRIORITY} found 10001"),
        ("offlinePriority: -1", f"1:18: offlinePriority: {PRIORITY} found -1"),
        ("offlinePriority: 010", f"1:18: offlinePriority: {PRIORITY} found 010"),
        ("offlinePriority: 1_0", f"1:18: offlinePriority: {PRIORITY} found 1_0"),
        ("offlinePriority: 1.0", f"1:18: offlinePriority: {PRIORITY} found 1.0"),
        (
            "offlinePriority: '10'",
            f'1:18: offlinePriority: {PRIORITY} found the text "10" (write it without quotes)',
        ),
        (
            "offlinePriority: " + "9" * 5000,
            f"1:18: offlinePriority: {PRIORITY} found {'9' * 60}...",
        ),
        ('offlinePriority: "a\\u2028b"', None),
        (
            "cache: {imageCacheSize: 1000001}",
            "1:25: cache.imageCacheSize: expected a whole number from 0 to 1000000, found 1000001",
        ),
        (
            "cache: []",
            (
                "1:8: cache: expected a mapping of imageCacheSize, imageCacheTTL, absentTTL, "
                "domainCacheTTL, statsLogInterval, disableStats; found a list"
            ),
        ),
        ("registries: {}", "1:13: registries: expected a list, found a mapping"),
        ("registries: a.corp", "1:13: registries: expected a list, found a text"),
        ("registries: *a", f"1:13: registries: expected a list, {ALIAS}"),
        (
            "registries: [a.corp]",
            (
                f"1:14: registries[0]: expected a mapping of address, auth, priority, {MORE}; "
                "found a text"
            ),
        ),
        ("registries: [{}]", "1:14: registries[0]: expected the key `address`, found none"),
        (
            "registries: [{address: ''}]",
            f"1:24: registries[0].address: {REGISTRY} found no host",
        ),
        (
            "registries:\n- address: a.corp\n- address: b.corp\n  priority: high",
            f"4:13: registries[1].priority: {PRIORITY} found high",
        ),
        (
            "registries:\n- address: A.corp\n- address: http://a.corp",
            (
                "3:12: registries[1].address: expected each registry once, found a.corp also as "
                "`registries[0].address` (line 2): leave one out, or give it another `prefix`"
            ),
        ),
        (
            "registries:\n- address: a.corp\naddress: A.corp",
            (
                "2:12: registries[0].address: expected each registry once, found a.corp also as "
                "`address` (line 3): leave one out, or give it another `prefix`"
            ),
        ),
        (
            "registries:\n- address: sealos.hub:5000",
            (
                "2:12: registries[0].address: expected each registry once, found sealos.hub:5000 also "
                "as `address` (its default): leave one out, or give it another `prefix`"
            ),
        ),
        ("auth: admin", "1:7: auth: expected user:password, found no colon in it"),
        ("auth: ':secret'", "1:7: auth: expected user:password, found no user before the colon"),
        ("auth: [a:b]", "1:7: auth: expected user:password, found a list"),
        (
            "auth: |\n  a:b\n",
            (
                "1:7: auth: expected user:password, found a line break or another control character "
                "in it"
            ),
        ),
    ],
)
def test_a_mistake_is_one_problem_that_says_all(text: str, problem: str | None) -> None:
    found = problems(text)
    assert len(found) == 1
    if problem is not None:
        assert found == [problem]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = """\
registries:
  - address: a.corp
    priority: many
  - address: http://a.corp
cri: /a
shmi: /a
force: "yes"
shim: /a
auth: secret
timeout: 15
timeout: 15m
"""
    assert problems(text) == [
        f"3:15: registries[0].priority: {PRIORITY} found many",
        (
            "4:14: registries[1].address: expected each registry once, found a.corp also as "
            "`registries[0].address` (line 2): leave one out, or give it another `prefix`"
        ),
        "5:6: cri: expected the runtime's socket, found the same file as in `shim` (line 8)",
        "6:1: shmi: unknown key (did you mean `shim`?)",
        '7:8: force: expected true or false, found the text "yes" (write it without quotes)',
        "9:7: auth: expected user:password, found no colon in it",
        f"10:10: timeout: {TIMEOUT} found 15: it has no unit (did you mean 15s?)",
        "11:1: timeout: given twice; the first is on line 10",
    ]


def test_a_wrong_value_has_no_other_problem_in_its_wake() -> None:
    # Neither the default address nor the default socket is meant here.
    text = "address: a b\nregistries: [{address: sealos.hub:5000}]\n"
    assert len(problems(text)) == 1
    assert len(problems("shim: x\ncri: /var/run/image-cri-shim.sock\n")) == 1


def test_a_found_value_is_shown_on_one_line_and_cut() -> None:
    assert problems('version: "a\\nb"') == [
        '1:10: version: expected auto, v1 or v1alpha2, found the text "a\\nb"'
    ]
    assert problems("version: " + "a" * 100) == [
        f"1:10: version: expected auto, v1 or v1alpha2, found {'a' * 60}..."
    ]


def test_a_problem_is_a_value_for_programs() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("cache:\n  disableStats: 2\n", "/etc/shim.yaml")
    assert caught.value.problems == (
        Problem("/etc/shim.yaml", 2, 17, "cache.disableStats", "expected true or false, found 2"),
    )


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("f", 1, 2, "a.b", "m"), "f:1:2: a.b: m"),
        (Problem("f", 1, 2, "", "m"), "f:1:2: m"),
        (Problem("f", 0, 0, "", "m"), "f: m"),
        (Problem("", 0, 0, "--shim", "m"), "--shim: m"),
    ],
)
def test_a_problem_is_written_with_what_is_known_of_its_place(problem: Problem, text: str) -> None:
    assert str(problem) == text
