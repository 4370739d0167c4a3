"""A network on which every outcome of vDNN-dyn has a capacity of its own, in units of the pool's 512 bytes.

a CONV, three POOLs p, q, r, b and c CONV, loss. Maps of a, p, q, r are 1 unit; of data, b, c, loss 2. Weights of the
three CONVs take a unit each, the classifier's gradient buffer 2: with data and loss's map 9 units of set-up, 7 once
the data have left. c's filter gradient can be had in 20 ns with 8 units of workspace, in 50 with 1, in 100 with none.

The most is in use in c's backward, which holds map b, gradient c and gradient b, 6 units:

* nothing offloaded: set-up 9 + maps a, p, q, r 4 + 6 = 19
* CONVs offload (data, r, b): 7 + a, p, q 3 + 6 = 16, and the prefetch of r in c's backward 1 more, 17
* all offload: 7 + 6 = 13, with the prefetch 14
"""

from __future__ import annotations

from dataclasses import dataclass

from support.cases import conv, gpu_of, layer, network_of, pool, row, trace_of
from vdnnsim.network import Kind
from vdnnsim.program import WeightGradients
from vdnnsim.study import Study

UNIT_BYTES = 512
NETWORK = network_of(
    conv("a", channels=2),
    pool("p"),
    pool("q"),
    pool("r"),
    conv("b", channels=4),
    conv("c", channels=4),
    layer(Kind.SOFTMAX, "loss"),
    channels=4,
    side=8,
)
FILTER = ("c", "backward_filter")
TRACE = trace_of(
    NETWORK,
    [
        row(*FILTER, 100, 0, "IMPLICIT_GEMM"),
        row(*FILTER, 50, 1 * UNIT_BYTES, "GEMM"),
        row(*FILTER, 20, 8 * UNIT_BYTES, "FFT"),
    ],
)


@dataclass(frozen=True)
class Outcome:
    """What vDNN-dyn is expected to do at one capacity."""

    units: int
    trials: int
    title: str
    algorithm: str
    deferred: frozenset[str] = frozenset()


OUTCOMES = [
    Outcome(27, 2, "no offload, fastest", "FFT"),  # 19 + 8
    Outcome(26, 3, "vdnn-conv, fastest", "FFT"),
    Outcome(25, 3, "vdnn-conv, fastest", "FFT"),  # 17 + 8
    Outcome(24, 3, "vdnn-conv, fastest", "FFT", frozenset({"c"})),  # c puts its prefetch off: 16 + 8
    Outcome(23, 4, "vdnn-all, fastest", "FFT"),
    Outcome(22, 4, "vdnn-all, fastest", "FFT"),  # 14 + 8
    Outcome(21, 4, "vdnn-all, fastest", "FFT", frozenset({"c"})),  # 13 + 8
    Outcome(20, 5, "vdnn-conv, greedy", "GEMM"),
    Outcome(18, 5, "vdnn-conv, greedy", "GEMM"),  # 17 + 1
    Outcome(17, 5, "vdnn-conv, greedy", "IMPLICIT_GEMM"),  # 17 + 0
    Outcome(16, 5, "vdnn-conv, greedy", "IMPLICIT_GEMM", frozenset({"c"})),
    Outcome(15, 6, "vdnn-all, greedy", "GEMM"),  # 14 + 1
    Outcome(14, 6, "vdnn-all, greedy", "IMPLICIT_GEMM"),
    Outcome(13, 6, "vdnn-all, greedy", "IMPLICIT_GEMM", frozenset({"c"})),
]
SMALLEST_UNITS = 13


def study_with(units: int, pool_name: str = "best-fit") -> Study:
    """The network on a GPU of so many units, without weight gradients."""
    return Study(NETWORK, TRACE, gpu_of(units * UNIT_BYTES), pool_name, WeightGradients.NONE)
