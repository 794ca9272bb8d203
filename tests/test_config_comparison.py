"""What a reload says that has changed."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from image_cri_shim.config import Config, differences, parse


def changed(before: str, after: str) -> list[str]:
    return list(differences(parse(before, "f"), parse(after, "f")))


def test_without_a_change_there_is_nothing_to_say() -> None:
    text = (
        "auth: a:geheim\nregistries: [{address: b.corp, auth: 'c:geheim'}]\nrules: [{match: a.io}]"
    )
    assert changed(text, text) == []
    assert differences(Config(), Config()) == ()


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ("timeout: 15m", "timeout: 20m", ["Timeout: 15m0s -> 20m0s"]),
        ("debug: false", "debug: true", ["Debug: false -> true"]),
        ("shim: /run/a.sock", "shim: /run/b.sock", ["shim-socket: /run/a.sock -> /run/b.sock"]),
        ("cri: ''", "cri: /run/c.sock", ["cri-socket: detected -> /run/c.sock"]),
        (
            "shimMode: 0660\nshimGroup: kube",
            "shimMode: 600",
            ["ShimMode: 0660 -> 0600", "ShimGroup: kube -> as the runtime's socket"],
        ),
        ("shutdownGrace: 30s", "shutdownGrace: 0", ["ShutdownGrace: 30s -> 0s"]),
        (
            "logLevels: {cri: warn}",
            "logLevels: {cri: warn, pull: debug}\nadminListen: 127.0.0.1:1",
            ["AdminListen: none -> 127.0.0.1:1", "LogLevels: cri warn -> cri warn, pull debug"],
        ),
        (
            "historyAge: 0",
            "adminSocket: ''\nhistoryAge: 1h\nhistorySize: 0",
            [
                "AdminSocket: /run/image-cri-shim/admin.sock -> none",
                "HistorySize: 10000 -> 0 (no history)",
                "HistoryAge: no limit -> 1h0m0s",
            ],
        ),
        (
            "",
            "registries: [{address: a.corp, prefix: x}]",
            [
                "Registries: none -> a.corp/x (priority 500)",
                "Registry a.corp/x: none -> prefix x",
            ],
        ),
        (
            "registries: [{address: a.corp, prefix: x}]\ntimeout: 1m",
            "timeout: 2m",
            [
                "Timeout: 1m0s -> 2m0s",
                "Registries: a.corp/x (priority 500) -> none",
                "Registry a.corp/x: prefix x -> none",
            ],
        ),
        (
            "rules: [{match: a.io, registries: []}]",
            "rules: [{match: b.io}]",
            ['Rule 1: "a.io -> none" -> "b.io -> all registries"'],
        ),
    ],
)
def test_each_setting_that_has_changed_has_a_line(
    before: str, after: str, lines: list[str]
) -> None:
    assert changed(before, after) == lines


def test_a_password_that_has_changed_is_said_to_and_never_shown() -> None:
    texts = [
        f"auth: 'a:{one}'\nregistries: [{{address: b.corp, auth: 'c:{one}', prefix: p}}]"
        for one in ("geheim1", "geheim2")
    ]
    assert changed(*texts) == ["Password: changed", "Registry b.corp/p: password changed"]
    assert changed(texts[0], "registries: [{address: b.corp, prefix: p}]") == [
        "Username: a -> not set",
        "Password: set -> not set",
        "Registry b.corp/p: user c (password set), prefix p -> prefix p",
    ]
    assert changed(texts[0], texts[0].replace("auth: 'a:", "auth: 'b:")) == ["Username: a -> b"]


def test_a_new_address_does_not_hide_a_new_password() -> None:
    lines = changed("address: a.corp\nauth: a:geheim1", "address: b.corp\nauth: a:geheim2")
    assert lines == [
        "hub-address: https://a.corp -> https://b.corp",
        "RegistryDomain: a.corp -> b.corp",
        "Password: changed",
    ]


REGISTRY = st.fixed_dictionaries(
    {},
    optional={
        "auth": st.sampled_from(["a:geheim1", "a:geheim2", "b:geheim1", "a:"]),
        "priority": st.integers(0, 2),
        "prefix": st.sampled_from(["x", "y"]),
        "timeout": st.sampled_from(["4s", "5s"]),
        "caFile": st.just("/ca.pem"),
        "trustFor": st.sampled_from(["tag", "digest"]),
    },
)
RULE = st.fixed_dictionaries(
    {"match": st.sampled_from(["a.io", "b.io/x"])},
    optional={"originAllowed": st.booleans(), "tags": st.sampled_from(["v1", "v2"])},
)
FILE = st.fixed_dictionaries(
    {},
    optional={
        "shim": st.sampled_from(["/run/a.sock", "/run/b.sock"]),
        "shimMode": st.sampled_from(["0600", "0660"]),
        "shimGroup": st.sampled_from(["0", "kube"]),
        "address": st.sampled_from(["", "http://h.corp", "https://h.corp", "https://i.corp"]),
        "auth": st.sampled_from(["a:geheim1", "a:geheim2", "b:geheim1"]),
        "offline": REGISTRY.map(
            lambda one: {name: one[name] for name in one if name in ("prefix", "timeout")}
        ),
        "registries": REGISTRY.map(lambda one: [{"address": "c.corp", **one}]),
        "rules": st.lists(RULE, max_size=1),
        "cache": st.sampled_from([{"absentTTL": "1s"}, {"imageCacheSize": 7}]),
        "originalNames": st.sampled_from(["add", "only"]),
        "shutdownGrace": st.sampled_from(["0", "1s"]),
        "timeout": st.sampled_from(["1s", "2s"]),
        "adminSocket": st.sampled_from(["", "/run/admin.sock"]),
        "adminListen": st.sampled_from(["", "localhost:1", "127.0.0.1:1", "[::1]:1"]),
        "logFormat": st.sampled_from(["auto", "json"]),
        "logLevels": st.dictionaries(
            st.sampled_from(["cri", "pull"]), st.sampled_from(["", "debug", "info"])
        ),
        "historySize": st.sampled_from([0, 10_000]),
        "historyAge": st.sampled_from(["0", "1s"]),
    },
)


def config_of(content: dict[str, Any]) -> Config:
    if content.get("address") == "":
        content = {name: content[name] for name in content if name not in ("auth", "offline")}
    return parse(yaml.safe_dump(content), "f")


@settings(derandomize=True, max_examples=400, deadline=None)
@given(FILE, FILE)
def test_whatever_has_changed_is_said_and_no_password(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    one, other = config_of(before), config_of(after)
    lines = differences(one, other)
    assert bool(lines) == (one != other)
    assert "geheim" not in "".join(lines)
    assert all(line.isprintable() for line in lines)
    assert len(set(lines)) == len(lines)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(FILE, st.sampled_from(["geheim1", "geheim2"]))
def test_a_new_password_alone_is_never_missed(content: dict[str, Any], password: str) -> None:
    text = yaml.safe_dump(content)
    one, other = config_of(content), config_of(yaml.safe_load(text.replace(password, "geheim3")))
    assert bool(differences(one, other)) == (one != other)
