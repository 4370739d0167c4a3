"""What the host's calls cost more after a wait, in timelines worked out by hand."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from support.cases import conv, gpu_of, layer, network_of, row, trace_of
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
TRACE = trace_of(NETWORK, [row("a", "forward", 103), row("loss", "forward", 20)._replace(launch_ns=8, start_ns=4)])
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


def waits(timeline: Timeline) -> list[tuple[int, int, int]]:
    return [(wait.begin_ns, wait.end_ns, wait.stall_ns) for wait in timeline.waits]


def memory_ns(timeline: Timeline) -> list[int]:
    return [record.time_ns for record in timeline.memory[1:]]  # without the set-up's


def test_the_first_call_of_each_kind_after_a_wait_costs_more_and_shifts_what_follows() -> None:
    timeline = run(
        *(Allocate(Y), A, COMPUTE),  # allocated 2, launched 7, a runs 7 to 110, 100 waited, back at 120
        Free(X),  # 1 + 4 more: 125
        LOSS,  # called 125, 8 + 10 more: 143; starts 4 + 10 after its call: 139 to 159
        A,  # launched at 148: the second is warm; 159 to 262
        CopyOut(Y, "a"),  # 3 + 20 more: 171; starts 7 later: 178 to 378
        Allocate(Z),  # warm: 173
        BOTH,  # 6 more, before the wait begins: 179; 262 + 10, 378 + 10
    )
    assert kernels(timeline) == [(7, 110), (139, 159), (159, 262)]
    assert copies(timeline) == [(178, 378)]
    assert waits(timeline) == [(7, 120, 0), (179, 388, 106)]
    assert memory_ns(timeline) == [2, 125, 173]
    assert timeline.iteration_time_ns == 388


def test_waits_add_up_until_a_call_of_the_kind() -> None:
    """The launch is as cold as after one wait of 185; the pool was used in between."""
    timeline = run(
        *(A, CopyOut(Y, "a"), COMPUTE),  # launched 5, a to 108; called 8, copy 15 to 215; 100 waited, back at 118
        Allocate(Z),  # 2 + 4 more: 124
        Synchronise((Stream.COPY_OUT,)),  # 6 more: 130; 85 waited, back at 225
        Free(Z),  # 85 since the last: 1 + 3 more: 229
        A,  # 185 since the last: 10 + 40 * 85 / 900: 5 + 13 more: 247
        Free(X),  # warm: 248
    )
    assert waits(timeline) == [(8, 118, 0), (130, 225, 85)]
    assert memory_ns(timeline) == [124, 229, 248]
    assert kernels(timeline) == [(5, 108), (247, 350)]


def test_only_time_spent_waiting_counts() -> None:
    """A wait that finds everything done costs the host its synchronise, and cools nothing down."""
    timeline = run(A, COMPUTE, COMPUTE, COMPUTE, A, costs=replace(COSTS, synchronise_ns=5000))
    # a to 108, 103 waited; 6 more for the second wait, nothing for the third; a's launch after 103: 10
    assert waits(timeline) == [(5, 5108, 0), (5114, 10114, 0), (10114, 15114, 0)]
    assert kernels(timeline) == [(5, 108), (15129, 15232)]


@settings(max_examples=60)
@given(cases())
def test_a_table_of_zeros_is_no_table(case: Case) -> None:
    zeros = AfterWait((0, 1, 500), *(((0, 0, 0),) * 4))
    with_zeros = replace(case.gpu, host=replace(case.gpu.host, after_wait=zeros))
    program = build_program(case.network, case.plan, case.weight_gradients)
    plain, zero = (
        SimulatedMachine(case.trace, gpu).run(program, make_pool("best-fit", 1 << 40)) for gpu in (case.gpu, with_zeros)
    )
    assert zero == plain
