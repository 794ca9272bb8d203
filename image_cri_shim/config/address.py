"""Where a registry is, and the path below it.

An address is ``http://host[:port]``, ``https://host[:port]`` or ``host[:port]``; what stands in
front of its images' paths (``dockerhub-proxy``) is said apart from it.
"""

from __future__ import annotations

import ipaddress
import re

import attrs

from image_cri_shim.decision import Registry
from image_cri_shim.policy import is_docker_hub
from image_cri_shim.reference import (
    DEFAULT_DOMAIN,
    ImageReference,
    InvalidReferenceError,
    check_domain,
    parse_reference,
    stands_for_itself,
)

_SCHEMES = {"http": True, "https": False}
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,15})://")
_ONE_SLASH = re.compile(r"(?P<scheme>https?):/(?!/)", re.IGNORECASE)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
# What may be repeated of a wrong port and of a wrong host.
_NUMBER = re.compile(r"[0-9]{1,5}", re.ASCII)
_WORD = re.compile(r"[\w.-]{1,60}", re.ASCII)
_LAST_PORT = 65535
_HTTP, _HTTPS = 80, 443
# A name in the DNS has at most 253 characters (RFC 1035, section 2.3.4, without the length bytes).
_HOST_LIMIT = 253
# A name, its host included, has at most 255 characters; images need some of them.
_PATH_LIMIT = 200
_PARTS = {"?": "a query", "#": "a fragment", "/": "a path"}
# The part of a registry's URLs that belongs to the protocol (OCI distribution specification).
_API = "v2"


def parse_address(text: str, prefix: str = "write it as `prefix: {}`") -> Registry:
    """Return the registry at ``text``, without credentials; no scheme means https.

    :param prefix: what to do about a path after the host, which stands for the braces.
    :raises ValueError: it is no address; the message is a clause about what was found. It repeats
        only what cannot be a password that somebody wrote into the address.
    """
    # First of all: a password may hold every character that means something below.
    if "@" in text:
        raise ValueError("found a user or a password in it: write them as `auth: user:password`")
    if any(char.isspace() for char in text):
        raise ValueError("found white space in it")
    plain_http, text = _split_scheme(text)
    domain = text.removesuffix("/")
    if not domain or domain.startswith("/"):
        raise ValueError("found no host")
    for mark, part in _PARTS.items():
        if mark in domain:
            hint = _path_hint(domain, prefix) if mark == "/" else ""
            raise ValueError(f"found {part} after the host{hint}")
    registry = Registry(domain, plain_http=plain_http)
    if is_docker_hub(registry) and domain.lower() != DEFAULT_DOMAIN:
        # With any other name its credentials would not be used for the images of docker.io.
        raise ValueError(
            f"found {domain}, another name of Docker Hub: write {DEFAULT_DOMAIN}, "
            "as in its images' names"
        )
    return attrs.evolve(registry, domain=_checked(domain))


def _split_scheme(text: str) -> tuple[bool, str]:
    """Return whether an address is one of plain http, and what follows its scheme."""
    scheme = _SCHEME.match(text)
    if scheme is not None:
        name = scheme["scheme"].lower()
        if name not in _SCHEMES:
            raise ValueError(f"found the scheme {name}://")
        return _SCHEMES[name], text[scheme.end() :]
    slip = _ONE_SLASH.match(text)
    if slip is not None:
        name = slip["scheme"].lower()
        raise ValueError(f"found one slash where two belong: write {name}://")
    if text.startswith("//"):
        raise ValueError("found // without a scheme: write http:// or https://, or leave it out")
    return False, text


def server_of(registry: Registry) -> tuple[str, int]:
    """Return a registry's host and port, the same for every way to write them."""
    host, _, port = registry.domain.lower().rpartition(":")
    if not host or port.endswith("]"):
        host, port = registry.domain.lower(), ""
    if host.startswith("["):
        host = ipaddress.IPv6Address(host[1:-1]).compressed
    return host, int(port or (_HTTP if registry.plain_http else _HTTPS))


def parse_path(text: str) -> str:
    """Return a path of repositories, ``team/proxy``, without slashes at its ends.

    :raises ValueError: it is none; the message is a clause about what was found.
    """
    path = text.strip("/")
    if not path:
        raise ValueError("found an empty path")
    if len(path) > _PATH_LIMIT:
        raise ValueError(f"found one of {len(path)} characters, more than {_PATH_LIMIT}")
    if "//" in path:
        raise ValueError("found two slashes with nothing in between")
    if _is_path(path):
        return path
    if _is_path(path.lower()):
        raise ValueError("found a capital letter: paths are lower case")
    raise ValueError(
        "found something other than lower-case letters and digits with one of . _ __ - between them"
    )


def _is_path(text: str) -> bool:
    host = "localhost"
    try:
        return parse_reference(f"{host}/{text}") == ImageReference(host, text)
    except InvalidReferenceError:
        return False


def _path_hint(domain: str, prefix: str) -> str:
    """Say what to do about a path after a host, if it is one that can be repeated."""
    path = domain.partition("/")[2]
    if path.strip("/") == _API:
        return f": leave /{_API} out"
    try:
        return ": " + prefix.format(parse_path(path.removeprefix(f"{_API}/")))
    except ValueError:
        return ""


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
