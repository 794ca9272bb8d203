from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_cri_shim.registry.challenge import Challenge, parse_challenges

REALM = "https://auth.docker.io/token"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('Basic realm="a"', [Challenge("basic", {"realm": "a"})]),
        ("Basic", [Challenge("basic")]),
        ("BASIC REALM=a", [Challenge("basic", {"realm": "a"})]),
        ('basic Realm = "a"', [Challenge("basic", {"realm": "a"})]),
        (
            f'Bearer realm="{REALM}",service="registry.docker.io",scope="repository:a/b:pull,push"',
            [
                Challenge(
                    "bearer",
                    {
                        "realm": REALM,
                        "service": "registry.docker.io",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        (
            'Basic realm="a, \\"b\\" \\\\ c", Bearer realm="d"',
            [Challenge("basic", {"realm": 'a, "b" \\ c'}), Challenge("bearer", {"realm": "d"})],
        ),
        (
            'Negotiate, NTLM TlRMTVNTUAAC==, Basic realm="a", charset="UTF-8"',
            [
                Challenge("negotiate"),
                Challenge("ntlm", {}, "TlRMTVNTUAAC=="),
                Challenge("basic", {"realm": "a", "charset": "UTF-8"}),
            ],
        ),
        ('  ,, Basic realm="a" ,,, ', [Challenge("basic", {"realm": "a"})]),
        ('Basic realm="first", realm="second"', [Challenge("basic", {"realm": "first"})]),
        (
            'Bearer error="invalid_token",realm=""',
            [Challenge("bearer", {"error": "invalid_token", "realm": ""})],
        ),
        # Wrong, but clear enough.
        (
            f"Bearer realm={REALM},service=a",
            [Challenge("bearer", {"realm": REALM, "service": "a"})],
        ),
        ('Basic realm="never closed', [Challenge("basic", {"realm": "never closed"})]),
        # Wrong; what follows is still read.
        (
            'Basic (what), Bearer realm="a"',
            [Challenge("basic"), Challenge("bearer", {"realm": "a"})],
        ),
        (
            'Basic @"x, Bearer realm=no", Bearer realm="a"',
            [Challenge("basic"), Challenge("bearer", {"realm": "a"})],
        ),
        ('realm="nobody\'s", Basic realm="a"', [Challenge("basic", {"realm": "a"})]),
        (
            'Basic realm=, Bearer realm="a"',
            [Challenge("basic"), Challenge("bearer", {"realm": "a"})],
        ),
        ("", []),
        (",,,", []),
        ('"', []),
        ("\\", []),
    ],
)
def test_a_header_is_read_as_it_is_meant(value: str, expected: list[Challenge]) -> None:
    found = list(parse_challenges([value]))
    # "realm=" before a comma is also a valid token68; either reading is harmless.
    assert [(c.scheme, dict(c.parameters)) for c in found] == [
        (c.scheme, dict(c.parameters)) for c in expected
    ]
    if "NTLM" in value:
        assert found == expected


def test_several_headers_are_read_in_order() -> None:
    found = parse_challenges(['Bearer realm="a"', 'Basic realm="b"'])
    assert [challenge.scheme for challenge in found] == ["bearer", "basic"]


token = st.text(string.ascii_letters + string.digits + "-._~!#$%&'*+^`|", min_size=1, max_size=8)
text = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=12)
written = st.lists(
    st.tuples(token, st.dictionaries(token.map(str.lower), text, max_size=3)), max_size=4
)


@given(written)
def test_whatever_is_written_by_the_rules_is_read_back(
    challenges: list[tuple[str, dict[str, str]]],
) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    value = ", ".join(
        " ".join([scheme, ", ".join(f"{k}={quoted(v)}" for k, v in parameters.items())]).strip()
        for scheme, parameters in challenges
    )
    found = parse_challenges([value])
    assert [(c.scheme, dict(c.parameters)) for c in found] == [
        (scheme.lower(), parameters) for scheme, parameters in challenges
    ]


@given(st.one_of(st.text(), st.text(' \t,="\\aB:/')))
def test_no_text_is_too_strange_to_be_read(value: str) -> None:
    for challenge in parse_challenges([value]):
        assert challenge.scheme == challenge.scheme.lower() != ""


def test_a_good_challenge_is_found_behind_nonsense() -> None:
    for nonsense in ("@@@", "=", "a=b", '"x, y"', "(", "x=y=z"):
        (found,) = [c for c in parse_challenges([f'{nonsense}, Basic realm="a"']) if c.parameters]
        assert found == Challenge("basic", {"realm": "a"})
