"""A map dropped and made again by the same forward kernels is the same to the bit, and nothing else moves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import torch

from support.cases import conv, layer, network_of
from vdnnsim.calibration.kernels import plan_of_first_choices
from vdnnsim.calibration.training import make_training
from vdnnsim.machines.real.cpu import CpuDevice
from vdnnsim.machines.real.machine import RealMachine
from vdnnsim.machines.real.operands import tensors_of
from vdnnsim.machines.real.operators_cpu import CpuOperators
from vdnnsim.memory import make_pool
from vdnnsim.network import DATA, Kind, Network, map_operand, weights_operand
from vdnnsim.policies.plan import Layout
from vdnnsim.program import Allocate, Command, Free, Kernel, Program, build_program


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
    for name, weights in training.weights.items():
        fill(weights_operand(name), weights)

    def run(name: str, again: bool) -> None:
        kernel = Kernel(name, "forward", "IMPLICIT_GEMM", again=again)
        operators.prepare(network.by_name[name], kernel, tensors_of(network, kernel, bytes_of))()

    return memory, run


def test_maps_made_again_are_equal_to_the_bit_and_what_was_saved_stays(network: Network, device: CpuDevice) -> None:
    """One after the other, so that DROPOUT would draw another mask, and BN move its running values twice."""
    memory, run = forward_of(network, device)
    owners = {writer for feature_map in network.maps.values() for writer in feature_map.writers}
    for name in network.position:
        if name in owners:
            run(name, False)
    before = {operand: block.clone() for operand, block in memory.items()}
    for feature_map in network.maps.values():
        if feature_map.writers:
            memory[map_operand(feature_map.name)].fill_(255)
            for writer in feature_map.writers:
                run(writer, True)
    assert memory.keys() == before.keys()
    assert [operand for operand, block in memory.items() if not torch.equal(block, before[operand])] == []


Results = dict[str, torch.Tensor]


def dropped(network: Network, program: Program) -> tuple[Program, list[str]]:
    """A program in which every map that no CONV or FC writes and that can be made again from what stays is given back
    behind its last reader in forward, and made again by the first layer in backward that needs it; and which ones."""
    gone: list[str] = []
    kernels = {command.layer: command for command in program.commands if isinstance(command, Kernel)}
    buffers = {command.buffer.name: command.buffer for command in program.commands if isinstance(command, Allocate)}
    before: dict[str, list[Command]] = defaultdict(list)
    behind: dict[str, list[Command]] = defaultdict(list)
    for feature_map in network.maps.values():
        buffer = buffers.get(map_operand(feature_map.name))
        needed = {one.name for writer in feature_map.writers for one in network.input_maps(network.by_name[writer])}
        kept = all(network.maps[name].backward_users and name not in gone for name in needed)
        cheap = all(network.by_name[writer].kind not in (Kind.CONV, Kind.FC) for writer in feature_map.writers)
        if buffer is None or not feature_map.writers or not feature_map.backward_users or not kept or not cheap:
            continue
        again = [
            kernels[writer]._replace(pass_="forward", again=True, workspace=None, accumulates=frozenset())
            for writer in feature_map.writers
        ]
        gone.append(feature_map.name)
        behind[feature_map.readers[-1]].append(Free(buffer))
        before[feature_map.backward_users[-1]] += [Allocate(buffer), *again]
    commands: list[Command] = []
    steps = []
    for step in program.steps:
        more = (before[step.layer], ()) if step.backward else ((), behind[step.layer])
        own = [*more[0], *program.commands[step.first : step.last], *more[1]]
        steps.append(step._replace(first=len(commands), last=len(commands) + len(own)))
        commands += own
    return replace(program, commands=tuple(commands), steps=tuple(steps)), gone


DROPPING = network_of(
    conv("a", channels=4, kernel=3, padding=1),
    layer(Kind.BN, "norm"),
    layer(Kind.DROPOUT, "drop"),
    conv("b", channels=4, kernel=3, padding=1),
    layer(Kind.LRN, "local"),
    layer(Kind.ACTV, "relu"),
    conv("c", channels=4),
    layer(Kind.SOFTMAX, "loss"),
    batch=2,
)
"""BN with DROPOUT in place, LRN with ACTV in place."""


def results_without(network: Network, device: CpuDevice) -> tuple[list[str], Results, Results]:
    """What is dropped, and the results of the checking mode with it and without."""
    plan = plan_of_first_choices(network, CpuOperators(), Layout.LAYER_WISE, frozenset())
    whole = build_program(network, plan)
    program, gone = dropped(network, whole)
    machine = RealMachine(device, CpuOperators(), network, make_training(network, device.torch_device))
    found, expected = (
        machine.load(one, lambda: make_pool("best-fit", 1 << 30)).check().results for one in (program, whole)
    )
    assert found.keys() == expected.keys()
    return gone, found, expected


def test_gradients_are_equal_to_the_bit_where_maps_were_dropped(network: Network, device: CpuDevice) -> None:
    _, found, expected = results_without(network, device)
    assert [name for name, value in expected.items() if not torch.equal(value, found[name])] == []


def test_gradients_are_equal_to_the_bit_where_dropout_was_made_again(device: CpuDevice) -> None:
    gone, found, expected = results_without(DROPPING, device)
    assert gone == ["norm", "local"]
    assert [name for name, value in expected.items() if not torch.equal(value, found[name])] == []
