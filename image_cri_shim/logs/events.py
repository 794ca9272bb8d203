"""What an event of Twisted's log says."""

from __future__ import annotations

import time
import traceback

from twisted.logger import LogEvent, formatEvent
from twisted.python.failure import Failure

from image_cri_shim.logs.entry import Entry, printable, printable_lines
from image_cri_shim.pull_record import PullRecord

# The namespace of everything that is logged with twisted.python.log.
_LEGACY = "log_legacy"


def entry_of(event: LogEvent) -> Entry | None:
    """Return the entry that an event is; None if it says nothing."""
    message = formatEvent(event)
    failure = event.get("log_failure")
    if not message and failure is None:
        return None
    pull = event.get("pull")
    level = event.get("log_level")
    return Entry(
        time=event.get("log_time") or time.time(),
        level="info" if level is None else level.name,
        component=printable(_component(event)),
        message=printable(message),
        call=pull.call if isinstance(pull, PullRecord) else str(event.get("call", "")),
        pull=pull if isinstance(pull, PullRecord) else None,
        traceback=() if failure is None else printable_lines(_traceback(failure)),
    )


def _component(event: LogEvent) -> str:
    namespace = event.get("log_namespace")
    if namespace and namespace != _LEGACY:
        return str(namespace)
    system = str(event.get("log_system") or "-")
    return "twisted" if system == "-" else system


def _traceback(failure: Failure) -> str:
    try:
        error = failure.value
        if isinstance(error, BaseException) and error.__traceback__ is not None:
            # With what it was caused by, which Twisted leaves out.
            return "".join(traceback.format_exception(error))
        return str(failure.getTraceback())
    except Exception as error:  # noqa: BLE001 - an exception's own text may fail
        return f"{type(failure.value).__name__}, whose text cannot be had: {type(error).__name__}"
