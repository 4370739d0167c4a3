"""The fitted constants of the Titan X model. `vdnnsim_builder.fits` says how each was fitted, and refits it.

Rates are in bytes or floating-point operations per nanosecond, which is GB/s and TFLOP/s x 1000; times in ns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Fit:
    """One constant. `low`, `median` and `high` are measured over modelled times of the `samples` it was fitted to: the
    band around anything computed with it. Constants fitted together share them."""

    name: str
    value: float
    unit: str
    low: float
    median: float
    high: float
    samples: int
    source: str


_FITS = (
    Fit("streaming start", 1315, "ns", 0.747, 1.011, 1.584, 150, "Caffe layers on the Titan X, 2016-02-28"),
    Fit("streaming rate", 220.2, "B/ns", 0.747, 1.011, 1.584, 150, "Caffe layers on the Titan X, 2016-02-28"),
    Fit("m60 streaming rate", 87.97, "B/ns", 0.888, 1.0, 1.02, 15, "dlperf, Tesla M60, cuDNN 7"),
    Fit("titan x convolution rate", 5710, "flop/ns", 0.933, 1.0, 1.021, 11, "Caffe layers on the Titan X, 2016-02-28"),
    Fit("m60 convolution rate", 1981, "flop/ns", 0.812, 1.0, 1.003, 4, "dlperf, Tesla M60, cuDNN 7"),
    Fit("spectral start", 76460, "ns", 0.936, 1.0, 1.093, 22, "dlperf, Tesla M60, cuDNN 7"),
    Fit("spectral rate", 116.4, "B/ns", 0.936, 1.0, 1.093, 22, "dlperf, Tesla M60, cuDNN 7"),
    Fit("spectral product rate", 2324, "flop/ns", 0.936, 1.0, 1.093, 22, "dlperf, Tesla M60, cuDNN 7"),
    Fit("large transform factor", 2.386, "1", 0.883, 1.0, 1.713, 11, "dlperf, Tesla M60, cuDNN 7"),
    Fit("filter gradient excess 64", 12.61, "1", 1.0, 1.0, 1.0, 1, "convnet-benchmarks L2 to L4, Titan X, cuDNN 3"),
    Fit("filter gradient excess 32", 5.312, "1", 1.0, 1.0, 1.0, 1, "convnet-benchmarks L2 to L4, Titan X, cuDNN 3"),
    Fit("filter gradient excess 16", 1.544, "1", 1.0, 1.0, 1.0, 1, "convnet-benchmarks L2 to L4, Titan X, cuDNN 3"),
    Fit("implicit gemm ratio 1x1", 1.496, "1", 0.922, 1.0, 1.38, 13, "dlperf, Tesla M60, cuDNN 7"),
    Fit("implicit gemm ratio larger", 1.588, "1", 0.898, 1.0, 1.379, 12, "dlperf, Tesla M60, cuDNN 7"),
    Fit("explicit gemm factor 1x1", 1.596, "1", 0.708, 1.0, 1.379, 13, "dlperf, Tesla M60, cuDNN 7"),
    Fit("explicit gemm factor larger", 1.151, "1", 0.958, 1.0, 1.402, 12, "dlperf, Tesla M60, cuDNN 7"),
    Fit("data gradient ratio unit stride", 1.062, "1", 0.696, 1.0, 1.375, 25, "DeepBench, Titan X, cuDNN 5"),
    Fit("data gradient ratio strided", 1.867, "1", 0.624, 1.0, 2.671, 24, "DeepBench, Titan X, cuDNN 5"),
    Fit("filter gradient ratio few channels", 2.836, "1", 0.6, 1.0, 1.137, 6, "DeepBench, Titan X, cuDNN 5"),
    Fit("gradients ratio 1x1", 2.872, "1", 0.618, 1.0, 1.745, 37, "Caffe layers on the Titan X, 2016-02-28"),
    Fit("gradients ratio larger", 2.009, "1", 0.924, 1.0, 1.486, 34, "Caffe layers on the Titan X, 2016-02-28"),
    Fit("gradients ratio few channels", 4.356, "1", 0.671, 1.0, 1.728, 4, "Caffe layers on the Titan X, 2016-02-28"),
    Fit("convolution start", 100000, "ns", 0.894, 0.992, 1.525, 75, "Caffe layers on the Titan X, 2016-02-28"),
    Fit("convolution rate", 5425, "flop/ns", 0.894, 0.992, 1.525, 75, "Caffe layers on the Titan X, 2016-02-28"),
    Fit("convolution byte rate", 1064, "B/ns", 0.894, 0.992, 1.525, 75, "Caffe layers on the Titan X, 2016-02-28"),
    Fit("pool forward per input", 0.01114, "ns", 0.861, 1.012, 1.208, 24, "Caffe layers on the Titan X, 2016-02-28"),
    Fit(
        "pool forward per window element",
        0.01136,
        "ns",
        0.861,
        1.012,
        1.208,
        24,
        "Caffe layers on the Titan X, 2016-02-28",
    ),
    Fit("pool backward per input", 0.1073, "ns", 0.924, 1.019, 1.044, 24, "Caffe layers on the Titan X, 2016-02-28"),
    Fit(
        "pool backward per window element",
        0.01013,
        "ns",
        0.924,
        1.019,
        1.044,
        24,
        "Caffe layers on the Titan X, 2016-02-28",
    ),
    Fit("fc forward start", 128300, "ns", 0.747, 1.084, 1.622, 10, "Caffe layers on the Titan X, 2016-02-28"),
    Fit("fc forward rate", 5619, "flop/ns", 0.747, 1.084, 1.622, 10, "Caffe layers on the Titan X, 2016-02-28"),
    Fit("fc forward byte rate", 152.2, "B/ns", 0.747, 1.084, 1.622, 10, "Caffe layers on the Titan X, 2016-02-28"),
    Fit("fc backward start", 127800, "ns", 0.924, 0.994, 1.146, 10, "Caffe layers on the Titan X, 2016-02-28"),
    Fit("fc backward rate", 4213, "flop/ns", 0.924, 0.994, 1.146, 10, "Caffe layers on the Titan X, 2016-02-28"),
    Fit("fc backward byte rate", 113.8, "B/ns", 0.924, 0.994, 1.146, 10, "Caffe layers on the Titan X, 2016-02-28"),
)

FITS: Mapping[str, Fit] = MappingProxyType({fit.name: fit for fit in _FITS})
