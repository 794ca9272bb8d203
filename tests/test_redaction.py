"""What others wrote is cleaned of secrets and control characters before it is logged."""

from __future__ import annotations

import pytest

from image_cri_shim.redaction import Redactor, mask_credentials


@pytest.mark.parametrize(
    ("secrets", "text", "expected"),
    [
        (["s3cret"], "denied: s3cret", "denied: ***"),
        (["s3cret"], "s3crets3cret", "******"),
        (["s3cret", "t0ken"], "s3cret and t0ken", "*** and ***"),
        (["abc", "abcdef"], "abcdef abc", "*** ***"),
        (["abcdef", "abc"], "abcdef abc", "*** ***"),
        (["a\tb"], "-a\tb-", "-***-"),
        (["p\u00e4ss"], "p\u00e4ss", "***"),
        (["a.c"], "abc a.c", "abc ***"),
        (["\\"], "a\\b", "a***b"),
        ([""], "untouched", "untouched"),
        ([], "untouched", "untouched"),
        (["s3cret"], "", ""),
    ],
)
def test_every_secret_is_replaced_as_a_whole(secrets: list[str], text: str, expected: str) -> None:
    assert Redactor(secrets).clean(text) == expected


@pytest.mark.parametrize(
    "char", ["\n", "\r", "\t", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\u202e", "\ud800"]
)
def test_a_text_becomes_one_line_that_no_terminal_obeys(char: str) -> None:
    assert Redactor().clean(f"one{char}two") == "one two"


def test_letters_of_all_alphabets_stay() -> None:
    text = "nicht gefunden: \u00e4\u00f6\u00fc, \u672a\u627e\u5230"
    assert Redactor().clean(text) == text


def test_secrets_may_come_from_a_generator_and_are_in_no_repr() -> None:
    redactor = Redactor(secret for secret in ["s3cret"])
    assert redactor.clean("s3cret") == redactor.clean("s3cret") == "***"
    assert "s3cret" not in repr(redactor)


def test_further_secrets_are_kept_out_as_well_as_the_ones_before() -> None:
    redactor = Redactor(["first"]).extended(["second", ""])
    assert redactor.clean("first and second") == "*** and ***"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (
            "Get http://u:pw@h/token?password=pw2&a=b: no",
            "Get http://***@h/token?password=***&a=*** no",
        ),
        ("https://AKIA123@h/x", "https://***@h/x"),
        ("Authorization: Bearer eyJhbGciOi.J9.sig", "Authorization: Bearer ***"),
        ("Basic dXNlcjpwYXNz=", "Basic ***"),
        ('Bearer realm="https://auth.corp"', 'Bearer realm="https://auth.corp"'),
        ("basic authentication failed", "basic authentication failed"),
        ("nginx:1.25@sha256:0123", "nginx:1.25@sha256:0123"),
        ("UNKNOWN: no such host", "UNKNOWN: no such host"),
    ],
)
def test_what_looks_like_anybodys_credentials_is_masked(text: str, masked: str) -> None:
    assert mask_credentials(text) == masked


@pytest.mark.parametrize("piece", ["a:", ":", "?a", "a", "://a", "Bearer ", "@"])
def test_a_long_text_of_anybodys_is_masked_as_soon_as_it_is_read(piece: str) -> None:
    text = piece * (65536 // len(piece))
    # What takes more than in proportion to the length would take minutes here.
    assert len(mask_credentials(text)) >= 1
