"""Scripts worked out by hand: what the host puts on each engine before each wait, and when."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.cases import conv, gpu_of, layer, network_of, row, trace_of
from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import HostCosts
from vdnnsim.machines import BrokenProgram
from vdnnsim.machines.script import COMPUTE, IN, OUT, Work, script_of
from vdnnsim.network import Kind
from vdnnsim.program import (
    Allocate,
    Buffer,
    Command,
    CopyIn,
    CopyOut,
    Free,
    HostWait,
    Kernel,
    MemoryClass,
    Piece,
    Program,
    Step,
    Stream,
    StreamWait,
    Synchronise,
)
from vdnnsim.trace import Trace

COSTS = HostCosts(5, 3, synchronise_ns=10, allocate_ns=2, free_ns=1, copy_start_ns=7, stream_wait_ns=4)
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
    assert script.waits == [((COMPUTE, 1), (OUT, 1)), None]
    assert script.wait_steps == [0]
    assert script.calls_ns == [2 + 5 + 3, 1 + 8 + 5 + 3 + 1]
    assert script.work[COMPUTE] == Work([0, 1, 1], [[7], [1 + 4, 1 + 8 + 5]])  # loss starts 4 after its call
    assert script.work[OUT] == Work([0], [[10 + 7], []])
    assert script.work[IN] == Work([1], [[], [17 + 7]])
    assert [entry.layer for entry in script.kernels] == ["a", "loss", "a"]
    assert (script.outs, script.ins, script.copies) == ([X], [X], [OUT, IN])
    assert script.copies_ns(gpu_of(in_ns_per_100_bytes=50).link) == ([100], [50])


def test_waits_for_single_pieces() -> None:
    """The host waits for the first of two copies; the second kernel, and with it all that follow, for the second one;
    the next copy for the kernel. A stream's wait costs the host its call, and holds nothing where nothing follows."""
    copy = CopyOut(X, "a")
    program = program_of(
        (FORWARD, copy, copy, HostWait(Piece(Stream.COPY_OUT, 1))),
        (StreamWait(Stream.COMPUTE, Piece(Stream.COPY_OUT, 1)), StreamWait(Stream.COMPUTE, Piece(Stream.COPY_OUT, 2))),
        (FORWARD, StreamWait(Stream.COPY_OUT, Piece(Stream.COMPUTE, 2)), copy),
        (StreamWait(Stream.COPY_IN, Piece(Stream.COMPUTE, 1)), StreamWait(Stream.COMPUTE, Piece(Stream.COMPUTE, 1))),
    )
    script = script_of(program, TRACE, COSTS)
    assert script.waits == [((OUT, 1),), None]
    assert script.wait_steps == [0]
    assert script.calls_ns == [5 + 3 + 3, 4 + 4 + 5 + 4 + 3 + 4 + 4]
    assert script.work[COMPUTE] == Work([0, 2], [[5], [4 + 4 + 5]])
    assert script.work[OUT] == Work([0, 0, 2], [[8 + 7, 11 + 7], [20 + 7]])
    assert (script.holds[COMPUTE], script.holds[OUT]) == ({1: {OUT: 2}}, {2: {COMPUTE: 2}})


@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("wait", [HostWait, lambda piece: StreamWait(Stream.COMPUTE, piece)])
def test_a_wait_for_what_was_not_given_is_refused(wait: Callable[[Piece], Command], number: int) -> None:
    copy = CopyOut(X, "a")
    with pytest.raises(BrokenProgram) as caught:
        script_of(program_of((copy,), (wait(Piece(Stream.COPY_OUT, number)), copy)), TRACE, COSTS)
    assert str(caught.value) == (
        f"program, s1 forward: a wait for piece {number} of copy out: found 1 given so far, expected one of these; "
        "wait for what has been given already"
    )


def test_memory_calls_have_their_place() -> None:
    """The first two before the only wait, the last one 9 after it."""
    program = program_of((Allocate(Y), Free(X), BOTH), (LOSS, Free(Y)))
    memory = script_of(program, TRACE, COSTS).memory
    assert memory.commands == [Allocate(Y), Free(X), Free(Y)]
    assert (memory.steps, memory.waits, memory.offsets_ns) == ([0, 0, 1], [0, 0, 1], [2, 3, 9])


def test_a_program_without_commands() -> None:
    script = script_of(program_of(()), TRACE, COSTS)
    assert (script.waits, script.calls_ns, script.copies) == ([None], [0], [])
    assert script.work == (Work([], [[]]),) * 5


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
