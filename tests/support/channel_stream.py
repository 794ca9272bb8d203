"""Talk to a runtime's streaming server: what the URLs of Exec, Attach and PortForward lead to.

WebSocket (RFC 6455) with Kubernetes' subprotocol `v4.channel.k8s.io`: the first byte of each
message is the number of its channel. Exec and Attach: 0 standard input, 1 standard output, 2
standard error, 3 the outcome as JSON. PortForward: two channels a port, data and error, each
beginning with the port in two bytes.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import struct
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

STDIN, STDOUT, STDERR, OUTCOME = 0, 1, 2, 3
PROTOCOL = "v4.channel.k8s.io"
TEXT, BINARY, CLOSE = 1, 2, 8


class ChannelStream:
    """One connection to a streaming URL; raises OSError where the server refuses it."""

    def __init__(self, url: str, *, query: str = "", seconds: float = 10) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), seconds)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            (
                f"GET {parts.path}{query and '?' + query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n"
            ).encode()
        )
        self._file = self._socket.makefile("rb")
        status = self._file.readline().decode()
        while self._file.readline().strip():
            pass
        if " 101 " not in status:
            self.close()
            raise OSError(f"the streaming server said {status.strip()}")
        self._received: dict[int, bytes] = {}

    def send(self, channel: int, content: bytes) -> None:
        """Send a message on a channel."""
        payload = bytes([channel]) + content
        if len(payload) > 125:
            raise ValueError("longer messages are not needed here")
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        self._socket.sendall(bytes([0x80 | BINARY, 0x80 | len(payload)]) + mask + masked)

    def received(self, channel: int) -> bytes:
        """Return what has come on a channel so far."""
        return self._received.get(channel, b"")

    def read_until(self, channel: int, content: bytes) -> None:
        """Read until `content` has come on the channel; raises EOFError when the server closes."""
        while content not in self.received(channel):
            if not self._read():
                raise EOFError(f"{content!r} never came, only {self._received}")

    def read_all(self) -> None:
        """Read until the server closes."""
        while self._read():
            pass

    def outcome(self) -> dict[str, object]:
        """Return how the command ended: a Kubernetes Status."""
        status: dict[str, object] = json.loads(self.received(OUTCOME))
        return status

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._socket.close()

    def _read(self) -> bool:
        head = self._file.read(2)
        if len(head) < 2:
            return False
        length = head[1] & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self._file.read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._file.read(8))
        payload = self._file.read(length)
        kind = head[0] & 0x0F
        if kind == CLOSE:
            return False
        if kind in (TEXT, BINARY) and payload:
            channel = payload[0]
            self._received[channel] = self.received(channel) + payload[1:]
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def upgrade_to_spdy(url: str) -> tuple[int, str]:
    """Ask for SPDY, as kubelets and crictl do; return the status and the protocol chosen."""
    parts = urlsplit(url)
    kind = parts.path.split("/")[1]
    protocol = "portforward.k8s.io" if kind == "portforward" else PROTOCOL
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "SPDY/3.1",
        "X-Stream-Protocol-Version": protocol,
    }
    try:
        connection.request("POST", parts.path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("X-Stream-Protocol-Version", "")
    finally:
        connection.close()
