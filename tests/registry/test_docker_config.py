from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from image_cri_shim.credentials import Credentials, identity
from image_cri_shim.registry.docker_config import DockerConfig, Helper, parse_docker_config


def auth(username: str, password: str = "pw") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


def config(content: Any) -> DockerConfig:
    return parse_docker_config(json.dumps(content).encode())


def whose(auths: dict[str, Any], domain: str, prefix: str = "") -> str | None:
    """Return the name of the user whose entry is found."""
    found = config({"auths": auths}).find(domain, prefix)
    assert not isinstance(found, Helper)
    return None if found is None else found.username


@pytest.mark.parametrize(
    ("key", "domain"),
    [
        ("harbor.corp", "harbor.corp"),
        ("Harbor.corp", "harbor.CORP"),
        ("harbor.corp/", "harbor.corp"),
        ("https://harbor.corp", "harbor.corp"),
        ("https://harbor.corp/", "harbor.corp"),
        ("http://harbor.corp/v1/", "harbor.corp"),
        ("https://harbor.corp/v2/", "harbor.corp"),
        ("https://harbor.corp/v2", "harbor.corp"),
        ("sealos.hub:5000", "sealos.hub:5000"),
        ("https://sealos.hub:5000/v2/", "sealos.hub:5000"),
        ("[::1]:5000", "[::1]:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("https://index.docker.io/v1", "docker.io"),
        ("https://registry-1.docker.io/v2/", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "index.docker.io"),
    ],
)
def test_an_entry_is_found_under_every_form_of_its_key(key: str, domain: str) -> None:
    assert whose({"other.corp": auth("other"), key: auth("mine")}, domain) == "mine"


@pytest.mark.parametrize(
    ("key", "domain", "prefix"),
    [
        ("harbor.corp", "harbor.corp:5000", ""),
        ("harbor.corp:5000", "harbor.corp", ""),
        ("harbor.corp", "evil-harbor.corp", ""),
        ("harbor.corp", "harbor.corp.evil", ""),
        ("corp", "harbor.corp", ""),
        ("harbor.corp/team", "harbor.corp", ""),
        ("harbor.corp/team", "harbor.corp", "team2"),
        ("harbor.corp/team/x", "harbor.corp", "team"),
        ("harbor.corp/team", "other.corp", "team"),
        ("", "harbor.corp", ""),
        ("https://", "harbor.corp", ""),
        ("*.corp", "harbor.corp:5000", ""),
        ("*.corp", "a.b.corp", ""),
        ("*", "harbor.corp", ""),
        ("*.corp", "x.corp.evil", ""),
        ("h.rbor.corp", "harbor.corp", ""),
    ],
)
def test_an_entry_for_another_place_is_not_found(key: str, domain: str, prefix: str) -> None:
    assert whose({key: auth("theirs")}, domain, prefix) is None


def test_the_entry_with_most_of_the_path_counts() -> None:
    auths = {
        "harbor.corp/team": auth("team"),
        "harbor.corp": auth("all"),
        "https://harbor.corp/v2/team/sub": auth("sub"),
        "*.corp/team": auth("pattern"),
    }
    assert whose(auths, "harbor.corp") == "all"
    assert whose(auths, "harbor.corp", "other") == "all"
    assert whose(auths, "harbor.corp", "team") == "team"
    assert whose(auths, "harbor.corp", "team/other") == "team"
    assert whose(auths, "harbor.corp", "team/sub") == "sub"
    assert whose(auths, "harbor.corp", "team/sub/below") == "sub"
    assert whose(auths, "quay.corp", "team") == "pattern"


def test_a_star_stands_for_a_part_of_the_host() -> None:
    auths = {"*.corp": auth("pattern"), "a*.b.corp:5000": auth("inner")}
    assert whose(auths, "harbor.corp") == "pattern"
    assert whose(auths, "abc.b.corp:5000") == "inner"
    assert whose({**auths, "harbor.corp": auth("full")}, "harbor.corp") == "full"
    assert whose({"harbor.corp": auth("full"), **auths}, "harbor.corp") == "full"


@pytest.mark.parametrize(
    ("domain", "own", "other"),
    [
        ("docker.io", "https://index.docker.io/v1/", "docker.io"),
        ("hub.corp:5000", "hub.corp:5000", "https://hub.corp:5000"),
    ],
)
def test_dockers_own_form_of_a_key_goes_before_the_others(
    domain: str, own: str, other: str
) -> None:
    assert whose({own: auth("own"), other: auth("other")}, domain) == "own"
    assert whose({other: auth("other"), own: auth("own")}, domain) == "own"


@pytest.mark.parametrize(
    ("entry", "credentials"),
    [
        (auth("user", "pa:ss"), Credentials("user", "pa:ss")),
        (auth("\u00fcser", "p\u00e4ss"), Credentials("\u00fcser", "p\u00e4ss")),
        (auth("user", "old\0\0"), Credentials("user", "old")),
        ({"username": "user", "password": "pw"}, Credentials("user", "pw")),
        ({**auth("user", "right"), "username": "x", "password": "y"}, Credentials("user", "right")),
        ({**auth("0000", ""), "identitytoken": "ey.J"}, identity("ey.J")),
        ({"identitytoken": "ey.J"}, identity("ey.J")),
        ({"auth": "dXNlcjpw\nYXNz\n"}, Credentials("user", "pass")),
        ({"email": "me@corp"}, None),
        ({"auth": "", "username": None}, None),
        ({}, None),
        (None, None),
    ],
)
def test_an_entry_holds_credentials_in_several_ways(
    entry: Any, credentials: Credentials | None
) -> None:
    assert config({"auths": {"harbor.corp": entry}}).find("harbor.corp") == credentials


def test_an_empty_entry_hides_no_other() -> None:
    auths = {"harbor.corp/team": {}, "harbor.corp": auth("all")}
    assert whose(auths, "harbor.corp", "team") == "all"


def test_a_helper_for_the_host_goes_before_the_one_for_all_and_that_before_entries() -> None:
    content: dict[str, Any] = {"auths": {"harbor.corp": auth("entry"), "quay.io": auth("quay")}}
    assert config(content).find("harbor.corp") == Credentials("entry", "pw")
    content["credsStore"] = "store"
    assert config(content).find("harbor.corp") == Helper("store", "harbor.corp")
    content["credHelpers"] = {"harbor.corp": "own", "quay.io": ""}
    assert config(content).find("harbor.corp", "team") == Helper("own", "harbor.corp")
    assert config(content).find("other.corp") == Helper("store", "other.corp")
    # A host can be taken out of the store.
    assert config(content).find("quay.io") == Credentials("quay", "pw")


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io"])
def test_a_helper_knows_docker_hub_as_docker_calls_it(key: str) -> None:
    found = config({"credHelpers": {key: "own"}}).find("docker.io")
    assert found == Helper("own", "https://index.docker.io/v1/")


@pytest.mark.parametrize("key", ["https://harbor.corp", "HARBOR.corp", "harbor.corp"])
def test_a_helper_is_found_under_other_forms_of_its_key_too(key: str) -> None:
    found = config({"credHelpers": {key: "own"}, "credsStore": "store"}).find("harbor.corp")
    assert found == Helper("own", "harbor.corp")


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a b", "-x", ".x", "x;reboot", "x\n", "\u00e4", "x" * 65]
)
def test_a_helper_of_a_strange_name_is_refused(name: str) -> None:
    for content in ({"credsStore": name}, {"credHelpers": {"harbor.corp": name}}):
        with pytest.raises(ValueError, match="the name of a credential helper in it is none"):
            config(content).find("harbor.corp")


@pytest.mark.parametrize("name", ["ecr-login", "gcr", "desktop.exe", "x" * 64, "a_b"])
def test_a_helper_of_a_usual_name_is_not(name: str) -> None:
    assert config({"credsStore": name}).find("h.corp") == Helper(name, "h.corp")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no JSON object"),
        (b"s3cret", "no JSON object"),
        (b'{"auths": s3cret}', "no JSON object"),
        (b'["s3cret"]', "no JSON object"),
        (b"[" * 100000, "no JSON object"),
        (b'{"a": "\xff"}', "no JSON object"),
        (b'{"auths": "s3cret"}', "its `auths` is no object"),
        (b'{"credHelpers": ["s3cret"]}', "its `credHelpers` is no object"),
        (b'{"credHelpers": {"h": 7}}', "its `credHelpers` has a helper whose name is no text"),
        (b'{"credsStore": 7}', "its `credsStore` is no text"),
    ],
)
def test_what_is_no_such_file_is_refused_without_being_repeated(content: bytes, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_docker_config(content)
    assert str(caught.value) == why
    assert caught.value.__context__ is None, "it would hold the whole file"


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("s3cret", "{} is no object"),
        ({"auth": 7}, "`auth` of {} is no text"),
        ({"password": ["s3cret"]}, "`password` of {} is no text"),
        ({"auth": "s3cret!"}, "`auth` of {} is not user:password in base64"),
        ({"auth": "czNjcmV0"}, "`auth` of {} is not user:password in base64"),
        ({"auth": "OnMzY3JldA=="}, "`auth` of {} is not user:password in base64"),
        ({"auth": "//8="}, "`auth` of {} is not user:password in base64"),
        (
            {"username": "u", "password": "s3cret\ud800"},
            "`password` of {} has characters that UTF-8 cannot hold",
        ),
        (
            {"identitytoken": "s3cret\udfff"},
            "`identitytoken` of {} has characters that UTF-8 cannot hold",
        ),
    ],
)
def test_a_broken_entry_is_named_where_it_is_needed(entry: Any, why: str) -> None:
    found = config({"auths": {"harbor.corp": entry, "quay.io": auth("quay")}})
    with pytest.raises(ValueError) as caught:
        found.find("harbor.corp")
    assert str(caught.value) == why.format("its entry 'harbor.corp'")
    assert caught.value.__context__ is None
    assert found.find("quay.io") == Credentials("quay", "pw"), "and nowhere else"


@pytest.mark.parametrize(
    "content", [{}, {"auths": None, "credHelpers": None, "credsStore": None}, {"proxies": {}}]
)
def test_a_file_may_have_nothing(content: Any) -> None:
    assert config(content).find("harbor.corp") is None


def test_no_secret_is_in_its_repr() -> None:
    found = config({"auths": {"harbor.corp": {"username": "u", "password": "s3cret"}}})
    assert "s3cret" not in repr(found)
