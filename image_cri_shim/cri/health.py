"""The health of the CRI on the shim's socket: gRPC's health checking protocol, answered here.

A client asks whether calls would be answered, so the shim serves only while the runtime can be
reached (the gRPC project's "GRPC Health Checking Protocol", ``grpc.health.v1``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from image_cri_shim.cri._generated import health_pb2
from image_cri_shim.cri.call import read_call
from image_cri_shim.cri.status import CONTENT_TYPE, Code, RpcError, frame
from image_cri_shim.cri.stream import Headers, RawStream
from image_cri_shim.cri.upstream import Upstream
from image_cri_shim.cri.versions import IMAGE_SERVICE, RUNTIME_SERVICE, V1, V1ALPHA2, Method

HEALTH = b"/grpc.health.v1.Health/"
# The shim's own health: it serves as long as it answers at all, whatever the runtime does.
SELF = "image-cri-shim"

_SERVICES = frozenset(
    {
        "",
        *(
            f"runtime.{version}.{service}"
            for version in (V1, V1ALPHA2)
            for service in (IMAGE_SERVICE, RUNTIME_SERVICE)
        ),
    }
)
_FIRST: Headers = [(b":status", b"200"), (b"content-type", CONTENT_TYPE)]
_OK: Headers = [(b"grpc-status", b"0"), (b"grpc-message", b"")]
_Status = health_pb2.HealthCheckResponse


class Health:
    """Answers questions about the runtime's health.

    :param upstream: returns the runtime under the current configuration.
    """

    def __init__(self, upstream: Callable[[], Upstream]) -> None:
        self._upstream = upstream

    async def answer(self, stream: RawStream, headers: Headers, method: Method) -> None:
        """Answer a call whose path begins with HEALTH.

        :raises RpcError: the question is not one that can be answered.
        """
        name = method.path.removeprefix(HEALTH)
        if name not in (b"Check", b"Watch"):
            raise RpcError(
                Code.UNIMPLEMENTED,
                "image-cri-shim: of grpc.health.v1.Health there are Check and Watch only",
            )
        call = await read_call(stream, headers, method, None, self._upstream())
        service = health_pb2.HealthCheckRequest.FromString(call.payload).service
        if name == b"Watch":
            await self._watch(stream, service)
            return
        if service != SELF and service not in _SERVICES:
            raise RpcError(Code.NOT_FOUND, f"image-cri-shim: no service is called {service!r}")
        reachable = service == SELF or await self._upstream().reachable()
        await stream.write_headers(_FIRST)
        await stream.write_frame(_message(_Status.SERVING if reachable else _Status.NOT_SERVING))
        await stream.write_headers(_OK, end=True)

    async def _watch(self, stream: RawStream, service: str) -> None:
        """Tell the status now and whenever it changes, until the client has enough."""
        await stream.write_headers(_FIRST)
        if service not in _SERVICES:
            # It will not change, but the protocol wants the call to go on.
            status = _Status.SERVING if service == SELF else _Status.SERVICE_UNKNOWN
            await stream.write_frame(_message(status))
            await asyncio.Event().wait()
        changed = asyncio.Event()
        told: bool | None = None
        while True:
            # After a reload it is another one; the one before says when that is so.
            upstream = self._upstream()
            unwatch = upstream.watch(changed.set)
            try:
                upstream.start()
                while upstream is self._upstream():
                    changed.clear()
                    serving = upstream.connected
                    if serving != told:
                        told = serving
                        status = _Status.SERVING if serving else _Status.NOT_SERVING
                        await stream.write_frame(_message(status))
                    else:
                        await changed.wait()
            finally:
                unwatch()


def _message(status: health_pb2.HealthCheckResponse.ServingStatus) -> bytes:
    return frame(_Status(status=status).SerializeToString())
