"""Certificates: signed by an authority that some believe, or by nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLContextFactory
from zope.interface import implementer

from tests.support.certificates import make_certificate

# Older versions of cryptography only have the same dates without a time zone.
MODERN = hasattr(x509.Certificate, "not_valid_before_utc")


@implementer(IOpenSSLContextFactory)
class ServerContext:
    """The TLS side of a server."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context
        # The names in the certificates that clients have shown, if they were asked for one.
        self.shown: list[str] = []
        # The host names that clients have asked for.
        self.names: list[bytes | None] = []
        context.set_tlsext_servername_callback(lambda c: self.names.append(c.get_servername()))

    def getContext(self) -> SSL.Context:
        return self._context

    def asks(self, roots: str, *, demands: bool = False) -> ServerContext:
        """Ask clients for a certificate, or demand one."""

        def note(_: Any, certificate: Any, __: int, depth: int, ok: int) -> bool:
            if depth == 0:
                self.shown.append(name_of(certificate.to_cryptography()))
            return bool(ok)

        mode = SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if demands else 0)
        self._context.load_verify_locations(roots)
        self._context.set_verify(mode, note)
        return self


class Authority:
    """Certificates: those that clients with `roots` as their CA file believe, and others."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key, self.certificate = make_certificate(f"authority-{hash(directory)}")
        self.roots = self._write("roots", pem(self.certificate))

    def server(self, name: str) -> ServerContext:
        """Return the TLS side of a server whose certificate the authority has signed."""
        return self._serving(*self.sign(name))

    def stranger(self, name: str) -> ServerContext:
        """Return the TLS side of a server whose certificate is signed by itself."""
        return self._serving(*make_certificate(name))

    def sign(self, name: str, key: Any = None, *, authority: bool = False) -> tuple[Any, Any]:
        """Return a key and a certificate over it that the authority has signed.

        :param authority: whether it may be signed with itself.
        """
        own_key, template = make_certificate(name)
        key = key or own_key
        names = template.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        issuer = self.certificate
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(issuer.not_valid_before_utc if MODERN else issuer.not_valid_before)
            .not_valid_after(issuer.not_valid_after_utc if MODERN else issuer.not_valid_after)
            .add_extension(names.value, critical=False)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        return key, certificate

    def pair(self, name: str, key: Any = None) -> tuple[str, str]:
        """Write a certificate that the authority has signed, and its key; return both paths."""
        key, certificate = self.sign(name, key)
        return self._write(f"{name}.crt", pem(certificate)), self._write(f"{name}.key", pem(key))

    def _serving(self, key: Any, certificate: Any) -> ServerContext:
        path = self._write(f"{certificate.serial_number}.pem", pem(certificate) + pem(key))
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_session_id(b"shim")
        context.use_certificate_chain_file(path)
        context.use_privatekey_file(path)
        return ServerContext(context)

    def _write(self, name: str, content: bytes) -> str:
        path = self.directory / name
        path.write_bytes(content)
        return str(path)


def name_of(certificate: x509.Certificate) -> str:
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


def pem(thing: Any, password: bytes | None = None, *, traditional: bool = False) -> bytes:
    """Return a certificate, or a private key, as PEM files have them."""
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(serialization.Encoding.PEM)
    encryption: Any = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    form = serialization.PrivateFormat.PKCS8
    if traditional:
        form = serialization.PrivateFormat.TraditionalOpenSSL
    content: bytes = thing.private_bytes(serialization.Encoding.PEM, form, encryption)
    return content
