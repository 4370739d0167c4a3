"""Formulas of single figures, on numbers that can be worked out by hand."""

import pytest

from tests.support.cases import conv, layer, network_of, trace_of
from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import load_profile
from vdnnsim.network import Kind
from vdnnsim.trace import Provenance, Trace, TraceRow
from vdnnsim_paper.bars import Bar, Measured, bars_csv, with_bands
from vdnnsim_paper.bench import make_bench, without_near_ties
from vdnnsim_paper.config import parse_case, rules


def test_bands_reach_from_the_least_to_the_most() -> None:
    def measured(sample: int, value: float, trains: bool) -> Measured:
        bar = Bar("group", "series", "", "left", value, "GB", trains)
        return Measured("1", "case", sample, (bar,), Provenance.MODELLED)

    (banded,) = with_bands([measured(0, 2.0, True), measured(1, 1.5, True), measured(2, 3.0, False)])
    assert (banded.bar.value, banded.low, banded.high, banded.samples) == (2.0, 1.5, 3.0, 2)
    assert banded.trains_in == pytest.approx(2 / 3)
    assert bars_csv("1", [banded]).splitlines()[1] == ("1,case,group,series,,left,2,GB,1.5,3,2,yes,0.666667,modelled")


def test_near_ties_go_to_less_workspace() -> None:
    rows = [
        TraceRow("conv", "forward", "FFT", 100, 4000),
        TraceRow("conv", "forward", "GEMM", 102, 10),
        TraceRow("conv", "forward", "IMPLICIT_GEMM", 150, 0),
    ]
    kept = without_near_ties(Trace(trace_of(network_of(conv("conv"), layer(Kind.SOFTMAX, "loss"))).header, rows), 0.03)
    assert [row.algorithm for row in kept.rows] == ["GEMM", "IMPLICIT_GEMM"]


def test_case_of_the_paper() -> None:
    case = parse_case("VGG-16 256")
    assert (case.label, case.network, case.batch, case.very_deep) == ("VGG-16 (256)", "vgg19", 256, False)
    assert parse_case("VGG-416 32").very_deep
    with pytest.raises(InvalidInput, match="such as 'VGG-16 256'"):
        parse_case("LeNet 32")


def test_bench_runs_a_policy_once_and_measures_against_the_baseline() -> None:
    bench = make_bench(parse_case("AlexNet 128"), load_profile("titan-x-maxwell"), "fp32", rules())
    assert bench.run("vdnn-all(m)") is bench.run("vdnn-all(m)")
    inner = bench.run("vdnn-all(m)").result.feature_extraction.average_bytes_per_step
    base = bench.run("baseline(p)").result.feature_extraction.average_bytes_per_step
    assert bench.saved("vdnn-all(m)") == pytest.approx(1 - inner / base)
    assert bench.performance("oracle") == 1
