"""A map dropped and made again by the same forward kernels is the same to the bit, and nothing else moves."""

from __future__ import annotations

from collections.abc import Callable

import torch

from vdnnsim.calibration.training import make_training
from vdnnsim.machines.real.cpu import CpuDevice
from vdnnsim.machines.real.operands import tensors_of
from vdnnsim.machines.real.operators_cpu import CpuOperators
from vdnnsim.network import DATA, Network
from vdnnsim.program import Kernel
from vdnnsim.program.commands import map_operand, weights_operand


def forward_of(network: Network, device: CpuDevice) -> tuple[dict[str, torch.Tensor], Callable[[str, bool], None]]:
    """Memory with images and weights in place, a block for each operand, and how to run a layer's forward in it."""
    memory: dict[str, torch.Tensor] = {}
    operators = CpuOperators()
    operators.begin()
    training = make_training(network, device.torch_device)

    def bytes_of(operand: str, size_bytes: int) -> torch.Tensor:
        if operand not in memory:
            memory[operand] = torch.full((size_bytes,), 255, dtype=torch.uint8)
        return memory[operand]

    def fill(operand: str, values: torch.Tensor) -> None:
        memory[operand] = values.reshape(-1).clone().view(torch.uint8)

    fill(map_operand(DATA), training.images)
    for layer, weights in training.weights.items():
        fill(weights_operand(layer), weights)

    def run(name: str, again: bool) -> None:
        kernel = Kernel(name, "forward", "IMPLICIT_GEMM", again=again)
        operators.prepare(network.by_name[name], kernel, tensors_of(network, kernel, bytes_of))()

    return memory, run


def test_maps_made_again_are_equal_to_the_bit_and_what_was_saved_stays(network: Network, device: CpuDevice) -> None:
    """One after the other, so that DROPOUT would draw another mask, and BN move its running values twice."""
    memory, run = forward_of(network, device)
    owners = {writer for feature_map in network.maps.values() for writer in feature_map.writers}
    for layer in network.layers:
        if layer.name in owners:
            run(layer.name, False)
    before = {operand: block.clone() for operand, block in memory.items()}
    for feature_map in network.maps.values():
        if feature_map.writers:
            memory[map_operand(feature_map.name)].fill_(255)
            for writer in feature_map.writers:
                run(writer, True)
    assert memory.keys() == before.keys()
    assert [operand for operand, block in memory.items() if not torch.equal(block, before[operand])] == []
