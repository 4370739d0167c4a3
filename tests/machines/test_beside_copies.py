"""Kernels that run slower while copies run beside them: timelines worked out by hand, and a second machine of some
fifty lines, in exact fractions, that knows nothing of SimPy."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.cases import ROOMY_BYTES, gpu_of, row
from support.examples import tries
from vdnnsim.gpu import BesideCopies, GpuProfile, HostCosts, LinkCurve
from vdnnsim.machines.script import COMPUTE, IN, OUT, Script, script_of
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.memory import make_pool
from vdnnsim.metrics import spent
from vdnnsim.program import (
    GPU_STREAMS,
    Buffer,
    Command,
    CopyIn,
    CopyOut,
    HostWait,
    Kernel,
    MemoryClass,
    Piece,
    Program,
    Step,
    Stream,
    StreamWait,
)
from vdnnsim.timeline import COPY_IN, COPY_OUT, StallRecord, Timeline
from vdnnsim.trace import Trace, TraceHeader
from vdnnsim.units import PPM

X = Buffer("map:x", 100, MemoryClass.FEATURE_MAPS, "a", False)
NORM, GEMM = Kernel("norm", "forward", "default"), Kernel("gemm", "forward", "default")
AWAY, BACK = CopyOut(X, "a"), CopyIn(X, "b", "a")
SLOWED = {"norm": BesideCopies(round(1.5 * PPM), 2 * PPM)}
"""A norm takes half as long again beside a copy out, twice as long beside a copy in."""


def program_of(*commands: Command) -> Program:
    return Program((X,), commands, (Step("a", False, False, 0, len(commands)),), {}, ())


def gpu_with(out_ns: int = 100, in_ns: int = 100, both: float = 1, host: HostCosts | None = None) -> GpuProfile:
    gpu = gpu_of(
        out_ns_per_100_bytes=out_ns, in_ns_per_100_bytes=in_ns, both_out=both, both_in=both, host=host or HostCosts()
    )
    return replace(gpu, link=replace(gpu.link, kernels=SLOWED))


def trace_of(norm_ns: int = 100, gemm_ns: int = 100, slow_out: float = 1) -> Trace:
    header = TraceHeader("test-gpu", "any", 1, "fp32", sources={"test": "made up"})
    rows = [row(name, "forward", ns, slow_out=slow_out) for name, ns in (("norm", norm_ns), ("gemm", gemm_ns))]
    return Trace(header, [entry._replace(kind=entry.layer) for entry in rows])


def run(*commands: Command, gpu: GpuProfile | None = None, trace: Trace | None = None) -> Timeline:
    machine = SimulatedMachine(trace or trace_of(), gpu or gpu_with())
    timeline = machine.run(program_of(*commands), make_pool("best-fit", ROOMY_BYTES))
    assert sum(spent(timeline)) == timeline.iteration_time_ns
    return timeline


def kernels(timeline: Timeline) -> list[tuple[int, int]]:
    return [(record.begin_ns, record.end_ns) for record in timeline.kernels]


def copies(timeline: Timeline) -> list[tuple[int, int]]:
    return [(record.begin_ns, record.end_ns) for record in timeline.copies]


@pytest.mark.parametrize(
    ("copy", "end_ns"),
    [
        (AWAY, 134),  # 100 ns of the copy do 66.7 ns of the kernel; 33.3 are left, rounded up
        (BACK, 150),  # they do 50
    ],
)
def test_a_kernel_of_a_class_that_copies_slow(copy: Command, end_ns: int) -> None:
    timeline = run(NORM, copy, GEMM)
    assert kernels(timeline) == [(0, end_ns), (end_ns, end_ns + 100)]
    assert copies(timeline) == [(0, 100)]
    assert spent(timeline).kernels_ns == end_ns + 100


def test_a_kernel_of_another_class_runs_as_ever() -> None:
    assert kernels(run(GEMM, AWAY, BACK)) == [(0, 100)]


def test_a_copy_that_begins_under_way_slows_the_rest() -> None:
    """The copy in is given at 40: by then 40 of 100 are done, in its 100 ns 50, and 10 are left."""
    timeline = run(NORM, BACK, gpu=gpu_with(host=HostCosts(copy_ns=40)))
    assert copies(timeline) == [(40, 140)]
    assert kernels(timeline) == [(0, 150)]


def test_both_directions_slow_a_kernel_by_both() -> None:
    """Threefold for the 60 ns of the copy out: 20 done; twice for 40 more of the copy in: 40; 60 are left."""
    timeline = run(NORM, AWAY, BACK, gpu=gpu_with(out_ns=60))
    assert kernels(timeline) == [(0, 160)]


def test_a_slowed_kernel_slows_copies_for_as_long_as_it_runs() -> None:
    """The kernel slows the copy out twofold, and is slowed by half: of 100 ns alone it has done 66.7 after 100, and is
    over at 150, when the copy has done 75 of its 100; the rest goes at full speed. No rate hangs on another's."""
    timeline = run(NORM, AWAY, trace=trace_of(slow_out=2))
    assert kernels(timeline) == [(0, 150)]
    assert copies(timeline) == [(0, 175)]


def test_copies_that_slow_each_other_slow_a_kernel_for_longer() -> None:
    """Both ways each copy takes 200 for its 100: meanwhile the kernel does a third of 200, and 33.3 are left."""
    timeline = run(NORM, AWAY, BACK, gpu=gpu_with(both=2))
    assert copies(timeline) == [(0, 200), (0, 200)]
    assert kernels(timeline) == [(0, 234)]


def test_the_host_waits_for_a_slowed_kernel_and_what_it_gives_then_is_late() -> None:
    timeline = run(NORM, BACK, HostWait(Piece(Stream.COMPUTE, 1)), GEMM, gpu=gpu_with(host=HostCosts(kernel_ns=5)))
    assert kernels(timeline) == [(5, 155), (160, 260)]
    assert [(wait.begin_ns, wait.end_ns) for wait in timeline.waits] == [(5, 155)]


def test_a_kernel_held_for_a_copy_is_slowed_by_the_next_one_alone() -> None:
    """It stands until 100, and runs beside the second copy in until 200: 50 done, 50 to go."""
    timeline = run(BACK, StreamWait(Stream.COMPUTE, Piece(Stream.COPY_IN, 1)), NORM, BACK)
    assert kernels(timeline) == [(100, 250)]
    assert timeline.stalls == (StallRecord(0, 0, 100, COPY_IN, "map:x", late=False),)


def test_a_copy_held_for_a_slowed_kernel_begins_when_that_has_ended() -> None:
    """The copy in makes the norm end at 150, when the copy out begins; the end waits for it."""
    timeline = run(NORM, BACK, StreamWait(Stream.COPY_OUT, Piece(Stream.COMPUTE, 1)), AWAY)
    assert copies(timeline) == [(0, 100), (150, 250)]
    assert timeline.stalls == (StallRecord(0, 150, 250, COPY_OUT, "map:x", late=False),)


def test_without_copies_or_without_such_kernels_nothing_listens() -> None:
    script = script_of(program_of(NORM, GEMM), trace_of(), HostCosts())
    assert not script.slowed_by_copies(gpu_with().link)
    script = script_of(program_of(GEMM, AWAY), trace_of(), HostCosts())
    assert not script.slowed_by_copies(gpu_with().link)
    script = script_of(program_of(NORM, AWAY), trace_of(), HostCosts())
    assert script.slowed_by_copies(gpu_with().link)
    assert not script.slowed_by_copies(gpu_of().link)


SLOWDOWNS = st.sampled_from([PPM, round(1.05 * PPM), round(1.5 * PPM), 2 * PPM, round(0.75 * PPM)])
UNKIND = st.sampled_from([PPM, round(1.05 * PPM), round(1.5 * PPM), 2 * PPM])
NAMES = ("a", "b", "c")


@st.composite
def scenes(draw: st.DrawFn, slowdowns: st.SearchStrategy[int] = SLOWDOWNS) -> tuple[Program, Trace, GpuProfile]:
    """Kernels, copies both ways and waits of streams in any order, given without a wait of the host."""
    commands: list[Command] = []
    given: list[Piece] = []
    for _ in range(draw(st.integers(1, 9))):
        what = draw(st.sampled_from(["kernel", "kernel", "out", "in", "wait"]))
        if what == "wait":
            if given:
                commands.append(StreamWait(draw(st.sampled_from(GPU_STREAMS)), draw(st.sampled_from(given))))
            continue
        stream = {"kernel": Stream.COMPUTE, "out": Stream.COPY_OUT, "in": Stream.COPY_IN}[what]
        given.append(Piece(stream, 1 + sum(piece.stream is stream for piece in given)))
        if what == "kernel":
            commands.append(Kernel(draw(st.sampled_from(NAMES)), "forward", "default"))
        else:
            buffer = X._replace(size_bytes=draw(st.integers(1, 300)))
            commands.append(AWAY._replace(buffer=buffer) if what == "out" else BACK._replace(buffer=buffer))
    header = TraceHeader("test-gpu", "any", 1, "fp32", sources={"test": "made up"})
    rows = [row(name, "forward", draw(st.integers(0, 300)))._replace(kind=name) for name in NAMES]
    rows = [
        entry._replace(copy_out_slowdown_ppm=draw(slowdowns), copy_in_slowdown_ppm=draw(slowdowns)) for entry in rows
    ]
    cost = st.sampled_from([0, 0, 7, 60])
    start_ns = draw(st.sampled_from([0, 0, 6]))
    gpu = gpu_of(host=HostCosts(draw(cost), draw(cost), stream_wait_ns=draw(cost), stream_start_ns=start_ns))
    link = replace(
        gpu.link,
        both_ways_out_slowdown_ppm=draw(slowdowns),
        both_ways_in_slowdown_ppm=draw(slowdowns),
        kernels={name: BesideCopies(draw(slowdowns), draw(slowdowns)) for name in NAMES[:2]},
    )
    return program_of(*commands), Trace(header, rows), replace(gpu, link=link)


class _Engine:
    def __init__(self, ready_ns: list[int], lasts_ns: list[int], holds: dict[int, dict[int, int]]) -> None:
        self.ready_ns, self.lasts_ns, self.holds = ready_ns, lasts_ns, holds
        self.spans: list[tuple[int, int]] = []
        self.begin_ns: int | None = None
        self.left = Fraction(0)

    def may_begin(self, engines: list[_Engine], start_ns: int) -> int | None:
        """When the piece at the head may begin; None if there is none, or something it waits for is not done."""
        piece = len(self.spans)
        if piece >= len(self.ready_ns) or self.begin_ns is not None:
            return None
        at_ns = max(self.ready_ns[piece], self.spans[-1][1] if self.spans else 0)
        for other, done in self.holds.get(piece, {}).items():
            if len(engines[other].spans) < done:
                return None
            at_ns = max(at_ns, engines[other].spans[done - 1][1] + start_ns)
        return at_ns


def exact_spans(script: Script, gpu: GpuProfile) -> list[list[tuple[int, int]]]:
    """(begin, end) of each piece of each engine; the rate of what is under way is one over the product of all that
    slows it. Times of ends are rounded up, and count as such for all else."""
    outs_ns, ins_ns = script.copies_ns(gpu.link)
    lasts_ns = [outs_ns, ins_ns, [entry.duration_ns for entry in script.kernels]]
    engines = [_Engine(script.work[n].ready_ns[0], lasts_ns[n], script.holds[n]) for n in (OUT, IN, COMPUTE)]
    now_ns = 0
    while True:
        moved = True
        while moved:  # all that ends or begins now
            moved = False
            for engine in engines:
                if engine.begin_ns is not None and engine.left <= 0:
                    engine.spans.append((engine.begin_ns, now_ns))
                    engine.begin_ns, moved = None, True
                elif engine.may_begin(engines, gpu.host.stream_start_ns) == now_ns:
                    engine.begin_ns, engine.left = now_ns, Fraction(engine.lasts_ns[len(engine.spans)])
                    moved = True
        rates = _rates(script, gpu, engines)
        next_ns = [ceil(now_ns + one.left / rate) for one, rate in zip(engines, rates, strict=True) if rate]
        next_ns += [at for one in engines if (at := one.may_begin(engines, gpu.host.stream_start_ns)) is not None]
        if not next_ns:
            return [engine.spans for engine in engines]
        for engine, rate in zip(engines, rates, strict=True):
            engine.left -= (min(next_ns) - now_ns) * rate
        now_ns = min(next_ns)


def _rates(script: Script, gpu: GpuProfile, engines: list[_Engine]) -> list[Fraction]:
    out, back, compute = engines
    kernel = script.kernels[len(compute.spans)] if compute.begin_ns is not None else None
    link = gpu.link
    slowed = {OUT: Fraction(1), IN: Fraction(1), COMPUTE: Fraction(1)}
    if kernel:
        slowed[OUT] *= Fraction(kernel.copy_out_slowdown_ppm, PPM)
        slowed[IN] *= Fraction(kernel.copy_in_slowdown_ppm, PPM)
    if out.begin_ns is not None and back.begin_ns is not None:
        slowed[OUT] *= Fraction(link.both_ways_out_slowdown_ppm, PPM)
        slowed[IN] *= Fraction(link.both_ways_in_slowdown_ppm, PPM)
    beside = link.kernels.get(kernel.kind, BesideCopies()) if kernel else BesideCopies()
    slowed[COMPUTE] *= Fraction(beside.out_slowdown_ppm, PPM) if out.begin_ns is not None else 1
    slowed[COMPUTE] *= Fraction(beside.in_slowdown_ppm, PPM) if back.begin_ns is not None else 1
    return [1 / slowed[n] if engine.begin_ns is not None else Fraction(0) for n, engine in enumerate(engines)]


def spans_of(timeline: Timeline) -> list[list[tuple[int, int]]]:
    outs, ins = (
        sorted((copy.begin_ns, copy.end_ns) for copy in timeline.copies if copy.direction == way)
        for way in (COPY_OUT, COPY_IN)
    )
    return [outs, ins, kernels(timeline)]


@settings(max_examples=tries(400))
@given(scenes())
def test_any_mixture_runs_as_on_a_machine_in_exact_fractions(scene: tuple[Program, Trace, GpuProfile]) -> None:
    program, trace, gpu = scene
    timeline = SimulatedMachine(trace, gpu).run(program, make_pool("best-fit", ROOMY_BYTES))
    assert spans_of(timeline) == exact_spans(script_of(program, trace, gpu.host), gpu)
    assert sum(spent(timeline)) == timeline.iteration_time_ns


@settings(max_examples=tries(200))
@given(scenes(UNKIND))
def test_slowdowns_make_nothing_earlier_and_nothing_later_than_all_of_them_all_the_time(
    scene: tuple[Program, Trace, GpuProfile],
) -> None:
    """Between these two it is not monotone: a kernel that ends later may meet a copy that minds it less."""
    program, trace, gpu = scene
    link = gpu.link
    plain = replace(link, both_ways_out_slowdown_ppm=PPM, both_ways_in_slowdown_ppm=PPM, kernels={})
    alone = Trace(
        trace.header,
        [entry._replace(copy_out_slowdown_ppm=PPM, copy_in_slowdown_ppm=PPM) for entry in trace.rows],
    )
    found, free, slow = (
        spans_of(SimulatedMachine(its, replace(gpu, link=its_link)).run(program, make_pool("best-fit", ROOMY_BYTES)))
        for its, its_link in (
            (trace, link),
            (alone, plain),
            (
                Trace(trace.header, [entry._replace(duration_ns=4 * entry.duration_ns) for entry in alone.rows]),
                replace(plain, copy_out=_four_times(link.copy_out), copy_in=_four_times(link.copy_in)),
            ),
        )
    )
    for bests, owns, worsts in zip(free, found, slow, strict=True):
        for best, own, worst in zip(bests, owns, worsts, strict=True):
            assert best <= own <= worst
            assert best[1] <= own[1] <= worst[1]


def _four_times(curve: LinkCurve) -> LinkCurve:
    """Nothing here is slowed more than that: twofold by a kernel, and by the other direction, or by both of them."""
    return LinkCurve(tuple(point._replace(duration_ns=4 * point.duration_ns) for point in curve.points))
