"""Programs of captured steps: commands and timelines, written out."""

from __future__ import annotations

from dataclasses import replace

from tests.captured.steps import MIB, three_layers
from vdnnsim.captured import BlockClass, CapturedStep, build_step, hook_schedule, host_of_step, trace_of_step
from vdnnsim.gpu import GpuProfile, HostCosts, Link, LinkCurve, LinkPoint
from vdnnsim.iteration import Leave, Schedule
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


def run(step: CapturedStep, schedule: Schedule) -> Timeline:
    gpu = replace(GPU, host=host_of_step(step, GPU.host))
    machine = SimulatedMachine(trace_of_step(step), gpu)
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


def test_peaks() -> None:
    """Kept: y1, y2, y3 and the gradient of y3 at once; all leaving: y3 and its gradient alone."""
    step = three_layers()
    fixed_bytes = 10 * MIB + 512
    kept, away = (run(step, hook_schedule(step, leaving, ahead=0)) for leaving in ((), (7, 8, 9)))
    assert peak_bytes(kept) == step.seen.peak_requested_bytes == fixed_bytes + (8 + 16 + 32 + 32) * MIB
    assert peak_bytes(away) == fixed_bytes + (32 + 32) * MIB


def peak_bytes(timeline: Timeline) -> int:
    classes = [holds.value for holds in BlockClass]
    return memory_use(timeline.memory, len(timeline.step_ends_ns), timeline.iteration_time_ns, classes).peak_bytes
