"""What was measured of hosts and devices in PyTorch's steps, and that the machine has it: by hand, in nanoseconds."""

from __future__ import annotations

from dataclasses import replace

from support.cases import ROOMY_BYTES, gpu_of
from tests.captured.steps import three_layers
from vdnnsim.captured import (
    CapturedStep,
    UnpinnedCopy,
    WaitCosts,
    build_step,
    hook_schedule,
    host_of_step,
    schedule_of,
    trace_of_step,
)
from vdnnsim.gpu import BesideCopies, GpuProfile, HostCosts, LinkCurve, LinkPoint
from vdnnsim.host_pace import paces_of
from vdnnsim.iteration import OwnCopy
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.memory import make_pool
from vdnnsim.program import Program
from vdnnsim.timeline import COPY_IN, COPY_OUT, Timeline
from vdnnsim.units import PPM

MIB = 2**20
US = 1000


def gpu_for(step: CapturedStep, host: HostCosts | None = None) -> GpuProfile:
    """Copies take 10 us for each MiB both ways."""
    gpu = gpu_of(host=host_of_step(step, host or HostCosts(stream_start_ns=6 * US)))
    curve = LinkCurve((LinkPoint(MIB, 10 * US), LinkPoint(64 * MIB, 640 * US)))
    return replace(gpu, link=replace(gpu.link, copy_out=curve, copy_in=curve))


def run(step: CapturedStep, program: Program, gpu: GpuProfile) -> Timeline:
    return SimulatedMachine(trace_of_step(step), gpu).run(program, make_pool("pytorch-caching", ROOMY_BYTES))


def launched_in(step: CapturedStep, *launches_ns: int) -> CapturedStep:
    kernels = [
        kernel._replace(launch_ns=launch_ns) for kernel, launch_ns in zip(step.kernels, launches_ns, strict=True)
    ]
    return replace(step, kernels=tuple(kernels))


def test_kernels_begin_3_us_after_their_launch_or_their_gap_after_the_one_before() -> None:
    """100 us each and gaps of 1. The first is launched at 10 us and runs from 13; the second and third follow 1 us
    after the one before; the fourth is launched at 430, when the device has run dry, and runs from 433. A kernel's span
    has its gap in front."""
    step = launched_in(three_layers(), 10 * US, 10 * US, 10 * US, 400 * US, *[10 * US] * 5)
    program = build_step(step, hook_schedule(step))
    spans = [(kernel.begin_ns, kernel.end_ns) for kernel in run(step, program, gpu_for(step)).kernels[:5]]
    assert spans == [
        (12 * US, 113 * US),
        (113 * US, 214 * US),
        (214 * US, 315 * US),
        (432 * US, 533 * US),
        (533 * US, 634 * US),
    ]


def test_a_copy_begins_6_us_after_the_kernel_that_it_waited_for_and_follows_the_one_before_at_once() -> None:
    """y2 and y3 are saved when the third and the fourth kernel have been launched, and so their copies wait for these.
    y3's then waits for y2's, of 160 us: what lies between two copies is in the link's curve."""
    step = three_layers()
    program = build_step(step, hook_schedule(step, [8, 9], ahead=1))
    timeline = run(step, program, gpu_for(step))
    ends_ns = [kernel.end_ns for kernel in timeline.kernels]
    outs = [copy for copy in timeline.copies if copy.direction == COPY_OUT]
    assert outs[0].begin_ns == ends_ns[2] + 6 * US
    assert outs[0].end_ns - outs[0].begin_ns == 160 * US
    assert outs[1].begin_ns == outs[0].end_ns > ends_ns[3] + 6 * US


def test_hooks_cost_the_host_what_was_captured_of_them() -> None:
    """14 calls of hooks at 500 ns, 2 copies out at 20 us, 2 in at 40, and a microsecond for each wait of a stream."""
    step = three_layers()
    trace, gpu = trace_of_step(step), gpu_for(step)
    paces = paces_of(trace, gpu)
    launches_ns = 9 * 10 * US
    assert paces.of(build_step(step, hook_schedule(step))).host_ns == launches_ns
    hooked = paces.of(build_step(step, hook_schedule(step, [8, 9], ahead=1)))
    waits_ns = hooked.host_ns - launches_ns - 14 * 500 - 2 * 60 * US
    assert waits_ns % US == 0
    assert waits_ns >= 4 * US
    assert not hooked.bound


def test_normalisations_are_slower_under_copies_in_and_gemms_are_not() -> None:
    step = three_layers()
    norm = replace(step, kernels=tuple(kernel._replace(kind="normalisation") for kernel in step.kernels))
    gpu = gpu_for(step)
    gpu = replace(gpu, link=replace(gpu.link, kernels={"normalisation": BesideCopies(PPM, round(1.04 * PPM))}))
    schedule = hook_schedule(step, [8, 9], ahead=1)
    plain, slowed = (run(one, build_step(one, schedule), gpu) for one in (step, norm))
    assert {kernel.end_ns - kernel.begin_ns for kernel in plain.kernels} == {101 * US}
    beside = [copy for copy in slowed.copies if copy.direction == COPY_IN]
    for kernel in slowed.kernels:
        shared_ns = sum(
            max(0, min(kernel.end_ns, copy.end_ns) - max(kernel.begin_ns, copy.begin_ns)) for copy in beside
        )
        assert kernel.end_ns - kernel.begin_ns == -(-(101 * US * 26 + shared_ns) // 26), "a twenty-sixth of it is lost"


def test_a_step_with_hooks_begins_and_ends_as_late_as_the_capture_saw_it_behind_long_waits_whatever_the_pace() -> None:
    """One without hooks does not, nor one whose capture did not measure it."""
    before = three_layers()
    step = replace(before, waits=WaitCosts(begin_ns=400 * US, end_ns=70 * US, copy_ns=0))
    for leaving, late_ns in (([8, 9], 470 * US), ([], 0)):
        runs = [run(one, build_step(one, hook_schedule(one, leaving)), gpu_for(one)) for one in (before, step)]
        assert runs[1].iteration_time_ns - runs[0].iteration_time_ns == late_ns
        paces = [
            paces_of(trace_of_step(one), gpu_for(one)).of(build_step(one, hook_schedule(one, leaving)))
            for one in (before, step)
        ]
        assert paces[1].device_ns - paces[0].device_ns == paces[1].slower_ns - paces[0].slower_ns == late_ns


def test_a_copy_that_the_host_waits_for_costs_what_torch_s_own_does_and_one_through_unpinned_memory_more() -> None:
    """The measured ones are of 2 and 8 MiB: that of y1, of 8 MiB, stands 3 ms longer, one of 4 MiB half that."""
    step = three_layers()
    turned = step.saved[2]._replace(shape=(1024, 2048), stride=(1, 4096))
    step = replace(step, saved=(*step.saved[:2], turned, *step.saved[3:]))
    unpinned = (UnpinnedCopy(2 * MIB, 1_000 * US, 0), UnpinnedCopy(8 * MIB, 3_000 * US, 0))
    waits = WaitCosts(0, 0, copy_ns=90 * US, unpinned=unpinned)
    hosts_ns = []
    for one, own in (
        (step, OwnCopy(3, waited=True)),
        (replace(step, waits=waits), OwnCopy(3, waited=True)),
        (replace(step, waits=waits), OwnCopy(3, waited=True, unpinned=True)),
    ):
        program = build_step(one, replace(schedule_of(one, {}), own_copies={"s2": own}))
        hosts_ns.append(paces_of(trace_of_step(one), gpu_for(one)).of(program).host_ns)
    assert hosts_ns[1] - hosts_ns[0] == (90 - 20) * US
    assert hosts_ns[2] - hosts_ns[1] == 3_000 * US
    assert waits.longer_ns(4 * MIB) == 1_500 * US


def test_kernels_that_the_card_s_power_slows_take_what_the_timed_step_took_where_nothing_interrupts_them() -> None:
    """Nine of 101 us with their gaps begin at 12 us; the step was timed to 1 ms. With offload the card rests, and they
    take what was captured of them; so they do where the clocks are as set."""
    free = three_layers()
    conditions = {"clocks": "SM 1965 of 1980 MHz, P0, 700 of 700 W, 45 C, clocks by power cap"}
    capped = replace(free, header=replace(free.header, conditions=conditions))
    for step, leaving, kernels_ns in (
        (free, [], 909 * US),
        (capped, [], 988 * US),
        (capped, [9], 909 * US),
    ):
        timeline = run(step, build_step(step, hook_schedule(step, leaving)), gpu_for(step))
        found_ns = sum(kernel.end_ns - kernel.begin_ns for kernel in timeline.kernels)
        assert abs(found_ns - kernels_ns) < 10
        assert leaving or abs(timeline.iteration_time_ns - (kernels_ns + 12 * US)) < 10
