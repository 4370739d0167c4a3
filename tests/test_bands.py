"""The range of an iteration time, worked out by hand, and what holds of it on any network."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.cases import ROOMY_BYTES, conv, fc, gpu_of, layer, network_of, row, trace_of
from support.examples import tries
from support.strategies import Case, cases
from vdnnsim.bands import COMMON, WIDTH, Band, band_of, sources_of
from vdnnsim.comparing import compare_policies
from vdnnsim.gpu import GpuProfile, HostCosts, Link, LinkCurve, LinkPoint
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.memory import ENDLESS_BYTES, make_pool
from vdnnsim.network import Kind
from vdnnsim.program import (
    Buffer,
    Command,
    CopyOut,
    Kernel,
    MemoryClass,
    Piece,
    Program,
    Step,
    Stream,
    StreamWait,
    Synchronise,
)
from vdnnsim.results import Comparison
from vdnnsim.study import Study
from vdnnsim.trace import Trace, TraceHeader, TraceRow
from vdnnsim.trace.table import RowSpread
from vdnnsim.units import PPM

MS = 1_000_000
ONE_PERCENT = PPM // 100
NO_SPREAD = RowSpread(0, 0, 0, 0)
KERNEL = Kernel("a", "forward", "default")
BUFFER = Buffer("map", MS, MemoryClass.FEATURE_MAPS, "a", False)
COPY = CopyOut(BUFFER, "a")
WAIT = Synchronise((Stream.COMPUTE, Stream.COPY_OUT))


def link_of(spread_ppm: int) -> Link:
    """A byte a nanosecond."""
    curve = LinkCurve((LinkPoint(1, 1, spread_ppm), LinkPoint(MS, MS, spread_ppm)))
    return Link(curve, curve)


def gpu_with(link_spread_ppm: int = 0, host: HostCosts | None = None) -> GpuProfile:
    return replace(gpu_of(host=host or HostCosts()), link=link_of(link_spread_ppm))


def off_ns(kernel: TraceRow, *commands: Command, gpu: GpuProfile | None = None, expected_ns: int) -> float:
    """How far the band of these commands reaches to each side of the iteration time, which is as expected."""
    gpu = gpu or gpu_with()
    trace = Trace(TraceHeader("test-gpu", "any", 1, "fp32", sources={"test": "made up"}), [kernel])
    program = Program((), commands, (Step("a", False, False, 0, len(commands)),), {}, ())
    timeline = SimulatedMachine(trace, gpu).run(program, make_pool("best-fit", ENDLESS_BYTES))
    assert timeline.iteration_time_ns == expected_ns
    low_ns, high_ns = band_of(program, timeline, trace, gpu, sources_of(trace, gpu))
    assert high_ns - expected_ns == expected_ns - low_ns
    return high_ns - expected_ns


def kernel_of(duration_ns: int, spread: RowSpread, slow_out: float = 1) -> TraceRow:
    return row("a", "forward", duration_ns, slow_out=slow_out)._replace(spread=spread)


def test_one_kernel_reaches_its_spread_times_the_width() -> None:
    kernel = kernel_of(MS, RowSpread(ONE_PERCENT, 0, 0, 0))
    assert off_ns(kernel, KERNEL, expected_ns=MS) == pytest.approx(WIDTH * 10_000, abs=1)


def test_two_kernels_add_up_where_common_and_by_squares_where_their_own() -> None:
    kernel = kernel_of(MS, RowSpread(ONE_PERCENT, 0, 0, 0))
    expected_ns = WIDTH * 10_000 * (4 * COMMON + 2 * (1 - COMMON)) ** 0.5
    assert off_ns(kernel, KERNEL, KERNEL, expected_ns=2 * MS) == pytest.approx(expected_ns, abs=1)


def test_a_link_bound_layer_spreads_as_its_copy_and_not_as_its_kernel() -> None:
    kernel = kernel_of(MS // 2, RowSpread(2 * ONE_PERCENT, 0, 0, 0))
    bound_ns = off_ns(kernel, KERNEL, COPY, WAIT, gpu=gpu_with(ONE_PERCENT), expected_ns=MS)
    assert bound_ns == pytest.approx(WIDTH * 10_000, abs=1)


def test_a_kernel_that_waits_for_a_copy_spreads_as_the_copy_and_what_comes_after_as_kernels() -> None:
    """The first kernel runs beside the copy, the other two after it: of their own, and in common, two and one."""
    kernel = kernel_of(MS // 2, RowSpread(2 * ONE_PERCENT, 0, 0, 0))
    held = (KERNEL, COPY, StreamWait(Stream.COMPUTE, Piece(Stream.COPY_OUT, 1)), KERNEL, KERNEL)
    expected_ns = WIDTH * 10_000 * (COMMON * (2**2 + 1) + (1 - COMMON) * (2 + 1)) ** 0.5
    assert off_ns(kernel, *held, gpu=gpu_with(ONE_PERCENT), expected_ns=2 * MS) == pytest.approx(expected_ns, abs=1)
    waits = Synchronise((Stream.COMPUTE,))
    waited_ns = off_ns(kernel, *held, waits, gpu=gpu_with(ONE_PERCENT), expected_ns=2 * MS)
    assert waited_ns == pytest.approx(expected_ns, abs=1)


def test_a_copy_that_nobody_waits_for_does_not_count() -> None:
    kernel = kernel_of(2 * MS, RowSpread(ONE_PERCENT, 0, 0, 0))
    hidden_ns = off_ns(kernel, KERNEL, COPY, WAIT, gpu=gpu_with(5 * ONE_PERCENT), expected_ns=2 * MS)
    assert hidden_ns == pytest.approx(WIDTH * 20_000, abs=1)


def test_a_layer_may_turn_link_bound_within_the_spreads() -> None:
    """The copy is 1 ns shorter than the kernel, whose spread is none: what it is longer when slower shows."""
    kernel = kernel_of(MS + 1, NO_SPREAD)
    turned_ns = off_ns(kernel, KERNEL, COPY, WAIT, gpu=gpu_with(ONE_PERCENT), expected_ns=MS + 1)
    assert turned_ns == pytest.approx(WIDTH * COMMON**0.5 * 10_000 - 1, abs=1)


def test_slowdowns_spread_where_the_copy_is_waited_for() -> None:
    """In 1 ms beside a kernel that slows it 1.5-fold, 2/3 of a copy of 1 ms are done, 1/1.5 of its whole."""
    kernel = kernel_of(MS, RowSpread(0, ONE_PERCENT, 0, 0), slow_out=1.5)
    slowed_ns = off_ns(kernel, COPY, KERNEL, WAIT, expected_ns=MS + 333_334)
    assert slowed_ns == pytest.approx(WIDTH * COMMON**0.5 * 10_000 / 1.5 / 1.5, rel=0.01)
    assert off_ns(kernel._replace(duration_ns=3 * MS), COPY, KERNEL, WAIT, expected_ns=3 * MS) == 0


def test_launches_and_calls_of_the_host_spread() -> None:
    """The launch by its own spread; the wait by the launches' median."""
    kernel = kernel_of(0, RowSpread(0, 0, 0, 10 * ONE_PERCENT))._replace(launch_ns=70_000, start_ns=80_000)
    gpu = gpu_with(host=HostCosts(synchronise_ns=20_000))
    waits = Synchronise((Stream.COMPUTE,))
    launched_ns = off_ns(kernel, KERNEL, waits, gpu=gpu, expected_ns=100_000)
    assert launched_ns == pytest.approx(WIDTH * COMMON**0.5 * (7_000 + 2_000), abs=1)


def test_no_spread_leaves_the_prediction() -> None:
    assert off_ns(kernel_of(MS, NO_SPREAD), KERNEL, COPY, WAIT, expected_ns=MS) == 0


def spread_as(case: Case, spread: RowSpread, link_ppm: int) -> Case:
    """The case with these spreads throughout, nothing that slows copies."""
    rows = [one._replace(spread=spread, copy_out_slowdown_ppm=PPM, copy_in_slowdown_ppm=PPM) for one in case.trace.rows]
    link = case.gpu.link
    curves = [
        LinkCurve(tuple(point._replace(spread_ppm=link_ppm) for point in curve.points))
        for curve in (link.copy_out, link.copy_in)
    ]
    return replace(case, trace=Trace(case.trace.header, rows), gpu=replace(case.gpu, link=Link(*curves)))


def band_in(case: Case) -> tuple[int, Band]:
    study = Study(case.network, case.trace, case.gpu.with_capacity(ROOMY_BYTES), "best-fit", case.weight_gradients)
    result = study.run_plan("plan", case.plan).result
    assert result.band is not None
    return result.iteration_time_ns, result.band


spreads_ppm = st.integers(0, PPM)


@settings(max_examples=tries(60))
@given(cases(), st.tuples(*[spreads_ppm] * 3), st.tuples(*[spreads_ppm] * 3))
def test_wider_spreads_never_give_a_narrower_band(
    case: Case, ppm: tuple[int, int, int], more_ppm: tuple[int, int, int]
) -> None:
    wider_ppm = [one + more for one, more in zip(ppm, more_ppm, strict=True)]
    end_ns, narrow = band_in(spread_as(case, RowSpread(ppm[0], 0, 0, ppm[1]), ppm[2]))
    _, wide = band_in(spread_as(case, RowSpread(wider_ppm[0], 0, 0, wider_ppm[1]), wider_ppm[2]))
    assert 0 <= wide.low_ns <= narrow.low_ns <= end_ns <= narrow.high_ns <= wide.high_ns


@settings(max_examples=tries(60))
@given(cases(), st.tuples(*[spreads_ppm] * 4))
def test_a_prediction_lies_in_its_band_whatever_slows_copies(case: Case, ppm: tuple[int, int, int, int]) -> None:
    rows = [one._replace(spread=RowSpread(*ppm)) for one in case.trace.rows]
    end_ns, band = band_in(replace(case, trace=Trace(case.trace.header, rows)))
    assert 0 <= band.low_ns <= end_ns <= band.high_ns


def small_comparison(spread: RowSpread | None) -> tuple[Study, Comparison]:
    network = network_of(conv("a"), conv("b"), fc("fc"), layer(Kind.SOFTMAX, "loss"))
    trace = trace_of(network, default_ns=MS)
    rows = [one._replace(spread=spread) for one in trace.rows]
    study = Study(network, Trace(trace.header, rows), gpu_of())
    return study, compare_policies(study, ["vdnn-all(p)", "oracle"])


def test_a_trace_without_spreads_gives_no_band() -> None:
    assert [result.band for result in small_comparison(None)[1]] == [None, None]


def test_a_comparison_keeps_every_band() -> None:
    for result in small_comparison(RowSpread(ONE_PERCENT, 0, 0, 0))[1]:
        assert result.band is not None
        assert result.band.low_ns < result.iteration_time_ns < result.band.high_ns


def test_behind_another_link_or_in_other_memory_bands_are_those_of_a_study_made_for_it() -> None:
    study = replace(small_comparison(RowSpread(ONE_PERCENT, 0, 0, 0))[0], gpu=gpu_with())
    for other in (study.within(2 * ROOMY_BYTES), study.behind("50kB/s")):
        assert other.run("vdnn-all(p)").result.band == replace(other).run("vdnn-all(p)").result.band


def test_a_study_that_has_bands_travels_without_them() -> None:
    study, _ = small_comparison(NO_SPREAD)
    again = pickle.loads(pickle.dumps(study))
    assert again.run("oracle").result.band == study.run("oracle").result.band
