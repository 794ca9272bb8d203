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

# Calls that change nothing, so that making one twice does no harm. Not GetContainerEvents: who is
# told that it ended looks at everything again, and what happened in between would be missed.
READ_ONLY = frozenset(
    {
        (RUNTIME_SERVICE, "ContainerStats"),
        (RUNTIME_SERVICE, "ContainerStatus"),
        (RUNTIME_SERVICE, "ListContainerStats"),
        (RUNTIME_SERVICE, "ListContainers"),
        (RUNTIME_SERVICE, "ListMetricDescriptors"),
        (RUNTIME_SERVICE, "ListPodSandbox"),
        (RUNTIME_SERVICE, "ListPodSandboxMetrics"),
        (RUNTIME_SERVICE, "ListPodSandboxStats"),
        (RUNTIME_SERVICE, "PodSandboxStats"),
        (RUNTIME_SERVICE, "PodSandboxStatus"),
        (RUNTIME_SERVICE, "RuntimeConfig"),
        (RUNTIME_SERVICE, "Status"),
        (RUNTIME_SERVICE, "StreamContainerStats"),
        (RUNTIME_SERVICE, "StreamContainers"),
        (RUNTIME_SERVICE, "StreamPodSandboxMetrics"),
        (RUNTIME_SERVICE, "StreamPodSandboxStats"),
        (RUNTIME_SERVICE, "StreamPodSandboxes"),
        (RUNTIME_SERVICE, "Version"),
        (IMAGE_SERVICE, "ImageFsInfo"),
        (IMAGE_SERVICE, "ImageStatus"),
        (IMAGE_SERVICE, "ListImages"),
        (IMAGE_SERVICE, "StreamImages"),
    }
)
# The other calls of the CRI, up to Kubernetes 1.37.
_CHANGING = frozenset(
    {
        (RUNTIME_SERVICE, "Attach"),
        (RUNTIME_SERVICE, "CheckpointContainer"),
        (RUNTIME_SERVICE, "CreateContainer"),
        (RUNTIME_SERVICE, "Exec"),
        (RUNTIME_SERVICE, "ExecSync"),
        (RUNTIME_SERVICE, "GetContainerEvents"),
        (RUNTIME_SERVICE, "PortForward"),
        (RUNTIME_SERVICE, "RemoveContainer"),
        (RUNTIME_SERVICE, "RemovePodSandbox"),
        (RUNTIME_SERVICE, "ReopenContainerLog"),
        (RUNTIME_SERVICE, "RunPodSandbox"),
        (RUNTIME_SERVICE, "StartContainer"),
        (RUNTIME_SERVICE, "StopContainer"),
        (RUNTIME_SERVICE, "StopPodSandbox"),
        (RUNTIME_SERVICE, "UpdateContainerResources"),
        (RUNTIME_SERVICE, "UpdatePodSandboxResources"),
        (RUNTIME_SERVICE, "UpdateRuntimeConfig"),
        (IMAGE_SERVICE, "PullImage"),
        (IMAGE_SERVICE, "RemoveImage"),
    }
)
KNOWN = READ_ONLY | _CHANGING

_LONGEST_REMEMBERED = 256
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

    @property
    def read_only(self) -> bool:
        """Whether a call of it changes nothing in the runtime."""
        return self.version is not None and (self.service, self.name) in READ_ONLY

    @property
    def finite(self) -> bool:
        """Whether a call of it ends by itself, as far as is known."""
        return self.version is not None and self.name != "GetContainerEvents"

    def spoken(self, version: str) -> bytes:
        """Return the path of the same method in another version."""
        if self.version is None:
            return self.path
        return _spoken(self, version)


def shown(path: bytes) -> str:
    """Return a path as logs show it: nonsense in it escaped, and not much of it."""
    return repr(path[:_LONGEST_REMEMBERED])[2:-1]


def parse_method(path: bytes) -> Method:
    """Cut up a request's ``:path``."""
    # Nonsense may be as long as headers can be; it must not stay in memory.
    return _parsed(path) if len(path) <= _LONGEST_REMEMBERED else _parsed.__wrapped__(path)


@lru_cache(maxsize=256)
def _parsed(path: bytes) -> Method:
    match = _PATH.fullmatch(path)
    if match is None:
        return Method(path)
    return Method(path, *(part.decode("ascii") for part in match.groups()))


@lru_cache(maxsize=256)
def _spoken(method: Method, version: str) -> bytes:
    return f"/runtime.{version}.{method.service}/{method.name}".encode("ascii")


async def negotiate(ask: Callable[[bytes], Awaitable[int]]) -> str | None:
    """Find out which version a runtime speaks, the newer one first.

    A runtime that serves images only has no RuntimeService, so ImageService is asked too.

    :param ask: calls a path with an empty message and returns the status code.
    :returns: ``v1`` or ``v1alpha2``; None for a runtime that knows neither, at least for now.
    """
    for service, method in ((RUNTIME_SERVICE, "Version"), (IMAGE_SERVICE, "ImageFsInfo")):
        for version in (V1, V1ALPHA2):
            code = await ask(f"/runtime.{version}.{service}/{method}".encode("ascii"))
            if code != Code.UNIMPLEMENTED:
                return version
    return None
