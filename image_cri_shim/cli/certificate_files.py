"""PEM files that a configuration names: whether a registry can be asked with what is in them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator

from OpenSSL import crypto

from image_cri_shim.cli.finding import Finding
from image_cri_shim.decision import Registry
from image_cri_shim.registry.certificates import read_certificates, read_client_certificate
from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.local_file import cannot_use, read_file

_EDGE = re.compile(rb"-----(BEGIN|END) CERTIFICATE-----")
# How many different reasons are named.
_NAMED = 3


def check_authorities(registry: Registry, now: float) -> Iterator[Finding]:
    """Yield what there is to say about the certificates that are trusted.

    :param now: seconds since 1970.
    """
    path = registry.ca_file
    if path is None:
        return
    try:
        certificates = _read_whole(path)
    except Unanswered as problem:
        yield Finding("caFile", problem.detail, is_problem=True)
        return
    invalid = [why for one in certificates if (why := _invalid(one, now))]
    if not invalid:
        return
    if len(invalid) == len(certificates):
        which = "the certificate in it" if len(invalid) == 1 else "every certificate in it"
        detail = cannot_use(path, f"{which} {_joined(invalid)}").detail
        yield Finding("caFile", detail, is_problem=True)
    else:
        count = f"{len(invalid)} of the {len(certificates)} certificates in {path}"
        yield Finding("caFile", f"{count} cannot be used: {_joined(invalid)}")


def check_own(registry: Registry, now: float) -> Iterator[Finding]:
    """Yield what there is to say about the certificate that the registry is shown, and its key.

    :param now: seconds since 1970.
    """
    path = registry.cert_file
    if path is None:
        return
    key = "certFile"
    try:
        own, *chain = _read_whole(path)
        key = "certFile" if registry.key_file is None else "keyFile"
        read_client_certificate(path, registry.key_file)
    except Unanswered as problem:
        yield Finding(key, problem.detail, is_problem=True)
        return
    why = _invalid(own, now)
    if why:
        detail = cannot_use(path, f"the certificate in it {why}").detail
        yield Finding("certFile", detail, is_problem=True)
    for number, one in enumerate(chain, 2):
        why = _invalid(one, now)
        if why:
            yield Finding("certFile", f"certificate number {number} in {path} {why}")


def holds_key(path: str) -> bool:
    """Tell whether a file has a private key in it."""
    try:
        return b"PRIVATE KEY-----" in read_file(path)
    except Unanswered:
        return False


def _read_whole(path: str) -> tuple[crypto.X509, ...]:
    """Read all certificates of a file that has no part of one.

    :raises Unanswered: that cannot be done; and it says why.
    """
    certificates = read_certificates(path)
    inside = False
    for edge in _EDGE.findall(read_file(path)):
        if inside is (edge == b"BEGIN"):
            raise cannot_use(path, "a certificate in it is cut off: it has no beginning or no end")
        inside = not inside
    if inside:
        raise cannot_use(path, "the last certificate in it is cut off: it has no end")
    return certificates


def _invalid(certificate: crypto.X509, now: float) -> str:
    """Say why a certificate is not valid now, or nothing."""
    begin, end = _seconds(certificate.get_notBefore()), _seconds(certificate.get_notAfter())
    if end is not None and end < now:
        return f"expired on {_date(end)}"
    if begin is not None and begin > now:
        return f"is not valid before {_date(begin)}"
    return ""


def _seconds(time: bytes | None) -> float | None:
    """Return a certificate's time in seconds since 1970; None for one that makes no sense.

    :param time: ``YYYYMMDDhhmmssZ``, whatever form it has in the certificate.
    """
    try:
        found = dt.datetime.strptime((time or b"").decode("ascii"), "%Y%m%d%H%M%S%z")
        return found.timestamp()
    except ValueError:
        return None


def _date(time: float) -> str:
    return f"{dt.datetime.fromtimestamp(time, dt.UTC):%Y-%m-%d}"


def _joined(reasons: list[str]) -> str:
    """Write reasons once each; a bundle may have many."""
    different = list(dict.fromkeys(reasons))
    return ", ".join(different[:_NAMED]) + (", ..." if len(different) > _NAMED else "")
