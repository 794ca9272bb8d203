"""What several files mean together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from image_cri_shim.config import Config, LogLevels, load, parse
from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Registry
from image_cri_shim.errors import ConfigError


def write(directory: Path, *texts: str) -> Path:
    """Write a file and drop-ins, and return the file's path."""
    path = directory / "f.yaml"
    path.write_text(texts[0])
    (directory / "f.d").mkdir(exist_ok=True)
    for index, text in enumerate(texts[1:]):
        (directory / "f.d" / f"{index}.yaml").write_text(text)
    return path


def merged(directory: Path, *texts: str) -> Config:
    return load(write(directory, *texts))


def problems(directory: Path, *texts: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        merged(directory, *texts)
    return [str(one).replace(f"{directory}/", "") for one in caught.value.problems]


def offline(config: Config) -> Registry:
    assert config.offline is not None
    return config.offline


def test_offline_and_cache_are_merged_key_by_key(tmp_path: Path) -> None:
    config = merged(
        tmp_path,
        "address: https://hub.corp\noffline: {prefix: a, timeout: 5s}\ncache: {absentTTL: 1s}",
        "offline: {timeout: 6s, keepHost: true}\ncache: {imageCacheTTL: 1m}",
        "cache: {absentTTL: 2s}",
    )
    hub = offline(config)
    assert (hub.prefix, hub.timeout, hub.keep_host) == ("a", 6.0, True)
    assert (config.cache.absent_ttl, config.cache.image_cache_ttl) == (2.0, 60.0)


def test_levels_of_components_are_merged_one_by_one(tmp_path: Path) -> None:
    config = merged(
        tmp_path,
        "logLevels: {cri: warn, pull: debug, admin: error}",
        "logLevels: {pull: info, registry: debug}",
        "logLevels: {admin: ''}",
    )
    assert config.log_levels == LogLevels(cri="warn", pull="info", registry="debug")


def test_the_admin_interface_of_a_later_file_replaces_that_of_an_earlier_one(
    tmp_path: Path,
) -> None:
    config = merged(
        tmp_path,
        "adminSocket: /run/a\nadminListen: 127.0.0.1:1",
        "adminSocket: ''\nadminListen: ''",
    )
    assert (config.admin_socket, config.admin_listen) == (None, None)
    assert problems(tmp_path, "adminSocket: /run/a", "shim: /run/a") == [
        "f.yaml:1:14: adminSocket: expected a socket of its own, found the same file as in `shim` "
        "(line 1 of f.d/0.yaml)"
    ]


def test_a_key_with_nothing_after_it_changes_nothing(tmp_path: Path) -> None:
    assert merged(tmp_path, "debug: true\nauth: a:b", "debug:\nauth:\nregistries:\n") == parse(
        "debug: true\nauth: a:b", "f"
    )


def test_registries_and_rules_are_appended_in_order(tmp_path: Path) -> None:
    config = merged(
        tmp_path,
        "registries: [{address: a.corp}]\nrules: [{match: a.io}]",
        "registries: [{address: b.corp}]\nrules: [{match: b.io, registries: [a.corp]}]",
        "registries: [{address: c.corp}]\nrules: [{match: c.io, registries: [b.corp]}]",
    )
    assert [one.name for one in config.registries] == ["a.corp", "b.corp", "c.corp"]
    assert [(one.number, str(one.match[0])) for one in config.rules] == [
        (1, "a.io"),
        (2, "b.io"),
        (3, "c.io"),
    ]


def test_an_earlier_file_may_name_a_registry_of_a_later_one(tmp_path: Path) -> None:
    rule = "rules: [{match: a.io, registries: [b.corp]}]"
    assert merged(tmp_path, rule, "registries: [{address: b.corp}]").rules[0].registries == (
        "b.corp",
    )


def test_a_registry_that_is_there_already_is_completed(tmp_path: Path) -> None:
    config = merged(
        tmp_path,
        "registries:\n- {address: a.corp, prefix: x, timeout: 5s, priority: 7}\n- address: b.corp",
        "registries:\n- {address: 'https://A.corp/', prefix: /x/, timeout: 6s, keepHost: true}",
        "registries:\n- {address: a.corp}\n- {address: a.corp, prefix: x, caFile: /ca}",
    )
    assert config.registries == (
        Registry("a.corp", prefix="x", timeout=6.0, priority=7, keep_host=True, ca_file="/ca"),
        Registry("b.corp"),
        Registry("a.corp"),
    )


ACCESS = {
    "auth: 'u:p'": {"credentials": Credentials("u", "p")},
    "authFile: /f": {"auth_file": "/f"},
    "authCredential: c": {"auth_credential": "c"},
    "auth: ''": {},
    "authFile: ''": {},
}


@pytest.mark.parametrize("before", ACCESS)
@pytest.mark.parametrize("after", ACCESS)
def test_one_place_for_credentials_replaces_another(
    tmp_path: Path, before: str, after: str
) -> None:
    texts = [f"registries: [{{address: a.corp, {one}}}]" for one in (before, after)]
    expected: dict[str, Any] = ACCESS[after]
    assert merged(tmp_path, *texts).registries == (Registry("a.corp", **expected),)
    # The offline registry's `auth` stands at another place than the others.
    texts = [one if "auth:" in one else f"offline: {{{one}}}" for one in (before, after)]
    expected = {"plain_http": True, "priority": 1000, "offline": True, **expected}
    assert offline(merged(tmp_path, *texts)) == Registry("sealos.hub:5000", **expected)


def test_credentials_stay_when_nothing_is_said_of_them(tmp_path: Path) -> None:
    config = merged(tmp_path, "auth: u:p", "offline: {timeout: 4s}", "offlinePriority: 7")
    assert offline(config).credentials == Credentials("u", "p")
    assert (offline(config).timeout, offline(config).priority) == (4.0, 7)


def test_credentials_for_one_address_are_not_taken_to_another(tmp_path: Path) -> None:
    first = "address: https://a.corp\nauth: u:p\n"
    assert problems(tmp_path, first, "# b\naddress: https://b.corp") == [
        "f.d/0.yaml:2:10: address: expected credentials for this registry, found only those for "
        "another address (`auth` on line 2 of f.yaml): write `auth` beside this one as well, "
        '"" for none'
    ]
    none = merged(tmp_path, first, "address: https://b.corp\nauth: ''")
    assert offline(none) == Registry("b.corp", priority=1000, offline=True)
    # The order of drop-ins is nothing that two tools could agree upon.
    other = merged(tmp_path, first, "address: https://b.corp", "auth: v:q")
    assert offline(other).credentials == Credentials("v", "q")
    same = merged(tmp_path, first, "address: A.corp", "")
    assert offline(same).credentials == Credentials("u", "p")
    # Nor in clear text to the same host.
    (line,) = problems(tmp_path, first, "address: http://a.corp")
    assert "expected credentials for this registry" in line


def test_an_address_in_one_file_and_credentials_in_another_belong_together(
    tmp_path: Path,
) -> None:
    for texts in (["address: a.corp", "auth: u:p"], ["auth: u:p", "address: a.corp"]):
        found = offline(merged(tmp_path, *texts))
        assert (found.domain, found.credentials) == ("a.corp", Credentials("u", "p"))


def test_the_offline_registry_can_be_taken_away_and_put_back(tmp_path: Path) -> None:
    first = "address: https://a.corp\nauth: u:p\nofflinePriority: 7\noffline: {prefix: x}"
    assert merged(tmp_path, first, "address: ''").offline is None
    back = merged(tmp_path, first, "address: ''", "address: https://a.corp")
    assert back.offline == Registry("a.corp", priority=1000, offline=True)


def test_twice_in_one_file_stays_twice(tmp_path: Path) -> None:
    twice = "registries: [{address: a.corp}, {address: a.corp, priority: 7}]"
    (line,) = problems(tmp_path, "registries: [{address: a.corp}]", twice)
    assert line == (
        "f.d/0.yaml:1:43: registries[1].address: expected each registry once, found a.corp also "
        "as `registries[0].address` (line 1): leave one out, or give it another `prefix`"
    )
    (line,) = problems(tmp_path, twice, "registries: [{address: a.corp}]")
    assert line.startswith("f.yaml:1:43: registries[1].address: expected each registry once")
    assert "(line 1 of f.d/0.yaml)" in line


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            "cri: /run/a.sock",
            "debug: true\nshim: /var/run/a.sock",
            "f.yaml:1:6: cri: expected the runtime's socket, found the same file as in `shim` "
            "(line 2 of f.d/0.yaml)",
        ),
        (
            "debug: true\nshim: /var/run/a.sock",
            "cri: /run/a.sock",
            "f.d/0.yaml:1:6: cri: expected the runtime's socket, found the same file as in `shim` "
            "(line 2 of f.yaml)",
        ),
        (
            "registries: [{address: 'http://a.corp'}]",
            "registries: [{address: 'https://a.corp', prefix: x}]",
            "f.d/0.yaml:1:24: registries[0].address: expected http://a.corp as in "
            "`registries[0].address` (line 1 of f.yaml), found https://a.corp: write the same "
            "address for the same server",
        ),
        (
            "address: http://a.corp",
            "offline: {caFile: /ca}",
            "f.d/0.yaml:1:19: offline.caFile: expected a registry with https:// for this, found "
            "http://a.corp (line 1 of f.yaml): leave this out, or write that address with https://",
        ),
        (
            "registries: [{address: a.corp, connectTimeout: 5s}]",
            "\nregistries: [{address: a.corp, timeout: 2s}]",
            "f.yaml:1:48: registries[0].connectTimeout: expected at most the `timeout` of 2s "
            "(line 2 of f.d/0.yaml), found 5s: a look-up takes no longer",
        ),
        (
            "registries: [{address: a.corp, caFile: /ca}]",
            "registries: [{address: a.corp, insecureSkipVerify: true}]",
            "f.d/0.yaml:1:52: registries[0].insecureSkipVerify: expected `caFile` (line 1 of "
            "f.yaml) or this, found both: a certificate that is not verified needs no CA; "
            "leave one out",
        ),
        (
            "address: ''",
            "auth: a:b",
            'f.d/0.yaml:1:7: auth: expected no more about the offline registry, found `address: ""`'
            " (line 1 of f.yaml), which means none: leave this out, or write its address",
        ),
        (
            "rules:\n- match: quay.io",
            "rules:\n- match: quay.io/a",
            "f.d/0.yaml:2:10: rules[0].match: expected images that no rule before this one is "
            "about, found those of rule 1 (line 2 of f.yaml): put this rule in front, or leave it "
            "out",
        ),
    ],
)
def test_what_does_not_go_together_is_named_in_both_files(
    tmp_path: Path, first: str, second: str, expected: str
) -> None:
    assert problems(tmp_path, first, second) == [expected]


def test_a_mistake_in_one_file_is_not_taken_for_one_at_the_same_place_of_another(
    tmp_path: Path,
) -> None:
    # Both are called registries[0]; only the first one's prefix is not known.
    found = problems(
        tmp_path,
        "registries: [{address: a.corp, prefix: '?'}]",
        "registries: [{address: b.corp}, {address: b.corp}]",
    )
    assert [one.split(":")[0] for one in found] == ["f.yaml", "f.d/0.yaml"]
    assert "expected each registry once" in found[1]


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        # Its certificate is named, if not well.
        ("certFile: x", "keyFile: /k", 1),
        # It is not known to be the same one.
        ("prefix: '?', caFile: /c", "insecureSkipVerify: true", 1),
        # Both are called registries[0]; only of the first one it is not known what is meant.
        ("xyz: 1", "prefix: y}, {address: a.corp, prefix: y", 2),
    ],
)
def test_a_mistake_draws_no_other_after_it_and_hides_none(
    tmp_path: Path, first: str, second: str, count: int
) -> None:
    texts = [f"registries: [{{address: a.corp, {one}}}]" for one in (first, second)]
    assert len(problems(tmp_path, *texts)) == count


KEYS: dict[str, Any] = {
    "shim": "/run/a.sock",
    "shimMode": "0660",
    "cri": "/run/b.sock",
    "address": "https://hub.corp",
    "auth": "a:b",
    "debug": True,
    "timeout": "7m",
    "offlinePriority": 70,
    "offline": {"prefix": "x"},
    "registries": [{"address": "c.corp", "auth": "c:d"}, {"address": "d.corp"}],
    "rules": [{"match": "a.io"}, {"match": "*", "registries": ["d.corp"]}],
    "lookupGrace": "3s",
    "originalNames": "only",
    "cache": {"absentTTL": "1s", "disableStats": True},
}
BOUNDED = settings(
    derandomize=True,
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@BOUNDED
@given(st.lists(st.integers(0, 2), min_size=len(KEYS), max_size=len(KEYS)))
def test_files_with_different_keys_mean_the_same_as_one(tmp_path: Path, places: list[int]) -> None:
    parts: list[dict[str, Any]] = [{}, {}, {}]
    for name, place in zip(KEYS, places, strict=True):
        parts[place][name] = KEYS[name]
    texts = [yaml.safe_dump(part) for part in parts]
    assert merged(tmp_path, *texts) == parse(yaml.safe_dump(KEYS), "f")


@BOUNDED
@given(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))
def test_lists_and_mappings_that_are_cut_mean_the_same_as_one(
    tmp_path: Path, registries: int, rules: int, offline_keys: int, cache: int
) -> None:
    whole: dict[str, Any] = {
        "address": "https://hub.corp",
        "registries": [{"address": "c.corp"}, {"address": "c.corp", "prefix": "x"}],
        "rules": [{"match": "a.io"}, {"match": "a.io:5000", "registries": ["c.corp/x"]}],
        "offline": {"prefix": "x", "keepHost": True},
        "cache": {"absentTTL": "1s", "disableStats": True},
    }
    first: dict[str, Any] = {"address": whole["address"]}
    second: dict[str, Any] = {}
    for name, cut in (("registries", registries), ("rules", rules)):
        first[name], second[name] = whole[name][:cut], whole[name][cut:]
    for name, cut in (("offline", offline_keys), ("cache", cache)):
        items = list(whole[name].items())
        first[name], second[name] = dict(items[:cut]), dict(items[cut:])
    texts = [yaml.safe_dump(part) for part in (first, second)]
    assert merged(tmp_path, *texts) == parse(yaml.safe_dump(whole), "f")
