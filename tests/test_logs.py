"""What is logged at which level, and that the asyncio side is heard."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from twisted.logger import LogEvent, LogLevel, eventAsText, globalLogPublisher

from image_cri_shim.logs import connect_standard_logging, logger, set_debug

STANDARD = ("image_cri_shim", "grpclib", "asyncio")


@pytest.fixture
def events() -> Iterator[list[LogEvent]]:
    """What reaches the log; the standard library's loggers are put back in order afterwards."""
    loggers = [logging.getLogger(name) for name in STANDARD]
    before = [(one.level, list(one.handlers), one.propagate) for one in loggers]
    seen: list[LogEvent] = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)
    set_debug(False)
    for one, (level, handlers, propagate) in zip(loggers, before, strict=True):
        one.setLevel(level)
        one.handlers[:] = handlers
        one.propagate = propagate


def texts(events: list[LogEvent]) -> list[str]:
    return [eventAsText(e, includeTimestamp=False, includeSystem=False) for e in events]


def test_debugging_is_logged_only_when_asked_for(events: list[LogEvent]) -> None:
    log = logger("word")
    log.debug("one")
    log.info("two")
    set_debug(True)
    log.debug("three")
    logger("other.word").debug("four")
    set_debug(False)
    log.debug("five")
    log.error("six")
    assert texts(events) == ["two", "three", "four", "six"]


def test_who_speaks_is_a_word_for_the_operator(events: list[LogEvent]) -> None:
    logger("image-cri-shim").info("hello")
    assert eventAsText(events[0], includeTimestamp=False) == "[image-cri-shim#info] hello"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("image_cri_shim.cri.server", "image-cri-shim"),
        ("grpclib.protocol", "grpclib.protocol"),
        ("asyncio", "asyncio"),
    ],
)
def test_the_asyncio_side_is_heard_once_at_the_same_level(
    name: str, shown: str, events: list[LogEvent]
) -> None:
    connect_standard_logging()
    connect_standard_logging()
    set_debug(False)
    standard = logging.getLogger(name)
    standard.debug("one")
    standard.info("two %s", "{braces}")
    standard.warning("three")
    standard.error("four")
    standard.critical("five")
    set_debug(True)
    standard.debug("six")
    assert texts(events) == ["two {braces}", "three", "four", "five", "six"]
    assert [event["log_level"] for event in events] == [
        LogLevel.info,
        LogLevel.warn,
        LogLevel.error,
        LogLevel.critical,
        LogLevel.debug,
    ]
    assert {event["log_namespace"] for event in events} == {shown}


def test_a_traceback_of_the_asyncio_side_is_in_the_log(events: list[LogEvent]) -> None:
    connect_standard_logging()
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        logging.getLogger("asyncio").exception("a task failed")
    (text,) = texts(events)
    assert text.startswith("a task failed\n")
    assert text.endswith("RuntimeError: broken")


def test_other_libraries_are_left_alone(events: list[LogEvent]) -> None:
    connect_standard_logging()
    logging.getLogger("hpack").warning("a header with a password")
    assert events == []
