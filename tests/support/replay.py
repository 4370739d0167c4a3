"""A second simulated machine for layer-wise programs: no SimPy, no rounding but the last one, copies in fractions."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

from vdnnsim.gpu import CallKind, GpuProfile
from vdnnsim.program import Allocate, CopyIn, CopyOut, Free, Kernel, Program, Stream, Synchronise
from vdnnsim.trace import Trace
from vdnnsim.units import PPM

Span = tuple[int, int]


def replay_times(program: Program, trace: Trace, gpu: GpuProfile) -> tuple[list[Span], list[Span]]:
    """(begin, end) of every kernel and of every copy, both in program order.

    Right for programs whose layers end by waiting for what they started, and never copy both ways at once: then a
    copy meets only kernels that were launched before the host's next wait for it.
    """
    host = compute = 0
    link_free = {Stream.COPY_OUT: 0, Stream.COPY_IN: 0}
    kernels: list[Span] = []
    slowdowns: list[tuple[int, int]] = []
    copies: list[Span] = []
    waiting: list[tuple[Stream, int, int]] = []  # of copies not yet timed: stream, ready, alone
    cold = _Cold(gpu)
    for command in program.commands:
        host += cold.extra(_CALLS.get(type(command), CallKind.COPY))
        if isinstance(command, Allocate):
            host += gpu.host.allocate_ns
        elif isinstance(command, Free):
            host += gpu.host.free_ns
        elif isinstance(command, Kernel):
            entry = trace.row(command.layer, command.pass_, command.algorithm)
            called = host
            host += gpu.host.kernel_ns if entry.launch_ns is None else entry.launch_ns
            begin = max(compute, host if entry.start_ns is None else called + entry.start_ns)
            compute = begin + entry.duration_ns
            kernels.append((begin, compute))
            slowdowns.append((entry.copy_out_slowdown_ppm, entry.copy_in_slowdown_ppm))
        elif isinstance(command, CopyOut | CopyIn):
            host += gpu.host.copy_ns
            stream = Stream.COPY_OUT if isinstance(command, CopyOut) else Stream.COPY_IN
            curve = gpu.link.copy_out if stream is Stream.COPY_OUT else gpu.link.copy_in
            ready = host + gpu.host.copy_start_ns
            waiting.append((stream, ready, curve.duration_ns(command.buffer.size_bytes)))
        else:
            for stream in command.streams:
                called = host
                if stream is Stream.COMPUTE:
                    host = max(host, compute)
                else:
                    for own, ready, alone in waiting:
                        assert own is stream
                        begin = max(ready, link_free[stream])
                        way = int(stream is Stream.COPY_IN)
                        above = [(span, both[way]) for span, both in zip(kernels, slowdowns, strict=True)]
                        link_free[stream] = _copy_end(begin, alone, above)
                        copies.append((begin, link_free[stream]))
                    waiting.clear()
                    host = max(host, link_free[stream])
                cold.waited += host - called
                host += gpu.host.synchronise_ns
    assert not waiting
    return kernels, copies


_CALLS: dict[type, CallKind] = {
    Kernel: CallKind.KERNEL,
    Allocate: CallKind.ALLOCATE,
    Free: CallKind.ALLOCATE,
    Synchronise: CallKind.SYNCHRONISE,
}


class _Cold:
    """How long the host has waited, and how long it had when it last made a call of each kind."""

    def __init__(self, gpu: GpuProfile) -> None:
        self.table = gpu.host.after_wait
        self.waited = 0
        self.before = dict.fromkeys(CallKind, -self.table.waits_ns[-1] if self.table else 0)

    def extra(self, call: CallKind) -> int:
        since = self.waited - self.before[call]
        self.before[call] = self.waited
        return self.table.extra_ns(call, since) if self.table else 0


def _copy_end(begin: int, alone: int, kernels: list[tuple[Span, int]]) -> int:
    remaining = Fraction(alone)
    now = Fraction(begin)
    for (first, last), slowdown_ppm in kernels:
        for until, rate in ((first, Fraction(1)), (last, Fraction(PPM, slowdown_ppm))):
            if until > now:
                done = (until - now) * rate
                if done >= remaining:
                    return ceil(now + remaining / rate)
                remaining -= done
                now = Fraction(until)
    return ceil(now + remaining)
