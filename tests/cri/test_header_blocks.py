"""Header blocks: what hpack writes is read the same, and what is written hpack reads the same."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_cri_shim.cri.header_blocks import Decoder, PlainEncoder

NAMES = st.sampled_from([b":path", b":method", b":status", b"grpc-status", b"te"]) | st.binary(
    min_size=1, max_size=200
)
VALUES = st.sampled_from([b"POST", b"200", b"0", b"trailers"]) | st.binary(max_size=400)
BLOCKS = st.lists(st.lists(st.tuples(NAMES, VALUES), max_size=8), max_size=12)


@given(BLOCKS, st.booleans(), st.integers(0, 4096))
def test_what_peers_compress_is_read(
    blocks: list[list[tuple[bytes, bytes]]], huffman: bool, size: int
) -> None:
    encoder, decoder = hpack.Encoder(), Decoder()
    for number, block in enumerate(blocks):
        if number == 3:
            encoder.header_table_size = size
        assert decoder.decode(encoder.encode(block, huffman=huffman)) == block


@given(BLOCKS, st.integers(0, 10_000))
def test_what_is_written_is_read_by_others(
    blocks: list[list[tuple[bytes, bytes]]], size: int
) -> None:
    encoder, decoder = PlainEncoder(), hpack.Decoder()
    for number, block in enumerate(blocks):
        if number == 3:
            decoder.max_allowed_table_size = size
            encoder.header_table_size = size
        if block or number == 3:
            assert [tuple(h) for h in decoder.decode(encoder.encode(block), raw=True)] == block


@given(st.binary(max_size=60))
def test_garbage_is_refused_as_hpack_refuses_it(data: bytes) -> None:
    ours, theirs = Decoder(), hpack.Decoder()
    try:
        expected = [tuple(h) for h in theirs.decode(data, raw=True)]
    except (hpack.HPACKError, IndexError):
        with pytest.raises(hpack.HPACKError):
            ours.decode(data)
    else:
        assert ours.decode(data) == expected


def test_a_list_that_is_too_large_is_refused() -> None:
    decoder = Decoder()
    decoder.max_header_list_size = 100
    with pytest.raises(hpack.OversizedHeaderListError):
        decoder.decode(hpack.Encoder().encode([(b"a", b"b" * 100)]))


def test_a_table_that_was_to_shrink_must_shrink() -> None:
    decoder = Decoder()
    decoder.max_allowed_table_size = 0
    with pytest.raises(hpack.InvalidTableSizeError):
        decoder.decode(hpack.Encoder().encode([(b"a", b"b")]))
