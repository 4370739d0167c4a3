"""What the `source` column of a trace may say, and what each word means; a trace's header repeats those it uses."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Source(StrEnum):
    """Keys of the header's table of sources."""

    PUBLISHED = "caffe-log"
    SAME_SHAPE = "caffe-log-same-shape"
    OTHER_BATCH = "caffe-log-other-batch"
    SPLIT_OF_PUBLISHED = "split-of-caffe-log"
    SPLIT_OF_MODELLED = "split-of-model"
    WITHOUT_BIAS = "caffe-log-less-bias"
    CONVOLUTION = "convolution-model"
    IMPLICIT_GEMM = "implicit-gemm-model"
    GEMM = "gemm-model"
    FFT = "fft-model"
    FFT_TILING = "fft-tiling-model"
    POOL = "pool-model"
    FULLY_CONNECTED = "fc-model"
    STREAMING = "streaming-model"


_LOG = (
    "soumith/convnet-benchmarks (MIT), commit 6f718db of 2016-02-28: 'caffe time' with cuDNN on a Titan X, means of"
    " 10 iterations"
)

_MEANINGS = {
    Source.PUBLISHED: f"published: {_LOG}, this layer and batch. For CONV it stands for IMPLICIT_PRECOMP_GEMM: Caffe"
    " gave cuDNN at most 8 MiB of workspace, and the log does not say which algorithm ran.",
    Source.SAME_SHAPE: f"published: {_LOG}, a layer of the same shape and batch in another network.",
    Source.OTHER_BATCH: "modelled: the published time of the same layer shape at another batch, in proportion to the"
    " batch (fully connected layers: in proportion to fc-model).",
    Source.SPLIT_OF_PUBLISHED: "modelled: the published backward time of this shape and batch covers both gradients and"
    " the bias gradient; it is split by the ratios of data to forward (1x1) or filter to forward (few channels) of"
    " DeepBench, and both parts add up to it exactly.",
    Source.SPLIT_OF_MODELLED: "modelled: both gradients together are modelled, then split as in split-of-caffe-log.",
    Source.WITHOUT_BIAS: "modelled: the published time of the same shape, less the modelled time of the bias.",
    Source.CONVOLUTION: "modelled: start + operations / rate + bytes / byte rate + bias, fitted to all published CONV"
    " layers; both gradients together by their median ratio to forward.",
    Source.IMPLICIT_GEMM: "modelled: the IMPLICIT_PRECOMP_GEMM row without bias, times the median ratio on a Tesla M60"
    " (dlperf, forward, batches of 128 and more), plus bias.",
    Source.GEMM: "modelled: (the IMPLICIT_PRECOMP_GEMM row without bias + writing and reading the column matrix) times"
    " the median factor on a Tesla M60 (dlperf), plus bias.",
    Source.FFT: "modelled: start + bytes of spectra and images / rate + operations of the products / rate + bias;"
    " fitted on a Tesla M60 (dlperf), carried over by the two GPUs' rates in ReLU and convolution; the filter"
    " gradient's excess from convnet-benchmarks L2 to L4 (cuDNN 3).",
    Source.FFT_TILING: "modelled: as fft-model, over tiles of 32 x 32.",
    Source.POOL: "modelled: a time per input and per window element, fitted to the published max pools.",
    Source.FULLY_CONNECTED: "modelled: start + operations / rate + bytes of weights / byte rate, fitted to the"
    " published fully connected layers.",
    Source.STREAMING: "modelled: start + bytes read and written / rate, fitted to the published ReLU layers.",
}


def explain(used: Iterable[str]) -> dict[str, str]:
    """The meaning of each source that is used, in a fixed order."""
    wanted = set(used)
    return {source.value: _MEANINGS[source] for source in Source if source.value in wanted}
