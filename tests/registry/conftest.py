from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.logger import globalLogPublisher
from zope.interface import implementer

from image_cri_shim.registry.trust import Trust
from tests.registry.network import Network
from tests.support.certificates import make_certificate

# Older versions of cryptography only have the same dates without a time zone.
MODERN = hasattr(x509.Certificate, "not_valid_before_utc")


@pytest.fixture
def network() -> Network:
    return Network()


@implementer(IOpenSSLContextFactory)
class ServerContext:
    """The TLS side of a server."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def getContext(self) -> SSL.Context:
        return self._context


class Authority:
    """Certificates: those that clients with `trust` believe, and others."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._roots = directory / "roots.pem"
        self._authorities = {name: make_certificate(name) for name in ("authority", "stranger")}
        root = self._authorities["authority"][1]
        self._roots.write_bytes(root.public_bytes(serialization.Encoding.PEM))

    @property
    def trust(self) -> Trust:
        return Trust(self._roots)

    def server(self, name: str) -> ServerContext:
        """Return the TLS side of a server whose certificate the authority has signed."""
        key, certificate = self._signed(name)
        return self._options(key, certificate)

    def stranger(self, name: str) -> ServerContext:
        """Return the TLS side of a server whose certificate is signed by itself."""
        return self._options(*make_certificate(name))

    def _signed(self, name: str) -> tuple[Any, Any]:
        issuer_key, issuer = self._authorities["authority"]
        key, template = make_certificate(name)
        names = template.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(template.subject)
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(issuer.not_valid_before_utc if MODERN else issuer.not_valid_before)
            .not_valid_after(issuer.not_valid_after_utc if MODERN else issuer.not_valid_after)
            .add_extension(names.value, critical=False)
            .sign(issuer_key, hashes.SHA256())
        )
        return key, certificate

    def _options(self, key: Any, certificate: Any) -> ServerContext:
        pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path = self._directory / f"{certificate.serial_number}.pem"
        path.write_bytes(pem)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate_chain_file(str(path))
        context.use_privatekey_file(str(path))
        return ServerContext(context)


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def nothing_goes_wrong_unseen() -> Iterator[None]:
    """Fail a test that leaves a Deferred's failure to nobody, or makes Twisted log a traceback."""
    failures: list[Any] = []

    def observe(event: Any) -> None:
        if event.get("log_failure") is not None:
            failures.append(event["log_failure"].getTraceback())

    globalLogPublisher.addObserver(observe)
    yield
    gc.collect()
    globalLogPublisher.removeObserver(observe)
    assert not failures, "\n".join(failures)
