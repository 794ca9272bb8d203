"""Certificates in PEM files: those to believe, and the one that a registry is shown."""

from __future__ import annotations

import re

import attrs
import OpenSSL
from OpenSSL import SSL, crypto

from image_cri_shim.registry.local_file import cannot_use, read_file

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(
    rb"-----BEGIN (?P<kind>[A-Z ]*PRIVATE KEY)-----.+?-----END (?P=kind)-----", re.DOTALL
)
# From then on pyOpenSSL wants cryptography's objects instead of its own, and warns of those.
_TAKES_CRYPTOGRAPHY = tuple(map(int, OpenSSL.__version__.split(".")[:2])) >= (24, 3)


@attrs.frozen
class ClientCertificate:
    """A certificate, the certificates between it and its root, and its key.

    They are objects as a context takes them, of pyOpenSSL or of cryptography.
    """

    certificate: object
    chain: tuple[object, ...]
    key: object = attrs.field(repr=False)


def read_certificates(path: str) -> tuple[crypto.X509, ...]:
    """Read all certificates of a PEM file, at least one.

    :raises Unanswered: that cannot be done; and it says why.
    """
    found = _CERTIFICATE.findall(read_file(path))
    if not found:
        raise cannot_use(path, "no certificate in it")
    certificates = []
    for number, one in enumerate(found, 1):
        try:
            certificates.append(crypto.load_certificate(crypto.FILETYPE_PEM, one))
        except (crypto.Error, ValueError):
            which = f" number {number}" if len(found) > 1 else ""
            raise cannot_use(path, f"the certificate{which} in it is not valid") from None
    return tuple(certificates)


def read_client_certificate(cert_file: str, key_file: str | None) -> ClientCertificate:
    """Read a certificate, those after it that lead to its root, and its key.

    :param key_file: None if the key is in the same file.
    :raises Unanswered: they cannot be used; and it says which file, and why.
    """
    certificates = read_certificates(cert_file)
    path = key_file or cert_file
    key = _read_key(path)
    if _TAKES_CRYPTOGRAPHY:
        certificate, *chain = (one.to_cryptography() for one in certificates)
        own = ClientCertificate(certificate, tuple(chain), key.to_cryptography_key())
    else:
        own = ClientCertificate(certificates[0], certificates[1:], key)
    _check(own, cert_file, path)
    return own


def _read_key(path: str) -> crypto.PKey:
    found = _KEY.search(read_file(path))
    if found is None:
        raise cannot_use(path, "no private key in it")
    if b"ENCRYPTED" in found[0]:
        # OpenSSL would ask for its pass phrase where the daemon was started.
        raise cannot_use(path, "the private key in it is encrypted: expected one that is not")
    try:
        return crypto.load_privatekey(crypto.FILETYPE_PEM, found[0])
    except (crypto.Error, ValueError):
        raise cannot_use(path, "the private key in it is not valid") from None


def _check(own: ClientCertificate, cert_file: str, key_file: str) -> None:
    context = SSL.Context(SSL.TLS_METHOD)
    try:
        context.use_certificate(own.certificate)  # type: ignore[arg-type]
    except SSL.Error:
        raise cannot_use(cert_file, "OpenSSL does not accept the certificate in it") from None
    try:
        context.use_privatekey(own.key)  # type: ignore[arg-type]
        context.check_privatekey()
    except SSL.Error:
        whose = "in it" if key_file == cert_file else f"in {cert_file}"
        raise cannot_use(
            key_file, f"the private key in it does not belong to the certificate {whose}"
        ) from None
