"""Which registries' certificates are believed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet import ssl
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.web.client import BrowserLikePolicyForHTTPS, HostnameCachingHTTPSPolicy
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer  # type: ignore[import-untyped]

from image_cri_shim.registry.failure import Unanswered

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
# Hosts whose latest connection is kept for the sake of an error message.
_REMEMBERED = 32


@implementer(IPolicyForHTTPS)
class Trust:
    """Verifies certificates and the host names or addresses they are for.

    Nothing is read before the first https request: plain-http installations do not pay for it.

    :param ca_file: PEM file with the only certificates to trust; None for the system's.
    """

    def __init__(self, ca_file: Path | None = None) -> None:
        self._ca_file = ca_file
        self._policy: HostnameCachingHTTPSPolicy | None = None
        self._latest: dict[tuple[str, int], SSL.Connection] = {}

    def creatorForNetloc(  # noqa: N802 - Twisted's name
        self, hostname: bytes, port: int
    ) -> IOpenSSLClientConnectionCreator:
        """Return what makes the TLS side of a connection to a host.

        :raises Unanswered: the CA file cannot be used.
        """
        if self._policy is None:
            policy: Any = BrowserLikePolicyForHTTPS(self._roots())
            self._policy = HostnameCachingHTTPSPolicy(policy)
        creator = self._policy.creatorForNetloc(hostname, port)
        remembering: Any = _Remembering(creator, self._latest, (hostname.decode("ascii"), port))
        return remembering  # type: ignore[no-any-return]

    def complaint(self, host: str, port: int) -> str:
        """Return what was wrong with the certificate that a host showed last, or nothing.

        pyOpenSSL's errors only say that verifying failed; the cause (expired, self-signed) can
        only be had from the library below it. Where that has changed, nothing is said.
        """
        connection = self._latest.get((host, port))
        if connection is None:
            return ""
        try:
            from OpenSSL._util import ffi, lib  # noqa: PLC0415

            result = lib.SSL_get_verify_result(connection._ssl)  # noqa: SLF001
            if not result:
                return ""
            text = ffi.string(lib.X509_verify_cert_error_string(result))
            return str(text.decode("ascii"))
        except (ImportError, AttributeError, TypeError, ValueError):
            return ""

    def _roots(self) -> object:
        if self._ca_file is None:
            return None
        try:
            found = _CERTIFICATE.findall(self._ca_file.read_bytes())
            certificates = [ssl.Certificate.loadPEM(one) for one in found]
        except (OSError, crypto.Error, ValueError) as problem:
            why = problem.strerror if isinstance(problem, OSError) else "no valid certificate"
            raise Unanswered(f"TLS: cannot use {self._ca_file}: {why}") from None
        if not certificates:
            raise Unanswered(f"TLS: cannot use {self._ca_file}: no certificate in it")
        return ssl.trustRootFromCertificates(certificates)


@implementer(IOpenSSLClientConnectionCreator)
class _Remembering:
    """Keeps the latest connection to each host, for Trust.complaint."""

    def __init__(
        self,
        creator: IOpenSSLClientConnectionCreator,
        latest: dict[tuple[str, int], SSL.Connection],
        key: tuple[str, int],
    ) -> None:
        self._creator: Any = creator
        self._latest = latest
        self._key = key

    def clientConnectionForTLS(  # noqa: N802 - Twisted's name
        self,
        tlsProtocol: TLSMemoryBIOProtocol,  # noqa: N803 - Twisted's name
    ) -> SSL.Connection:
        """Make the TLS side of a connection."""
        connection: SSL.Connection = self._creator.clientConnectionForTLS(tlsProtocol)
        self._latest.pop(self._key, None)
        self._latest[self._key] = connection
        if len(self._latest) > _REMEMBERED:
            del self._latest[next(iter(self._latest))]
        return connection
