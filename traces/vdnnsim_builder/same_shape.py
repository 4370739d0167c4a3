"""Builds the trace of one network from that of another that has a layer of equal shape for each of its layers.

The very deep networks repeat the layers of VGG: every layer of VGG-416 has the kind, the input and output (sizes and
strides), the window, and the place in its map of some layer of VGG-116. A kernel takes as long in one as in the other,
whatever the layer is called. So each row is that of a layer of equal shape in the trace at hand: algorithms and their
workspaces as they are; time, copy slowdowns, and costs of the launch as they are or, where several layers of
equal shape were timed, their median for each algorithm.

Nothing was run, and what a kernel finds in the GPU's caches depends on its neighbours: rows are labelled modelled.
`vdnnsim_paper.same_shape` compares traces built in this way with measured ones.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median

from vdnnsim import (
    InvalidInput,
    Layer,
    Network,
    Provenance,
    Trace,
    TraceHeader,
    TraceRow,
    find_trace,
    load_network,
    required_passes,
    shape_key,
)
from vdnnsim_builder.folder import write_into

CREATED_BY = "python -m vdnnsim.builder --same-shape"
SUFFIX = "-same-shape"
"""Added to the source of a row that was taken over."""
SHIPPED_SAME_SHAPE = tuple(
    (name, "vgg116", 32, "h200", math) for math in ("fp32", "tf32") for name in ("vgg216", "vgg316", "vgg416")
)
"""Network, the one whose trace it is built from, batch, GPU and math mode of every trace that comes with the package
and was built here."""
_SUM = "backward_sum"


def build_same_shape(network: Network, timed: Trace, timed_network: Network) -> Trace:
    """The trace of `network` from `timed`, which is of `timed_network`.

    Raises `InvalidInput` where a layer has no equal in the other network, or where layers of equal shape were timed
    with other algorithms or workspaces, so that their rows are not of one kernel.
    """
    alike = _rows_by_shape(timed, timed_network)
    rows = tuple(_rows(network, alike, timed.header))
    used = {row.source.removesuffix(SUFFIX) for row in rows}
    title = f"{timed.header.network} (batch {timed.header.batch})"
    sources = {
        f"{name}{SUFFIX}": f"modelled: as in the trace of {title} for a layer of equal shape, the median for each"
        f" algorithm where there are several; there: {text}"
        for name, text in timed.header.sources.items()
        if name in used
    }
    conditions = {"rows": f"none was run: all are from the trace of {title}, whose conditions follow"}
    header = TraceHeader.of(
        network,
        timed.header.gpu,
        timed.header.math,
        CREATED_BY,
        sources,
        {**conditions, **timed.header.conditions},
    )
    return Trace(header, rows)


def write_same_shape(network: Network, timed: Trace, timed_network: Network, directory: Path) -> Path:
    """Build a trace into a folder of traces; returns the path of its table."""
    return write_into(directory, build_same_shape(network, timed, timed_network))


def write_shipped_same_shape(directory: Path) -> list[Path]:
    """Build every trace of this kind that comes with the package, from measured ones that do."""
    tables = []
    for name, timed_name, batch, gpu, math in SHIPPED_SAME_SHAPE:
        timed_network = load_network(timed_name, batch)
        timed = find_trace(timed_network, gpu, math)
        tables.append(write_same_shape(load_network(name, batch), timed, timed_network, directory))
    return tables


def _rows(network: Network, alike: Mapping[Hashable, list[list[TraceRow]]], timed: TraceHeader) -> Iterator[TraceRow]:
    required = set(required_passes(network))
    for layer in network.layers:
        for pass_ in (*layer.passes, _SUM):
            found = alike.get(_key(network, layer, pass_))
            if found:
                yield from (_median(layer.name, rows) for rows in found)
            elif (layer.name, pass_) in required:
                raise InvalidInput(
                    f"trace of {timed.title}: no layer of the shape of '{layer.name}' of {network.name} batch "
                    f"{network.batch} ({layer.kind}, {layer.input_shape} to {layer.output_shape}), whose {pass_} "
                    "needs one; choose the trace of a network that has it"
                )


def _rows_by_shape(timed: Trace, network: Network) -> dict[Hashable, list[list[TraceRow]]]:
    """By shape, for each algorithm in the order of the table, the rows of all layers of this shape."""
    by_pass: dict[tuple[str, str], list[TraceRow]] = {}
    for row in timed.rows:
        by_pass.setdefault((row.layer, row.pass_), []).append(row)
    alike: dict[Hashable, list[list[TraceRow]]] = {}
    for (name, pass_), rows in by_pass.items():
        key = _key(network, network.by_name[name], pass_)
        groups = alike.setdefault(key, [[] for _ in rows])
        known = {(other[0].algorithm, other[0].workspace_bytes): other for other in groups if other}
        if known and set(known) != {(row.algorithm, row.workspace_bytes) for row in rows}:
            raise InvalidInput(
                f"trace of {timed.header.title}: {pass_} of layer '{name}' has other algorithms or workspaces than "
                f"layer '{groups[0][0].layer}' of equal shape; expected the same"
            )
        for index, row in enumerate(rows):
            (known[row.algorithm, row.workspace_bytes] if known else groups[index]).append(row)
    return alike


def _key(network: Network, layer: Layer, pass_: str) -> Hashable:
    """The shape, and what a pass does with gradients of maps that other layers read as well: a sum of so many, or an
    addition to what a later reader wrote."""
    if pass_ == _SUM:
        return (shape_key(network, layer, pass_), len(network.output_map(layer).readers))
    adds = tuple(found.readers[-1] != layer.name for found in network.input_maps(layer))
    return (shape_key(network, layer, pass_), adds if pass_ in ("backward", "backward_data") else ())


def _median(layer: str, rows: list[TraceRow]) -> TraceRow:
    """One row for the rows of one algorithm on layers of equal shape."""
    first = rows[0]
    return TraceRow(
        layer,
        first.pass_,
        first.algorithm,
        round(median(row.duration_ns for row in rows)),
        first.workspace_bytes,
        round(median(row.copy_out_slowdown_ppm for row in rows)),
        round(median(row.copy_in_slowdown_ppm for row in rows)),
        Provenance.MODELLED,
        first.source + SUFFIX,
        _median_of_known(row.launch_ns for row in rows),
        _median_of_known(row.start_ns for row in rows),
    )


def _median_of_known(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return round(median(known)) if known else None
