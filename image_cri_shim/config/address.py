"""A registry's address: ``http://host[:port]``, ``https://host[:port]`` or ``host[:port]``."""

from __future__ import annotations

import ipaddress
import re

from image_cri_shim.decision import Registry
from image_cri_shim.reference import InvalidReferenceError, check_domain, stands_for_itself

_SCHEMES = {"http": True, "https": False}
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,15})://")
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
# What may be repeated of a wrong port and of a wrong host.
_NUMBER = re.compile(r"[0-9]{1,5}", re.ASCII)
_WORD = re.compile(r"[\w.-]{1,60}", re.ASCII)
_LAST_PORT = 65535
# A name in the DNS has at most 253 characters (RFC 1035, section 2.3.4, without the length bytes).
_HOST_LIMIT = 253
_PARTS = {"?": "a query", "#": "a fragment", "/": "a path"}


def parse_address(text: str) -> Registry:
    """Return the registry at ``text``, without credentials; no scheme means https.

    :raises ValueError: it is no address; the message is a clause about what was found. It repeats
        only what cannot be a password that somebody wrote into the address.
    """
    # First of all: a password may hold every character that means something below.
    if "@" in text:
        raise ValueError("found a user or a password in it: write them as `auth: user:password`")
    if any(char.isspace() for char in text):
        raise ValueError("found white space in it")
    plain_http = False
    scheme = _SCHEME.match(text)
    if scheme is not None:
        name = scheme["scheme"].lower()
        if name not in _SCHEMES:
            raise ValueError(f"found the scheme {name}://")
        plain_http = _SCHEMES[name]
        text = text[scheme.end() :]
    domain = text.removesuffix("/")
    for mark, part in _PARTS.items():
        if mark in domain:
            raise ValueError(f"found {part} after the host")
    if not domain:
        raise ValueError("found no host")
    return Registry(_checked(domain), plain_http=plain_http)


def _checked(domain: str) -> str:
    host, colon, port = domain.partition(":")
    if domain.startswith("["):
        host, bracket, rest = domain.partition("]")
        _, colon, port = rest.partition(":")
        if not bracket or not rest.startswith(colon) or not _is_ipv6(host[1:]):
            raise ValueError("found brackets around something that is no IPv6 address")
    elif ":" in port:
        raise ValueError("found more than one colon: write an IPv6 address in brackets, [::1]:5000")
    if colon and (_PORT.fullmatch(port) is None or int(port) > _LAST_PORT):
        shown = f" {port}" if _NUMBER.fullmatch(port) else ""
        raise ValueError(f"found a port{shown} that is not from 1 to {_LAST_PORT}")
    if len(host) > _HOST_LIMIT:
        raise ValueError(f"found a host of {len(host)} characters, more than {_HOST_LIMIT}")
    shown = f" {host}" if _WORD.fullmatch(host) else ""
    try:
        check_domain(domain)
    except InvalidReferenceError:
        raise ValueError(
            f"found a host{shown} that is not made of letters, digits, dots and inner hyphens"
        ) from None
    if not stands_for_itself(domain):
        raise ValueError(
            f"found a host{shown} that runtimes would not take for a registry in front of an "
            "image's name: add the port, or write the name in full"
        )
    return domain


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
