"""Header blocks (HPACK, RFC 7541) for calls on a unix socket: written plainly, read quickly.

Compression saves bytes, of which a unix socket has plenty, and costs more time than all the rest of
a call's headers. So nothing is compressed that is sent, and no dynamic table is kept for it; what
peers send is decoded as they compressed it. Both classes stand where h2 has hpack's, whose
interface towards h2 they keep.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from hpack import HPACKDecodingError, OversizedHeaderListError
from hpack.exceptions import InvalidTableIndex, InvalidTableSizeError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

Field = tuple[bytes, bytes]

# RFC 7541, section 4.1: what each entry costs beyond its bytes.
_OVERHEAD = 32
_TABLE_SIZE = 4096
_STATIC: tuple[tuple[Field, int], ...] = tuple(
    (field, len(field[0]) + len(field[1]) + _OVERHEAD) for field in HeaderTable.STATIC_TABLE
)
_FIRST_DYNAMIC = len(_STATIC) + 1
_WHOLE = {
    (b":method", b"POST"): b"\x83",
    (b":scheme", b"http"): b"\x86",
    (b":status", b"200"): b"\x88",
}
# Fields that are the same in very many calls; others may be secrets, or are new in each call.
_REPEATED = frozenset(
    {
        b":path",
        b":authority",
        b"te",
        b"content-type",
        b"user-agent",
        b"grpc-accept-encoding",
        b"grpc-status",
    }
)
_REMEMBERED = 1024
_LONGEST_REMEMBERED = 256
# The bits that say what a field is (sections 6.1 to 6.3), and those that begin its first integer.
_INDEXED, _ADDED, _KIND, _SIZE_UPDATE = 0x80, 0x40, 0x60, 0x20
_INDEX, _ADDED_NAME, _NAME, _SIZE, _LENGTH = 0x7F, 0x3F, 0x0F, 0x1F, 0x7F
# The bit that says that another byte of an integer follows, and that a string is Huffman-coded.
_MORE = _HUFFMAN = 0x80
_LONGEST_INTEGER = 5
_LENGTHS = [bytes([length]) for length in range(_LENGTH)]
# Section 6.2.3: who passes a field on that came so must pass it on so; what any field may be.
_NEVER_INDEXED = b"\x10"
# Section 6.3: "dynamic table size update" to nothing.
_NO_TABLE = b"\x20"


class PlainEncoder:
    """Writes header blocks without compression: literals that enter no table (section 6.2.3)."""

    def __init__(self) -> None:
        self._known = dict(_WHOLE)
        self._prefix = b""

    @property
    def header_table_size(self) -> int:
        """How large the peer lets a table be that is not used."""
        return 0

    @header_table_size.setter
    def header_table_size(self, _value: int) -> None:
        # Section 4.2: the next block must say that the new limit is kept.
        self._prefix = _NO_TABLE

    def encode(self, headers: Iterable[Field]) -> bytes:
        """Return the block for these headers."""
        known = self._known
        block = [self._prefix] if self._prefix else []
        self._prefix = b""
        for field in headers:
            written = known.get(field)
            if written is None:
                name, value = field
                written = _NEVER_INDEXED + _string(name) + _string(value)
                if len(value) <= _LONGEST_REMEMBERED and name in _REPEATED:
                    if len(known) >= _REMEMBERED:
                        known.clear()
                        known.update(_WHOLE)
                    known[field] = written
            block.append(written)
        return b"".join(block)


def _string(value: bytes) -> bytes:
    length = len(value)
    if length < _LENGTH:
        return _LENGTHS[length] + value
    # Section 5.1: seven bits at a time, the least significant first.
    out = bytearray([_LENGTH])
    length -= _LENGTH
    while length >= _MORE:
        out.append(_MORE | length & 0x7F)
        length >>= 7
    out.append(length)
    return bytes(out) + value


class Decoder:
    """Reads header blocks.

    :ivar max_header_list_size: the largest list that is taken, in bytes as section 4.1 counts them.
    :ivar max_allowed_table_size: the largest table that the peer may ask for, in bytes.
    """

    def __init__(self) -> None:
        self.max_header_list_size = 65536
        self.max_allowed_table_size = _TABLE_SIZE
        self._limit = _TABLE_SIZE
        self._size = 0
        # Newest first.
        self._entries: deque[tuple[Field, int]] = deque()

    @property
    def header_table_size(self) -> int:
        """How large the peer's table may grow."""
        return self._limit

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        self._limit = value
        self._shrink()

    def decode(self, data: bytes, raw: bool = True) -> list[Field]:  # noqa: FBT001, FBT002, ARG002, C901, PLR0912 - hpack's interface; one loop is quickest
        """Return a block's headers.

        :raises HPACKDecodingError: it is malformed.
        :raises OversizedHeaderListError: it is too large.
        """
        headers: list[Field] = []
        total = place = 0
        end = len(data)
        limit = self.max_header_list_size
        try:
            while place < end:
                first = data[place]
                if first >= _INDEXED:
                    if first == _INDEXED | _INDEX:
                        index, place = _integer(data, place, _INDEX)
                    else:
                        index = first & _INDEX
                        place += 1
                    field, size = self._entry(index)
                elif first & _KIND == _SIZE_UPDATE:
                    if headers:
                        raise HPACKDecodingError("table size update after a header")
                    size, place = _integer(data, place, _SIZE)
                    if size > self.max_allowed_table_size:
                        raise InvalidTableSizeError("table size above the limit")
                    self.header_table_size = size
                    continue
                else:
                    mask = _ADDED_NAME if first & _ADDED else _NAME
                    index, place = _integer(data, place, mask)
                    if index:
                        name = self._entry(index)[0][0]
                    else:
                        name, place = _text(data, place)
                    value, place = _text(data, place)
                    field = name, value
                    size = len(name) + len(value) + _OVERHEAD
                    if first & _ADDED:
                        self._entries.appendleft((field, size))
                        self._size += size
                        self._shrink()
                total += size
                if total > limit:
                    raise OversizedHeaderListError(f"headers of more than {limit} bytes")
                headers.append(field)
        except IndexError as error:
            raise HPACKDecodingError("truncated header block") from error
        if self._limit > self.max_allowed_table_size:
            raise InvalidTableSizeError("the table was not shrunk to the limit")
        return headers

    def _entry(self, index: int) -> tuple[Field, int]:
        if index >= _FIRST_DYNAMIC:
            index -= _FIRST_DYNAMIC
            if index < len(self._entries):
                return self._entries[index]
        elif index:
            return _STATIC[index - 1]
        raise InvalidTableIndex("no such entry in the table")

    def _shrink(self) -> None:
        while self._size > self._limit:
            self._size -= self._entries.pop()[1]


def _integer(data: bytes, place: int, mask: int) -> tuple[int, int]:
    """Read an integer (section 5.1); return it and the place behind it."""
    value = data[place] & mask
    place += 1
    if value < mask:
        return value, place
    for shift in range(0, 7 * _LONGEST_INTEGER, 7):
        byte = data[place]
        place += 1
        value += (byte & 0x7F) << shift
        if byte < _MORE:
            return value, place
    raise HPACKDecodingError("an integer is too long")


def _text(data: bytes, place: int) -> tuple[bytes, int]:
    """Read a string (section 5.2); return it and the place behind it."""
    huffman = data[place] & _HUFFMAN
    length, place = _integer(data, place, _LENGTH)
    end = place + length
    if end > len(data):
        raise HPACKDecodingError("truncated header block")
    value = bytes(data[place:end])
    return (decode_huffman(value) if huffman else value), end
