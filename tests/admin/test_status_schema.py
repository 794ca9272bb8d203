"""The schema of the status document, and that it says no to what is none."""

from __future__ import annotations

import copy
import json
from typing import Any

import attrs
import pytest

from image_cri_shim.call_identity import Client
from image_cri_shim.pull_record import Asked, Phase, PullRecord, Tried, as_document
from tests.admin.documents import bad_status, good_status, hostile_status
from tests.support.daemon import ROOT
from tests.support.json_schema import mistakes

SCHEMA = json.loads((ROOT / "docs" / "status.schema.json").read_text())
LOOK_UP = Asked("r", "r/n", "unknown", "timed out")
RECORD = PullRecord(
    1,
    "4f1c-1",
    "nginx",
    1782907384.5,
    Client(812, 0, 0, "kubelet"),
    trace="0af7651916cd43dd8448eb211c80319c",
    look_ups=(LOOK_UP,),
    attempts=(Tried("r/n", "r", "UNKNOWN: no", 1.0),),
)


@pytest.mark.parametrize("status", [good_status(), bad_status(), hostile_status()])
def test_the_tests_own_documents_are_as_the_schema_says(status: dict[str, Any]) -> None:
    # A daemon's records have been cleaned of what is no character.
    assert mistakes(status, SCHEMA) == []


@pytest.mark.parametrize("phase", Phase)
def test_records_of_pulls_are_as_the_schema_says(phase: Phase) -> None:
    pull = {"$ref": "#/$defs/pull", "$defs": SCHEMA["$defs"]}
    for record in (RECORD, attrs.evolve(RECORD, client=None, trace="", look_ups=())):
        document = as_document(attrs.evolve(record, phase=phase), 1782907390.0)
        assert mistakes(document, pull) == []


def change(path: str, value: Any) -> dict[str, Any]:
    status = copy.deepcopy(bad_status())
    *way, last = path.split(".")
    place: Any = status
    for step in way:
        place = place[int(step) if step.isdecimal() else step]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return status


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", 2),
        ("state", "good"),
        ("at", "yesterday"),
        ("at", KeyError),
        ("more", 1),
        ("pulls.failed", -1),
        ("pulls.failed", True),
        ("pulls.inProgress.0.phase", "waiting"),
        ("pulls.inProgress.0.trace", "xyz"),
        ("pulls.inProgress.0.client.pid", "1"),
        ("runtime.connected", "yes"),
        ("runtime.since", 5),
        ("registries.0.lookUps.present", None),
        ("registries.0.latencySeconds", "fast"),
        ("registries.1.breaker", KeyError),
        ("logging.levels.pull", "loud"),
        ("configuration.settings", [["a"]]),
        ("problems.0.severity", "grave"),
    ],
)
def test_what_is_otherwise_is_noticed(path: str, value: Any) -> None:
    assert len(mistakes(change(path, value), SCHEMA)) == 1


def test_everything_in_the_schema_is_described() -> None:
    def undescribed(schema: dict[str, Any], at: str) -> list[str]:
        found = []
        for name, one in schema.get("properties", {}).items():
            where = f"{at}.{name}"
            if "description" not in one and "$ref" not in one:
                found.append(where)
            found += undescribed(one, where)
        return found

    assert undescribed(SCHEMA, "$") == []
    for name, one in SCHEMA["$defs"].items():
        assert undescribed(one, name) == []
