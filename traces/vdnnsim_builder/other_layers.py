"""Rows of every layer that is no CONV: published where there is a layer like it, otherwise modelled.

Modelled kernels that only stream (everything but POOL and FC) move these bytes, in units of the map Y:

======== ========================================= ===============================================
kind     forward                                   backward
======== ========================================= ===============================================
ACTV     X, Y                                      Y, dY, dX
DROPOUT  X, mask (1 B per element), Y              dY, mask, dX
SOFTMAX  X three times (maximum, sum, result), Y   Y, dY twice (sum, result), dX
LRN      X twice (window and centre), Y            X, Y, dY, dX
BN       X twice (statistics, result), Y           X and dY twice (sums, result), dX
ADD      every X, Y                                dY, every dX
CONCAT   every X, Y                                dY, every dX
======== ========================================= ===============================================

The sum of the gradients of a map with several readers reads each of them and writes one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from vdnnsim import DEFAULT_ALGORITHM, Kind, Layer, Network, Provenance, TraceRow
from vdnnsim_builder import costs
from vdnnsim_builder.lookup import Found, find_layer, find_sum, nearest_batch
from vdnnsim_builder.published import readers
from vdnnsim_builder.shapes import FLOAT_BYTES
from vdnnsim_builder.sources import Source
from vdnnsim_builder.workspace import FORWARD

BACKWARD, BACKWARD_SUM = "backward", "backward_sum"


def other_rows(network: Network, layer: Layer) -> Iterator[TraceRow]:
    """Forward and backward of one layer that is no CONV."""
    found = find_layer(network, layer) or _modelled(network, layer)
    for pass_, duration in ((FORWARD, found.forward_ns), (BACKWARD, found.backward_ns)):
        yield _row(layer, pass_, duration, found)


def sum_rows(network: Network, layer: Layer) -> Iterator[TraceRow]:
    """The sum of gradients, where several layers read what `layer` wrote."""
    count = readers(network, layer.name)
    if count < 2:
        return
    found = find_sum(network, layer)
    if found is None:
        time = costs.streaming_ns((count + 1) * layer.output_bytes)
        found = Found(0.0, time, Provenance.MODELLED, Source.STREAMING)
    yield _row(layer, BACKWARD_SUM, found.backward_ns, found)


def _row(layer: Layer, pass_: str, duration_ns: float, found: Found) -> TraceRow:
    return TraceRow(
        layer.name,
        pass_,
        DEFAULT_ALGORITHM,
        round(duration_ns),
        0,
        provenance=found.provenance,
        source=str(found.source),
    )


def _modelled(network: Network, layer: Layer) -> Found:
    if layer.kind == Kind.POOL:
        times = (costs.pool_ns(layer, FORWARD), costs.pool_ns(layer, BACKWARD))
        return Found(*times, Provenance.MODELLED, Source.POOL)
    if layer.kind == Kind.FC:
        return _fully_connected(network, layer)
    forward, backward = (costs.streaming_ns(moved) for moved in streamed_bytes(layer))
    return Found(forward, backward, Provenance.MODELLED, Source.STREAMING)


def _fully_connected(network: Network, layer: Layer) -> Found:
    forward, backward = (costs.fully_connected_ns(layer, pass_) for pass_ in (FORWARD, BACKWARD))
    near = nearest_batch(network, layer)
    if near is None:
        return Found(forward, backward, Provenance.MODELLED, Source.FULLY_CONNECTED)
    forward *= near.forward_ns / costs.fully_connected_ns(near.layer, FORWARD)
    backward *= near.backward_ns / costs.fully_connected_ns(near.layer, BACKWARD)
    return Found(forward, backward, Provenance.MODELLED, Source.OTHER_BATCH)


def streamed_bytes(layer: Layer) -> tuple[int, int]:
    """The bytes that forward and backward move, by the table above."""
    y = layer.output_bytes
    x = FLOAT_BYTES * sum(map(math.prod, layer.input_shapes))
    match layer.kind:
        case Kind.ACTV:
            return 2 * y, 3 * y
        case Kind.DROPOUT:
            return 2 * y + y // 4, 2 * y + y // 4
        case Kind.SOFTMAX:
            return 4 * y, 4 * y
        case Kind.LRN:
            return 3 * y, 4 * y
        case Kind.BN:
            return 3 * y, 5 * y
        case _:
            return x + y, x + y
