"""Programs of captured steps: commands and timelines, written out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from captured.steps import MIB, module_with_workspace, one_block_thrice, three_layers
from vdnnsim.captured import (
    BlockClass,
    CapturedStep,
    build_step,
    hook_schedule,
    host_of_step,
    remake_modules,
    schedule_of,
    trace_of_step,
)
from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import GpuProfile, HostCosts, Link, LinkCurve, LinkPoint
from vdnnsim.iteration import CopyStreams, Leave, OwnCopy, Remake, Schedule
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.memory import make_pool
from vdnnsim.metrics import memory_use
from vdnnsim.program import (
    Allocate,
    Command,
    CopyIn,
    CopyOut,
    Free,
    HostCall,
    HostWait,
    Kernel,
    Program,
    StreamWait,
    Synchronise,
)
from vdnnsim.timeline import Timeline


def told(command: Command) -> str:
    """A command in short."""
    match command:
        case Allocate(buffer):
            return f"take {buffer.name}"
        case Free(buffer):
            return f"free {buffer.name}"
        case Kernel():
            return command.algorithm
        case CopyOut(buffer):
            return f"out {buffer.name}"
        case CopyIn(buffer):
            return f"in {buffer.name}"
        case HostCall(what):
            return what
        case HostWait(piece):
            return f"wait for {piece.stream} {piece.number}"
        case StreamWait(stream, piece):
            return f"{stream} waits for {piece.stream} {piece.number}"
        case Synchronise(streams):
            return f"wait for {', '.join(streams)}"
    raise AssertionError(command)


def all_told(program: Program) -> list[str]:
    return [told(command) for command in program.commands]


GPU = GpuProfile(
    "test-gpu",
    "Test",
    10**9,
    10**12,
    Link(*(LinkCurve((LinkPoint(MIB, 50_000), LinkPoint(2 * MIB, 100_000))),) * 2),
    HostCosts(synchronise_ns=2_000, copy_start_ns=6_000),
)
"""A MiB takes 50 us, either way."""


def run(step: CapturedStep, schedule: Schedule, gpu: GpuProfile = GPU) -> Timeline:
    machine = SimulatedMachine(trace_of_step(step), replace(gpu, host=host_of_step(step, gpu.host)))
    return machine.run(build_step(step, schedule), make_pool("first-fit", 10**9))


def lines(text: str) -> list[str]:
    return [part.strip() for part in text.replace("\n", ",").split(",") if part.strip()]


def test_what_nothing_leaves_runs_without_hooks() -> None:
    step = three_layers()
    program = build_step(step, hook_schedule(step))
    assert [buffer.name for buffer in program.setup] == ["b0", "b1", "b2", "b3", "b4", "b5", "b6"]
    assert all_told(program) == lines("""
        take b7, kernel0
        take b8, kernel1
        take b9, kernel2
        take b10, take b11, kernel3, free b11
        take b12, kernel4, free b9
        take b13, kernel5, free b12
        take b14, free b8, kernel6, free b13
        free b7, kernel7, free b14, kernel8, wait for compute
    """)
    assert [step.title for step in program.steps] == [
        "layers.0 forward",
        "layers.1 forward",
        "layers.2 forward",
        "outside modules forward",
        "outside modules backward",
        "layers.2 backward",
        "layers.1 backward",
        "layers.0 backward",
        "optimiser backward",
    ]


def test_everything_leaves_and_is_fetched_on_demand() -> None:
    step = three_layers()
    schedule = hook_schedule(step, [7, 8, 9], ahead=0)
    assert schedule.leaves == {"b7": Leave(3, 7, 12, 12), "b8": Leave(5, 7, 10, 10), "b9": Leave(7, 7, 8, 8)}
    assert all_told(build_step(step, schedule)) == lines("""
        take b7, kernel0, hook, hook
        take b8, kernel1, hook, hook copy out, copy out waits for compute 2, out b7, hook
        take b9, kernel2, hook, hook copy out, copy out waits for compute 3, out b8, hook
        take b10, take b11, kernel3, free b11
        hook, hook copy out, copy out waits for compute 4, out b9
        hook stream wait, compute waits for copy out 1, free b7
        hook stream wait, compute waits for copy out 2, free b8
        hook stream wait, compute waits for copy out 3, free b9
        hook, take b9, hook copy in, copy in waits for compute 4, copy in waits for copy out 3, in b9
        hook stream wait, compute waits for copy in 1
        take b12, kernel4, free b9, hook
        hook, take b8, hook copy in, copy in waits for compute 5, copy in waits for copy out 2, in b8
        hook stream wait, compute waits for copy in 2
        take b13, kernel5, free b8, free b12, hook
        hook, take b7, hook copy in, copy in waits for compute 6, copy in waits for copy out 1, in b7
        hook stream wait, compute waits for copy in 3
        take b14, kernel6, free b7, free b13, hook
        hook, kernel7, free b14, kernel8, wait for compute
    """)


def test_a_copy_of_weights_is_there_until_autocast_lets_go_of_it() -> None:
    """Where no step was captured in which it left: y1 is such a copy, which autocast has until forward ends, y2 is
    small and held by nobody but autograd; both came back to the end of their node."""
    stays = {7: "weight copy", 8: "small"}
    known = three_layers()
    saved = tuple(one._replace(stays=stays.get(one.block, one.stays)) for one in known.saved)
    blocks = tuple(
        block._replace(released=None, fetched_given=None) if number in stays else block
        for number, block in enumerate(known.blocks)
    )
    step = replace(known, saved=saved, blocks=blocks)
    schedule = hook_schedule(step, [7, 8], ahead=0, in_flight_bytes=0, at_once=True)
    assert schedule.leaves == {"b7": Leave(3, 3, 12, 12), "b8": Leave(5, 5, 10, 10)}
    assert all_told(build_step(step, schedule)) == lines("""
        take b7, kernel0, hook, hook
        take b8, kernel1, hook, hook copy out, copy out waits for compute 2, out b7
        hook stream wait, compute waits for copy out 1, hook
        take b9, kernel2, hook, hook copy out, copy out waits for compute 3, out b8
        hook stream wait, compute waits for copy out 2, free b8, hook
        take b10, take b11, kernel3, free b11, hook, free b7
        hook, take b12, kernel4, free b9, hook
        hook, take b8, hook copy in, copy in waits for compute 5, copy in waits for copy out 2, in b8
        hook stream wait, compute waits for copy in 1
        take b13, kernel5, free b8, free b12, hook
        hook, take b7, hook copy in, copy in waits for compute 6, copy in waits for copy out 1, in b7
        hook stream wait, compute waits for copy in 2
        take b14, kernel6, free b7, free b13, hook
        hook, kernel7, free b14, kernel8, wait for compute
    """)


def test_copies_in_one_ahead() -> None:
    step = three_layers()
    schedule = hook_schedule(step, [7, 8, 9], ahead=1)
    assert schedule.leaves == {"b7": Leave(3, 7, 10, 12), "b8": Leave(5, 7, 8, 10), "b9": Leave(7, 7, 8, 8)}
    late = [(copy.buffer, copy.direction) for copy in run(step, schedule).copies]
    assert late == [(f"b{n}", way) for way, ns in (("copy out", (7, 8, 9)), ("copy in", (9, 8, 7))) for n in ns]


def test_bytes_under_way_are_bounded() -> None:
    """Of b7 (8 MiB) and b8 (16 MiB) both may be under way, with b9 (32 MiB) none of them."""
    step = three_layers()
    for bound, freed in ((None, (7, 7, 7)), (24 * MIB, (7, 7, 7)), (23 * MIB, (5, 7, 7)), (0, (4, 6, 7))):
        leaves = hook_schedule(step, [7, 8, 9], 0, bound).leaves
        assert tuple(leave.freed for leave in leaves.values()) == freed
    for bound, freed in ((23 * MIB, (5, 7, 7)), (16 * MIB, (5, 7, 7)), (15 * MIB, (5, 5, 7)), (0, (3, 5, 7))):
        leaves = hook_schedule(step, [7, 8, 9], 0, bound, at_once=True).leaves
        assert tuple(leave.freed for leave in leaves.values()) == freed


def test_a_step_to_the_nanosecond() -> None:
    """A kernel's row has the gap of 1 us before it. The first one begins 3 us after its launch of 10 us, the gap left
    out; all others are launched in time. In the end the host's wait costs 2 us."""
    step = three_layers()
    timeline = run(step, hook_schedule(step))
    begins_ns = [12_000 + 101_000 * number for number in range(9)]
    assert [(kernel.begin_ns, kernel.end_ns) for kernel in timeline.kernels] == [(t, t + 101_000) for t in begins_ns]
    assert timeline.iteration_time_ns == 12_000 + 9 * 101_000 + 2_000


def test_a_host_that_is_late_to_the_nanosecond() -> None:
    """Launches of 200 us: a kernel begins 3 us behind its own, with the gap that its row has, and the GPU is idle."""
    step = three_layers()
    step = replace(step, kernels=tuple(one._replace(launch_ns=200_000) for one in step.kernels))
    timeline = run(step, hook_schedule(step))
    ends_ns = [200_000 * (number + 1) + 3_000 + 100_000 for number in range(9)]
    assert [kernel.end_ns for kernel in timeline.kernels] == ends_ns


def test_copies_to_the_nanosecond() -> None:
    """b7, b8 and b9 take 400, 800, 1600 us each way. The first copy out begins when the kernel given before it ends,
    at 214 us. b7 to b9 are let go in the same hook call, so that the loss's backward waits for all copies out, and for
    b9, which comes back behind its own copy out."""
    step = three_layers()
    timeline = run(step, hook_schedule(step, [7, 8, 9], ahead=0))
    assert spans_us(timeline, "copy out") == [("b7", 214, 614), ("b8", 614, 1414), ("b9", 1414, 3014)]
    assert spans_us(timeline, "copy in") == [("b9", 3014, 4614), ("b8", 4715, 5515), ("b7", 5616, 6016)]
    begins_us = [kernel.begin_ns // 1000 for kernel in timeline.kernels]
    assert begins_us == [12, 113, 214, 315, 4614, 5515, 6016, 6117, 6218]
    assert timeline.iteration_time_ns == 6_321_000
    assert sum(stall.duration_ns for stall in timeline.stalls) == (4614 - 416 + 800 + 400) * 1000
    assert all(stall.late for stall in timeline.stalls)


def test_copies_one_ahead_to_the_nanosecond() -> None:
    """b8 comes right behind b9. b7 is given at the need of b8, waits for the kernel before that and for b8."""
    step = three_layers()
    timeline = run(step, hook_schedule(step, [7, 8, 9], ahead=1))
    assert spans_us(timeline, "copy in") == [("b9", 3014, 4614), ("b8", 4614, 5414), ("b7", 5414, 5814)]
    assert [kernel.begin_ns // 1000 for kernel in timeline.kernels[4:]] == [4614, 5414, 5814, 5915, 6016]
    assert [stall.late for stall in timeline.stalls] == [True, False, False]


def test_a_bound_has_kernels_wait_in_forward() -> None:
    """With room for 16 MiB on the way b7 is let go at the save of b8, so that the loss's kernel waits for its copy."""
    step = three_layers()
    timeline = run(step, hook_schedule(step, [7, 8, 9], ahead=0, in_flight_bytes=16 * MIB))
    assert [kernel.begin_ns // 1000 for kernel in timeline.kernels[:5]] == [12, 113, 214, 614, 4614]


def test_hooks_cost_the_host() -> None:
    """14 calls of 500 ns, three copies each way of 20 and 40 us, three waits for each way of 1 us; with launches of
    10 us the last kernel is launched then, and a step of copies that take no time ends soon after."""
    step = three_layers()
    gpu = replace(GPU, link=Link(*(LinkCurve((LinkPoint(512, 1), LinkPoint(2**40, 2))),) * 2))
    step = replace(step, kernels=tuple(one._replace(duration_ns=0, gap_ns=0) for one in step.kernels))
    timeline = run(step, hook_schedule(step, [7, 8, 9], ahead=0), gpu)
    host_ns = 9 * 10_000 + 14 * 500 + 3 * (20_000 + 40_000) + 6 * 1_000
    assert timeline.kernels[-1].begin_ns == host_ns + 3_000


def test_views_of_one_block_leave_and_come_back_once() -> None:
    """The block leaves when the last view is saved; others hold it until the end of forward. It comes back for the
    first need of any view, serves all needs, and dies as it did when all blocks were fetched."""
    step = one_block_thrice()
    schedule = hook_schedule(step, [0], ahead=3)
    assert schedule.leaves == {"b0": Leave(3, 3, 4, 4)}
    assert all_told(build_step(step, schedule)) == lines("""
        take b0, kernel0, hook, kernel1, hook
        hook, hook copy out, copy out waits for compute 2, out b0
        hook stream wait, compute waits for copy out 1, kernel2, free b0
        hook, take b0, hook copy in, copy in waits for compute 3, copy in waits for copy out 1, in b0
        hook stream wait, compute waits for copy in 1
        kernel3, hook, kernel4, hook, free b0, kernel5, wait for compute
    """)


def test_a_block_that_others_hold_beyond_forward_is_there_twice() -> None:
    """It dies as in a step without hooks; what comes back has another name."""
    step = one_block_thrice()
    step = replace(step, blocks=(step.blocks[0]._replace(released=None),))
    told_all = all_told(build_step(step, hook_schedule(step, [0])))
    assert [told for told in told_all if told.startswith(("take", "free", "out", "in"))] == [
        "take b0",
        "out b0",
        "take b0 back",
        "in b0 back",
        "free b0 back",
        "free b0",
    ]
    assert peak_bytes(run(step, hook_schedule(step, [0]))) == 16 * MIB
    for_good = replace(step, blocks=(step.blocks[0]._replace(released=None, given=None),))
    told_all = all_told(build_step(for_good, hook_schedule(for_good, [0])))
    assert [told for told in told_all if told.startswith("free")] == ["free b0 back"]


def test_the_host_waits_in_the_end_for_copies_that_no_kernel_has_waited_for() -> None:
    step = one_block_thrice()
    step = replace(step, deeds=step.deeds[:8], kernels=step.kernels[:3])
    block = step.blocks[0]._replace(given=7, given_hooked=7, fetched_given=7)
    step = replace(step, blocks=(block,))
    assert all_told(build_step(step, hook_schedule(step, [0])))[-1] == "wait for compute, copy out, copy in"


def test_a_module_is_made_again() -> None:
    """b1 and b3 are dropped at their saves and go when others let them; at the first need of either, all kernels of the
    module run again, with the workspace of the first."""
    step = module_with_workspace()
    remakes = remake_modules(step, ["a"])
    by = (("a.norm", "aten::norm 0"), ("a.norm", "aten::norm 1"), ("a.fc", "aten::addmm 2"))
    assert remakes == {"b1": Remake(1, 3, by), "b3": Remake(2, 3, by)}
    assert all_told(build_step(step, schedule_of(step, remakes))) == lines("""
        take b1, take b2, kernel0, free b2, kernel1, hook
        take b3, kernel2, free b1, hook, kernel3, free b3
        hook, take b1, take b2 again, kernel0, free b2 again, kernel1, take b3, kernel2
        kernel4, free b3, hook, kernel5, free b1, wait for compute
    """)
    timeline = run(step, schedule_of(step, remakes))
    assert timeline.iteration_time_ns == 12_000 + 9 * 101_000 + 2_000


def test_some_leave_while_others_are_made_again() -> None:
    """The copy in waits for the kernels given before it, those that run again not among them; copies count on."""
    step = module_with_workspace()
    leaves = hook_schedule(step, [3], ahead=0).actions
    again = Remake(1, 4, (("a.norm", "aten::norm 0"), ("a.norm", "aten::norm 1")))
    schedule = schedule_of(step, {"b1": again, **leaves})
    assert all_told(build_step(step, schedule))[-19:] == lines("""
        hook, take b3, hook copy in, copy in waits for compute 4, copy in waits for copy out 1, in b3
        hook stream wait, compute waits for copy in 1, kernel4, free b3
        hook, take b1, take b2 again, kernel0, free b2 again, kernel1, kernel5, free b1, wait for compute
    """)
    assert peak_bytes(run(step, schedule)) == (4 + 8 + 16) * MIB


def test_what_a_module_does_not_make_is_not_made_again() -> None:
    with pytest.raises(InvalidInput, match="module 'b' of three: found no tensor that it alone makes and saves"):
        remake_modules(module_with_workspace(), ["b"])
    with pytest.raises(InvalidInput, match="alone makes and saves"):  # a.fc saves it
        remake_modules(module_with_workspace(), ["a.norm"])


def test_peaks() -> None:
    """Kept: y1, y2, y3 and the gradient of y3 at once; all leaving: y3 and its gradient alone. One copy ahead brings y2
    back beside them, two ahead y1 as well."""
    step = three_layers()
    fixed_bytes = 10 * MIB + 512
    kept = run(step, hook_schedule(step))
    assert peak_bytes(kept) == step.seen.peak_requested_bytes == fixed_bytes + (8 + 16 + 32 + 32) * MIB
    for ahead, back_bytes in ((0, 0), (1, 16 * MIB), (2, 24 * MIB)):
        away = run(step, hook_schedule(step, [7, 8, 9], ahead))
        assert peak_bytes(away) == fixed_bytes + (32 + 32) * MIB + back_bytes


def spans_us(timeline: Timeline, direction: str) -> list[tuple[str, int, int]]:
    copies = [copy for copy in timeline.copies if copy.direction == direction]
    return [(copy.buffer, copy.begin_ns // 1000, copy.end_ns // 1000) for copy in copies]


def peak_bytes(timeline: Timeline) -> int:
    classes = [holds.value for holds in BlockClass]
    return memory_use(timeline.memory, len(timeline.step_ends_ns), timeline.iteration_time_ns, classes).peak_bytes


def test_copies_that_share_a_stream_wait_where_the_way_changes() -> None:
    """The first copy in waits for its own copy out, and for the last one on the stream, here the same."""
    step = three_layers()
    apart, shared = (
        all_told(build_step(step, replace(hook_schedule(step, [8, 9], ahead=1), copies=copies)))
        for copies in (CopyStreams.EACH_WAY, CopyStreams.SHARED)
    )
    at = apart.index("in b9")
    assert shared == [*apart[:at], "copy in waits for copy out 2", *apart[at:]]


def test_kernels_wait_for_each_copy_on_their_own_stream() -> None:
    step = three_layers()
    told = all_told(build_step(step, replace(hook_schedule(step, [8, 9], ahead=1), copies=CopyStreams.COMPUTE)))
    for copy, piece in (("out b8", "out 1"), ("out b9", "out 2"), ("in b9", "in 1"), ("in b8", "in 2")):
        assert told[told.index(copy) + 1] == f"compute waits for copy {piece}"


def own_copies(step: CapturedStep, copies: CopyStreams, **own: OwnCopy) -> Schedule:
    return replace(schedule_of(step, {}), copies=copies, own_copies=own)


def test_saved_tensors_are_copied_each_by_itself_while_kernels_stand() -> None:
    """Two views of a block that others hold until the end of forward: each comes back to a block of its own, which dies
    with its node; s2 is never needed, and gathered in a block of its own first. The host waits for s0, and for s2,
    which goes through memory that is not pinned."""
    step = one_block_thrice()
    own = {"s0": OwnCopy(1, waited=True), "s1": OwnCopy(2), "s2": OwnCopy(3, False, True, True, True)}
    schedule = own_copies(step, CopyStreams.COMPUTE, **own)
    assert all_told(build_step(step, schedule)) == lines("""
        take b0, kernel0
        hook, hook waited copy, copy out waits for compute 1, out s0, compute waits for copy out 1
        wait for copy out 1, kernel1
        hook, hook copy out, copy out waits for compute 2, out s1, compute waits for copy out 2
        hook, take s2 gathered, hook waited copy, copy out waits for compute 2, out s2, compute waits for copy out 3
        wait for copy out 3, unpinned copy of 4194304 B, free s2 gathered, kernel2, free b0
        hook, take s1, hook copy in, copy in waits for compute 3, copy in waits for copy out 2
        copy in waits for copy out 3, in s1, compute waits for copy in 1, kernel3, free s1
        hook, take s0, hook copy in, copy in waits for compute 4, copy in waits for copy out 1, in s0
        compute waits for copy in 2, kernel4, hook, free s0, kernel5, wait for compute
    """)
    timeline = run(step, schedule)
    assert sum(copy.size_bytes for copy in timeline.copies) == (4 + 8 + 4 + 8 + 4) * MIB
    assert peak_bytes(timeline) == (8 + 4) * MIB


def test_on_a_stream_of_their_own_copies_in_begin_behind_the_node_before_the_last() -> None:
    """s6 is used where it lies; behind its node y3 goes, which its copy out is waited for. s4 is kept until the node of
    s2 ends, for whose copy nothing but the copies before is waited for; with that the stream waits for s4's node."""
    step = three_layers()
    own = {"s2": OwnCopy(5), "s4": OwnCopy(7), "s6": OwnCopy(8, back=False)}
    program = build_step(step, own_copies(step, CopyStreams.SHARED, **own))
    taken = [command.buffer for command in program.commands if isinstance(command, Allocate)]
    assert [buffer.name for buffer in taken if buffer.apart] == ["s4", "s2"]
    told = all_told(program)
    assert told[told.index("kernel3") :] == lines("""
        kernel3, free b11, hook, hook stream wait, compute waits for copy out 2, free b8
        hook copy out, copy out waits for compute 4, out s6
        hook, take b12, kernel4, hook stream wait, compute waits for copy out 3, free b9
        hook, hook, take s4, hook copy in, copy in waits for copy out 2, copy in waits for copy out 3, in s4
        hook stream wait, compute waits for copy in 1, take b13, kernel5, free b12
        hook, hook, take s2, hook copy in, copy in waits for copy out 1, in s2
        hook stream wait, compute waits for copy in 2, take b14, kernel6, free b13
        copy in waits for compute 6, free s4
        hook, hook, kernel7, free b14, copy in waits for compute 7, free s2, kernel8, wait for compute
    """)


@pytest.mark.parametrize(
    ("name", "own", "wrong"),
    [
        ("s9", OwnCopy(3), "expected one of the 7 saved tensors"),
        ("b7", OwnCopy(3), "expected one of the 7 saved tensors"),
        ("s2", OwnCopy(2), "found that it is let go; expected its save, or a later hook call"),
        ("s2", OwnCopy(12), "found that it comes back; expected that it is let go before its need, or taken there"),
        ("s2", OwnCopy(11, back=False), "found that it is let go and not back; expected that it is held until it is"),
    ],
)
def test_own_copies_that_cannot_be_are_refused(name: str, own: OwnCopy, wrong: str) -> None:
    step = three_layers()
    with pytest.raises(InvalidInput, match=wrong):
        build_step(step, own_copies(step, CopyStreams.COMPUTE, **{name: own}))


def test_what_is_no_plain_tensor_is_not_copied() -> None:
    step = three_layers()
    step = replace(step, saved=(step.saved[0]._replace(stays="no plain tensor"), *step.saved[1:]))
    with pytest.raises(InvalidInput, match=r"s0, hook call 1 .*: found that it is copied; expected that it stays"):
        build_step(step, own_copies(step, CopyStreams.COMPUTE, s0=OwnCopy(1)))
