"""Conditions over axes: what they keep, and what they refuse to understand."""

from __future__ import annotations

import numpy as np
import pytest

from vdnnsim.errors import InvalidFile, InvalidInput
from vdnnsim.sweep.filters import Filter
from vdnnsim.sweep.grid import Grid
from vdnnsim.sweep.spec import parse_spec

COLUMNS = {
    "network": np.array(["alexnet", "vgg16", "vgg16", "vgg19"]),
    "batch": np.array([128, 64, 256, 64]),
    "capacity": np.array([4, 8, 12, 16]) * 10**9,
    "compute_scale": np.array([0.5, 1, 2, 4]),
}


def kept(text: str) -> list[int]:
    return list(np.flatnonzero(Filter(text, frozenset(COLUMNS), "filters[0]").keeps(COLUMNS)))


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("batch <= 128", [0, 1, 3]),
        ("64 < batch <= 256", [0, 2]),
        ("network == 'vgg16'", [1, 2]),
        ("network != 'vgg16' and batch == 64", [3]),
        ("network in ['alexnet', 'vgg19']", [0, 3]),
        ("batch not in (64, 256)", [0]),
        ("capacity >= '8 GB'", [1, 2, 3]),
        ("'8GB' <= capacity < '16 GB'", [1, 2]),
        ("capacity == '4 GB'", [0]),
        ("capacity * 2 > '16 GB'", [2, 3]),
        ("capacity - '4 GB' >= '8 GB'", [2, 3]),
        ("capacity / '4 GB' > 2", [2, 3]),
        ("capacity in ['4 GB', '16 GB']", [0, 3]),
        ("capacity > capacity / 2", [0, 1, 2, 3]),
        ("not (compute_scale > 1)", [0, 1]),
        ("batch * compute_scale >= 256", [2, 3]),
        ("batch // 100 == 0 or batch % 100 == 56", [1, 2, 3]),
        ("batch - 64 > -1", [0, 1, 2, 3]),
        ("True", [0, 1, 2, 3]),
        ("batch in []", []),
        ("1 == 1", [0, 1, 2, 3]),
    ],
)
def test_what_is_kept(text: str, points: list[int]) -> None:
    assert kept(text) == points


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("batch <", "a condition such as"),
        ("", "a condition such as"),
        ("batch = 4", "a condition such as"),
        ("gpu == 'x'", "found 'gpu', expected names of this sweep's axes: batch, capacity"),
        ("batch + 1", "true or false for each point"),
        ("batch and network", "expected a comparison"),
        ("network == 3", "names with names"),
        ("network < batch", "names with names"),
        ("batch == '64'", "found '64'"),
        ("capacity > '8 GB/s'", "found '8 GB/s'"),
        ("capacity > 8", "found 8, expected text with a unit, as '8 GB'"),
        ("8 < capacity", "found 8, expected text with a unit, as '8 GB'"),
        ("'4 GB' < capacity < 8.5", "found 8.5, expected text with a unit, as '8.5 GB'"),
        ("capacity in ['4 GB', 8]", "found 8, expected text with a unit, as '8 GB'"),
        ("capacity * 2 > 16", "found 16, expected text with a unit, as '16 GB'"),
        ("capacity - 4 > '8 GB'", "found 4, expected text with a unit, as '4 GB'"),
        ("capacity > batch * 2", "found batch * 2, expected text with a unit, as '12 GB'"),
        ("capacity == 4000000000", "found 4000000000, expected text with a unit, as '12 GB'"),
        ("network + 'x' == 'y'", "numbers compared with numbers"),
        ("__import__('os').system('true')", "expected names of this sweep's axes"),
        ("batch.real > 1", "comparisons, and, or, not"),
        ("[b for b in batch]", "expected names of this sweep's axes"),
        ("(lambda: 1)() == 1", "comparisons, and, or, not"),
        ("batch ** 99999999 > 1", "comparisons, and, or, not"),
        ("batch in batch", "a list such as"),
        ("batch is 64", "== != < <= > >= in, not in"),
        ("(" * 300 + "batch > 1" + ")" * 300, "found"),
        ("batch > 1 or " * 200 + "True", "at most 1000"),
    ],
)
def test_what_is_not_understood(text: str, words: str) -> None:
    with pytest.raises(InvalidInput) as error:
        kept(text)
    assert words in str(error.value)
    assert str(error.value).startswith("filters[0]")


def test_a_filter_of_a_spec_is_told_with_its_line() -> None:
    text = 'filters = ["batch > 0", "bacth > 1"]\nschema = 1\n[axes]\nnetwork = "a"\nbatch = 1\ngpu = "g"\n'
    with pytest.raises(InvalidFile, match=r"my.toml:1: filters\[1\]: found 'bacth'"):
        Grid(parse_spec(text, "my.toml"))


def test_compute_scale_is_a_factor_in_filters() -> None:
    text = 'schema = 1\n[axes]\nnetwork = "a"\nbatch = 1\ngpu = "g"\ncompute_scale = [1, 2, 3]\n'
    assert Grid(parse_spec('filters = ["compute_scale >= 2"]\n' + text)).size().points == 2 * 8


def test_a_number_without_a_unit_is_told_with_its_place_and_axis() -> None:
    text = 'schema = 1\n[axes]\nnetwork = "a"\nbatch = 1\ngpu = "g"\nlink_bandwidth = ["8 GB/s", "32 GB/s"]\n'
    with pytest.raises(InvalidFile) as error:
        Grid(parse_spec('filters = ["link_bandwidth > 16"]\n' + text, "my.toml"))
    assert str(error.value) == "my.toml:1: filters[0]: found 16; expected text with a unit, as '16 GB/s'"
    latency = text + 'link_latency = ["5 us", "9 us"]\n'
    with pytest.raises(InvalidFile, match="expected text with a unit, as '7 us'"):
        Grid(parse_spec('filters = ["link_latency < 7"]\n' + latency, "my.toml"))
