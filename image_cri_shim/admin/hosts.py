"""Which Host headers a client on TCP may send.

A web page from elsewhere can have its own name lead to this machine and then read what is served
here as if it were its own (DNS rebinding); the browser still says the page's name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Sequence

_HOST = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]+)(?::[0-9]{0,5})?")


def host_check(names: Collection[str]) -> Callable[[Sequence[bytes]], bool]:
    """Return what tells whether a request's Host headers are of a client that means this machine.

    IP addresses and localhost are; a request without the header is no browser's.

    :param names: further names of this machine.
    """
    known = {"localhost", *(name.lower().removesuffix(".") for name in names if name)}

    def is_ours(headers: Sequence[bytes]) -> bool:
        if not headers:
            return True
        if len(headers) > 1:
            return False
        match = _HOST.fullmatch(headers[0].decode("ascii", "replace"))
        if match is None:
            return False
        host = match["host"]
        return host.lower().removesuffix(".") in known or _is_address(host)

    return is_ours


def _is_address(host: str) -> bool:
    bracketed = host.startswith("[")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return bracketed == (address.version == 6)  # noqa: PLR2004 - IPv6
