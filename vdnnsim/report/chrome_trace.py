"""Chrome trace JSON: every policy's timeline, for Perfetto and other viewers of the format.

A process is a policy; its threads are the layers, the host and the engines. Times are microseconds with three decimals,
so that no nanosecond is lost. Viewers ask that the slices of a thread nest: an engine works its queue off in
order, and its stalls lie between its kernels. Thread numbers are unique in the file, since Perfetto names threads
by number alone. Arrows lead from each copy out to the copy in of the same buffer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

from vdnnsim.file_kinds import WRITER
from vdnnsim.report.levels import memory_levels
from vdnnsim.report.words import provenance, subject
from vdnnsim.results import Comparison, PolicyRun
from vdnnsim.timeline import COPY_IN, COPY_OUT, NVME_READ, NVME_WRITE, CopyRecord, StallRecord

LANES = ("layers", "host", "compute", COPY_OUT, COPY_IN)
"""The threads of each process, from the top."""
_NVME = (NVME_WRITE, NVME_READ)
_LANES_PER_PROCESS = 100
_Event = dict[str, Any]


def timeline_json(timelines: Comparison | Iterable[PolicyRun]) -> str:
    """The timelines of a comparison, or of some runs, as one trace."""
    runs = timelines.runs if isinstance(timelines, Comparison) else tuple(timelines)
    about: dict[str, str] = {}
    if isinstance(timelines, Comparison):
        about = {"subject": subject(timelines), "provenance": provenance(timelines)}
    flows = count(1)
    events = [
        json.dumps(event, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        for process, run in enumerate(runs, start=1)
        for event in _Process(process, run, flows).events()
    ]
    # No "displayTimeUnit": some versions of Perfetto took it for the unit of `ts`. Other keys come behind the events,
    # since some stop reading at a key that they do not know.
    body = ",\n".join(events)
    other = json.dumps(about, ensure_ascii=False)
    return f'{{"traceEvents":[\n{body}\n],"otherData":{other}}}\n'


class _Process:
    """The events of one run."""

    def __init__(self, process: int, run: PolicyRun, flows: Iterator[int]) -> None:
        self.process = process
        self.run = run
        self.flows = flows
        self.title = run.result.policy if run.result.trainable else f"{run.result.policy} (does not train)"

    def events(self) -> Iterator[_Event]:
        yield from self._names()
        yield from self._layers()
        yield from self._host()
        yield from self._compute()
        yield from self._copies()
        yield from self._counters()

    def _thread(self, lane: str) -> int:
        return self.process * _LANES_PER_PROCESS + (*LANES, *_NVME).index(lane)

    def _names(self) -> Iterator[_Event]:
        yield self._name("process_name", self._thread(LANES[0]), {"name": self.title, WRITER: "vdnnsim"})
        yield self._name("process_sort_index", self._thread(LANES[0]), {"sort_index": self.process})
        lanes = (*LANES, *_NVME) if self.run.timeline.nvme else LANES
        for index, lane in enumerate(lanes):
            yield self._name("thread_name", self._thread(lane), {"name": lane})
            yield self._name("thread_sort_index", self._thread(lane), {"sort_index": index})

    def _name(self, what: str, thread: int, args: dict[str, Any]) -> _Event:
        return {"ph": "M", "name": what, "pid": self.process, "tid": thread, "args": args}

    def _slice(
        self, lane: str, name: str, category: str, begin_ns: int, end_ns: int, args: dict[str, Any] | None = None
    ) -> _Event:
        return {
            "ph": "X",
            "name": name,
            "cat": category,
            "pid": self.process,
            "tid": self._thread(lane),
            "ts": begin_ns / 1000,
            "dur": (end_ns - begin_ns) / 1000,
            "args": args or {},
        }

    def _step_title(self, step: int) -> str:
        time = self.run.steps[step]
        return f"{time.layer} {'backward' if time.backward else 'forward'}"

    def _layers(self) -> Iterator[_Event]:
        for index, time in enumerate(self.run.steps):
            if time.duration_ns:
                args = {
                    "kernel_ns": time.kernel_ns,
                    "stall_ns": time.stall_ns,
                    "copied_out_bytes": time.copied_out_bytes,
                    "copied_in_bytes": time.copied_in_bytes,
                }
                yield self._slice("layers", self._step_title(index), "layer", time.begin_ns, time.end_ns, args)

    def _host(self) -> Iterator[_Event]:
        for wait in self.run.timeline.waits:
            if wait.end_ns > wait.begin_ns:
                args = {"during": self._step_title(wait.step)}
                yield self._slice("host", "synchronise", "wait", wait.begin_ns, wait.end_ns, args)

    def _compute(self) -> Iterator[_Event]:
        for kernel in self.run.timeline.kernels:
            args = {"layer": kernel.layer, "pass": kernel.pass_, "algorithm": kernel.algorithm}
            name = f"{kernel.layer} {kernel.pass_}"
            yield self._slice("compute", name, "kernel", kernel.begin_ns, kernel.end_ns, args)
        for stall in self.run.timeline.stalls:
            stalled = {"during": self._step_title(stall.step), "waits for": _copy_name(stall), "late": stall.late}
            yield self._slice("compute", "stall", "stall", stall.begin_ns, stall.end_ns, stalled)

    def _copies(self) -> Iterator[_Event]:
        for copy in (*self.run.timeline.copies, *self.run.timeline.nvme):
            args = {
                "layer": self.run.steps[copy.step].layer,
                "buffer": copy.buffer,
                "bytes": copy.size_bytes,
                "alone_ns": copy.alone_ns,
            }
            yield self._slice(copy.direction, _copy_name(copy), "gpu_memcpy", copy.begin_ns, copy.end_ns, args)
        for out, back in _round_trips(self.run.timeline.copies):
            flow = next(self.flows)
            yield self._flow("s", flow, out)
            yield {**self._flow("f", flow, back), "bp": "e"}  # bound to the slice that begins then

    def _flow(self, phase: str, flow: int, copy: CopyRecord) -> _Event:
        return {
            "ph": phase,
            "name": copy.buffer,
            "cat": "offload",
            "id": flow,
            "pid": self.process,
            "tid": self._thread(copy.direction),
            "ts": copy.begin_ns / 1000,
        }

    def _counters(self) -> Iterator[_Event]:
        classes = tuple(self.run.result.bytes_by_class_at_peak)
        levels = memory_levels(self.run.timeline.memory, classes)
        if levels:  # once more at the end, where viewers would let the counter stop at the last change
            levels.append(levels[-1]._replace(time_ns=max(self.run.timeline.iteration_time_ns, levels[-1].time_ns)))
        for level in levels:
            # Perfetto draws a track for each class, named by counter and class: "bytes in use" is the one of the total.
            yield self._counter("bytes in use", level.time_ns, dict(zip(classes, level.bytes_by_class, strict=True)))
            yield self._counter("bytes", level.time_ns, {"in use": sum(level.bytes_by_class)})

    def _counter(self, name: str, time_ns: int, args: dict[str, int]) -> _Event:
        thread = self._thread("host")
        return {"ph": "C", "name": name, "pid": self.process, "tid": thread, "ts": time_ns / 1000, "args": args}


def _copy_name(copy: CopyRecord | StallRecord) -> str:
    """What a copy is called, and a stall says that it waited for."""
    return f"{copy.direction} {copy.buffer}"


def _round_trips(copies: Iterable[CopyRecord]) -> Iterator[tuple[CopyRecord, CopyRecord]]:
    """Each copy in with the copy out that it brings back."""
    outside: dict[str, CopyRecord] = {}
    for copy in sorted(copies, key=lambda copy: copy.begin_ns):
        if copy.direction == COPY_OUT:
            outside[copy.buffer] = copy
        elif copy.buffer in outside:
            yield outside[copy.buffer], copy
