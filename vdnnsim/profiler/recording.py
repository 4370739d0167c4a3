"""What the profiler saw of one step, read from its Chrome trace: ranges of the host, blocks taken and given back,
launches, in the order of the host's clock. Knows no PyTorch: a trace is a dictionary, as `json` reads it.

The profiler writes microseconds with three decimals; here they are integer nanoseconds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from operator import itemgetter
from sys import intern
from typing import Any, NamedTuple

from vdnnsim.captured.step import AllocatorSegment

LEAD_IN = "vdnnsim:lead-in"
"""The range of the step before the one that is looked at: what it leaves behind, that one finds."""
STEP = "vdnnsim:step"
SAVE = "vdnnsim:save:"
NEED = "vdnnsim:need:"
MODULE = "vdnnsim:module:"
GRADIENTS = "vdnnsim:gradients:"
"""Marks where the addresses of gradients were looked at."""
_OWN = "vdnnsim:"
_HOST_RANGES = ("cpu_op", "user_annotation")
_LAUNCHES = ("cuda_runtime", "cuda_driver")
_OVERHEAD = "overhead"
_GPU_WORK = ("kernel", "gpu_memcpy", "gpu_memset")
MEMORY = "[memory]"
"""What the profiler calls a block taken or given back."""
_COMPILED = "Torch-Compiled Region"
NODE = "autograd::engine::evaluate_function: "
"""What the profiler calls the range of a node of the graph begins with."""


class HostRange(NamedTuple):
    """A piece of the host's time: an operator, a node of the graph, or a mark; `parent` is the range around it."""

    name: str
    is_operator: bool
    begin_ns: int
    end_ns: int
    thread: int
    parent: int | None
    sequence: int

    @property
    def is_hook(self) -> bool:
        return self.name.startswith((SAVE, NEED))


class MemoryEvent(NamedTuple):
    """A block taken (positive) or given back (negative), within the innermost range `within`."""

    at_ns: int
    address: int
    size_bytes: int
    total_bytes: int
    within: int | None


class GpuWork(NamedTuple):
    """A kernel, copy or fill on the GPU, launched by a call of the host within the innermost range `within`."""

    name: str
    category: str
    stream: int
    begin_ns: int
    end_ns: int
    launch_begin_ns: int
    launch_end_ns: int
    within: int | None


class HostWaits(NamedTuple):
    """A call in which the host waits for the GPU."""

    name: str
    begin_ns: int
    end_ns: int


class Does(StrEnum):
    """What can happen in a step."""

    TAKE = "take"
    FETCH = "fetch"
    """A hook takes a block for what comes back."""
    GIVE = "give"
    LAUNCH = "launch"
    SAVE = "save"
    NEED = "need"
    LOOK = "look"
    """The addresses of gradients are noted."""


class Happening(NamedTuple):
    """One thing in a step's order. `number` is the block's address, the place of a kernel in its list, or the number of
    the saved tensor; `name` the kernel's, "" for others; `size_bytes` the block's."""

    does: Does
    number: int
    name: str
    size_bytes: int
    within: int | None


@dataclass(frozen=True)
class Recording:
    """One profile: ranges (in the order of their beginnings), memory and GPU work in the order of the host."""

    ranges: Sequence[HostRange]
    memory: Sequence[MemoryEvent]
    gpu_work: Sequence[GpuWork]
    waits: Sequence[HostWaits] = ()
    hooked: frozenset[int] = field(default=frozenset())
    """The ranges that are a hook of ours, or lie in one."""
    overheads: Sequence[HostWaits] = ()
    """What the profiler itself kept the host busy with: it takes buffers."""

    def window(self, name: str) -> tuple[int, int]:
        """Begin and end of the range of that name; an empty one where there is none."""
        for one in self.ranges:
            if one.name == name:
                return one.begin_ns, one.end_ns
        return 0, 0

    @property
    def runs_compiled(self) -> bool:
        """Whether anything ran that torch.compile made."""
        return any(one.name.startswith(_COMPILED) for one in self.ranges)

    def rise_bytes(self, name: str) -> int:
        """How far the bytes in use rise, within the range of that name, above those at its begin."""
        begin_ns, end_ns = self.window(name)
        before = [event.total_bytes for event in self.memory if event.at_ns < begin_ns]
        inside = [event.total_bytes for event in self.memory if begin_ns <= event.at_ns < end_ns]
        at_begin = before[-1] if before else 0
        return max([at_begin, *inside]) - at_begin

    def chain(self, within: int | None) -> Iterable[int]:
        """A range and all around it, from the innermost."""
        while within is not None:
            yield within
            within = self.ranges[within].parent

    def in_hook(self, within: int | None) -> bool:
        """Whether something happened in one of our hooks, and so is not the step's own."""
        return within is not None and within in self.hooked


class MemoryNow(NamedTuple):
    """Blocks in use, by address their sizes as asked for and as held by the allocator, and segments, at one moment."""

    blocks: Mapping[int, tuple[int, int]]
    segments: tuple[AllocatorSegment, ...]


class Peaks(NamedTuple):
    """The most bytes at once since the peaks were forgotten, by the allocator's own counters."""

    requested_bytes: int
    allocated_bytes: int
    reserved_bytes: int


class Recorded(NamedTuple):
    """A profile of two steps, the second within hooks; what there was in memory between them, by the names of what
    holds it (address and size), and by the allocator's word; the allocator's peaks of the second step, and of each
    block that it took, in order, address and size as asked for. None where the profiler alone counts."""

    recording: Recording
    known: Mapping[str, tuple[int, int]]
    memory: MemoryNow | None
    peaks: Peaks | None
    asked: list[tuple[int, int]] | None


def read_recording(trace: Mapping[str, Any], device_type: int, device_index: int) -> Recording:
    """Read a Chrome trace of torch.profiler; of memory only what is of one device, by the profiler's numbers of it."""
    gathered = Gathered()
    for event in trace["traceEvents"]:
        gathered.add(event)
    return gathered.recording(device_type, device_index)


class _Memory(NamedTuple):
    device: tuple[int, int]
    at_ns: int
    event: int
    address: int
    size_bytes: int
    total_bytes: int
    reserved_bytes: int
    thread: int


class Work(NamedTuple):
    """A kernel, copy or fill as the trace has it; the bytes are a copy's."""

    name: str
    category: str
    stream: int
    begin_ns: int
    end_ns: int
    correlation: int | None
    size_bytes: int = 0


class _Call(NamedTuple):
    begin_ns: int
    end_ns: int
    thread: int


class Gathered:
    """Events of a trace taken one by one, of which only that is kept which recordings are made of: a trace of a
    gigabyte of text is a fraction of that."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int, int, str, bool, int, int]] = []
        self._calls: dict[int, _Call] = {}
        self.work: list[Work] = []
        self._waits: list[HostWaits] = []
        self._overheads: list[HostWaits] = []
        self.memory: list[_Memory] = []

    def add(self, event: Mapping[str, Any]) -> None:
        """Raises `KeyError`, `TypeError` or `ValueError` for an event that is none of the profiler's."""
        category = event.get("cat")
        if category in _HOST_RANGES:
            if event.get("ph") == "X":
                self.add_range(event, event["name"], category == "cpu_op" and not event["name"].startswith(_OWN))
        elif category in _LAUNCHES:
            begin_ns = _ns(event["ts"])
            end_ns = begin_ns + _ns(event["dur"])
            self._calls[event["args"].get("correlation")] = _Call(begin_ns, end_ns, event["tid"])
            if "Synchronize" in event["name"]:
                self._waits.append(HostWaits(event["name"], begin_ns, end_ns))
        elif category == _OVERHEAD:
            begin_ns = _ns(event["ts"])
            self._overheads.append(HostWaits(event["name"], begin_ns, begin_ns + _ns(event["dur"])))
        elif category in _GPU_WORK:
            args, begin_ns = event["args"], _ns(event["ts"])
            stream, correlation = int(args.get("stream", 0)), args.get("correlation")
            end_ns, size = begin_ns + _ns(event["dur"]), int(args.get("bytes", 0))
            self.work.append(Work(intern(event["name"]), category, stream, begin_ns, end_ns, correlation, size))
        elif event.get("name") == MEMORY:
            of = event["args"]
            self.memory.append(
                _Memory(
                    (of["Device Type"], of["Device Id"]),
                    _ns(event["ts"]),
                    of.get("Ev Idx", 0),
                    of["Addr"],
                    of["Bytes"],
                    of["Total Allocated"],
                    of.get("Total Reserved", 0),
                    event["tid"],
                )
            )

    def add_range(self, event: Mapping[str, Any], name: str, is_operator: bool) -> None:
        """A piece of the host's time by a name."""
        begin_ns, args = _ns(event["ts"]), event.get("args") or {}
        end_ns = begin_ns + _ns(event["dur"])
        sequence = args.get("Sequence number", -1)
        of = (begin_ns, -end_ns, args.get("Ev Idx", 0), intern(name), is_operator, event["tid"], sequence)
        self._ranges.append(of)

    def recording(self, device_type: int, device_index: int) -> Recording:
        """What was gathered, of memory what is of one device."""
        ranges = self._nested()
        places = _Places(ranges)
        of_device = [one for one in self.memory if one.device == (device_type, device_index)]
        of_device.sort(key=lambda one: (one.at_ns, one.event))
        memory = [
            MemoryEvent(one.at_ns, one.address, one.size_bytes, one.total_bytes, places.at(one.at_ns, one.thread))
            for one in of_device
        ]
        hooked: set[int] = set()
        for number, own in enumerate(ranges):
            if own.is_hook or own.parent in hooked:
                hooked.add(number)
        return Recording(ranges, memory, self._gpu_work(places), self._waits, frozenset(hooked), self._overheads)

    def _nested(self) -> list[HostRange]:
        ranges: list[HostRange] = []
        stacks: dict[int, list[int]] = {}
        for begin_ns, negative_end_ns, _, name, is_operator, thread, sequence in sorted(self._ranges, key=_BY_TIME):
            stack = stacks.setdefault(thread, [])
            while stack and ranges[stack[-1]].end_ns <= begin_ns:
                stack.pop()
            parent = stack[-1] if stack else None
            stack.append(len(ranges))
            ranges.append(HostRange(name, is_operator, begin_ns, -negative_end_ns, thread, parent, sequence))
        return ranges

    def _gpu_work(self, places: _Places) -> list[GpuWork]:
        found = []
        for one in self.work:
            call = None if one.correlation is None else self._calls.get(one.correlation)
            begin_ns, end_ns = (call.begin_ns, call.end_ns) if call else (one.begin_ns, one.begin_ns)
            within = places.at(begin_ns, call.thread) if call else None
            found.append(
                GpuWork(one.name, one.category, one.stream, one.begin_ns, one.end_ns, begin_ns, end_ns, within)
            )
        return sorted(found, key=lambda one: (one.launch_begin_ns, one.begin_ns))


_BY_TIME = itemgetter(0, 1, 2)


def _ns(microseconds: float) -> int:
    return round(microseconds * 1000)


class _Places:
    """Which range of a thread something happened in."""

    def __init__(self, ranges: Sequence[HostRange]) -> None:
        self._ranges = ranges
        self._begins: dict[int, list[int]] = {}
        self._numbers: dict[int, list[int]] = {}
        for number, one in enumerate(ranges):
            self._begins.setdefault(one.thread, []).append(one.begin_ns)
            self._numbers.setdefault(one.thread, []).append(number)

    def at(self, at_ns: int, thread: int) -> int | None:
        """The innermost range of the thread; of a thread without ranges (a library's own) that of any other."""
        threads = [thread] if thread in self._begins else list(self._begins)
        found = [number for one in threads if (number := self._innermost(at_ns, one)) is not None]
        return max(found, key=lambda number: self._ranges[number].begin_ns, default=None)

    def _innermost(self, at_ns: int, thread: int) -> int | None:
        place = bisect_right(self._begins[thread], at_ns) - 1
        number: int | None = self._numbers[thread][place] if place >= 0 else None
        while number is not None and self._ranges[number].end_ns <= at_ns:
            number = self._ranges[number].parent
        return number
