"""What studies say of a captured step whose host does not keep up."""

from __future__ import annotations

import json
from dataclasses import replace

from support.cases import gpu_of
from tests.captured.steps import three_layers
from vdnnsim import compare
from vdnnsim.captured import CapturedStep
from vdnnsim.gpu import BesideCopies
from vdnnsim.report.json_text import comparison_json
from vdnnsim.report.table import comparison_notes
from vdnnsim.report.words import what_binds
from vdnnsim.units import PPM


def launched_in(launch_ns: int) -> CapturedStep:
    """Nine kernels of 101 us with their gaps."""
    step = three_layers()
    return replace(step, kernels=tuple(kernel._replace(launch_ns=launch_ns) for kernel in step.kernels))


def test_a_host_that_binds_is_told_with_its_band() -> None:
    """Launches of 150 us: 1350 for nine, and the last kernel ends 103 us after its launch, its gap being in it. At
    93.75 each the device waits for the first alone, and 911 us follow; at 240 the step takes 2263."""
    [own] = compare(launched_in(150_000), gpu=gpu_of(), policies="baseline(p)").results
    assert own.pace is not None
    assert own.pace.bound
    assert (own.iteration_time_ns, own.pace.host_ns) == (1_453_000, 1_350_000)
    assert (own.pace.quick_ns, own.pace.slow_ns) == (93_750 + 2_000 + 909_000, 2_160_000 + 103_000)
    assert own.band is not None
    assert own.band.low_ns < own.pace.quick_ns
    assert own.band.high_ns > own.pace.slow_ns
    assert what_binds(own) == "host"
    assert own.verdict == (
        "host-bound: its calls take 1.350 ms, kernels and link need 0.911 ms; "
        "1.005 ms to 2.263 ms as its pace may change"
    )


def test_a_host_that_keeps_up_is_named_no_more_than_before() -> None:
    comparison = compare(launched_in(10_000), gpu=gpu_of(), policies=["baseline(p)", "vdnn-all(p)"])
    for own in comparison.results:
        assert own.pace is not None
        assert not own.pace.bound
        assert not own.verdict.startswith("host-bound")
    document = json.loads(comparison_json(comparison))["results"][0]
    assert (document["host_ns"], document["host_bound"]) == (90_000, False)
    assert document["device_ns"] == 2_000 + 909_000


def test_a_result_that_rests_on_modelled_slowdowns_of_kernels_says_so() -> None:
    gpu = gpu_of()
    slowing = replace(gpu.link, kernels={"gemm": BesideCopies(PPM, 2 * PPM)})
    parts = ("memory", "host", "link.copy_out", "link.copy_in", "link.both_ways")
    gpu = replace(gpu, link=slowing, provenance=dict.fromkeys(parts, "measured"))
    kept, away = compare(three_layers(), gpu=gpu, policies=["baseline(p)", "vdnn-all(p)"]).results
    assert (kept.provenance, away.provenance) == ("measured", "modelled")


def test_a_table_says_what_of_the_allocator_is_not_modelled() -> None:
    step = three_layers()
    conditions = {**step.header.conditions, "allocator": "expandable_segments:True"}
    step = replace(step, header=replace(step.header, conditions=conditions))
    plain, options = (comparison_notes(compare(one, gpu=gpu_of())) for one in (three_layers(), step))
    assert "Not as measured" not in plain[0]
    assert options[0].splitlines()[1].startswith("Not as measured: the allocator's expandable_segments:True is not")
