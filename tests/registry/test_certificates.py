from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from image_cri_shim.registry.certificates import read_certificates, read_client_certificate
from image_cri_shim.registry.failure import Unanswered
from tests.registry.authority import Authority, pem
from tests.registry.network import Network, Says, candidate


def refusal(cert_file: object, key_file: object = None) -> str:
    with pytest.raises(Unanswered) as caught:
        read_client_certificate(str(cert_file), None if key_file is None else str(key_file))
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value.detail


@pytest.mark.parametrize("kind", ["rsa", "ec", "ed25519"])
def test_a_certificate_and_its_key_are_read_from_two_files_or_one(
    tls: Authority, tmp_path: Path, network: Network, kind: str
) -> None:
    key: Any = {
        "rsa": lambda: None,
        "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }[kind]()
    cert_file, key_file = tls.pair(f"node-{kind}", key)
    both = tmp_path / "both.pem"
    both.write_bytes(Path(key_file).read_bytes() + b"\n" + Path(cert_file).read_bytes())
    context = tls.server("secure.hub").asks(tls.roots, demands=True)
    network.serve("secure.hub:443", lambda _: Says(404), tls=context)
    for settings in ({"cert_file": cert_file, "key_file": key_file}, {"cert_file": str(both)}):
        client = network.client(ca_file=tls.roots, **settings)
        found = network.ask(client.look_up(candidate("secure.hub/a:1", plain_http=False)))
        assert found.detail == "404"
    assert context.shown == [f"node-{kind}"] * 2


def test_the_certificates_behind_the_first_are_shown_too(
    tls: Authority, tmp_path: Path, network: Network
) -> None:
    between = Authority(tmp_path)
    _, between_certificate = tls.sign("between", between.key, authority=True)
    between.certificate = between_certificate
    key, certificate = between.sign("node-1")
    chain, alone = tmp_path / "chain.pem", tmp_path / "alone.pem"
    alone.write_bytes(pem(certificate) + pem(key))
    chain.write_bytes(alone.read_bytes() + pem(between_certificate))
    outcomes = []
    for path in (chain, alone):
        context = tls.server("secure.hub").asks(tls.roots, demands=True)
        network.serve("secure.hub:443", lambda _: Says(404), tls=context)
        client = network.client(ca_file=tls.roots, cert_file=str(path))
        found = network.ask(client.look_up(candidate("secure.hub/a:1", plain_http=False)))
        outcomes.append(found.detail)
    assert outcomes[0] == "404"
    assert outcomes[1].startswith("TLS: ")


def test_a_key_of_another_certificate_is_named(tls: Authority, tmp_path: Path) -> None:
    cert_file, _ = tls.pair("one")
    _, key_file = tls.pair("two")
    assert refusal(cert_file, key_file) == (
        f"cannot use {key_file}: the private key in it does not belong to the certificate in "
        f"{cert_file}"
    )
    both = tmp_path / "both.pem"
    both.write_bytes(Path(cert_file).read_bytes() + Path(key_file).read_bytes())
    assert refusal(both) == (
        f"cannot use {both}: the private key in it does not belong to the certificate in it"
    )


def test_a_key_of_another_kind_is_named(tls: Authority) -> None:
    cert_file, _ = tls.pair("one")
    _, key_file = tls.pair("two", ec.generate_private_key(ec.SECP256R1()))
    assert "does not belong to the certificate" in refusal(cert_file, key_file)


@pytest.mark.parametrize("traditional", [False, True])
def test_an_encrypted_key_is_refused_without_asking_for_its_pass_phrase(
    tls: Authority, tmp_path: Path, traditional: bool
) -> None:
    key, certificate = tls.sign("one")
    path = tmp_path / "both.pem"
    encrypted = pem(key, b"s3cret", traditional=traditional)
    path.write_bytes(pem(certificate) + encrypted)
    assert refusal(path) == (
        f"cannot use {path}: the private key in it is encrypted: expected one that is not"
    )


def test_what_is_no_key_is_named_and_not_repeated(tls: Authority, tmp_path: Path) -> None:
    cert_file, _ = tls.pair("one")
    path = tmp_path / "key.pem"
    assert refusal(cert_file, path) == f"cannot use {path}: no such file"
    path.write_bytes(b"s3cret")
    assert refusal(cert_file, path) == f"cannot use {path}: no private key in it"
    assert refusal(cert_file) == f"cannot use {cert_file}: no private key in it"
    path.write_bytes(b"-----BEGIN PRIVATE KEY-----\nczNjcmV0\n-----END PRIVATE KEY-----\n")
    assert refusal(cert_file, path) == f"cannot use {path}: the private key in it is not valid"


def test_what_is_no_certificate_is_named_by_its_number(tls: Authority, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    broken = b"-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n"
    path.write_bytes(Path(tls.roots).read_bytes() + broken)
    with pytest.raises(Unanswered) as caught:
        read_certificates(str(path))
    assert caught.value.detail == f"cannot use {path}: the certificate number 2 in it is not valid"
