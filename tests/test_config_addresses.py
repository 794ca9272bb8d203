"""Addresses that are none: what was found in them, and nothing that may be a password."""

from __future__ import annotations

import pytest

from image_cri_shim.config import parse
from image_cri_shim.errors import ConfigError

OFFLINE = 'expected http://host[:port] or https://host[:port] (or "" for no offline registry),'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("address: ftp://a.corp", f"1:10: address: {OFFLINE} found the scheme ftp://"),
        (
            "address: http://a/b",
            (
                f"1:10: address: {OFFLINE} found a path after the host: write it under `offline`, "
                "as `prefix: b`"
            ),
        ),
        ("address: http://a//", f"1:10: address: {OFFLINE} found a path after the host"),
        ("address: a?b=c", f"1:10: address: {OFFLINE} found a query after the host"),
        ("address: a#b", f"1:10: address: {OFFLINE} found a fragment after the host"),
        ("address: a b", f"1:10: address: {OFFLINE} found white space in it"),
        ("address: http://", f"1:10: address: {OFFLINE} found no host"),
        (
            "address: http://a:b@c",
            (
                f"1:10: address: {OFFLINE} found a user or a password in it: "
                "write them as `auth: user:password`"
            ),
        ),
        ("address: a:0", f"1:10: address: {OFFLINE} found a port 0 that is not from 1 to 65535"),
        (
            "address: a:65536",
            f"1:10: address: {OFFLINE} found a port 65536 that is not from 1 to 65535",
        ),
        (
            "address: a:05000",
            f"1:10: address: {OFFLINE} found a port 05000 that is not from 1 to 65535",
        ),
        ("address: 'a:'", f"1:10: address: {OFFLINE} found a port that is not from 1 to 65535"),
        ("address: a:http", f"1:10: address: {OFFLINE} found a port that is not from 1 to 65535"),
        (
            "address: ::1",
            (
                f"1:10: address: {OFFLINE} found more than one colon: write an IPv6 address in "
                "brackets, [::1]:5000"
            ),
        ),
        (
            "address: http://[::g]:1",
            f"1:10: address: {OFFLINE} found brackets around something that is no IPv6 address",
        ),
        (
            "address: http://[::1]x:5",
            f"1:10: address: {OFFLINE} found brackets around something that is no IPv6 address",
        ),
        (
            "address: http://[::1]:0",
            f"1:10: address: {OFFLINE} found a port 0 that is not from 1 to 65535",
        ),
        ("address: a:\u0661", f"1:10: address: {OFFLINE} found a port that is not from 1 to 65535"),
        (
            "address: '-a:b'",
            f"1:10: address: {OFFLINE} found a port that is not from 1 to 65535",
        ),
        (
            "address: a(b",
            (
                f"1:10: address: {OFFLINE} found a host that is not made of letters, digits, dots and "
                "inner hyphens"
            ),
        ),
        (
            "address: http://[::1",
            f"1:10: address: {OFFLINE} found brackets around something that is no IPv6 address",
        ),
        (
            "address: my_hub:5000",
            (
                f"1:10: address: {OFFLINE} found a host my_hub that is not made of letters, digits, "
                "dots and inner hyphens"
            ),
        ),
        *(
            (
                f"address: {host}",
                (
                    f"1:10: address: {OFFLINE} found a host {host} that runtimes would not take for "
                    "a registry in front of an image's name: add the port, or write the name in full"
                ),
            )
            for host in ("hub",)
        ),
        *(
            (
                f"address: {host}",
                f"1:10: address: {OFFLINE} found {host}, another name of Docker Hub: "
                "write docker.io, as in its images' names",
            )
            for host in (
                "index.docker.io",
                "registry-1.docker.io",
                "Registry-1.docker.io",
                "registry.hub.docker.com",
                "docker.io:443",
            )
        ),
        *(
            (
                f"address: {text}",
                f"1:10: address: {OFFLINE} found one slash where two belong: write {scheme}://",
            )
            for text, scheme in (("http:/a.b", "http"), ("HTTPS:/a.b", "https"))
        ),
        (
            "address: //a.b",
            f"1:10: address: {OFFLINE} found // without a scheme: write http:// or https://, or "
            "leave it out",
        ),
        ("address: /a.b", f"1:10: address: {OFFLINE} found no host"),
        ("address: http:///a.b", f"1:10: address: {OFFLINE} found no host"),
        (
            "address: " + "a." * 127 + "a",
            f"1:10: address: {OFFLINE} found a host of 255 characters, more than 253",
        ),
    ],
)
def test_a_wrong_address_is_one_problem_that_says_all(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    assert str(caught.value) == f"f:{problem}"
