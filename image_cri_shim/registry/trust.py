"""Which servers are believed to be who they say, and which of them are told who we are."""

from __future__ import annotations

from typing import Any

import attrs
from OpenSSL import SSL, crypto
from twisted.internet import ssl
from twisted.internet._sslverify import IOpenSSLTrustRoot
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer  # type: ignore[import-untyped]

from image_cri_shim.decision import Registry
from image_cri_shim.registry.certificates import (
    ClientCertificate,
    read_certificates,
    read_client_certificate,
)
from image_cri_shim.registry.local_file import Reread
from image_cri_shim.registry.server import server_host

# Hosts whose settings, or whose latest connection, are kept.
_REMEMBERED = 32


@attrs.frozen(eq=False)
class _Material:
    """What the files say, and what was made of it.

    :ivar creators: by host name; made anew with the material.
    """

    authorities: tuple[crypto.X509, ...]
    own: ClientCertificate | None
    creators: dict[str, Any] = attrs.field(factory=dict)


@implementer(IPolicyForHTTPS)
class Trust:
    """Verifies certificates and the host names or addresses they are for.

    Believed are the system's authorities, and those in the registry's ``ca_file``. The registry's
    own certificate and key are shown to its own host alone; and only there, on whichever port, may
    the verification be left out. Redirects and token servers may lead to others.

    The files are read with the first https connection, and again when they have changed.

    :param registry: whose settings these are.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._host = server_host(registry)
        named = (registry.ca_file, registry.cert_file, registry.key_file)
        paths = [path for path in named if path is not None]
        self._material: Reread[_Material] = Reread(paths, self._read)
        self._latest: dict[tuple[str, int], SSL.Connection] = {}

    def creatorForNetloc(  # noqa: N802 - Twisted's name
        self, hostname: bytes, port: int
    ) -> IOpenSSLClientConnectionCreator:
        """Return what makes the TLS side of a connection to a host.

        :raises Unanswered: a file cannot be used.
        """
        material = self._material.get()
        host = hostname.decode("ascii").lower()
        creator = material.creators.get(host)
        if creator is None:
            creator = self._creator(host, material)
            _remember(material.creators, host, creator)
        remembering: Any = _Remembering(creator, self._latest, (host, port))
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

    def _read(self) -> _Material:
        registry = self._registry
        return _Material(
            read_certificates(registry.ca_file) if registry.ca_file else (),
            read_client_certificate(registry.cert_file, registry.key_file)
            if registry.cert_file
            else None,
        )

    def _creator(self, host: str, material: _Material) -> Any:
        at_home = host == self._host
        options: dict[str, Any] = {}
        if at_home and material.own is not None:
            options["certificate"] = material.own.certificate
            options["privateKey"] = material.own.key
            options["extraCertChain"] = list(material.own.chain)
        if at_home and self._registry.insecure_skip_verify:
            return _Unverified(host, ssl.CertificateOptions(**options))
        roots: Any = _Roots(material.authorities)
        return ssl.optionsForClientTLS(host, trustRoot=roots, extraCertificateOptions=options)


# Twisted calls the interface's method private, but has no other way to trust more than the system's
# authorities; it has been the same since there is one.
@implementer(IOpenSSLTrustRoot)
class _Roots:
    """The system's authorities, and more."""

    def __init__(self, more: tuple[crypto.X509, ...]) -> None:
        self._more = more

    def _addCACertsToContext(self, context: SSL.Context) -> None:  # noqa: N802 - Twisted's name
        context.set_default_verify_paths()
        store = context.get_cert_store()
        for certificate in self._more:
            if store is not None:
                store.add_cert(certificate)


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """Makes connections that take any certificate."""

    def __init__(self, host: str, options: ssl.CertificateOptions) -> None:
        self._context: SSL.Context = options.getContext()
        self._name = None if isIPAddress(host) or isIPv6Address(host) else host

    def clientConnectionForTLS(  # noqa: N802 - Twisted's name
        self,
        tlsProtocol: TLSMemoryBIOProtocol,  # noqa: N803, ARG002 - Twisted's name
    ) -> SSL.Connection:
        """Make the TLS side of a connection."""
        connection = SSL.Connection(self._context, None)
        if self._name is not None:
            connection.set_tlsext_host_name(self._name.encode("ascii"))
        return connection


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
        _remember(self._latest, self._key, connection)
        return connection


def _remember(kept: dict[Any, Any], key: object, value: object) -> None:
    kept[key] = value
    if len(kept) > _REMEMBERED:
        del kept[next(iter(kept))]
