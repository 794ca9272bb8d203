"""Let one CRI version of a runtime through: a runtime that serves both becomes one that serves one.

Every method of `/runtime.VERSION.*` goes to the runtime as raw bytes, whatever its kind, with its
metadata and deadline, and the outcome comes back. Everything else is refused in the words of
grpc-go for a service that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

LIMIT = 64 * 1024 * 1024
SIZES = (("grpc.max_receive_message_length", LIMIT), ("grpc.max_send_message_length", LIMIT))
# Metadata that belongs to one connection; grpcio sends its own.
OWN = frozenset({"user-agent", "grpc-accept-encoding", "accept-encoding"})

Handle = Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]


class VersionFilter(grpc.GenericRpcHandler):
    """Serve `version` of the runtime at `runtime` on a unix socket in `directory`."""

    def __init__(self, directory: Path, runtime: str, version: str) -> None:
        self.socket = str(directory / f"only-{version}.sock")
        self.version = version
        self._prefix = f"/runtime.{version}."
        self._channel = grpc.insecure_channel(
            f"unix:{runtime}", options=(*SIZES, ("grpc.use_local_subchannel_pool", 1))
        )
        self._server = grpc.server(ThreadPoolExecutor(32), handlers=(self,), options=SIZES)
        self._server.add_insecure_port(f"unix:{self.socket}")

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Return who answers a call: the runtime, or a refusal."""
        path: str = details.method
        handle = self._forward(path) if path.startswith(self._prefix) else self._refuse(path)
        # Requests and answers as streams: then one handler serves every kind of method.
        return grpc.stream_stream_rpc_method_handler(handle)

    def _forward(self, path: str) -> Handle:
        def forward(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            call = self._channel.stream_stream(path)(
                requests,
                timeout=context.time_remaining(),
                metadata=[pair for pair in context.invocation_metadata() if pair[0] not in OWN],
            )
            context.add_callback(call.cancel)
            try:
                context.send_initial_metadata(call.initial_metadata() or ())
                yield from call
            except grpc.RpcError:
                context.set_trailing_metadata(call.trailing_metadata() or ())
                context.abort(call.code(), call.details())
            context.set_trailing_metadata(call.trailing_metadata() or ())

        return forward

    def _refuse(self, path: str) -> Handle:
        service = path.strip("/").partition("/")[0]

        def refuse(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"unknown service {service}")
            yield b""  # never reached: it makes this a stream

        return refuse

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop(None).wait()
        self._channel.close()
