"""CRI versions: how a method's path names its version, and which one a runtime speaks.

The two versions of a service have the same messages; only the path differs:
``/runtime.v1.ImageService/PullImage``, ``/runtime.v1alpha2.ImageService/PullImage``
(Kubernetes' cri-api, ``runtime/v1`` and ``runtime/v1alpha2``).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import lru_cache

import attrs

from image_cri_shim.cri.status import Code

V1 = "v1"
V1ALPHA2 = "v1alpha2"
IMAGE_SERVICE = "ImageService"
RUNTIME_SERVICE = "RuntimeService"

_PATH = re.compile(rb"/runtime\.(v1|v1alpha2)\.([A-Za-z0-9_]+)/([A-Za-z0-9_]+)")


@attrs.frozen
class Method:
    """A method's path, cut up.

    :ivar version: None for a path that is not the CRI's; ``path`` says all then.
    """

    path: bytes
    version: str | None = None
    service: str = ""
    name: str = ""

    def spoken(self, version: str) -> bytes:
        """Return the path of the same method in another version."""
        if self.version is None:
            return self.path
        return _spoken(self, version)


@lru_cache(maxsize=256)
def parse_method(path: bytes) -> Method:
    """Cut up a request's ``:path``."""
    match = _PATH.fullmatch(path)
    if match is None:
        return Method(path)
    return Method(path, *(part.decode("ascii") for part in match.groups()))


@lru_cache(maxsize=256)
def _spoken(method: Method, version: str) -> bytes:
    return f"/runtime.{version}.{method.service}/{method.name}".encode("ascii")


async def negotiate(ask: Callable[[bytes], Awaitable[int]]) -> str:
    """Find out which version a runtime speaks, the newer one first.

    A runtime that serves images only has no RuntimeService, so ImageService is asked too.

    :param ask: calls a path with an empty message and returns the status code.
    :returns: ``v1`` or ``v1alpha2``; ``v1`` for a runtime that knows neither.
    """
    for service, method in ((RUNTIME_SERVICE, "Version"), (IMAGE_SERVICE, "ImageFsInfo")):
        for version in (V1, V1ALPHA2):
            code = await ask(f"/runtime.{version}.{service}/{method}".encode("ascii"))
            if code != Code.UNIMPLEMENTED:
                return version
    return V1
