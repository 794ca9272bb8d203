"""How an entry is written: for people, for programs that collect logs, and for systemd."""

from __future__ import annotations

import json
import math
import time
from typing import Any

from image_cri_shim.logs.entry import Entry, Gravity
from image_cri_shim.pull_record import PullRecord, moment

# syslog(3): err is 3, crit is 2.
PRIORITIES: dict[Gravity, int] = {"debug": 7, "info": 6, "warn": 4, "error": 3, "critical": 2}


def as_text(entry: Entry) -> str:
    """Write an entry as one line; a traceback follows on lines that begin with a tab."""
    local = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(entry.time))
    first = f"{local} [{entry.component}#{entry.level}] {entry.message}"
    return "\n\t".join((first, *entry.traceback)) + "\n"


def as_json(entry: Entry) -> str:
    """Write an entry as a JSON object on one line, in ASCII; what is not known is left out."""
    document: dict[str, Any] = {
        "time": moment(entry.time),
        "level": entry.level,
        "component": entry.component,
        "message": entry.message,
        "call": entry.call,
    }
    if entry.pull is not None:
        document |= _about(entry.pull)
    document["traceback"] = "\n".join(entry.traceback)
    return json.dumps({key: value for key, value in document.items() if value != ""}) + "\n"


def _about(pull: PullRecord) -> dict[str, Any]:
    client = pull.client
    about: dict[str, Any] = {
        "image": pull.image,
        "name": pull.name,
        "registry": pull.registry,
        "trace": pull.trace,
    }
    if client is not None:
        about["client"] = {"pid": client.pid, "uid": client.uid, "name": client.name}
    if pull.over:
        about["outcome"] = pull.phase.value
    if pull.seconds is not None and math.isfinite(pull.seconds):
        about["seconds"] = round(pull.seconds, 6)
    return about


def as_prefixed(entry: Entry) -> str:
    """Write an entry for systemd to read from standard error (sd-daemon(3), "<6>")."""
    mark = f"<{PRIORITIES[entry.level]}>"
    first = f"[{entry.component}#{entry.level}] {entry.message}"
    return "".join(f"{mark}{line}\n" for line in (first, *entry.traceback))


def journal_fields(entry: Entry) -> dict[str, str]:
    """Return the fields of an entry in the journal (systemd.journal-fields(7)).

    The journal adds the time and the process by itself.
    """
    pull = entry.pull
    fields = {
        "MESSAGE": "\n".join((entry.message, *entry.traceback)),
        "PRIORITY": str(PRIORITIES[entry.level]),
        "SYSLOG_IDENTIFIER": "image-cri-shim",
        "COMPONENT": entry.component,
        "CALL_ID": entry.call,
    }
    if pull is not None:
        fields |= {
            "IMAGE": pull.image,
            "PULLED_NAME": pull.name,
            "REGISTRY": pull.registry,
            "TRACE_ID": pull.trace,
        }
        if pull.client is not None:
            fields |= {
                "CLIENT_PID": str(pull.client.pid),
                "CLIENT_UID": str(pull.client.uid),
                "CLIENT_NAME": pull.client.name,
            }
        if pull.over:
            fields["OUTCOME"] = pull.phase.value
        if pull.seconds is not None:
            fields["SECONDS"] = f"{pull.seconds:.6f}"
    return {name: value for name, value in fields.items() if value}
