"""What the host's calls cost more after a wait, in timelines worked out by hand."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from support.cases import conv, gpu_of, layer, network_of, row, trace_of
from support.examples import tries
from support.strategies import Case, cases
from vdnnsim.gpu import AfterWait, HostCosts
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.memory import make_pool
from vdnnsim.network import Kind
from vdnnsim.program import (
    Allocate,
    Buffer,
    Command,
    CopyOut,
    Free,
    Kernel,
    MemoryClass,
    Program,
    Step,
    Stream,
    Synchronise,
    build_program,
)
from vdnnsim.timeline import Timeline

COLD = AfterWait((0, 100, 1000), (0, 10, 50), (0, 20, 20), (0, 4, 4), (0, 6, 6))
COSTS = HostCosts(kernel_ns=5, copy_ns=3, synchronise_ns=10, allocate_ns=2, free_ns=1, copy_start_ns=7, after_wait=COLD)
NETWORK = network_of(conv("a"), layer(Kind.SOFTMAX, "loss"))
TRACE = trace_of(NETWORK, [row("a", "forward", 106), row("loss", "forward", 20)._replace(launch_ns=8, start_ns=4)])
X, Y, Z = (
    Buffer(f"map:{name}", 100 * size, MemoryClass.FEATURE_MAPS, "a", False)
    for size, name in ((1, "x"), (2, "y"), (1, "z"))
)
A = Kernel("a", "forward", "default")
LOSS = Kernel("loss", "forward", "default")
COMPUTE = Synchronise((Stream.COMPUTE,))
BOTH = Synchronise((Stream.COMPUTE, Stream.COPY_OUT))


def run(*commands: Command, costs: HostCosts = COSTS) -> Timeline:
    program = Program((X,), commands, (Step("s", False, False, 0, len(commands)),), {}, ())
    return SimulatedMachine(TRACE, gpu_of(host=costs)).run(program, make_pool("best-fit", 1 << 20))


def kernels(timeline: Timeline) -> list[tuple[int, int]]:
    return [(kernel.begin_ns, kernel.end_ns) for kernel in timeline.kernels]


def copies(timeline: Timeline) -> list[tuple[int, int]]:
    return [(copy.begin_ns, copy.end_ns) for copy in timeline.copies]


def waits(timeline: Timeline) -> list[tuple[int, int]]:
    return [(wait.begin_ns, wait.end_ns) for wait in timeline.waits]


def memory_ns(timeline: Timeline) -> list[int]:
    return [record.time_ns for record in timeline.memory[1:]]  # without the set-up's


def test_the_first_call_of_each_kind_after_a_wait_costs_more_and_shifts_what_follows() -> None:
    """An iteration begins as cold as the table knows: the one before it ended by waiting."""
    timeline = run(
        *(Allocate(Y), A),  # 2 + 4 more: 6; 5 + 50 more: 61; a runs 61 to 167
        COMPUTE,  # 6 more, before the wait begins: 67; 100 waited, back at 177
        Free(X),  # 1 + 4 more: 182
        LOSS,  # called at 182; 8 + 10 more: 200; starts 4 + 10 after its call: 196 to 216
        A,  # the second launch is warm: 205; 216 to 322
        CopyOut(Y, "a"),  # 3 + 20 more: 228; starts 7 later: 235 to 435
        Allocate(Z),  # warm: 230
        BOTH,  # 6 more: 236; 322 + 10, 435 + 10
    )
    assert kernels(timeline) == [(61, 167), (196, 216), (216, 322)]
    assert copies(timeline) == [(235, 435)]
    assert waits(timeline) == [(67, 177), (236, 445)]
    assert memory_ns(timeline) == [6, 182, 230]
    assert timeline.iteration_time_ns == 445


def test_waits_add_up_until_a_call_of_the_kind() -> None:
    """The launch is as cold as after one wait of 181; the pool was used in between."""
    timeline = run(
        *(A, CopyOut(Y, "a")),  # 5 + 50: a runs 55 to 161; 3 + 20: 78, copied 85 to 285
        COMPUTE,  # 6 more: 84; 77 waited, back at 171
        Allocate(Z),  # 2 + 4 more: 177
        Synchronise((Stream.COPY_OUT,)),  # 6 * 77 / 100 more: 181; 104 waited, back at 295
        Free(Z),  # 104 since the last: 1 + 4 more: 300
        A,  # 181 since the last: 5 + 10 + 40 * 81 / 900 more: 318
        Free(X),  # warm: 319
    )
    assert waits(timeline) == [(84, 171), (181, 295)]
    assert memory_ns(timeline) == [177, 300, 319]
    assert kernels(timeline) == [(55, 161), (318, 424)]


def test_only_time_spent_waiting_counts() -> None:
    """A wait that finds everything done costs the host its synchronise, and cools nothing down."""
    timeline = run(A, COMPUTE, COMPUTE, COMPUTE, A, costs=replace(COSTS, synchronise_ns=5000))
    # a from 55 to 161, 100 waited; 6 more for the first two waits, nothing for the third; a's launch after 100: 10
    assert waits(timeline) == [(61, 5161), (5167, 10167), (10167, 15167)]
    assert kernels(timeline) == [(55, 161), (15182, 15288)]


@settings(max_examples=tries(60))
@given(cases())
def test_a_table_of_zeros_is_no_table(case: Case) -> None:
    zeros = AfterWait((0, 1, 500), *(((0, 0, 0),) * 4))
    with_zeros = replace(case.gpu, host=replace(case.gpu.host, after_wait=zeros))
    program = build_program(case.network, case.plan)
    plain, zero = (
        SimulatedMachine(case.trace, gpu).run(program, make_pool("best-fit", 1 << 40)) for gpu in (case.gpu, with_zeros)
    )
    assert zero == plain
