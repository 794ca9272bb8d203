"""A pull's record as JSON: what is written can be read again, and nothing else is taken for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from image_cri_shim.call_identity import Client
from image_cri_shim.pull_record import (
    Asked,
    Phase,
    PullRecord,
    Tried,
    as_document,
    from_document,
    moment,
    seconds_since_1970,
)

BEGAN = 1_700_000_000.25
WHOLE = PullRecord(
    number=7,
    call="4f1c-12",
    image="nginx:1.25",
    began=BEGAN,
    client=Client(812, 0, 0, "kubelet"),
    trace="4bf92f3577b34da6a3ce929d0e0e4736",
    phase=Phase.FAILED,
    name="harbor.corp/library/nginx:1.25",
    registry="harbor.corp",
    kind="registry",
    reason="registry, present, 12 ms",
    rule="rule 2 (docker.io)",
    look_ups=(Asked("harbor.corp", "harbor.corp/library/nginx:1.25", "present", "", True, 0.012),),
    attempts=(Tried("harbor.corp/library/nginx:1.25", "harbor.corp", "UNKNOWN: no", 0.5),),
    digest="sha256:" + "0" * 64,
    image_ref="",
    error="UNKNOWN: no",
    seconds=0.75,
)
BARE = PullRecord(number=1, call="4f1c-1", image="a:1", began=BEGAN)


@pytest.mark.parametrize("record", [WHOLE, BARE])
def test_a_record_can_be_written_as_json_and_read_again(record: PullRecord) -> None:
    written = json.loads(json.dumps(as_document(record, BEGAN)))
    assert from_document(written) == record


def test_a_pull_that_runs_has_taken_the_time_until_now() -> None:
    assert as_document(BARE, BEGAN + 4)["seconds"] == 4
    assert as_document(BARE, BEGAN - 60)["seconds"] == 0, "the clock was set back"
    assert as_document(WHOLE, BEGAN + 4)["seconds"] == 0.75


@pytest.mark.parametrize(
    "change",
    [
        {"phase": "sleeping"},
        {"client": "kubelet"},
        {"client": {"pid": 1}},
        {"began": "yesterday"},
        {"lookUps": [{"name": "a"}]},
        {"attempts": 3},
    ],
)
def test_what_is_no_record_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_document({**as_document(WHOLE, BEGAN), **change})
    with pytest.raises(ValueError, match="no record"):
        from_document({})


def test_moments_are_in_utc_and_exact_to_the_millisecond() -> None:
    assert moment(BEGAN) == "2023-11-14T22:13:20.250Z"
    assert seconds_since_1970("2023-11-14T22:13:20.250Z") == BEGAN
