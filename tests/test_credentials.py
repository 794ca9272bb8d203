"""Credentials: read from ``user:password``, sent as Basic, and never shown."""

from __future__ import annotations

import base64
import traceback

import attrs
import pytest

from image_cri_shim.credentials import Credentials, identity, parse_credentials
from image_cri_shim.decision import Candidate, Decision, LookUp, Outcome, Registry
from image_cri_shim.reference import parse_reference

SECRET = "pa55-w0rd:with-c0lon"


@pytest.mark.parametrize(
    ("text", "username", "password"),
    [
        ("admin:passw0rd", "admin", "passw0rd"),
        ("robot$ci:a:b::c:", "robot$ci", "a:b::c:"),
        ("admin:", "admin", ""),
        ("u: p ", "u", " p "),
        ("\u00fcser:p\u00e4ss", "\u00fcser", "p\u00e4ss"),
    ],
)
def test_only_the_first_colon_separates(text: str, username: str, password: str) -> None:
    assert parse_credentials(text) == Credentials(username, password)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected user:password, but there is no colon in it"),
        ("s3cret", "expected user:password, but there is no colon in it"),
        (":s3cret", "expected user:password, but the user is empty"),
        (":", "expected user:password, but the user is empty"),
    ],
)
def test_what_is_no_pair_is_refused_without_being_repeated(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_credentials(text)
    assert str(caught.value) == message
    # The last line of a traceback, as the log would have it; the others are source lines.
    assert "s3cret" not in "".join(traceback.format_exception_only(caught.value))
    assert caught.value.__context__ is None


def test_they_are_sent_as_rfc_7617_says() -> None:
    # The example of RFC 7617, section 2, and that of section 2.1 (UTF-8).
    assert Credentials("Aladdin", "open sesame").basic() == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert Credentials("test", "123\u00a3").basic() == "Basic dGVzdDoxMjPCow=="


def test_a_very_long_password_stays_one_line_of_a_header() -> None:
    header = Credentials("u", "p" * 500).basic()
    assert "\n" not in header
    assert base64.b64decode(header.removeprefix("Basic ")) == b"u:" + b"p" * 500


def test_the_password_is_in_no_repr_of_anything_that_holds_it() -> None:
    credentials = Credentials("robot", SECRET)
    registry = Registry("harbor.corp", credentials=credentials)
    candidate = Candidate("harbor.corp/a:1", parse_reference("harbor.corp/a:1"), registry, True)
    look_up = LookUp(candidate, Outcome.UNKNOWN, "failed authentication")
    decision = Decision((candidate,), (look_up,))
    for holder in (credentials, registry, candidate, look_up, decision):
        for shown in (repr(holder), str(holder), f"{holder}", repr([holder]), repr({1: holder})):
            assert SECRET not in shown
            assert credentials.basic() not in shown
    assert "robot" in repr(decision)


def test_they_cannot_be_changed() -> None:
    credentials = Credentials("robot", SECRET)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        credentials.password = ""  # type: ignore[misc]


def test_an_identity_token_is_in_no_repr_either() -> None:
    registry = Registry("harbor.corp", credentials=identity(SECRET))
    for holder in (registry.credentials, registry):
        assert SECRET not in f"{holder} {holder!r}"
    assert "<token>" in repr(registry)


def test_every_spelling_of_an_identity_token_is_known() -> None:
    spellings = identity('a/b"c+').spellings()
    assert {'a/b"c+', "a%2Fb%22c%2B", 'a/b\\"c+'} <= set(spellings)


@pytest.mark.parametrize("credentials", [Credentials("u", "pw"), identity("ey.J")])
def test_no_spelling_is_so_short_that_everything_is_redacted(credentials: Credentials) -> None:
    assert all(len(spelling) > 1 for spelling in credentials.spellings())


def test_a_password_and_an_identity_token_are_two_things() -> None:
    assert identity("same") != Credentials("<token>", "same")
    assert identity("one") != identity("two")
    assert len({identity("one"), identity("one"), identity("two")}) == 2
