"""The tests' own checker of runs: every way of breaking a right program must be noticed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from support.cases import conv, gpu_of, join, layer, network_of, plan_of, trace_of
from support.checker import BrokenRun, check_engines, check_memory, check_run
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.memory import make_pool
from vdnnsim.network import Kind
from vdnnsim.policies import feature_extraction_layers
from vdnnsim.program import Command, CopyIn, CopyOut, Free, Kernel, Program, Synchronise, build_program
from vdnnsim.timeline import Timeline

NETWORK = network_of(
    conv("a"),
    layer(Kind.ACTV, "relu"),
    conv("b", "relu"),
    conv("c", "relu"),
    join(Kind.ADD, "d", "b", "c"),
    layer(Kind.LRN, "e"),
    layer(Kind.SOFTMAX, "loss"),
)
"""Two CONVs read a's map, an ADD joins them."""
TRACE = trace_of(NETWORK)
GPU = gpu_of(out_ns_per_100_bytes=250, in_ns_per_100_bytes=250)
"""Copies last longer than kernels, so that nothing works by luck."""
PROGRAM = build_program(NETWORK, plan_of(NETWORK, TRACE, offload=feature_extraction_layers(NETWORK)))
Commands = tuple[Command, ...]


def simulate(program: Program) -> Timeline:
    return SimulatedMachine(TRACE, GPU).run(program, make_pool("best-fit", 1 << 30))


def check(commands: Commands) -> None:
    step = PROGRAM.steps[0]._replace(first=0, last=len(commands))
    program = replace(PROGRAM, commands=commands, steps=(step,))
    check_run(NETWORK, program, simulate(program))


def without(index: int) -> Commands:
    return PROGRAM.commands[:index] + PROGRAM.commands[index + 1 :]


def moved(index: int, to: int) -> Commands:
    rest = without(index)
    return (*rest[:to], PROGRAM.commands[index], *rest[to:])


def places(kind: type[Command]) -> Iterator[int]:
    return (index for index, command in enumerate(PROGRAM.commands) if isinstance(command, kind))


def test_the_program_as_it_is_passes() -> None:
    check(PROGRAM.commands)


@pytest.mark.parametrize("kind", [CopyIn, CopyOut, Kernel])
def test_a_copy_or_kernel_left_out(kind: type[Command]) -> None:
    left_out = list(places(kind))
    assert len(left_out) >= 3
    for index in left_out:
        with pytest.raises(BrokenRun):
            check(without(index))


def test_a_wait_left_out_before_something_is_freed() -> None:
    needed = [index for index in places(Synchronise) if isinstance(PROGRAM.commands[index + 1], Free)]
    assert len(needed) >= 8
    for index in needed:
        with pytest.raises(BrokenRun, match="freed at"):
            check(without(index))


def test_a_late_fetch_that_nobody_waits_for() -> None:
    late = build_program(
        NETWORK,
        plan_of(NETWORK, TRACE, offload=feature_extraction_layers(NETWORK), deferred=[x.name for x in NETWORK.layers]),
    )
    check_run(NETWORK, late, simulate(late))
    index = next(
        index
        for index, (left, right) in enumerate(zip(late.commands, late.commands[1:], strict=False))
        if isinstance(left, CopyIn) and isinstance(right, Synchronise)
    )
    commands = late.commands[: index + 1] + late.commands[index + 2 :]
    hasty = replace(late, commands=commands, steps=(late.steps[0]._replace(first=0, last=len(commands)),))
    with pytest.raises(BrokenRun, match="ready at"):
        check_run(NETWORK, hasty, simulate(hasty))


def test_a_buffer_freed_before_its_last_kernel() -> None:
    for index in places(Free):
        kernels = [other for other in places(Kernel) if other < index]
        with pytest.raises((BrokenRun, KeyError)):
            check(moved(index, kernels[-1]))


def test_gradients_lost_or_added_to_nothing() -> None:
    """c comes first in backward and writes the gradient of a's map, b adds to it."""
    for layer_name, wrong in (("b", frozenset[str]()), ("c", frozenset({"a"}))):
        commands = tuple(
            command._replace(accumulates=wrong)
            if isinstance(command, Kernel) and (command.layer, command.pass_) == (layer_name, "backward_data")
            else command
            for command in PROGRAM.commands
        )
        with pytest.raises(BrokenRun, match=r"over what|lies nothing"):
            check(commands)


def test_two_blocks_at_one_address() -> None:
    timeline = simulate(PROGRAM)
    address = next(record.address for record in timeline.memory if record.buffer == "map:a")
    memory = [record._replace(address=address) if record.buffer == "map:b" else record for record in timeline.memory]
    damaged = replace(timeline, memory=tuple(memory))
    with pytest.raises(BrokenRun):
        check_memory(damaged)
    with pytest.raises(BrokenRun):
        check_run(NETWORK, PROGRAM, damaged)


def test_two_kernels_at_once_and_a_copy_too_quick() -> None:
    timeline = simulate(PROGRAM)
    first, second, *rest = timeline.kernels
    with pytest.raises(BrokenRun, match="at once"):
        check_engines(replace(timeline, kernels=(first, second._replace(begin_ns=first.end_ns - 1), *rest)))
    copies = (timeline.copies[0]._replace(end_ns=timeline.copies[0].begin_ns + 1), *timeline.copies[1:])
    with pytest.raises(BrokenRun, match="quicker"):
        check_engines(replace(timeline, copies=copies))
