"""Builds the traces of the GeForce GTX Titan X (Maxwell) with cuDNN 4, fp32: the GPU of the paper.

What is published for this GPU, and stays what it is: forward and backward of every layer of AlexNet, OverFeat and
GoogLeNet at batch 128 and of VGG-A (`vgg11`) at batch 64, run by Caffe with cuDNN at near-zero workspace. Those times
stand for IMPLICIT_PRECOMP_GEMM, and so do they for layers of the same shape in other networks (11 of VGG-16's 13 CONV
shapes). Backward is one number; its split into two gradients is modelled and adds up to it exactly.

Everything else is modelled, by formulas with constants fitted to published numbers of other origin:

===================== ==================================================== ===========================
what                  formula                                              fitted to
===================== ==================================================== ===========================
other batches         proportional to the batch                            2.00 for 2 in public logs
data / filter         data = forward x (HW / PQ) x 1.06                    DeepBench, Titan X
unpublished CONV      start + flops / rate + bytes / rate                  the 75 published CONVs
IMPLICIT_GEMM         1.50 (1x1), 1.59 x IMPLICIT_PRECOMP_GEMM             dlperf, M60 (Maxwell)
GEMM                  1.60, 1.15 x (IMPLICIT_PRECOMP_GEMM + column matrix) dlperf, M60
FFT, FFT_TILING       start + spectra / rate + complex products / rate     dlperf, M60; L2 to L4
BN, ADD, DROPOUT, ... start + bytes / rate                                 the 75 published ReLUs
===================== ==================================================== ===========================

`vdnnsim_builder.costs` holds the formulas, `constants` the fitted numbers with the spread of their samples, `fits` how
they were fitted, `workspace` the workspace of each algorithm, `checks` two checks of the whole. The cuDNN 4 totals with
the fastest algorithms are in none of the fits: they are what the second check compares with.

Copy slowdowns are 1 (not slowed) in every row: the paper bounded the interference of copies with kernels by their share
of memory bandwidth, 16 of 336 GB/s or 4.7 %, and left it out, and nothing else is known for this GPU.

The result depends on nothing but the tables of sources and the constants: building again gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vdnnsim import Kind, Network, Trace, TraceHeader, TraceRow, load_network
from vdnnsim_builder.convolution import convolution_rows
from vdnnsim_builder.folder import write_into
from vdnnsim_builder.other_layers import other_rows, sum_rows
from vdnnsim_builder.sources import explain

GPU = "titan-x-maxwell"
MATH = "fp32"
CREATED_BY = "python -m vdnnsim.builder"
SHIPPED = (
    ("alexnet", 128),
    ("overfeat", 128),
    ("googlenet", 128),
    ("vgg11", 64),
    *((name, batch) for name in ("vgg16", "vgg19") for batch in (64, 128, 256)),
    *((name, 32) for name in ("vgg116", "vgg216", "vgg316", "vgg416")),
)
"""Network and batch of every trace that comes with the package."""

_CONDITIONS = {
    "gpu": "GeForce GTX Titan X (Maxwell), host with a Core i7-5930K; inferred from the repository and the rates, the"
    " log prints neither",
    "library": "cuDNN 4 (inferred), fp32, NCHW; Caffe of 2016-02-28, its own kernels for ReLU and max pooling",
    "date": "2016-02-28 for the published layers",
    "repetitions": "10 per published layer; no spread printed; treat public numbers as +-10 %",
    "copy_slowdown": "1 everywhere: the paper took interference as at most 4.7 % and left it out",
    "algorithms": "names of the forward pass; for gradients IMPLICIT_GEMM is ALGO_0, IMPLICIT_PRECOMP_GEMM is ALGO_1;"
    " cuDNN 4 has GEMM for forward only and FFT_TILING not for the filter gradient",
}


def build_trace(network: Network) -> Trace:
    """The trace of any network on the Titan X (Maxwell), as far as published and modelled otherwise."""
    rows = tuple(_rows(network))
    sources = explain(row.source for row in rows)
    return Trace(TraceHeader.of(network, GPU, MATH, CREATED_BY, sources, _CONDITIONS), rows)


def _rows(network: Network) -> Iterator[TraceRow]:
    for layer in network.layers:
        yield from (convolution_rows if layer.kind == Kind.CONV else other_rows)(network, layer)
        yield from sum_rows(network, layer)


def write_built(network: Network, directory: Path) -> Path:
    """Build the trace of a network into a folder of traces; returns the path of its table."""
    return write_into(directory, build_trace(network))


def write_shipped(directory: Path) -> list[Path]:
    """Build every trace that comes with the package into a folder of traces."""
    return [write_built(load_network(name, batch), directory) for name, batch in SHIPPED]
