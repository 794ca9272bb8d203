"""HTTP/2 frames and gRPC messages as bytes: as little as a load and a null runtime need.

Both are to cost far less than what is measured between them, so there is no library here. Source:
RFC 9113 (sections 4.1 and 6) and RFC 7541 (appendix A: the static table).
"""

from __future__ import annotations

from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE = 4
LARGEST_WINDOW = 2**31 - 1
# What every peer takes (RFC 9113, section 6.5.2) until it says that it takes more.
LARGEST_PAYLOAD = 16384

Frame = tuple[int, int, int, bytes]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return b"%b%c%c%b%b" % (
        len(payload).to_bytes(3, "big"),
        kind,
        flags,
        stream.to_bytes(4, "big"),
        payload,
    )


def settings(*pairs: tuple[int, int]) -> bytes:
    """Return a SETTINGS frame."""
    body = b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in pairs)
    return frame(SETTINGS, 0, 0, body)


def window_update(stream: int, size: int) -> bytes:
    """Return a WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream, size.to_bytes(4, "big"))


def message(payload: bytes) -> bytes:
    """Return an uncompressed gRPC message with its prefix."""
    return b"\0" + len(payload).to_bytes(4, "big") + payload


def literal(name: bytes | int, value: bytes, *, indexed: bool) -> bytes:
    """Return a header field for a block (RFC 7541, section 6.2), with nothing Huffman-coded.

    :param name: a name of less than 127 bytes, or its index in the static table.
    :param indexed: the peer adds it to its dynamic table.
    """
    if isinstance(name, bytes):
        head = bytes([0x40 if indexed else 0, len(name)]) + name
    elif indexed:
        head = bytes([0x40 | name])
    else:
        head = bytes([name]) if name < 15 else bytes([15, name - 15])
    return head + bytes([len(value)]) + value


class Splitter:
    """Cuts received bytes into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def split(self, data: bytes) -> Iterator[Frame]:
        """Yield kind, flags, stream and payload of each frame that is complete."""
        data = self._rest + data if self._rest else data
        place, end = 0, len(data)
        while end - place >= 9:
            length = int.from_bytes(data[place : place + 3], "big")
            if end - place < 9 + length:
                break
            stream = int.from_bytes(data[place + 5 : place + 9], "big")
            begin, place = place + 9, place + 9 + length
            yield data[begin - 6], data[begin - 5], stream, data[begin:place]
        self._rest = data[place:]
