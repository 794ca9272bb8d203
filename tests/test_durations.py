from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_cri_shim.config import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("+0", 0.0),
        ("-0", 0.0),
        ("0s", 0.0),
        ("15m", 900.0),
        ("20m0s", 1200.0),
        ("1h30m", 5400.0),
        ("2h45m", 9900.0),
        ("1m30s", 90.0),
        ("30s1m", 90.0),
        ("1s1s", 2.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("5.s", 5.0),
        ("0.50s", 0.5),
        ("00015m", 900.0),
        ("300ms", 0.3),
        ("10us", 10e-6),
        ("10\u00b5s", 10e-6),
        ("10\u03bcs", 10e-6),
        ("7ns", 7e-9),
        ("-1.5s", -1.5),
        ("+15s", 15.0),
        ("0.9ns", 0.0),
        # Go multiplies the fraction as a floating point number and cuts off.
        ("0.3333333333333333333h", 1200.0),
        ("0." + "3" * 400 + "h", 1200.0),
        ("0.52688394h", 1896.782184),
        ("0.100000000000000000000h", 360.0),
        ("0.830103483285477580700h", 2988.372539827),
        ("9223372036854775807ns", 9223372036.854775807),
        ("-9223372036854775808ns", -9223372036.854775808),
        ("2562047h47m16.854775807s", 9223372036.854775807),
    ],
)
def test_what_go_reads_is_read_the_same(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it has no number and no unit"),
        ("-", "it has no number and no unit"),
        ("15", "it has no unit (did you mean 15s?)"),
        ("1.5", "it has no unit (did you mean 1.5s?)"),
        ("1h30", "it has no unit"),
        ("00", "it has no unit (did you mean 00s?)"),
        ("m", "it has no number where one should be"),
        (".s", "it has no number where one should be"),
        ("+-1s", "it has no number where one should be"),
        (" 1s", "it has no number where one should be"),
        ("1.5.s", "it has no unit"),
        ("\u0661s", "it has no number where one should be"),
        ("1d", "it has the unknown unit d (the units are h, m, s, ms, us, ns)"),
        ("15M", "it has the unknown unit M (the units are h, m, s, ms, us, ns)"),
        ("1s ", "it has the unknown unit s  (the units are h, m, s, ms, us, ns)"),
        (
            "1 fortnight",
            "it has the unknown unit at its end (the units are h, m, s, ms, us, ns)",
        ),
        ("9223372036854775808ns", "it is longer than the 292 years that can be counted"),
        ("-9223372036854775809ns", "it is longer than the 292 years that can be counted"),
        ("2562048h", "it is longer than the 292 years that can be counted"),
        ("2562047h48m", "it is longer than the 292 years that can be counted"),
        ("9" * 5000 + "h", "it is longer than the 292 years that can be counted"),
    ],
)
def test_what_go_refuses_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_duration(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (-0.0, "0s"),
        (900.0, "15m0s"),
        (90.0, "1m30s"),
        (5400.0, "1h30m0s"),
        (3600.0, "1h0m0s"),
        (1.0, "1s"),
        (1.5, "1.5s"),
        (61.05, "1m1.05s"),
        (0.5, "500ms"),
        (0.0015, "1.5ms"),
        (0.001, "1ms"),
        (0.00001, "10\u00b5s"),
        (0.0000015, "1.5\u00b5s"),
        (7e-9, "7ns"),
        (-1.5, "-1.5s"),
        (-0.25, "-250ms"),
        (315360000.0, "87600h0m0s"),
    ],
)
def test_durations_are_written_as_go_writes_them(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.integers(min_value=-(10**16), max_value=10**16))
def test_what_is_written_is_read_back(nanoseconds: int) -> None:
    seconds = nanoseconds / 10**9
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=1e-9)


@settings(derandomize=True, max_examples=500, deadline=None)
@given(st.text(alphabet="0123456789.+-hmsnu\u00b5 x\n", max_size=30) | st.text())
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    message = ""
    seconds = 0.0
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        message = str(error)
    assert abs(seconds) <= 2**63 / 10**9
    assert not message or message.startswith("it ")
