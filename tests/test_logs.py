"""What is logged at which level, by whom, and that the asyncio side is heard."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from twisted.logger import LogEvent, LogLevel, eventAsText, globalLogPublisher

from image_cri_shim.config.settings import COMPONENTS, LogLevels
from image_cri_shim.logs import (
    connect_standard_logging,
    levels,
    logger,
    override_level,
    set_levels,
)
from image_cri_shim.logs.components import APART, CRI, PROGRAM, component_of
from image_cri_shim.logs.levels import LIBRARIES, Levels
from tests.test_layers import SOURCES

STANDARD = (PROGRAM, CRI, *APART, *LIBRARIES)
NOTHING = LogLevels()


@pytest.fixture
def events() -> Iterator[list[LogEvent]]:
    """What reaches the log; the standard library's loggers are put back in order afterwards."""
    loggers = [logging.getLogger(name) for name in STANDARD]
    before = [(one.level, list(one.handlers), one.propagate) for one in loggers]
    seen: list[LogEvent] = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)
    override_level("all", "")
    set_levels(False, NOTHING)
    for one, (level, handlers, propagate) in zip(loggers, before, strict=True):
        one.setLevel(level)
        one.handlers[:] = handlers
        one.propagate = propagate


def texts(events: list[LogEvent]) -> list[str]:
    return [eventAsText(e, includeTimestamp=False, includeSystem=False) for e in events]


def test_debugging_is_logged_only_when_asked_for(events: list[LogEvent]) -> None:
    log = logger("daemon")
    log.debug("one")
    log.info("two")
    set_levels(True, NOTHING)
    log.debug("three")
    logger("some.library").debug("four")
    set_levels(False, NOTHING)
    log.debug("five")
    log.error("six")
    assert texts(events) == ["two", "three", "four", "six"]


def test_a_component_has_a_level_of_its_own(events: list[LogEvent]) -> None:
    set_levels(False, LogLevels(registry="debug", pull="error"))
    for component in ("registry", "pull", "daemon"):
        log = logger(component)
        for write in (log.debug, log.info, log.warn, log.error):
            write("{log_namespace} {log_level.name}")
    assert texts(events) == [
        "registry debug",
        "registry info",
        "registry warn",
        "registry error",
        "pull error",
        "daemon info",
        "daemon warn",
        "daemon error",
    ]


def test_who_speaks_is_a_word_for_the_operator(events: list[LogEvent]) -> None:
    logger("pull").info("hello")
    assert eventAsText(events[0], includeTimestamp=False) == "[pull#info] hello"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("image_cri_shim.cri.server", "cri"),
        ("image_cri_shim.cri.attempts", "pull"),
        ("image_cri_shim.cri.connector", "runtime"),
        ("grpclib.protocol", "grpclib.protocol"),
        ("asyncio", "asyncio"),
    ],
)
def test_the_asyncio_side_is_heard_once_at_the_same_level(
    name: str, shown: str, events: list[LogEvent]
) -> None:
    connect_standard_logging()
    connect_standard_logging()
    set_levels(False, NOTHING)
    standard = logging.getLogger(name)
    standard.debug("one")
    standard.info("two %s", "{braces}")
    standard.warning("three")
    standard.error("four")
    standard.critical("five")
    set_levels(True, NOTHING)
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


def test_lines_of_the_asyncio_side_that_nobody_wants_are_not_even_made(
    events: list[LogEvent],
) -> None:
    def wanted() -> list[str]:
        return [n for n in (CRI, *APART) if logging.getLogger(n).isEnabledFor(logging.DEBUG)]

    set_levels(False, NOTHING)
    assert wanted() == []
    set_levels(False, LogLevels(runtime="debug"))
    assert wanted() == [name for name, component in APART.items() if component == "runtime"]
    set_levels(True, LogLevels(runtime="warn", pull="info"))
    assert wanted() == [CRI]


def test_the_components_of_the_asyncio_side_name_modules_that_exist() -> None:
    assert {f"{PROGRAM}.{name}" for name in SOURCES} >= set(APART)
    assert {component_of(f"{PROGRAM}.{name}") for name in SOURCES} <= set(COMPONENTS)
    assert set(APART.values()) <= set(COMPONENTS)


def test_a_traceback_of_the_asyncio_side_is_in_the_log(events: list[LogEvent]) -> None:
    connect_standard_logging()
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        logging.getLogger("asyncio").exception("a task failed")
    (text,) = texts(events)
    assert text.startswith("a task failed\n")
    assert text.rstrip().endswith("RuntimeError: broken")


def test_a_line_of_the_asyncio_side_keeps_the_id_of_its_call(events: list[LogEvent]) -> None:
    connect_standard_logging()
    log = logging.getLogger("image_cri_shim.cri.server")
    log.warning("one", extra={"call": "4f1c-12"})
    log.warning("two")
    assert [event.get("call") for event in events] == ["4f1c-12", None]


def test_a_library_that_logs_wrongly_is_still_heard(events: list[LogEvent]) -> None:
    connect_standard_logging()
    logging.getLogger("asyncio").warning("%d bytes", "no number")
    (text,) = texts(events)
    assert "bytes" in text
    assert "no number" in text


def test_other_libraries_are_left_alone(events: list[LogEvent]) -> None:
    connect_standard_logging()
    logging.getLogger("hpack").warning("a header with a password")
    assert events == []


def test_a_level_can_be_changed_while_it_runs_until_the_configuration_changes(
    events: list[LogEvent],
) -> None:
    configured = LogLevels(registry="warn")
    set_levels(False, configured)
    override_level("registry", "debug")
    assert levels()["registry"] == "debug"
    set_levels(False, configured)
    assert levels()["registry"] == "debug"
    override_level("registry", "")
    assert levels()["registry"] == "warn"
    override_level("pull", "error")
    set_levels(True, configured)
    assert levels() == dict.fromkeys(COMPONENTS, "debug") | {"registry": "warn"}


def test_all_levels_can_be_changed_at_once() -> None:
    every = Levels()
    every.configure(False, LogLevels(cri="error"))
    every.override("pull", "debug")
    every.override("all", "warn")
    assert every.now() == dict.fromkeys(COMPONENTS, "warn")
    assert every.predicate.logLevelForNamespace("twisted.web") == LogLevel.warn
    every.override("cri", "info")
    every.override("all", "")
    assert every.now() == dict.fromkeys(COMPONENTS, "info") | {"cri": "error"}
    assert every.predicate.logLevelForNamespace("twisted.web") == LogLevel.info


@pytest.mark.parametrize(
    ("component", "level", "said"),
    [
        ("pulls", "debug", "unknown component 'pulls'; there are daemon, cri, pull, "),
        ("pull", "verbose", "unknown level 'verbose'; there are debug, info, warn, error"),
        ("pull", "critical", "unknown level 'critical'"),
    ],
)
def test_a_component_or_level_that_does_not_exist_is_named(
    component: str, level: str, said: str
) -> None:
    with pytest.raises(ValueError, match="unknown") as caught:
        Levels().override(component, level)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("debug", "heard"), [(False, ["info", "warn"]), (True, ["debug", "info", "warn"])]
)
def test_what_twisted_itself_logs_has_the_libraries_level(debug: bool, heard: list[str]) -> None:
    some = Levels()
    some.configure(debug, LogLevels(daemon="error"))
    namespace = "twisted.web.client"
    found = [
        level.name
        for level in (LogLevel.debug, LogLevel.info, LogLevel.warn)
        if some.wants({"log_namespace": namespace, "log_level": level})
    ]
    assert found == heard
    assert some.wants({"log_format": "from before there were levels"})
