"""From the moments of a simulated iteration to its records: made in bulk, when the simulation is over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from vdnnsim.machines.device_memory import DeviceMemory
from vdnnsim.machines.script import COMPUTE, IN, OUT, READ, WRITE, Durations, Script
from vdnnsim.machines.stalls import Stall
from vdnnsim.machines.step_ends import ends_of_steps
from vdnnsim.program import Allocate, Buffer
from vdnnsim.timeline import (
    COPY_IN,
    COPY_OUT,
    NVME_READ,
    NVME_WRITE,
    SETUP,
    CopyRecord,
    KernelRecord,
    MemoryRecord,
    StallRecord,
    Timeline,
    WaitRecord,
)


class Spans(NamedTuple):
    """When each piece of work on an engine began and ended, in order."""

    begins_ns: list[int]
    ends_ns: list[int]


class Stalled(NamedTuple):
    """A stall of this step, in a wait of the host or not: a kernel's on the engine, and that of the iteration's end. It
    ends with the copy of this number on its engine."""

    step: int
    in_wait: bool
    stall: Stall
    copy: int


class Moments(NamedTuple):
    """What a simulated iteration leaves: when everything was, in the script's order, in nanoseconds from its start; and
    for each call of the pool how long after the wait before it it is over."""

    kernels: Spans
    outs: Spans
    ins: Spans
    waits: Spans
    stalls: list[Stalled]
    host_end_ns: int
    memory_offsets_ns: list[int]
    writes: Spans = Spans([], [])
    reads: Spans = Spans([], [])


def ends_by_step_ns(script: Script, moments: Moments) -> tuple[int, ...]:
    """When each step ended."""
    copies_end_ns = (spans.ends_ns[-1] for spans in (moments.outs, moments.ins) if spans.ends_ns)
    done_ns = max(moments.host_end_ns, *copies_end_ns, 0)
    return ends_of_steps(script.given_by_step, moments.kernels.ends_ns, moments.waits.ends_ns, done_ns)


def timeline_of(script: Script, durations: Durations, moments: Moments, memory: DeviceMemory) -> Timeline:
    """The records of an iteration whose buffers go into `memory`, which is empty: addresses do not depend on time.
    Raises `OutOfMemory`."""
    step_ends_ns = ends_by_step_ns(script, moments)
    memory_records = (*_setup_records(script, memory), *_memory_records(script, moments, memory))
    return Timeline(
        tuple(_kernel_records(script, moments)),
        tuple(_copy_records(script, durations, moments)),
        tuple(map(WaitRecord, script.wait_steps, *moments.waits, script.kernels_given)),
        tuple(_stall_records(script, moments)),
        memory_records,
        step_ends_ns,
        step_ends_ns[-1] if step_ends_ns else 0,
        memory.pool.high_water_bytes,
        memory.largest_hole_at_peak(),
        _nvme_records(script, durations, moments),
    )


def _kernel_records(script: Script, moments: Moments) -> Iterator[KernelRecord]:
    columns = zip(script.work[COMPUTE].steps, script.kernels, *moments.kernels, script.again, strict=True)
    for step, row, begin_ns, end_ns, again in columns:
        yield KernelRecord(step, row.layer, row.pass_, row.algorithm, begin_ns, end_ns, again)


def _copy_records(script: Script, durations: Durations, moments: Moments) -> list[CopyRecord]:
    """In the order in which they ended; of those that also began together, in the program's."""
    ways = (
        _one_way(COPY_OUT, script.work[OUT].steps, script.outs, durations.outs_ns, moments.outs),
        _one_way(COPY_IN, script.work[IN].steps, script.ins, durations.ins_ns, moments.ins),
    )
    return sorted((next(ways[engine]) for engine in script.copies), key=attrgetter("end_ns", "begin_ns"))


def _nvme_records(script: Script, durations: Durations, moments: Moments) -> tuple[CopyRecord, ...]:
    """Writes, then reads."""
    work = script.work
    writes = _one_way(NVME_WRITE, work[WRITE].steps, script.writes, durations.writes_ns, moments.writes)
    reads = _one_way(NVME_READ, work[READ].steps, script.reads, durations.reads_ns, moments.reads)
    return *writes, *reads


def _stall_records(script: Script, moments: Moments) -> Iterator[StallRecord]:
    for step, _, (begin_ns, end_ns, engine), copy in moments.stalls:
        if engine == OUT:
            yield StallRecord(step, begin_ns, end_ns, COPY_OUT, script.outs[copy].name, late=False)
        else:
            late = script.late_ins[copy]
            yield StallRecord(step, begin_ns, end_ns, COPY_IN, script.ins[copy].name, late)


def _one_way(
    direction: str, steps: Sequence[int], buffers: Sequence[Buffer], alone_ns: Sequence[int], spans: Spans
) -> Iterator[CopyRecord]:
    for step, buffer, alone, begin_ns, end_ns in zip(steps, buffers, alone_ns, *spans, strict=True):
        yield CopyRecord(step, direction, buffer.name, buffer.size_bytes, begin_ns, end_ns, alone)


def _setup_records(script: Script, memory: DeviceMemory) -> Iterator[MemoryRecord]:
    setup = script.program.setup
    for buffer, address in zip(setup, memory.begin(setup), strict=True):
        yield _memory_record(SETUP, 0, True, buffer, address)


def _memory_records(script: Script, moments: Moments, memory: DeviceMemory) -> Iterator[MemoryRecord]:
    titles = script.program.titles
    calls = script.memory
    for command, step, time_ns in zip(calls.commands, calls.steps, memory_times_ns(script, moments), strict=True):
        buffer = command.buffer
        taken = isinstance(command, Allocate)
        address = memory.allocate(buffer, titles[step]) if taken else memory.free(buffer)
        yield _memory_record(step, time_ns, taken, buffer, address)


def memory_times_ns(script: Script, moments: Moments) -> list[int]:
    """When each call of the pool was over."""
    waited_until_ns = [0, *moments.waits.ends_ns]
    offsets_ns = zip(script.memory.waits, moments.memory_offsets_ns, strict=True)
    return [waited_until_ns[waits] + offset_ns for waits, offset_ns in offsets_ns]


def _memory_record(step: int, time_ns: int, taken: bool, buffer: Buffer, address: int) -> MemoryRecord:
    name, memory_class, in_classifier = buffer.name, buffer.memory_class, buffer.in_classifier
    return MemoryRecord(step, time_ns, taken, name, memory_class, in_classifier, address, buffer.size_bytes)
