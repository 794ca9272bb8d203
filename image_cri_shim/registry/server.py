"""Where a registry's server is: nearly always where its name says."""

from __future__ import annotations

from urllib.parse import urlsplit

from image_cri_shim.decision import Registry
from image_cri_shim.reference import DEFAULT_DOMAIN

# The one registry whose name is not that of its server.
_HUB_SERVER = "registry-1.docker.io"


def server_url(registry: Registry) -> str:
    """Return the base of the addresses that are asked, without a slash at the end."""
    domain = registry.domain
    if domain.lower() == DEFAULT_DOMAIN:
        domain = _HUB_SERVER
    return f"{'http' if registry.plain_http else 'https'}://{domain}"


def server_host(registry: Registry) -> str:
    """Return the host name or address of the server, in lower case and without brackets."""
    return urlsplit(server_url(registry)).hostname or ""
