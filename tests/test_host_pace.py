"""Whether a step's host keeps up with its device: hand-made steps of three kernels and a copy."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from support.cases import ROOMY_BYTES, gpu_of, row
from support.examples import tries
from tests.machines.test_beside_copies import scenes
from vdnnsim.bands import WIDTH, Band, band_of_step, sources_of
from vdnnsim.gpu import GpuProfile, HostCosts
from vdnnsim.host_pace import HostPace, paces_of, with_host
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.memory import make_pool
from vdnnsim.metrics import Shares, Spent, shares, spent
from vdnnsim.program import (
    GPU_STREAMS,
    Buffer,
    Command,
    CopyIn,
    HostCall,
    Kernel,
    MemoryClass,
    Piece,
    Program,
    Step,
    Stream,
    StreamWait,
    Synchronise,
)
from vdnnsim.timeline import Timeline
from vdnnsim.trace import RowSpread, Trace, TraceHeader
from vdnnsim.units import PPM

X = Buffer("b0", 100, MemoryClass.FEATURE_MAPS, "a", False)
RUN = Kernel("a", "forward", "default")
HOOK = HostCall("hook")
END = Synchronise(GPU_STREAMS)
HOOKED = (RUN, HOOK, HOOK, RUN, HOOK, RUN, END)


def program_of(*commands: Command) -> Program:
    return Program((X,), commands, (Step("a", False, False, 0, len(commands)),), {}, ())


def trace_of(launch_ns: int, spread_ppm: int = 0) -> Trace:
    """Kernels of 1000 ns that begin 30 after their launch on an idle device."""
    header = TraceHeader("test-gpu", "any", 1, "fp32", sources={"test": "made up"})
    entry = row("a", "forward", 1000)._replace(launch_ns=launch_ns, start_ns=launch_ns + 30)
    return Trace(header, [entry._replace(spread=RowSpread(spread_ppm, 0, 0, 0))])


GPU = gpu_of(out_ns_per_100_bytes=4000, in_ns_per_100_bytes=4000, host=HostCosts(calls_ns={"hook": 100}))


def run(trace: Trace, *commands: Command, gpu: GpuProfile = GPU) -> Timeline:
    return SimulatedMachine(trace, gpu).run(program_of(*commands), make_pool("best-fit", ROOMY_BYTES))


def test_a_host_that_keeps_up() -> None:
    """Three launches of 40 and three hooks of 100 take 420; the device is busy for 3030 from the first launch on, which
    is all that shows of a host slower by a fifth, or quicker."""
    pace = paces_of(trace_of(40), GPU).of(program_of(*HOOKED))
    assert pace == HostPace(420, 3030, 3030 + 48, 3030 + 33, 3030 + 48)
    assert not pace.bound
    assert run(trace_of(40), *HOOKED).iteration_time_ns == 3070


def test_the_rule_is_a_fiftieth() -> None:
    """The first launch alone is seen: 1.2 of its cost in 3030 ns of work."""
    assert not paces_of(trace_of(50), GPU).of(program_of(*HOOKED)).bound  # 60 is less than 60.6
    assert paces_of(trace_of(51), GPU).of(program_of(*HOOKED)).bound  # 61 is more


def test_a_host_that_binds() -> None:
    """A launch every 2000, and hooks besides: the last kernel is launched at 6300. The device alone needs 3030."""
    trace = trace_of(2000)
    pace = paces_of(trace, GPU).of(program_of(*HOOKED))
    assert pace.bound
    assert pace == HostPace(6300, 3030, 7560 + 1030, 3 * 1250 + 3 * 62 + 1030, 10080 + 1030)
    found = run(trace, *HOOKED)
    assert found.iteration_time_ns == 7330
    assert shares(spent(found)) == Shares(3000 / 7330, 4330 / 7330, 0.0)
    assert band_of_step(program_of(*HOOKED), found, trace, GPU, sources_of(trace, GPU), pace) == Band(4966, 11110)


def test_a_step_that_waits_for_copies_hides_its_host() -> None:
    """The copy in takes 4000, and the kernel behind it is launched at 1210 at the latest: a slow host changes only when
    the copy begins."""
    commands = (CopyIn(X, "a", "a"), HOOK, StreamWait(Stream.COMPUTE, Piece(Stream.COPY_IN, 1)), RUN, END)
    trace = trace_of(900)
    pace = paces_of(trace, GPU).of(program_of(*commands))
    assert not pace.bound
    assert (pace.host_ns, pace.device_ns, pace.slow_ns) == (1000, 5000, 5000)
    assert shares(spent(run(trace, *commands))) == Shares(0.2, 1030 / 5000, 2970 / 5000)


def test_kernels_spread_to_both_sides_and_a_host_that_keeps_up_hardly_adds_to_it() -> None:
    """One kernel of 1000 with 1 %: 28.7 to each side, and the launch of 5 but 1 ns."""
    trace = trace_of(5, spread_ppm=PPM // 100)
    program = program_of(RUN, END)
    pace = paces_of(trace, GPU).of(program)
    low_ns, high_ns = band_of_step(program, run(trace, RUN, END), trace, GPU, sources_of(trace, GPU), pace)
    assert (1035 - low_ns, high_ns - 1035) == (round(WIDTH * 10), round(WIDTH * 10))


def test_shares_of_nothing() -> None:
    assert shares(Spent(0, 0, 0, 0, 0, 0)) == (1.0, 0.0, 0.0)


@settings(max_examples=tries(150))
@given(
    scene=scenes(st.just(PPM)),
    factor=st.sampled_from([1.0, 1.2, 1.6, 7.0]),
    link=st.sampled_from([1, 2, 5]),
    later_ns=st.sampled_from([0, 6]),
)
def test_a_slower_link_or_host_makes_nothing_earlier(
    scene: tuple[Program, Trace, GpuProfile], factor: float, link: int, later_ns: int
) -> None:
    """Where nothing slows anything else all is the latest of some times."""
    program, trace, gpu = scene
    curves = [
        replace(curve, points=tuple(point._replace(duration_ns=link * point.duration_ns) for point in curve.points))
        for curve in (gpu.link.copy_out, gpu.link.copy_in)
    ]
    host = replace(gpu.host, stream_start_ns=gpu.host.stream_start_ns + later_ns)
    slow = replace(gpu, link=replace(gpu.link, copy_out=curves[0], copy_in=curves[1]), host=host)
    pool = make_pool("best-fit", ROOMY_BYTES)
    before = SimulatedMachine(trace, gpu).run(program, pool)
    after = with_host(trace, slow, factor).run(program, make_pool("best-fit", ROOMY_BYTES))
    for one, other in zip(before.kernels, after.kernels, strict=True):
        assert one.begin_ns <= other.begin_ns
        assert one.end_ns <= other.end_ns
    assert before.iteration_time_ns <= after.iteration_time_ns
