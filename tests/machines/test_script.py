"""Scripts worked out by hand: what the host puts on each engine before each wait, and when."""

from __future__ import annotations

import pytest

from support.cases import conv, gpu_of, layer, network_of, row, trace_of
from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import HostCosts
from vdnnsim.machines.script import COMPUTE, IN, OUT, Work, script_of
from vdnnsim.network import Kind
from vdnnsim.program import (
    Allocate,
    Buffer,
    Command,
    CopyIn,
    CopyOut,
    Free,
    Kernel,
    MemoryClass,
    Program,
    Step,
    Stream,
    Synchronise,
)
from vdnnsim.trace import Trace

COSTS = HostCosts(kernel_ns=5, copy_ns=3, synchronise_ns=10, allocate_ns=2, free_ns=1, copy_start_ns=7)
NETWORK = network_of(conv("a"), layer(Kind.SOFTMAX, "loss"))
TRACE = trace_of(NETWORK, [row("a", "forward", 100), row("loss", "forward", 20)._replace(launch_ns=8, start_ns=4)])
X, Y = (Buffer(f"map:{name}", 100 * size, MemoryClass.FEATURE_MAPS, "a", False) for size, name in ((1, "x"), (2, "y")))


def program_of(*steps: tuple[Command, ...]) -> Program:
    commands: list[Command] = []
    cut = []
    for index, step in enumerate(steps):
        cut.append(Step(f"s{index}", False, False, len(commands), len(commands) + len(step)))
        commands += step
    return Program((X,), tuple(commands), tuple(cut), {}, ())


FORWARD = Kernel("a", "forward", "default")
LOSS = Kernel("loss", "forward", "default")
BOTH = Synchronise((Stream.COMPUTE, Stream.COPY_OUT))


def test_calls_between_two_waits_are_added_up() -> None:
    program = program_of(
        (Allocate(Y), FORWARD, CopyOut(X, "a"), BOTH, Free(X)), (LOSS, FORWARD, CopyIn(X, "a", "a"), Free(Y))
    )
    script = script_of(program, TRACE, COSTS)
    assert script.waits == [(Stream.COMPUTE, Stream.COPY_OUT), None]
    assert script.wait_steps == [0]
    assert script.calls_ns == [2 + 5 + 3, 1 + 8 + 5 + 3 + 1]
    assert script.work[COMPUTE] == Work([0, 1, 1], [[7], [1 + 4, 1 + 8 + 5]])  # loss starts 4 after its call
    assert script.work[OUT] == Work([0], [[10 + 7], []])
    assert script.work[IN] == Work([1], [[], [17 + 7]])
    assert [entry.layer for entry in script.kernels] == ["a", "loss", "a"]
    assert (script.outs, script.ins, script.copies) == ([X], [X], [OUT, IN])
    assert script.copies_ns(gpu_of(in_ns_per_100_bytes=50).link) == ([100], [50])


def test_memory_calls_have_their_place() -> None:
    """The first two before the only wait, the last one 9 after it."""
    program = program_of((Allocate(Y), Free(X), BOTH), (LOSS, Free(Y)))
    memory = script_of(program, TRACE, COSTS).memory
    assert memory.commands == [Allocate(Y), Free(X), Free(Y)]
    assert (memory.steps, memory.waits, memory.offsets_ns) == ([0, 0, 1], [0, 0, 1], [2, 3, 9])


def test_a_program_without_commands() -> None:
    script = script_of(program_of(()), TRACE, COSTS)
    assert (script.waits, script.calls_ns, script.copies) == ([None], [0], [])
    assert script.work == (Work([], [[]]),) * 3


def test_scripts_share_nothing_that_grows() -> None:
    first = script_of(program_of((BOTH,)), TRACE, COSTS)
    second = script_of(program_of((BOTH, FORWARD)), TRACE, COSTS)
    assert first.work[COMPUTE] == Work([], [[], []])
    assert second.work[COMPUTE] == Work([0], [[], [5]])


@pytest.mark.parametrize(
    ("slow_out", "both_in", "commands", "slows"),
    [
        (1, 1, (FORWARD, CopyOut(X, "a"), CopyIn(X, "a", "a")), False),
        (1.5, 1, (FORWARD, CopyOut(X, "a")), True),
        (1.5, 1, (LOSS, CopyOut(X, "a")), False),  # the kernel that slows copies is not run
        (1.5, 1, (FORWARD,), False),
        (1, 1.5, (FORWARD, CopyOut(X, "a"), CopyIn(X, "a", "a")), True),
        (1, 1.5, (FORWARD, CopyIn(X, "a", "a")), False),
    ],
)
def test_what_slows_copies(slow_out: float, both_in: float, commands: tuple[Command, ...], slows: bool) -> None:
    trace = Trace(TRACE.header, [row("a", "forward", 100, slow_out=slow_out), row("loss", "forward", 20)])
    script = script_of(program_of(commands), trace, COSTS)
    assert script.slows_copies(gpu_of(both_in=both_in).link) is slows


def test_a_kernel_that_the_trace_lacks_is_told() -> None:
    with pytest.raises(InvalidInput, match="no algorithm 'fast' for forward of layer 'a'; it has: default"):
        script_of(program_of((Kernel("a", "forward", "fast"),)), TRACE, COSTS)
