"""Text to integers and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdnnsim.errors import InvalidInput
from vdnnsim.units import format_bytes, format_ms, parse_bandwidth, parse_bytes, parse_duration, ratio_to_ppm


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12GB", 12_000_000_000),
        ("12 GiB", 12_884_901_888),
        ("  512 MiB ", 536_870_912),
        ("1.5KB", 1500),
        ("1 B", 1),
        ("1e9B", 1_000_000_000),
        ("1_000_000 B", 1_000_000),
        ("4TiB", 4 * 2**40),
        ("0.3 GB", 300_000_000),  # exactly: no binary fractions on the way
        ("12.345678901 GB", 12_345_678_901),
        (f"{2**62}B", 2**62),
    ],
)
def test_bytes(text: str, expected: int) -> None:
    assert parse_bytes(text) == expected


BAD = [
    "",
    "12",
    "GB",
    "12 XB",
    "12 GB/s",
    "-1GB",
    "0 GB",
    "0.5 B",
    "nan GB",
    "inf GB",
    "1e400 GB",
    "1e999999 GB",
    "1e999999999999999999999 GB",
    "1e-9 GB",
    "1..2 GB",
    "1e GB",
    "12 GB GB",
    "１２GB",  # full-width digits
    "0x10 B",
    f"{2**62 + 1}B",
    "9" * 5000 + "B",
    "1" + "e" * 10**6 + "!",
]


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:20])
def test_bad_sizes_are_told_in_one_short_line(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_bytes(text, "capacity")
    message = str(caught.value)
    assert message.startswith(f"capacity: found '{text[:50]}")
    assert len(message) < 250


@pytest.mark.parametrize(
    ("text", "expected"), [("16GB/s", 16 * 10**9), ("12.8 GB/s", 12_800_000_000), ("1 GiB / S", 2**30)]
)
def test_bandwidths(text: str, expected: int) -> None:
    assert parse_bandwidth(text) == expected


@pytest.mark.parametrize("text", ["16GB", "16/s", "16 GB/min", "/s", "", "16 GB/s/s", "nan GB/s", "16 ms/s"])
def test_bad_bandwidths(text: str) -> None:
    with pytest.raises(InvalidInput, match="link: found"):
        parse_bandwidth(text, "link")


@pytest.mark.parametrize(
    ("text", "expected"), [("5us", 5000), ("1.5 ms", 1_500_000), ("7 ns", 7), ("2 s", 2 * 10**9), ("0.1us", 100)]
)
def test_durations(text: str, expected: int) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["5", "5 min", "0.1 ns", "-5us", "5 GB", "NaN ms"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_duration(text)


@given(st.text(max_size=30) | st.from_regex(r"[0-9eE._+-]{1,12} ?[KMGT]?i?B(/s)?", fullmatch=True))
def test_any_text_is_a_positive_integer_or_told(text: str) -> None:
    for parse in (parse_bytes, parse_bandwidth, parse_duration):
        try:
            value = parse(text)
        except InvalidInput:
            continue
        assert type(value) is int
        assert 1 <= value <= 2**62


@given(st.integers(1, 2**62))
def test_whole_bytes_survive(count: int) -> None:
    assert parse_bytes(f"{count} B") == count


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (1_500_000, "1.5 MB"),
        (12_345_678_901, "12.35 GB"),
        (-2_000_000_000, "-2.00 GB"),
    ],
)
def test_bytes_for_people(count: int, expected: str) -> None:
    assert format_bytes(count) == expected


@pytest.mark.parametrize(("ns", "expected"), [(0, "0.000 ms"), (1_234_567, "1.235 ms"), (923_829_059, "923.8 ms")])
def test_times_for_people(ns: int, expected: str) -> None:
    assert format_ms(ns) == expected


def test_ratios() -> None:
    assert ratio_to_ppm(1.17) == 1_170_000
    for bad in (float("nan"), float("inf")):
        with pytest.raises(InvalidInput):
            ratio_to_ppm(bad)


def test_what_is_out_of_range_is_shown_whole_with_its_unit() -> None:
    for parse, text, least in (
        (parse_bandwidth, "0GB/s", "1 B/s"),
        (parse_bytes, "0GB", "1 B"),
        (parse_duration, "0us", "1 ns"),
    ):
        with pytest.raises(InvalidInput) as caught:
            parse(text, "value")
        assert str(caught.value).startswith(f"value: found '{text}', expected a value from {least} to 2^62 ")
