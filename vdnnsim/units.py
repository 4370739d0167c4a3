"""Units at the edge: text to integers and back. GB is 10^9 bytes, GiB is 2^30; inside are only integers."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from vdnnsim.errors import InvalidValue, shown

_BYTE_UNITS = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
_RATE_UNITS = {"FLOP": 1, "GFLOP": 10**9, "TFLOP": 10**12, "PFLOP": 10**15}
_TIME_UNITS = {"NS": 1, "US": 10**3, "MS": 10**6, "S": 10**9}
_NUMBER_AND_UNIT = re.compile(r"\s*([0-9][0-9_.eE+]*?)\s*([A-Za-z]+)\s*", re.ASCII)
_LARGEST = Decimal(2**62)
_LONGEST_TEXT = 100
_LEAST_FACTOR, _MOST_FACTOR = 0.001, 1000.0
PPM = 1_000_000
"""Ratios (copy slowdowns) are integers in parts per million: 1_000_000 is x1."""


def parse_bytes(text: str, what: str = "size") -> int:
    """Bytes from text such as "12GB", "12 GiB" or "512 MiB".

    Raises `InvalidValue` without a unit, with an unknown one, or when the value is not positive.
    """
    return _parse(text, text, what, _BYTE_UNITS, "a size with its unit, such as 12GB or 12GiB", "B")


def parse_bandwidth(text: str, what: str = "bandwidth") -> int:
    """Bytes per second from text such as "16 GB/s" or "12.8GB/s". Raises `InvalidValue`."""
    expected = "a bandwidth with its unit, such as 16GB/s"
    head, slash, tail = text.rpartition("/")
    if not slash or tail.strip().lower() != "s":
        raise InvalidValue(what, shown(text, _LONGEST_TEXT), expected)
    return _parse(text, head, what, _BYTE_UNITS, expected, "B/s")


def parse_rate(text: str, what: str = "rate") -> int:
    """Operations per second from text such as "19.5 TFLOP/s". Raises `InvalidValue`."""
    expected = "a rate with its unit, such as 19.5 TFLOP/s"
    head, slash, tail = text.rpartition("/")
    if not slash or tail.strip().lower() != "s":
        raise InvalidValue(what, shown(text, _LONGEST_TEXT), expected)
    return _parse(text, head, what, _RATE_UNITS, expected, "FLOP/s")


def parse_duration(text: str, what: str = "duration") -> int:
    """Nanoseconds from text such as "5us" or "1.5 ms". Raises `InvalidValue`."""
    return _parse(text, text, what, _TIME_UNITS, "a duration with its unit, such as 5us or 1.5ms", "ns")


def _parse(text: str, number: str, what: str, units: dict[str, int], expected: str, base_unit: str) -> int:
    """The value of `number`, a part of `text`, in base units."""
    match = _NUMBER_AND_UNIT.fullmatch(number) if len(number) <= _LONGEST_TEXT else None
    factor = units.get(match[2].upper()) if match and not match[2].endswith("b") else None  # b would be bits
    if match is None or factor is None:
        raise InvalidValue(what, shown(text, _LONGEST_TEXT), expected)
    try:
        value = Decimal(match[1].replace("_", "")) * factor
    except ArithmeticError:  # not a number, or one beyond what Decimal holds
        raise InvalidValue(what, shown(text, _LONGEST_TEXT), expected) from None
    if not 1 <= value <= _LARGEST:
        raise InvalidValue(what, shown(text, _LONGEST_TEXT), f"a value from 1 {base_unit} to 2^62 {base_unit}")
    return int(value)


def format_bytes(count: int) -> str:
    """Bytes for people, decimal: 12_345_678_901 is "12.35 GB"."""
    size = abs(count)
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if size >= factor:
            return f"{count / factor:.2f} {unit}" if unit == "GB" else f"{count / factor:.1f} {unit}"
    return f"{count} B"


def format_ms(duration_ns: int) -> str:
    """Nanoseconds for people, in milliseconds with three significant decimals below 10 ms."""
    duration_ms = duration_ns / 1e6
    return f"{duration_ms:.3f} ms" if duration_ms < 10 else f"{duration_ms:.1f} ms"


def ratio_to_ppm(ratio: float) -> int:
    """A ratio as an integer in parts per million, as it is kept inside."""
    if not math.isfinite(ratio):
        raise InvalidValue("ratio", str(ratio), "a finite number")
    return round(ratio * PPM)


def parse_factor(value: object, what: str, meaning: str) -> int:
    """A factor that scales something, in parts per million; `meaning` says what 2 means. Raises `InvalidValue`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not _LEAST_FACTOR <= value <= _MOST_FACTOR:
        expected = f"a factor from {_LEAST_FACTOR:g} to {_MOST_FACTOR:g}; {meaning}"
        raise InvalidValue(what, repr(value), expected)
    return ratio_to_ppm(float(value))


def scaled_by(value: int, factor_ppm: int) -> int:
    """A whole number times a factor in parts per million, to the nearest, halves up."""
    return (value * factor_ppm + PPM // 2) // PPM


def parse_share(text: str, what: str) -> float:
    """A share between 0 and 1, from text such as "5%", "5 %" or "0.05". Raises `InvalidValue`."""
    stripped = text.strip()
    try:
        share = float(stripped.removesuffix("%")) / (100 if stripped.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise InvalidValue(what, f"'{text}'", "a share from 0 to below 1, such as 5% or 0.05")
    return share
