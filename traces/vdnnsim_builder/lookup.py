"""Finds the published times of a layer: its own, those of the same shape elsewhere, or of another batch."""

from __future__ import annotations

import math
from collections.abc import Hashable
from functools import cache
from typing import NamedTuple

from vdnnsim import Kind, Layer, Network, Provenance
from vdnnsim_builder.published import PublishedLayer, published_layers, published_sums, readers
from vdnnsim_builder.sources import Source

_SCALE_EXACTLY = frozenset({Kind.CONV, Kind.ACTV, Kind.POOL, Kind.CONCAT})
"""Kinds whose time grows in proportion to the batch: twice the batch took 2.00 times as long in the ReLU and POOL
layers of the public logs that have both; convolutions and copies do the same work per image."""


class Found(NamedTuple):
    """The times a layer starts from, and what they are."""

    forward_ns: float
    backward_ns: float
    provenance: Provenance
    source: str


def find_layer(network: Network, layer: Layer) -> Found | None:
    """The best published times of a layer, or None where no layer like it was published.

    Of equally good layers the first counts, in the order of the table.
    """
    alike = _by_likeness().get(_likeness(layer), ())
    for entry in alike:
        if (entry.network, entry.batch, entry.layer.name) == (network.name, network.batch, layer.name):
            return _published(entry, Source.PUBLISHED)
    same = next((entry for entry in alike if entry.batch == network.batch), None)
    if same is not None:
        return _published(same, Source.SAME_SHAPE)
    if layer.kind not in _SCALE_EXACTLY:
        return None
    nearest = min(alike, key=lambda entry: abs(math.log(entry.batch / network.batch)), default=None)
    if nearest is None:
        return None
    ratio = network.batch / nearest.batch
    times = (nearest.forward_ns * ratio, nearest.backward_ns * ratio)
    return Found(*times, Provenance.MODELLED, Source.OTHER_BATCH)


def nearest_batch(network: Network, layer: Layer) -> PublishedLayer | None:
    """The published layer of the same shape whose batch is nearest."""
    alike = _by_likeness().get(_likeness(layer), ())
    return min(alike, key=lambda entry: abs(math.log(entry.batch / network.batch)), default=None)


def find_sum(network: Network, layer: Layer) -> Found | None:
    """The published sum of gradients of a map with several readers, or None."""
    count = readers(network, layer.name)
    alike = [e for e in published_sums() if (e.readers, _image(e.layer)) == (count, _image(layer))]
    for entry in alike:
        if (entry.network, entry.batch, entry.layer.name) == (network.name, network.batch, layer.name):
            return Found(0.0, entry.duration_ns, Provenance.PUBLISHED, Source.PUBLISHED)
    for entry in alike:
        if entry.batch == network.batch:
            return Found(0.0, entry.duration_ns, Provenance.PUBLISHED, Source.SAME_SHAPE)
    if alike:
        time = alike[0].duration_ns * network.batch / alike[0].batch
        return Found(0.0, time, Provenance.MODELLED, Source.OTHER_BATCH)
    return None


def _published(entry: PublishedLayer, source: str) -> Found:
    return Found(entry.forward_ns, entry.backward_ns, Provenance.PUBLISHED, source)


@cache
def _by_likeness() -> dict[Hashable, tuple[PublishedLayer, ...]]:
    groups: dict[Hashable, list[PublishedLayer]] = {}
    for entry in published_layers():
        groups.setdefault(_likeness(entry.layer), []).append(entry)
    return {likeness: tuple(entries) for likeness, entries in groups.items()}


def _image(layer: Layer) -> tuple[int, ...]:
    return layer.output_shape[1:]


def _likeness(layer: Layer) -> Hashable:
    """What two layers share that take the same time per image."""
    inputs = tuple(shape[1:] for shape in layer.input_shapes)
    if layer.kind in (Kind.CONV, Kind.POOL):
        window = (layer.kernel, layer.stride, layer.padding, layer.groups, layer.average)
        return (layer.kind, inputs, _image(layer), window)
    if layer.kind == Kind.FC:
        return (layer.kind, math.prod(inputs[0]), layer.output_shape[1])
    if layer.kind == Kind.ACTV:
        return (layer.kind, _image(layer))
    return (layer.kind, inputs)
