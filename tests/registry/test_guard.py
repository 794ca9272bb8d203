from __future__ import annotations

import pytest

from image_cri_shim.credentials import Credentials, identity
from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.guard import Forbidden, Guard

ASKED = "http://sealos.hub:5000/v2/library/nginx/manifests/1.25"
USER = Credentials("robot", "Pass/w0rd")


def guard(forbidden: str = "", credentials: Credentials | None = None, asked: str = ASKED) -> Guard:
    return Guard(asked, forbidden, credentials.spellings() if credentials else ())


@pytest.mark.parametrize(
    ("forbidden", "address"),
    [
        ("origin.test", "http://origin.test/"),
        ("origin.test", "https://origin.test:8443/v2/"),
        ("origin.test", "https://ORIGIN.test./v2/"),
        ("origin.test", "http://user:password@origin.test/"),
        ("origin.test:5000", "http://origin.test/"),
        ("Origin.Test:5000", "http://origin.test:5000/"),
        ("127.0.0.1:5000", "http://127.0.0.1/"),
        ("127.0.0.1:5000", "http://127.1:80/"),
        ("127.0.0.1:5000", "http://0x7f000001/"),
        ("127.0.0.1:5000", "http://[::ffff:127.0.0.1]/"),
        ("[::1]:5000", "http://[0:0:0:0:0:0:0:1]:80/"),
        ("docker.io", "https://registry-1.docker.io/v2/"),
        ("docker.io", "https://auth.docker.io/token"),
        ("docker.io", "https://index.docker.io/"),
        ("docker.io", "https://docker.io/"),
        ("docker.io", "https://registry.hub.docker.com/v2/"),
        ("docker.io", "https://production.cloudflare.docker.com/x"),
        ("registry-1.docker.io", "https://docker.io/"),
    ],
)
def test_the_forbidden_host_is_known_however_it_is_spelled(forbidden: str, address: str) -> None:
    with pytest.raises(Forbidden, match=r"^leads to [a-z0-9.:-]+, which is not allowed$"):
        guard(forbidden).check(address, "redirects to")


@pytest.mark.parametrize(
    ("forbidden", "address"),
    [
        ("", "http://origin.test/"),
        ("", ""),
        ("origin.test", "http://mirror.test/origin.test"),
        ("origin.test", "http://sub.origin.test/"),
        ("origin.test", "http://notorigin.test/"),
        ("origin.test", "http://["),
        ("docker.io", "https://notdocker.io/"),
        ("docker.io", "https://docker.io.test/"),
        ("hub.docker.com", "https://docker.io/"),
    ],
)
def test_other_hosts_may_be_asked(forbidden: str, address: str) -> None:
    guard(forbidden).check(address, "redirects to")


@pytest.mark.parametrize(
    ("forbidden", "asked", "address"),
    [
        ("sealos.hub", ASKED, "http://sealos.hub:5001/token"),
        ("docker.io", "https://registry-1.docker.io/v2/a", "https://auth.docker.io/token"),
    ],
)
def test_the_host_of_the_registry_itself_is_allowed_by_being_configured(
    forbidden: str, asked: str, address: str
) -> None:
    guard(forbidden, asked=asked).check(address, "its token server has")


@pytest.mark.parametrize(
    "address",
    [
        "http://pass%2Fw0rd.evil.test/",
        "http://evil.test/PASS/W0RD",
        "http://evil.test/%70ass/w0rd",
        f"http://evil.test/{USER.basic().removeprefix('Basic ')}",
        f"http://evil.test/?x={USER.basic().removeprefix('Basic ').rstrip('=').lower()}",
    ],
)
def test_an_address_with_the_credentials_in_it_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(Unanswered) as caught:
        guard(credentials=USER).check(address, "redirects to")
    assert caught.value.detail == (
        "redirects to an address with its credentials in it, which is not asked"
    )


def test_an_identity_token_is_a_secret_too() -> None:
    with pytest.raises(Unanswered):
        guard(credentials=identity("ey.J.x")).check("http://ey.j.x.evil.test/", "redirects to")


@pytest.mark.parametrize("password", ["", "x", "nginx", "hub:5000", "manifests"])
def test_what_is_in_every_address_anyway_is_no_reason_to_refuse(password: str) -> None:
    address = "http://mirror.test:5000/x/library/nginx/manifests/1.25"
    asked = guard(credentials=Credentials("robot", password))
    asked.check(address, "redirects to")


def test_a_forbidden_host_is_told_first_for_it_must_not_be_tried_otherwise() -> None:
    with pytest.raises(Forbidden):
        guard("docker.io", Credentials("u", "s3cret")).check("http://s3cret.docker.io/", "")


def test_strangers_names_are_shown_without_the_credentials() -> None:
    masked = guard(credentials=Credentials("robot", "s3c"))
    assert masked.clean("S3C.evil.test:1") == "***.evil.test:1"
    assert guard().clean("evil.test") == "evil.test"


def test_no_secret_is_in_its_repr() -> None:
    assert "w0rd" not in repr(guard("origin.test", USER))
