"""`calibrate trace --density`: how many words of each map are not zero as it leaves, for `cdma`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from vdnnsim.calibration.bench import Bench
from vdnnsim.iteration import Layout
from vdnnsim.machines.real.machine import RealMachine
from vdnnsim.network import Network
from vdnnsim.policies.plan import memory_optimal, plan_of, workspaces_of
from vdnnsim.program import build_program
from vdnnsim.trace import Trace
from vdnnsim.units import ratio_to_ppm

CONDITION = (
    "share of 32-bit words that are not zero in each map as it leaves: one iteration, at initialisation, random images"
)


def with_densities(trace: Trace, bench: Bench, network: Network) -> Trace:
    """The trace with the densities of its network's maps. Raises as `measure_densities`."""
    found = measure_densities(bench, bench.machine(network, trace.header.math), trace)
    conditions = {**trace.header.conditions, "densities": CONDITION}
    return Trace(replace(trace.header, conditions=conditions, densities_ppm=found), trace.rows)


def measure_densities(bench: Bench, machine: RealMachine, trace: Trace) -> Mapping[str, int]:
    """Of every map that some layer reads and backward needs, by its name, in parts per million. They all leave in one
    iteration, and what comes to lie on the host is counted. Raises `OutOfMemory`, `DeviceRefused`."""
    network = machine.network
    algorithms = memory_optimal(network, trace)
    readers = [layer.name for layer in network.layers if network.input_maps(layer)]
    plan = plan_of(network, Layout.LAYER_WISE, readers, algorithms, workspaces_of(algorithms, trace))
    loaded = bench.load(machine, build_program(network, plan))
    loaded.run()
    return {buffer.name: _density_ppm(loaded.host[buffer.name]) for buffer in loaded.program.offloaded}


def _density_ppm(held: torch.Tensor) -> int:
    words = held.view(torch.int32)
    return ratio_to_ppm(int(torch.count_nonzero(words)) / max(words.numel(), 1))
