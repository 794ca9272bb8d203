"""A runtime on grpcio that answers every method there is, with metadata of every kind.

It repeats each message of the request, after metadata and before more metadata: text, binary, empty
and repeated ones. A method named `FailN` then ends with status N, a message with characters
that must be encoded, and details; every other one ends with success.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

INITIAL = (
    ("x-initial", "one"),
    ("x-initial", "two"),
    ("x-initial-bin", bytes(range(256))),
    ("x-empty", ""),
)
TRAILING = (
    ("x-trailing", "one, two; three"),
    ("x-trailing", "four"),
    ("x-trailing-bin", b"\x00\xff"),
    ("x-empty-bin", b""),
)
# A google.rpc.Status: code 13, message "why".
DETAILS = ("grpc-status-details-bin", b"\x08\x0d\x12\x03why")
MESSAGE = "100 % wrong:\n\ttöricht \u2603"
CODES = {code.value[0]: code for code in grpc.StatusCode}


class TalkativeRuntime(grpc.GenericRpcHandler):
    """Serve it on a unix socket in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.socket = str(directory / "talkative.sock")
        self._server = grpc.server(ThreadPoolExecutor(8), handlers=(self,))
        self._server.add_insecure_port(f"unix:{self.socket}")

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Return who answers a call: always the same."""
        failing = re.search(r"/Fail(\d+)$", details.method)
        code = CODES[int(failing[1])] if failing else grpc.StatusCode.OK

        def talk(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            context.send_initial_metadata(INITIAL)
            yield from requests
            context.set_trailing_metadata(TRAILING)
            if code != grpc.StatusCode.OK:
                context.set_trailing_metadata((*TRAILING, DETAILS))
                context.abort(code, MESSAGE)

        return grpc.stream_stream_rpc_method_handler(talk)

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
