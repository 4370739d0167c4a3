"""What is no fault of a trace but seldom meant: told once for each kind, with where it is first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.cases import conv, layer, network_of, row, trace_of
from vdnnsim.network import Kind
from vdnnsim.trace import Trace, TraceRow, oddities

NETWORK = network_of(conv("a"), conv("b"), layer(Kind.ACTV, "relu"), layer(Kind.SOFTMAX, "loss"))
CONVOLUTIONS = [
    row("a", "forward", 9, 0, "IMPLICIT_GEMM"),
    row("a", "backward_filter", 9, 0, "ALGO_0"),
    row("b", "forward", 9, 0, "IMPLICIT_GEMM"),
    row("b", "backward_filter", 9, 0, "IMPLICIT_GEMM"),
    row("b", "backward_data", 9, 0, "ALGO_0"),
]
TRACE = trace_of(NETWORK, CONVOLUTIONS)


def test_nothing_odd() -> None:
    assert list(oddities(TRACE, NETWORK)) == []


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([row("relu", "forward", 0)], "a duration of 0 ns: relu forward default"),
        (
            [row("relu", "forward", 0), row("relu", "backward", 0)],
            "a duration of 0 ns: relu forward default and 1 more",
        ),
        (
            [row("relu", "forward", 1, slow_out=0.96)],
            "a copy slowdown below 0.97: no kernel speeds a copy up: relu forward default",
        ),
        ([row("relu", "forward", 1, slow_in=10.1)], "a copy slowdown above 10: relu forward default"),
        ([row("a", "forward", 1, 0, "FTT")], "an algorithm that cuDNN does not have: a forward FTT"),
        ([row("a", "forward", 1, 0, "ALGO_3")], "an algorithm that cuDNN does not have: a forward ALGO_3"),
        ([row("relu", "forward", 1, 0, "FFT")], "an algorithm that cuDNN does not have: relu forward FFT"),
    ],
)
def test_odd_rows(rows: list[TraceRow], told: str) -> None:
    assert list(oddities(trace_of(NETWORK, [*CONVOLUTIONS, *rows]), NETWORK)) == [told]


@pytest.mark.parametrize(
    ("name", "pass_", "algorithm", "slow"),
    [("relu", "forward", "default", 0.97), ("relu", "forward", "default", 10), ("a", "backward_filter", "ALGO_3", 1)],
)
def test_at_the_border_nothing_is_odd(name: str, pass_: str, algorithm: str, slow: float) -> None:
    rows = [*CONVOLUTIONS, row(name, pass_, 1, 0, algorithm, slow, slow)]
    assert list(oddities(trace_of(NETWORK, rows), NETWORK)) == []


def test_a_convolution_without_the_algorithm_that_needs_no_workspace() -> None:
    rows = [one._replace(algorithm="GEMM") if one.layer == "b" else one for one in TRACE.rows]
    told = "no IMPLICIT_GEMM, which (m) policies would choose, for a pass of CONV: b forward GEMM and 2 more"
    assert list(oddities(Trace(TRACE.header, rows), NETWORK)) == [told]


def test_a_trace_that_could_not_be_told_from_another() -> None:
    unchecked = Trace(replace(TRACE.header, layers=()), TRACE.rows)
    assert list(oddities(unchecked, NETWORK)) == [
        "[identity] has no layers, so that a trace of another network would not be noticed"
    ]
    assert list(oddities(TRACE)) == ["not compared with small: name its file too"]
