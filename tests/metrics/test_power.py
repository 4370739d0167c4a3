"""What an iteration draws, by hand; and where it is told."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from support.cases import gpu_of
from support.examples import tries
from support.two_convs import NETWORK, TRACE
from vdnnsim.comparing import compare_policies
from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import Power
from vdnnsim.metrics import power_use
from vdnnsim.metrics.power import copy_time
from vdnnsim.pages.comparing import comparison_page
from vdnnsim.report.json_text import comparison_json
from vdnnsim.report.power import power_of, print_power
from vdnnsim.result_rows import flat_row
from vdnnsim.study import Study
from vdnnsim.timeline import CopyRecord, KernelRecord, Timeline
from vdnnsim.trace import Provenance

POWER = Power(15, 250, 10)
Spans = list[tuple[int, int]]


def timeline(kernels: Spans, copies: Spans, end_ns: int) -> Timeline:
    return Timeline(
        tuple(KernelRecord(0, "a", "forward", "default", *span) for span in kernels),
        tuple(CopyRecord(0, "copy out", "map:a", 1, *span, 1) for span in copies),
        (), (), (), (end_ns,), end_ns, 0, 0,
    )  # fmt: skip


def test_kernels_and_copies_beside_each_other() -> None:
    """Half the time each, overlapping for a quarter: 15 W always, 235 more with kernels, 10 more with copies."""
    use = power_use(timeline([(0, 50)], [(25, 75)], 100), POWER)
    assert use.peak_w == 260
    assert use.energy_j == pytest.approx((15 * 100 + 235 * 50 + 10 * 50) * 1e-9)
    assert use.average_w == pytest.approx(15 + 235 * 0.5 + 10 * 0.5)


@pytest.mark.parametrize(
    ("kernels", "copies", "peak_w"),
    [
        ([(0, 50), (50, 60)], [(60, 80)], 250),
        ([(0, 50)], [(50, 80), (80, 90)], 250),
        ([], [(0, 80)], 25),
        ([], [], 15),
        ([(10, 20), (40, 50)], [(20, 40), (30, 41)], 260),
        ([(0, 10), (10, 20)], [(10, 20)], 260),
    ],
    ids=[
        "after one another",
        "ends as it begins",
        "copies alone",
        "nothing",
        "the last nanosecond",
        "with the second of two",
    ],
)
def test_the_peak_is_that_of_what_runs_at_once(kernels: Spans, copies: Spans, peak_w: float) -> None:
    assert power_use(timeline(kernels, copies, 100), POWER).peak_w == peak_w


def test_an_iteration_that_takes_no_time_is_idle() -> None:
    assert power_use(timeline([], [], 0), POWER) == (0, 15, 15)


spans = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5)).map(lambda span: (span[0], sum(span))), max_size=5)


@settings(max_examples=tries(60))
@given(spans, spans)
def test_copies_of_both_ways_count_once_where_they_meet(copies: Spans, kernels: Spans) -> None:
    apart: Spans = []
    for begin_ns, end_ns in sorted(kernels):
        apart += [(begin_ns, end_ns)] if not apart or begin_ns >= apart[-1][1] else []
    busy = {now_ns for begin_ns, end_ns in copies for now_ns in range(begin_ns, end_ns)}
    computing = {now_ns for begin_ns, end_ns in apart for now_ns in range(begin_ns, end_ns)}
    assert copy_time(apart, copies) == (len(busy), bool(busy & computing))


STUDY = Study(NETWORK, TRACE, replace(gpu_of(), power=POWER, provenance={"power": "measured"}))


def test_it_is_told_wherever_numbers_are_with_a_label_of_its_own() -> None:
    comparison = compare_policies(STUDY, ["vdnn-all(p)", "oracle"])
    result = comparison["vdnn-all(p)"]
    assert result.power == power_use(comparison.runs[0].timeline, POWER)
    told = {
        "energy_j": result.power.energy_j,
        "average_power_w": result.power.average_w,
        "peak_power_w": 260,
        "power_provenance": "modelled",
    }
    assert result.provenance is Provenance.MODELLED, "of the trace, and watts rest on its times"
    assert told.items() <= json.loads(comparison_json(comparison))["results"][0].items()
    assert told.items() <= flat_row(comparison, result).items()


def test_a_profile_without_it_has_no_columns_and_none_to_show() -> None:
    comparison = compare_policies(Study(NETWORK, TRACE, gpu_of()), ["oracle"])
    assert not {name for name in flat_row(comparison, comparison["oracle"]) if "power" in name or "energy" in name}
    assert "What an iteration draws" not in [section.title for section in comparison_page(comparison).sections]
    with pytest.raises(InvalidInput, match=r"--power: found no \[power\] in the profile of test-gpu, expected idle_w"):
        power_of("test-gpu", comparison.results)


def test_the_table_has_a_row_for_each_policy() -> None:
    text = StringIO()
    results = compare_policies(STUDY, ["vdnn-all(p)", "oracle"]).results
    print_power(power_of("test-gpu", results), Console(file=text, width=100))
    lines = text.getvalue().splitlines()
    assert lines[1] == "What an iteration draws"
    assert [line.split()[0] for line in lines[5:7]] == ["vdnn-all(p)", "oracle"]
    assert lines[5].split()[-1] == "260.0"
    assert text.getvalue().rstrip().endswith("(modelled)")
    page = comparison_page(compare_policies(STUDY, ["vdnn-all(p)", "oracle"]))
    assert "What an iteration draws" in [section.title for section in page.sections]
