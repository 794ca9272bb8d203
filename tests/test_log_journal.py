"""Entries in systemd's journal, as a reader of its protocol gets them."""

from __future__ import annotations

import array
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from image_cri_shim.logs.journal import Journal, is_stream_of_journal

ALL_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Reader:
    """Plays the journal on a socket: reads what "Native Journal Protocol" describes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.sealed = False
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.setblocking(False)

    def entry(self) -> dict[str, str]:
        data, ancillary, _flags, _address = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(64))
        self.sealed = bool(ancillary)
        if ancillary:
            assert data == b"", "an entry is in the datagram or in the file, never in both"
            descriptors = array.array("i")
            descriptors.frombytes(ancillary[0][2])
            (descriptor,) = descriptors
            assert fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) == ALL_SEALS
            with os.fdopen(descriptor, "rb") as file:
                file.seek(0)
                data = file.read()
        return parsed(data)


def parsed(data: bytes) -> dict[str, str]:
    fields = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(rest[:8], "little")
            value, end, data = rest[8 : 8 + size], rest[8 + size : 9 + size], rest[9 + size :]
            assert len(value) == size
            assert end == b"\n"
        else:
            data = rest
        assert name.decode() not in fields
        fields[name.decode()] = value.decode()
    return fields


@pytest.fixture
def reader(directory: Path) -> Iterator[Reader]:
    made = Reader(str(directory / "socket"))
    with made.socket:
        yield made


@pytest.fixture
def journal(reader: Reader) -> Iterator[Journal]:
    made = Journal(reader.path)
    yield made
    made.close()


def test_an_entry_arrives_with_its_fields(reader: Reader, journal: Journal) -> None:
    fields = {"MESSAGE": "pulled nginx = good, grün", "PRIORITY": "6", "COMPONENT": "pull"}
    assert journal.send(fields)
    assert reader.entry() == fields
    assert not reader.sealed


def test_a_message_of_several_lines_stays_one_entry(reader: Reader, journal: Journal) -> None:
    fields = {"MESSAGE": "failed\nTraceback:\n  PRIORITY=0\n", "PRIORITY": "3"}
    assert journal.send(fields)
    assert reader.entry() == fields
    with pytest.raises(BlockingIOError):
        reader.entry()


def test_an_entry_that_is_too_long_for_a_datagram_arrives_in_a_sealed_file(
    reader: Reader, journal: Journal
) -> None:
    # Beyond what any system lets a datagram have, whatever its limits are.
    fields = {"MESSAGE": "x" * (20 * 1024 * 1024), "PRIORITY": "6"}
    assert journal.send(fields)
    assert reader.entry() == fields
    assert reader.sealed


def test_a_journal_that_reads_nothing_is_not_waited_for(reader: Reader, journal: Journal) -> None:
    sent = 0
    while journal.send({"MESSAGE": str(sent)}):
        sent += 1
        assert sent < 1_000_000
    assert reader.entry() == {"MESSAGE": "0"}
    assert journal.send({"MESSAGE": "there is room again"})


def test_a_journal_that_is_not_there_takes_nothing_until_it_is(directory: Path) -> None:
    journal = Journal(str(directory / "later"))
    assert not journal.send({"MESSAGE": "one"})
    reader = Reader(str(directory / "later"))
    assert journal.send({"MESSAGE": "two"})
    assert reader.entry() == {"MESSAGE": "two"}
    # It is restarted.
    reader.socket.close()
    assert not journal.send({"MESSAGE": "three"})
    os.unlink(reader.path)
    reader = Reader(reader.path)
    assert journal.send({"MESSAGE": "four"})
    assert reader.entry() == {"MESSAGE": "four"}
    reader.socket.close()
    journal.close()


def test_the_journal_is_known_by_the_file_that_systemd_names(tmp_path: Path) -> None:
    with (tmp_path / "one").open("w") as one, (tmp_path / "other").open("w") as other:
        found = os.fstat(one.fileno())
        environ = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert is_stream_of_journal(one.fileno(), environ)
        # Standard error was led elsewhere since.
        assert not is_stream_of_journal(other.fileno(), environ)
        assert not is_stream_of_journal(one.fileno(), {})
        assert not is_stream_of_journal(one.fileno(), {"JOURNAL_STREAM": "nonsense"})
        closed = os.dup(one.fileno())
        os.close(closed)
        assert not is_stream_of_journal(closed, environ)
