"""What `check` says of the files that a configuration names, beyond whether they can be read."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from image_cri_shim.cli.named_files import check_files
from image_cri_shim.config import Config
from image_cri_shim.decision import Registry

DAY = 86400.0
NOW = 1_800_000_000.0
KEY = ec.generate_private_key(ec.SECP256R1())
HEADER = "-----BEGIN CERTIFICATE-----"


def pem(begin: float, end: float) -> str:
    """Make a certificate that is valid from and until some days from NOW."""
    name = x509.Name([])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(dt.datetime.fromtimestamp(NOW + begin * DAY, dt.UTC))
        .not_valid_after(dt.datetime.fromtimestamp(NOW + end * DAY, dt.UTC))
        .sign(KEY, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


GOOD, EXPIRED, EARLY = pem(-1, 1), pem(-2, -1), pem(1, 2)
PRIVATE = KEY.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
).decode()


class Files:
    """A directory with files, and what is said of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, name: str, content: str, mode: int = 0o600) -> str:
        path = self.directory / name
        path.write_text(content)
        path.chmod(mode)
        return str(path)

    def said(self, now: float = NOW, **settings: Any) -> list[tuple[str, str, bool]]:
        """Return the key, the words without the directory, and whether it is a problem."""
        config = Config(offline=None, registries=(Registry("a.corp", **settings),))
        return [
            (
                one.key.removeprefix("registries[0]."),
                one.words.replace(f"{self.directory}/", ""),
                one.is_problem,
            )
            for one in check_files(config, now)
        ]

    def login(self, content: Mapping[str, object]) -> list[tuple[str, str, bool]]:
        return self.said(auth_file=self.write("login", json.dumps(content)))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize(
    ("certificate", "why"),
    [(EXPIRED, "expired on 2027-01-14"), (EARLY, "is not valid before 2027-01-16")],
)
def test_a_certificate_out_of_its_time_is_a_problem_for_who_shows_it(
    files: Files, certificate: str, why: str
) -> None:
    expected = [("certFile", f"cannot use own: the certificate in it {why}", True)]
    own, key = files.write("own", certificate), files.write("key", PRIVATE)
    assert files.said(cert_file=own, key_file=key) == expected
    both = files.write("own", certificate + PRIVATE)
    assert files.said(cert_file=both) == expected
    own = files.write("own", GOOD + certificate)
    assert files.said(cert_file=own, key_file=key) == [
        ("certFile", f"registry a.corp: certificate number 2 in own {why}", False)
    ]
    own = files.write("own", GOOD)
    assert files.said(cert_file=own, key_file=key) == []


def test_a_bundle_is_a_problem_only_if_nothing_in_it_can_be_used(files: Files) -> None:
    for content, expected in (
        (GOOD, []),
        (EXPIRED, [("cannot use ca: the certificate in it expired on 2027-01-14", True)]),
        (
            EXPIRED + EARLY + EXPIRED,
            [
                (
                    "cannot use ca: every certificate in it expired on 2027-01-14, "
                    "is not valid before 2027-01-16",
                    True,
                )
            ],
        ),
        (
            GOOD + EXPIRED + EXPIRED,
            [
                (
                    "registry a.corp: 2 of the 3 certificates in ca cannot be used: "
                    "expired on 2027-01-14",
                    False,
                )
            ],
        ),
    ):
        said = files.said(ca_file=files.write("ca", content))
        assert said == [("caFile", *one) for one in expected]


@pytest.mark.parametrize("key", ["ca_file", "cert_file"])
def test_a_certificate_that_is_cut_off_is_a_problem(files: Files, key: str) -> None:
    last = GOOD + PRIVATE + GOOD[:-40]
    ((_, words, problem),) = files.said(**{key: files.write("x", last)})
    assert words == "cannot use x: the last certificate in it is cut off: it has no end"
    assert problem
    first = f"{HEADER}\nAAAA\n{GOOD}{PRIVATE}"
    ((_, words, problem),) = files.said(**{key: files.write("x", first)})
    assert words.startswith("cannot use x: ")
    assert problem
    ((_, words, problem),) = files.said(**{key: files.write("x", GOOD[40:] + GOOD + PRIVATE)})
    assert "a certificate in it is cut off: it has no beginning" in words
    assert problem
    # Text in between is allowed.
    assert files.said(**{key: files.write("x", f"# of ours\n{GOOD}\n#\n{GOOD}{PRIVATE}")}) == []


def test_a_helper_that_is_not_there_is_a_problem_for_who_needs_it(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(files.directory))
    why = "the credential helper that it names, docker-credential-here, is not in PATH"
    expected = [("authFile", f"cannot use login: {why}", True)]
    assert files.login({"credsStore": "here"}) == expected
    assert files.login({"credHelpers": {"a.corp": "here"}}) == expected
    assert (
        files.login(
            {"credHelpers": {"b.corp": "here"}, "auths": {"a.corp": {"identitytoken": "x"}}}
        )
        == []
    )
    files.write("docker-credential-here", "#!/bin/sh\n", 0o755)
    assert files.login({"credsStore": "here"}) == []


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"registrytoken": "geheim"}, "login has no usable credentials for it "),
        ({}, "login has no usable credentials for it "),
        ({"username": "u"}, "login has a user name for it, but no password"),
        ({"auth": base64.b64encode(b"u:").decode()}, "login has a user name for it, but no "),
    ],
)
def test_an_entry_that_is_of_no_use_is_warned_of(
    files: Files, entry: dict[str, str], words: str
) -> None:
    ((key, said, problem),) = files.login({"auths": {"a.corp": entry}})
    assert (key, problem) == ("authFile", False)
    assert said.startswith(f"registry a.corp: {words}")
    assert "geheim" not in said


@pytest.mark.parametrize(
    "entry", [{"username": "u", "password": "p"}, {"auth": "dTpw"}, {"identitytoken": "t"}]
)
def test_an_entry_that_is_of_use_is_good(files: Files, entry: dict[str, str]) -> None:
    assert files.login({"auths": {"a.corp": entry}}) == []


def test_secrets_that_everybody_can_read_are_warned_of_once(files: Files) -> None:
    login = files.write("login", '{"auths": {"a.corp": {"auth": "dTpw"}}}', 0o644)
    own, key = files.write("own", GOOD, 0o644), files.write("key", PRIVATE, 0o644)
    settings = {"auth_file": login, "cert_file": own, "key_file": key}
    assert files.said(**settings) == [
        ("authFile", "login holds passwords and everybody can read it: chmod 600 login", False),
        ("keyFile", "key holds a private key and everybody can read it: chmod 600 key", False),
    ]
    registries = tuple(Registry("a.corp", prefix=one, **settings) for one in "ab")
    assert len(check_files(Config(offline=None, registries=registries), NOW)) == 2
    own = files.write("own", GOOD + PRIVATE, 0o644)
    ((key, *_),) = files.said(cert_file=own)
    assert key == "certFile"


def test_what_holds_no_secret_may_be_read_by_everybody(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(files.directory))
    files.write("docker-credential-here", "#!/bin/sh\n", 0o755)
    login = files.write("login", '{"credsStore": "here", "auths": {"a.corp": {}}}', 0o644)
    authorities = files.write("ca", GOOD, 0o644)
    assert files.said(auth_file=login, ca_file=authorities) == []
