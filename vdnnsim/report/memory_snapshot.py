"""A simulated run as a memory snapshot of PyTorch (`torch.cuda.memory._snapshot`), for its viewer of memory and
`python -m torch.cuda._memory_viz`.

As the page of that viewer (MemoryViz.js) reads it, which knows plain containers, text and numbers of protocol 4 alone:
blocks tile each segment; what happened leads, from empty segments, to the blocks at the end. Segments are the
stretches of addresses of `report.blocks`, taken at the begin. A block's class is its category; of these one must be
"unknown", or the page fails.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from vdnnsim.files import whole_file
from vdnnsim.memory import NULL_ADDRESS
from vdnnsim.report.blocks import Block, Stretch, blocks_of, end_address, packed_addresses, step_title, unplaced
from vdnnsim.results import Comparison, PolicyRun
from vdnnsim.timeline import MemoryRecord

_PROTOCOL = 4
_FIRST_ADDRESS = 0x7F00_0000_0000
"""Where a pool begins whose addresses count from 0."""
_DEVICE = 0
_STREAM = 0
_Entry = dict[str, Any]


def write_snapshot(run: PolicyRun, comparison: Comparison, path: Path | str) -> None:
    """Write a run's memory as a snapshot of PyTorch, whole or not at all. Raises `InvalidInput` where it cannot be
    written."""
    snapshot = memory_snapshot(run, comparison)
    with whole_file(Path(path)) as temporary:
        temporary.write_bytes(pickle.dumps(snapshot, protocol=_PROTOCOL))


def memory_snapshot(run: PolicyRun, comparison: Comparison) -> _Entry:
    """The snapshot: `segments` as they are at the end of the iteration, and `device_traces`, what happened to them."""
    writing = _Writing(run, comparison)
    return {"segments": writing.segments(), "device_traces": [list(writing.entries())]}


class _Writing:
    """One snapshot under way."""

    def __init__(self, run: PolicyRun, comparison: Comparison) -> None:
        self.run = run
        self.network = comparison.network
        self.blocks = blocks_of(run)
        self.stretches = packed_addresses(self.blocks, comparison).stretches
        lowest = min((stretch.address for stretch in self.stretches), default=0)
        self.base = 0 if lowest >= _FIRST_ADDRESS else _FIRST_ADDRESS
        self.frames = cache(self._frames)  # lists that are the same are one in the file

    def segments(self) -> list[_Entry]:
        """Every segment, with blocks and holes in order of their addresses."""
        live = sorted((block for block in self.blocks if block.kept), key=lambda block: block.address)
        return [
            self._segment(stretch, [block for block in live if stretch.address <= block.address < stretch.end])
            for stretch in self.stretches
        ]

    def _segment(self, stretch: Stretch, live: Sequence[Block]) -> _Entry:
        tiles: list[_Entry] = []
        free = stretch.address
        for block in live:
            if block.address > free:
                tiles.append(self._hole(free, block.address))
            tiles.append(
                {
                    "address": self.base + block.address,
                    "size": block.end - block.address,
                    "requested_size": block.size_bytes,
                    "state": "active_allocated",
                    "frames": self.frames(block.buffer, block.memory_class, block.step),
                }
            )
            free = block.end
        if free < stretch.end:
            tiles.append(self._hole(free, stretch.end))
        active_bytes = sum(block.end - block.address for block in live)
        return {
            "device": _DEVICE,
            "address": self.base + stretch.address,
            "total_size": stretch.size_bytes,
            "allocated_size": active_bytes,
            "active_size": active_bytes,
            "requested_size": sum(block.size_bytes for block in live),
            "stream": _STREAM,
            "segment_type": "large",
            "segment_pool_id": (0, 0),
            "is_expandable": False,
            "frames": [],
            "blocks": tiles,
        }

    def _hole(self, address: int, end: int) -> _Entry:
        where = {"address": self.base + address, "size": end - address}
        return {**where, "requested_size": 0, "state": "inactive", "frames": []}

    def entries(self) -> Iterator[_Entry]:
        """What happened, in order; a block that found no room is told before it is taken after all."""
        for stretch in self.stretches:
            yield self._entry("segment_alloc", 0, [], addr=self.base + stretch.address, size=stretch.size_bytes)
        failed = unplaced(self.run, self.blocks)
        for record in self.run.timeline.memory:
            if record.address == NULL_ADDRESS:
                continue
            if failed and record.taken and (record.buffer, record.step) == (failed.buffer, failed.step):
                yield self._out_of_memory(record)
                failed = None
            for action in ("alloc",) if record.taken else ("free_requested", "free_completed"):
                yield self._of_block(action, record)

    def _of_block(self, action: str, record: MemoryRecord) -> _Entry:
        kind = str(record.memory_class)
        size_bytes = end_address(record.address, record.size_bytes) - record.address
        frames = self.frames(record.buffer, kind, record.step)
        addr = self.base + record.address
        return self._entry(action, record.time_ns, frames, kind, addr=addr, size=size_bytes)

    def _out_of_memory(self, record: MemoryRecord) -> _Entry:
        failure = self.run.result.failure
        free_bytes = failure.free_bytes if failure else 0
        kind = str(record.memory_class)
        frames = self.frames(record.buffer, kind, record.step)
        return self._entry("oom", record.time_ns, frames, kind, size=record.size_bytes, device_free=free_bytes)

    def _entry(
        self, action: str, time_ns: int, frames: list[_Entry], category: str = "unknown", **where: int
    ) -> _Entry:
        told = {"stream": _STREAM, "time_us": time_ns // 1000, "frames": frames, "category": category}
        return {"action": action, **where, **told}

    def _frames(self, buffer: str, kind: str, step: int) -> list[_Entry]:
        """The buffer, in its class, and the layer or module whose pass it was taken or given back in."""
        return [
            {"filename": kind, "line": 0, "name": buffer},
            {"filename": self.network, "line": step + 1, "name": step_title(self.run, step)},
        ]
