"""What a look-up may be led to by what others say: not everywhere, and nowhere with a secret."""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import unquote, urlsplit

import attrs

from image_cri_shim.reference import DEFAULT_DOMAIN
from image_cri_shim.registry.failure import Unanswered

# Docker Hub's servers that are not below its domain.
_HUB_ELSEWHERE = frozenset({"registry.hub.docker.com", "production.cloudflare.docker.com"})
# Characters; what is shorter is in many addresses by chance.
_SHORTEST_SECRET = 4
_SHOWN_INSTEAD = "***"


class Forbidden(Exception):
    """A look-up was about to be led to a host that may not be asked; the message is its detail."""


@attrs.frozen
class Guard:
    """Judges the addresses that a registry, or whoever it leads to, names.

    Equal ones let the same pass, for one registry.

    :ivar asked: the address of what is looked up. Nothing in it is a secret; and its host may be
        asked in any case, for it is configured.
    :ivar forbidden: the domain that must not be asked, or empty. Ports make no difference.
    :ivar secrets: every spelling of the registry's credentials.
    """

    asked: str = attrs.field(default="", eq=False)
    forbidden: str = ""
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)

    def check(self, address: str, what: str) -> None:
        """Make sure that an address may be asked.

        :param what: says what it is for, in a message that does not repeat it.
        :raises Forbidden: it leads to the forbidden host. Whoever follows it on our behalf, such
            as the runtime, would be led there too.
        :raises Unanswered: it holds the credentials: the name servers that are asked for its host,
            and the log, would learn them.
        """
        forbidden = _host_of(f"//{self.forbidden}")
        if (
            forbidden
            and _is_at(_host_of(address), forbidden)
            and not _is_at(_host_of(self.asked), forbidden)
        ):
            raise Forbidden(f"leads to {forbidden}, which is not allowed")
        told, known = f"{address} {unquote(address)}".lower(), self.asked.lower()
        for secret in self.secrets:
            text = secret.lower()
            if len(text) >= _SHORTEST_SECRET and text in told and text not in known:
                raise Unanswered(
                    f"{what} an address with its credentials in it, which is not asked"
                )

    def clean(self, host: str) -> str:
        """Return a host's name, or another word of strangers, without the credentials in it."""
        # Longest first, so that a secret that contains another one goes as a whole.
        for secret in sorted(filter(None, self.secrets), key=len, reverse=True):
            # Names of hosts are the same in lower case.
            host = re.sub(re.escape(secret), _SHOWN_INSTEAD, host, flags=re.IGNORECASE)
        return host


def _host_of(address: str) -> str:
    """Return an address' host, without its port; also of one with a user, which is never asked."""
    try:
        place = urlsplit(address).netloc.rpartition("@")[2]
    except ValueError:
        return ""
    if place.startswith("["):
        return _plain(place[1:].partition("]")[0])
    return _plain(place.partition(":")[0])


def _plain(host: str) -> str:
    """Return the one spelling of a host among those that lead to it."""
    host = host.lower().removesuffix(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            # Resolvers also take 127.1 and 0x7f000001.
            return socket.inet_ntoa(socket.inet_aton(host))
        except (OSError, ValueError):
            return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _is_at(host: str, other: str) -> bool:
    return host == other or (_is_docker_hub(host) and _is_docker_hub(other))


def _is_docker_hub(host: str) -> bool:
    return f".{host}".endswith(f".{DEFAULT_DOMAIN}") or host in _HUB_ELSEWHERE
