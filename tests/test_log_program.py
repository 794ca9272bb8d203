"""From an event of Twisted's log to what stands in the operator's."""

from __future__ import annotations

import io
import json
import socket
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
from twisted.logger import ILogObserver, LogBeginner, Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from image_cri_shim.call_identity import Client
from image_cri_shim.config.settings import LogFormat
from image_cri_shim.logs.journal import Journal
from image_cri_shim.logs.levels import Levels
from image_cri_shim.logs.program_log import ProgramLog
from image_cri_shim.pull_book import Event
from image_cri_shim.pull_log import PullLog
from image_cri_shim.pull_record import Phase, PullRecord
from tests.test_log_journal import Reader

PULL = PullRecord(
    number=1,
    call="4f1c-12",
    image="nginx:1.25",
    began=0.0,
    client=Client(812, 0, 0, "kubelet"),
    name="sealos.hub:5000/library/nginx:1.25",
    registry="sealos.hub:5000",
    reason="offline, present, 12 ms",
)


class Operator:
    """Who reads the log, in a file and in a journal."""

    def __init__(self, directory: Path, automatic: LogFormat = "text") -> None:
        self.file = (directory / "log").open("w+")
        self.reader = Reader(str(directory / "journal"))
        self.levels = Levels()
        self.journal = Journal(self.reader.path)
        self.log = ProgramLog(self.file.fileno(), self.journal, automatic, self.levels.wants)
        self.speaker = Logger(namespace="daemon", observer=self.log)

    def text(self) -> str:
        return Path(self.file.name).read_text()

    def messages(self) -> list[str]:
        """What the lines say after the time."""
        return [line.split(" ", 1)[1] for line in self.text().splitlines()]

    def close(self) -> None:
        self.file.close()
        self.reader.socket.close()
        self.journal.close()
        self.log.outlet.close()


@pytest.fixture
def operator() -> Iterator[Operator]:
    with tempfile.TemporaryDirectory() as directory:
        made = Operator(Path(directory))
        yield made
        made.close()


def test_it_is_what_twistd_wants_of_a_log(operator: Operator) -> None:
    assert verifyObject(ILogObserver, operator.log)


def test_events_come_as_lines_of_text(operator: Operator) -> None:
    operator.speaker.info("serving on {path}", path="/run/shim.sock")
    operator.speaker.warn("an image named {name}", name="a\n2026-01-31T03:04:05+0000 [pull#info] b")
    assert operator.messages() == [
        "[daemon#info] serving on /run/shim.sock",
        r"[daemon#warn] an image named a\n2026-01-31T03:04:05+0000 [pull#info] b",
    ]


def test_the_format_can_change_while_it_runs(operator: Operator) -> None:
    assert operator.log.written_as == "text"
    for wanted in ("json", "text", "auto"):
        operator.log.write_as(wanted)
        operator.speaker.info("in {wanted}", wanted=wanted)
    json_line, *others = operator.text().splitlines()
    assert json.loads(json_line)["message"] == "in json"
    assert [line.split("] ")[1] for line in others] == ["in text", "in auto"]
    assert operator.log.written_as == "text"


def test_a_pull_is_told_with_all_that_is_known_of_it(operator: Operator) -> None:
    operator.log.write_as("json")
    log = PullLog(Logger(namespace="pull", observer=operator.log))
    log.note(Event.DECIDED, PULL)
    (line,) = operator.text().splitlines()
    document = json.loads(line)
    assert document.pop("time")
    assert document == {
        "level": "info",
        "component": "pull",
        "message": "PullImage nginx:1.25 -> sealos.hub:5000/library/nginx:1.25 "
        "(offline, present, 12 ms) [4f1c-12, kubelet (pid 812, uid 0)]",
        "call": "4f1c-12",
        "image": "nginx:1.25",
        "name": "sealos.hub:5000/library/nginx:1.25",
        "registry": "sealos.hub:5000",
        "client": {"pid": 812, "uid": 0, "name": "kubelet"},
    }


def test_the_journal_gets_entries_and_standard_error_nothing(operator: Operator) -> None:
    operator.log.write_as("journal")
    operator.speaker.warn("careful", call="4f1c-13")
    assert operator.reader.entry() == {
        "MESSAGE": "careful",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "image-cri-shim",
        "COMPONENT": "daemon",
        "CALL_ID": "4f1c-13",
    }
    assert operator.text() == ""


def test_what_the_journal_does_not_take_goes_to_standard_error(operator: Operator) -> None:
    operator.log.write_as("journal")
    operator.reader.socket.close()
    operator.speaker.error("careful")
    assert operator.text() == "<3>[daemon#error] careful\n"


@pytest.mark.parametrize("wanted", ["text", "json", "journal"])
def test_an_exception_is_told_with_what_caused_it(operator: Operator, wanted: LogFormat) -> None:
    operator.log.write_as(wanted)
    try:
        try:
            raise KeyError("the cause")
        except KeyError as error:
            raise RuntimeError("the effect\nin two lines") from error
    except RuntimeError:
        operator.speaker.failure("cannot serve")
    text = operator.reader.entry()["MESSAGE"] if wanted == "journal" else operator.text()
    for part in ("cannot serve", "KeyError: 'the cause'", "RuntimeError: the effect", "test_log_"):
        assert part in text
    if wanted == "json":
        assert text.count("\n") == 1
        assert "RuntimeError" in json.loads(text)["traceback"]
    if wanted == "text":
        first, *rest = text.splitlines()
        assert first.endswith("[daemon#critical] cannot serve")
        assert all(line.startswith("\t") for line in rest)


def test_an_exception_without_a_traceback_is_told_all_the_same(operator: Operator) -> None:
    operator.speaker.failure("cannot serve", Failure(ValueError("late")))
    assert "ValueError" in operator.text()
    assert "late" in operator.text()


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def test_an_event_that_cannot_be_told_ends_nothing(operator: Operator) -> None:
    operator.speaker.info("{missing}")
    operator.speaker.info("{it}", it=Unspeakable())
    operator.speaker.failure("cannot serve", Failure(Unspeakable()))
    try:
        raise Unspeakable
    except Unspeakable:
        operator.speaker.failure("cannot either")
    operator.speaker.info("half a character: {it}", it="\udcff")
    operator.speaker.info("goes on")
    assert len([line for line in operator.text().splitlines() if line[:1] != "\t"]) == 6
    assert "goes on" in operator.text()


def test_what_twisted_logs_the_old_way_is_told_as_twisteds(operator: Operator) -> None:
    old = {"log_namespace": "log_legacy", "log_level": LogLevel.info, "log_time": 0.0}
    operator.log({**old, "log_system": "-", "log_format": "one"})
    operator.log({**old, "log_system": "HTTPChannel,1", "log_format": "two"})
    operator.log({**old, "log_system": "-"})
    assert operator.messages() == ["[twisted#info] one", "[HTTPChannel,1#info] two"]


def test_what_twisted_says_for_debugging_is_told_only_when_asked_for(operator: Operator) -> None:
    library = Logger(namespace="twisted.web.client", observer=operator.log)
    library.debug("one")
    operator.levels.override("all", "debug")
    library.debug("two")
    assert operator.messages() == ["[twisted.web.client#debug] two"]


def test_lines_that_were_lost_are_told_in_the_format_of_the_others() -> None:
    reading, writing = socket.socketpair()
    with reading, writing, tempfile.TemporaryDirectory() as directory:
        journal = Journal(str(Path(directory) / "none"))
        log = ProgramLog(writing.fileno(), journal, "text", Levels().wants, now=lambda: 0.0)
        log.write_as("json")
        speaker = Logger(namespace="daemon", observer=log)
        for _ in range(300):
            speaker.info("x" * 10_000)
        reading.setblocking(False)
        found = b""
        while not log.outlet.flush():
            found += reading.recv(1 << 20)
        found += reading.recv(1 << 20)
        log.outlet.close()
    documents = [json.loads(line) for line in found.splitlines()]
    (notice,) = [one for one in documents if one["level"] == "warn"]
    missing = 300 - len(documents) + 1
    assert missing > 0
    assert notice == {
        "time": "1970-01-01T00:00:00.000Z",
        "level": "warn",
        "component": "daemon",
        "message": f"{missing} lines of the log were lost, because nobody took them",
    }


def test_a_pull_that_failed_says_so_in_its_outcome(operator: Operator) -> None:
    operator.log.write_as("journal")
    failed = attrs.evolve(PULL, phase=Phase.FAILED, seconds=0.25, error="UNKNOWN: no")
    PullLog(Logger(namespace="pull", observer=operator.log)).note(Event.ENDED, failed)
    entry = operator.reader.entry()
    assert (entry["OUTCOME"], entry["SECONDS"], entry["PRIORITY"]) == ("failed", "0.250000", "4")


def test_warnings_and_what_is_printed_come_in_the_same_format(operator: Operator) -> None:
    operator.log.write_as("json")
    streams = SimpleNamespace(stdout=io.StringIO(), stderr=io.StringIO())
    with warnings.catch_warnings():
        begins = LogBeginner(LogPublisher(), io.StringIO(), streams, warnings)
        begins.beginLoggingTo([operator.log])
        warnings.simplefilter("always")
        warnings.warn("going out of use", DeprecationWarning, stacklevel=1)
    print("said by a library", file=streams.stdout)
    print("complained by a library", file=streams.stderr)
    documents = [json.loads(line) for line in operator.text().splitlines()]
    assert [one["level"] for one in documents] == ["warn", "info", "error"]
    assert documents[0]["message"].endswith("DeprecationWarning: going out of use")
    assert [one["component"] for one in documents[1:]] == ["stdout", "stderr"]
    assert documents[2]["message"] == "complained by a library"
