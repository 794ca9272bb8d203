"""How times, numbers and other people's names are written."""

from __future__ import annotations

import pytest

from image_cri_shim.wording import ago, counted, duration, visible
from tests.admin.documents import HOSTILE


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (None, ""),
        (-1, "0 ms"),
        (0, "0 ms"),
        (0.0001, "1 ms"),
        (0.0124, "12 ms"),
        (1.26, "1.3 s"),
        (9.99, "10.0 s"),
        (10, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (75.2, "1 min 15 s"),
        (3600, "1 h"),
        (7505, "2 h 5 min"),
        (273784, "3 d 4 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float | None, written: str) -> None:
    assert duration(seconds).replace("\u00a0", " ") == written


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        ("2026-07-01T12:00:00.000Z", "just now"),
        ("2026-07-01T12:00:09.000Z", "just now"),
        ("2026-07-01T11:59:30.000Z", "30 s ago"),
        ("2026-07-01T11:58:01.000Z", "1 min ago"),
        ("2026-07-01T09:00:00.000Z", "3 h ago"),
        ("2026-06-28T11:00:00.000Z", "3 d ago"),
        ("yesterday", "yesterday"),
    ],
)
def test_moments_are_told_from_now(moment: str, written: str) -> None:
    assert ago(moment, "2026-07-01T12:00:00.000Z").replace("\u00a0", " ") == written


def test_things_are_counted() -> None:
    assert [counted(number, "pull") for number in (0, 1, 1204)] == [
        "0 pulls",
        "1 pull",
        "1,204 pulls",
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_every_character_of_a_name_is_seen(name: str) -> None:
    written = visible(name)
    written.encode("utf-8")
    assert written.isprintable()
    assert all(char.isascii() or not "\u0300" <= char <= "\u036f" for char in written)


def test_what_cannot_be_seen_is_written_out() -> None:
    assert visible("a\u202eb\x00c\u0301\U000e0001") == "a\\u202eb\\u0000c\\u0301\\U000e0001"
    assert visible("nginx:1.25 grüße 北京") == "nginx:1.25 grüße 北京"
