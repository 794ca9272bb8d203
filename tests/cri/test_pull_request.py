"""What a client sent with a pull, and which texts would betray it."""

from __future__ import annotations

import base64

import pytest

from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.cri.pull_request import PullRequest
from image_cri_shim.redaction import Redactor

# Its Base64 has "+", "/" and padding.
PAIR = "me:p>>?:wörd>"
PASSWORD = "p>>?:wörd>"
STANDARD = base64.b64encode(PAIR.encode()).decode()
URL_SAFE = base64.urlsafe_b64encode(PAIR.encode()).decode()


def secrets(**auth: str) -> list[str]:
    parsed = cri_pb2.PullImageRequest(auth=cri_pb2.AuthConfig(**auth))
    return list(PullRequest(b"", parsed).secrets())


def test_the_example_is_one() -> None:
    assert STANDARD != URL_SAFE
    assert STANDARD.endswith("=")


@pytest.mark.parametrize(
    "auth",
    [
        STANDARD,
        STANDARD.rstrip("="),
        URL_SAFE,
        URL_SAFE.rstrip("="),
        # As docker wrote it once, filled up with zeros.
        base64.b64encode(PAIR.encode() + b"\0\0\0").decode(),
    ],
)
def test_what_auth_stands_for_is_a_secret_in_every_spelling(auth: str) -> None:
    found = secrets(auth=auth)
    for text in (auth, PAIR, PASSWORD, STANDARD, "p%3E%3E%3F%3Aw%C3%B6rd%3E", r"p>>?:w\u00f6rd>"):
        assert text in found
    assert "me" not in found
    assert Redactor(found).clean(f"denied: {PAIR}, {PASSWORD}, {auth}") == "denied: ***, ***, ***"


@pytest.mark.parametrize("auth", ["", "A", "not Base64", "====", "ü"])
def test_an_auth_that_cannot_be_read_is_a_secret_as_it_stands(auth: str) -> None:
    found = secrets(auth=auth)
    assert auth in found
    assert Redactor(found).clean("denied") == "denied"


def test_an_auth_without_a_colon_is_a_secret_as_a_whole() -> None:
    assert "t0ken" in secrets(auth=base64.b64encode(b"t0ken").decode())


def test_what_is_no_text_is_found_as_status_messages_are_read() -> None:
    found = secrets(auth=base64.b64encode(b"me:p\xffw").decode())
    assert "p\ufffdw" in found
