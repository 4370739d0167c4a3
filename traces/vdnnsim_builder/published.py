"""The published numbers that came with the package: layers of whole networks, single convolutions, totals.

They lie as tidy tables under ``sources/titan-x-maxwell``; the README beside them says where each is from.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from vdnnsim import Kind, Layer, Network, load_network
from vdnnsim_builder.shapes import ConvShape

_SHAPE_COLUMNS = ("n", "c", "h", "w", "k", "r", "s", "pad_h", "pad_w", "stride_h", "stride_w")


class PublishedLayer(NamedTuple):
    """One layer of a published log, with the layer of the network it belongs to."""

    network: str
    batch: int
    layer: Layer
    forward_ns: int
    backward_ns: int


class PublishedSum(NamedTuple):
    """The sum of the gradients of one map that several layers read (a Split of the log, backward)."""

    network: str
    batch: int
    layer: Layer
    readers: int
    duration_ns: int


class PassTimes(NamedTuple):
    """One convolution, each pass timed; None where the source has no such pass."""

    shape: ConvShape
    forward_ns: int
    backward_data_ns: int | None
    backward_filter_ns: int | None
    source: str


class Total(NamedTuple):
    """One network, whole passes; the gradients apart where the source has them apart."""

    network: str
    batch: int
    library: str
    forward_ns: int
    backward_data_ns: int | None
    backward_filter_ns: int | None
    backward_ns: int


def source_folder() -> Path:
    return Path(__file__).parent / "sources" / "titan-x-maxwell"


def _rows(name: str) -> Iterator[dict[str, str]]:
    with (source_folder() / name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _shape(row: dict[str, str]) -> ConvShape:
    return ConvShape(*(int(row[column]) for column in _SHAPE_COLUMNS))


def _optional(cell: str) -> int | None:
    return int(cell) if cell else None


@cache
def _log() -> tuple[tuple[PublishedLayer, ...], tuple[PublishedSum, ...]]:
    times: dict[tuple[str, int, str], dict[str, int]] = {}
    for row in _rows("published_layers.csv"):
        key = (row["network"], int(row["batch"]), row["layer"])
        times.setdefault(key, {})[row["pass"]] = int(row["duration_ns"])
    networks: dict[tuple[str, int], Network] = {}
    layers, sums = [], []
    for (name, batch, layer_name), passes in times.items():
        network = networks.setdefault((name, batch), load_network(name, batch))
        layer = network.by_name[layer_name]
        if "forward" in passes:
            layers.append(PublishedLayer(name, batch, layer, passes["forward"], passes["backward"]))
        if "backward_sum" in passes:
            sums.append(PublishedSum(name, batch, layer, readers(network, layer_name), passes["backward_sum"]))
    return tuple(layers), tuple(sums)


def published_layers() -> tuple[PublishedLayer, ...]:
    """Caffe with cuDNN and at most 8 MiB of workspace, 2016-02-28, per layer."""
    return _log()[0]


def published_sums() -> tuple[PublishedSum, ...]:
    return _log()[1]


def published_convolutions() -> tuple[PublishedLayer, ...]:
    return tuple(entry for entry in published_layers() if entry.layer.kind == Kind.CONV)


@cache
def forward_by_algorithm() -> dict[ConvShape, dict[str, int]]:
    """Forward times on a Tesla M60 (Maxwell) in ns, of every algorithm of cuDNN 7 that cuDNN 4 had too (dlperf)."""
    table: dict[ConvShape, dict[str, int]] = {}
    for row in _rows("conv_by_algorithm.csv"):
        if row["gpu"] == "tesla-m60":
            table.setdefault(_shape(row), {})[row["algorithm"]] = int(row["forward_ns"])
    return table


@cache
def forward_workspaces() -> dict[ConvShape, dict[str, int]]:
    """The workspaces in bytes that the same source gives for the same algorithms, on the M60 and a Tesla K80."""
    table: dict[ConvShape, dict[str, int]] = {}
    for row in _rows("conv_by_algorithm.csv"):
        table.setdefault(_shape(row), {})[row["algorithm"]] = int(row["workspace_bytes"])
    return table


@cache
def times_by_pass() -> tuple[PassTimes, ...]:
    """Convolutions on the Titan X with each pass apart: DeepBench (cuDNN 5), convnet-benchmarks L1 to L5 (cuDNN 3)."""
    return tuple(
        PassTimes(
            _shape(row),
            int(row["forward_ns"]),
            _optional(row["backward_data_ns"]),
            _optional(row["backward_filter_ns"]),
            row["source"],
        )
        for row in _rows("conv_by_pass.csv")
    )


@cache
def m60_activations() -> tuple[tuple[int, int], ...]:
    """Forward ReLUs on the Tesla M60: (bytes of the map, ns)."""
    return tuple(
        (4 * int(row["n"]) * int(row["c"]) * int(row["h"]) * int(row["w"]), int(row["forward_ns"]))
        for row in _rows("activation_forward.csv")
    )


@cache
def totals() -> tuple[Total, ...]:
    """Totals of whole networks on the Titan X: for checks only, nothing is fitted to them."""
    return tuple(
        Total(
            row["network"],
            int(row["batch"]),
            row["library"],
            int(row["forward_ns"]),
            _optional(row["backward_data_ns"]),
            _optional(row["backward_filter_ns"]),
            int(row["backward_ns"]),
        )
        for row in _rows("totals.csv")
    )


def readers(network: Network, layer: str) -> int:
    """How many layers read the output of `layer`."""
    return sum(layer in other.inputs for other in network.layers)
