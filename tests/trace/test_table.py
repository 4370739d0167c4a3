"""Rows by layer and pass; which algorithm is the fastest, which the leanest; the weakest label."""

from __future__ import annotations

import pytest

from support.cases import row
from vdnnsim.errors import InvalidInput
from vdnnsim.trace import Provenance, Trace, TraceHeader, weakest

HEADER = TraceHeader("gpu", "net", 4, "fp32")
TRACE = Trace(
    HEADER,
    [
        row("a", "forward", 30, 0, "IMPLICIT_GEMM"),
        row("a", "forward", 20, 100, "GEMM"),
        row("a", "forward", 10, 900, "FFT"),
        row("a", "backward", 10, 50, "B"),
        row("a", "backward", 10, 50, "A"),
        row("a", "backward", 10, 60, "0"),
        row("b", "forward", 9, 0, "QUICK"),
        row("b", "forward", 10, 0, "IMPLICIT_GEMM"),
        row("c", "forward", 9, 70, "QUICK"),
        row("c", "forward", 5, 70, "QUICKER"),
    ],
)


@pytest.mark.parametrize(
    ("layer", "pass_", "fastest", "leanest"),
    [
        ("a", "forward", "FFT", "IMPLICIT_GEMM"),
        ("a", "backward", "A", "A"),  # of equals the smaller workspace, then the name
        ("b", "forward", "QUICK", "IMPLICIT_GEMM"),  # (m) is implicit GEMM wherever nothing is leaner
        ("c", "forward", "QUICKER", "QUICKER"),
    ],
)
def test_choices(layer: str, pass_: str, fastest: str, leanest: str) -> None:
    assert TRACE.fastest(layer, pass_).algorithm == fastest
    assert TRACE.leanest(layer, pass_).algorithm == leanest


def test_rows_keep_their_order() -> None:
    assert [entry.algorithm for entry in TRACE.choices("a", "forward")] == ["IMPLICIT_GEMM", "GEMM", "FFT"]
    assert TRACE.choices("a", "sideways") == ()
    assert TRACE.row("a", "forward", "GEMM").duration_ns == 20


def test_what_is_missing_is_told_with_what_there_is() -> None:
    with pytest.raises(InvalidInput) as caught:
        TRACE.row("b", "forward", "FFT")
    assert str(caught.value) == (
        "trace of net batch 4 on gpu, fp32: no algorithm 'FFT' for forward of layer 'b'; it has: QUICK, IMPLICIT_GEMM"
    )
    for ask in (TRACE.fastest, TRACE.leanest):
        with pytest.raises(InvalidInput, match="layer 'b' has no backward row; add one"):
            ask("b", "backward")


def test_a_result_claims_no_more_than_its_weakest_source() -> None:
    measured, published, modelled = Provenance
    assert weakest([measured, modelled, published]) is modelled
    assert weakest([published, measured]) is published
    assert weakest([measured]) is measured
    assert weakest(["measured"]) is measured


def test_what_has_no_label_is_not_measured() -> None:
    assert weakest([Provenance.MEASURED, None]) is Provenance.MODELLED
    assert weakest([]) is Provenance.MODELLED
