"""A first look at every CONV algorithm: does it run, and about how long does it take alone.

Layers of equal shape share one look. An algorithm that takes far longer than the best of its pass is not measured
further: its row keeps this one time, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch

from vdnnsim.calibration.kernels import Choices
from vdnnsim.calibration.progress import OnProgress
from vdnnsim.machines.real.device import Device
from vdnnsim.machines.real.operands import tensors_of
from vdnnsim.machines.real.operators import Algorithm, Operators
from vdnnsim.network import Kind, Layer, Network, shape_key
from vdnnsim.program import Buffer, Kernel, MemoryClass, Stream

HOPELESS = 4.0
"""An algorithm this many times slower than the best of its pass is left at its first time."""
_FIRST_RUN_COUNTS_NS = 50_000_000
_ALIGNMENT = 512


class Look(NamedTuple):
    """One algorithm of one pass: its time alone, roughly."""

    algorithm: Algorithm
    duration_ns: int


Looks = Mapping[tuple[str, str], tuple[Look, ...]]
"""What runs at all, by (layer, pass), the fastest first. Passes with one algorithm only have a time of 0."""


def screen(network: Network, choices: Choices, device: Device, operators: Operators, progress: OnProgress) -> Looks:
    """Time every algorithm of every CONV pass once. Raises `DeviceRefused` where a layer alone finds no room."""
    looks: dict[tuple[str, str], tuple[Look, ...]] = {}
    known: dict[object, tuple[Look, ...]] = {}
    device.enter()
    operators.begin()
    slab = _filled(
        device, max(_room(network, network.by_name[key[0]], algorithms) for key, algorithms in choices.items())
    )
    for number, ((name, pass_), algorithms) in enumerate(choices.items()):
        layer = network.by_name[name]
        if layer.kind != Kind.CONV:
            looks[name, pass_] = (Look(algorithms[0], 0),)
            continue
        shape = shape_key(network, layer, pass_)
        if shape not in known:
            progress(number, len(choices), f"first look at {name} {pass_}")
            known[shape] = _look(network, layer, pass_, algorithms, device, operators, slab)
        looks[name, pass_] = known[shape]
    return looks


def _look(
    network: Network,
    layer: Layer,
    pass_: str,
    algorithms: tuple[Algorithm, ...],
    device: Device,
    operators: Operators,
    slab: torch.Tensor,
) -> tuple[Look, ...]:
    found: list[Look] = []
    for algorithm in algorithms:
        duration_ns = _time(network, layer, pass_, algorithm, device, operators, slab)
        if duration_ns is not None:
            found.append(Look(algorithm, duration_ns))
    return tuple(sorted(found, key=lambda look: (look.duration_ns, look.algorithm)))


def _time(
    network: Network,
    layer: Layer,
    pass_: str,
    algorithm: Algorithm,
    device: Device,
    operators: Operators,
    slab: torch.Tensor,
) -> int | None:
    """The time of one algorithm, or None where it refuses to run after all."""
    from vdnnsim.machines.real.cudnn_library import AlgorithmRefused

    workspace = None
    if algorithm.workspace_bytes:
        workspace = Buffer("workspace", algorithm.workspace_bytes, MemoryClass.WORKSPACE, layer.name, False)
    places: dict[str, tuple[int, int]] = {}

    def bytes_of(operand: str, size_bytes: int) -> torch.Tensor:
        if operand not in places:
            start = max((end for _, end in places.values()), default=0)
            places[operand] = (start, start + -(-size_bytes // _ALIGNMENT) * _ALIGNMENT)
        start = places[operand][0]
        return slab[start : start + size_bytes]

    kernel = Kernel(layer.name, pass_, algorithm.name, workspace)
    try:
        action = device.on_compute(operators.prepare(layer, kernel, tensors_of(network, kernel, bytes_of)))
        marked, stopwatch = device.timed(Stream.COMPUTE, action)
        marked()
        device.drain()
    except AlgorithmRefused:
        return None
    begin_ns, end_ns = stopwatch.read()
    if end_ns - begin_ns < _FIRST_RUN_COUNTS_NS:
        marked()  # the first run may have loaded the kernel
        device.drain()
        begin_ns, end_ns = stopwatch.read()
    return end_ns - begin_ns


def _room(network: Network, layer: Layer, algorithms: tuple[Algorithm, ...]) -> int:
    sizes = [network.maps[network.views[source].map_name].size_bytes for source in layer.inputs]
    sizes += [network.output_map(layer).size_bytes, layer.weights_bytes, layer.weight_gradients_bytes]
    sizes.append(max(algorithm.workspace_bytes for algorithm in algorithms))
    return sum(sizes) + _ALIGNMENT * len(sizes)


def _filled(device: Device, size_bytes: int) -> torch.Tensor:
    """A slab of numbers of ordinary size: all zeros run faster on some hardware, and noise of any bits slower."""
    slab = device.make_slab(-(-size_bytes // _ALIGNMENT) * _ALIGNMENT)
    slab[: slab.numel() // 4 * 4].view(torch.float32).uniform_(-0.1, 0.1)
    device.drain()
    return slab
