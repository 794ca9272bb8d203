"""What the status tells of pulls that failed."""

from __future__ import annotations

from image_cri_shim.pull_record import Phase, PullRecord
from image_cri_shim.report import unmended


def pull(number: int, image: str, phase: Phase = Phase.FAILED) -> PullRecord:
    return PullRecord(number, f"4f1c-{number}", image, float(number), phase=phase)


def test_an_image_that_was_pulled_since_is_no_failure_any_more() -> None:
    failed, mended = pull(1, "a:1"), pull(2, "a:1", Phase.PULLED)
    assert unmended([mended, failed]) == []
    again = pull(3, "a:1")
    assert unmended([again, mended, failed]) == [again]


def test_one_image_that_fails_all_day_does_not_hide_the_others() -> None:
    often = [pull(number, "a:1") for number in range(100, 1, -1)]
    other = pull(1, "b:1")
    assert unmended([*often, other]) == [*often[:5], other]
