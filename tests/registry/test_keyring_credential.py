"""Credentials that systemd has handed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Registry
from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.keyring import Keyring
from tests.registry.network import result_of
from tests.registry.processes import Machine

NAMED = Registry("a.corp", auth_credential="hub")
OFFLINE = Registry("hub.corp", offline=True)


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring(Machine(), 600.0, str(tmp_path))


def failure_of(keyring: Keyring, registry: Registry) -> str:
    with pytest.raises(Unanswered) as caught:
        result_of(keyring.credentials(registry))
    return caught.value.detail


@pytest.mark.parametrize(
    ("content", "password"),
    [
        ("robot:s3cret", "s3cret"),
        ("robot:s3cret\n", "s3cret"),
        ("robot:s3cret\r\n", "s3cret"),
        ("robot: a:b #'\"\\{} \n", " a:b #'\"\\{} "),
        ("robot:ü", "ü"),
        ("robot:", ""),
    ],
)
def test_a_credential_holds_user_and_password(
    keyring: Keyring, tmp_path: Path, content: str, password: str
) -> None:
    (tmp_path / "hub").write_bytes(content.encode())
    assert result_of(keyring.credentials(NAMED)) == Credentials("robot", password)
    keyring.forget(NAMED)
    assert result_of(keyring.credentials(NAMED)) == Credentials("robot", password)


def test_one_that_has_changed_is_read_again(keyring: Keyring, tmp_path: Path) -> None:
    (tmp_path / "hub").write_text("robot:one")
    found = result_of(keyring.credentials(NAMED))
    assert found == Credentials("robot", "one")
    # And one that has not is not.
    assert result_of(keyring.credentials(NAMED)) is found
    (tmp_path / "new").write_text("robot:two")
    (tmp_path / "new").rename(tmp_path / "hub")
    assert result_of(keyring.credentials(NAMED)) == Credentials("robot", "two")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "expected user:password, but there is no colon in it"),
        (b"s3cret\n", "expected user:password, but there is no colon in it"),
        (b":s3cret", "expected user:password, but the user is empty"),
        (b"robot:\xffs3cret", "expected user:password, found a byte that is not UTF-8"),
        (
            b"robot:s3cret\n\n",
            "expected user:password on one line, found a control character in it",
        ),
        (b"a:b\0", "expected user:password on one line, found a control character in it"),
    ],
)
def test_what_it_holds_instead_is_said_and_never_repeated(
    keyring: Keyring, tmp_path: Path, content: bytes, why: str
) -> None:
    (tmp_path / "hub").write_bytes(content)
    with pytest.raises(Unanswered) as caught:
        result_of(keyring.credentials(NAMED))
    assert caught.value.detail == f"cannot use {tmp_path}/hub: {why}"
    # A cause would hold what was read.
    assert caught.value.__context__ is None


def test_one_that_is_not_there_is_named(keyring: Keyring, tmp_path: Path) -> None:
    assert failure_of(keyring, NAMED) == f"cannot use {tmp_path}/hub: no such file"
    os.mkfifo(tmp_path / "hub")
    assert failure_of(keyring, NAMED) == f"cannot use {tmp_path}/hub: not a regular file"


@pytest.mark.parametrize("directory", [None, ""])
def test_without_systemd_it_is_said_who_would_hand_it_over(directory: str | None) -> None:
    assert failure_of(Keyring(Machine(), 600.0, directory), NAMED) == (
        "cannot use the credential hub: there is no $CREDENTIALS_DIRECTORY, which systemd sets "
        "for a service with LoadCredential=hub"
    )


def test_the_offline_registry_gets_its_own_one_if_nothing_else_is_said(
    keyring: Keyring, tmp_path: Path
) -> None:
    assert result_of(keyring.credentials(OFFLINE)) is None
    (tmp_path / "image-cri-shim.auth").write_text("node:s3cret\n")
    assert result_of(keyring.credentials(OFFLINE)) == Credentials("node", "s3cret")
    # What is written in the configuration goes before it, and others do not get it.
    said = Registry("hub.corp", offline=True, credentials=Credentials("other", "one"))
    assert result_of(keyring.credentials(said)) == Credentials("other", "one")
    named = Registry("hub.corp", offline=True, auth_credential="hub")
    assert failure_of(keyring, named) == f"cannot use {tmp_path}/hub: no such file"
    assert result_of(keyring.credentials(Registry("hub.corp"))) is None
    assert result_of(Keyring(Machine(), 600.0).credentials(OFFLINE)) is None


def test_one_that_is_there_and_wrong_is_not_passed_over(keyring: Keyring, tmp_path: Path) -> None:
    (tmp_path / "image-cri-shim.auth").symlink_to("gone")
    path = tmp_path / "image-cri-shim.auth"
    assert failure_of(keyring, OFFLINE) == f"cannot use {path}: no such file"
