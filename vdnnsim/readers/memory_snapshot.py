"""Memory snapshots of PyTorch (`torch.cuda.memory._dump_snapshot`): every block of a device, when it was taken and
given back, and by whose stack. Read as PyTorch 2.13's `Module.cpp` and `_memory_viz.py` write and read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from vdnnsim.errors import Fault, InvalidFile
from vdnnsim.readers.kinds import Imported, Reader
from vdnnsim.readers.plain_pickle import load_plain
from vdnnsim.readers.tables_record import Rows, Tables, check_tables_writable
from vdnnsim.units import format_bytes

_EXPECTED = "a memory snapshot of PyTorch"
_FREED = ("free_completed", "free")
_OURS = ("torch/", "site-packages/", "dist-packages/")
_MOST_NAMED = 3
_MOST_DEVICES = 1000


class SnapshotBlock(NamedTuple):
    """A block of a device. `taken` and `given` count the device's events; -1 is before the first, None not at all;
    times are microseconds of the process' clock, None where the file has none."""

    device: int
    address: int
    size_bytes: int
    stream: int
    taken: int
    given: int | None
    taken_us: int | None
    given_us: int | None
    category: str
    frame: str


class SnapshotSegment(NamedTuple):
    """A segment as it was when the snapshot was taken, with how much of it was in use."""

    device: int
    address: int
    size_bytes: int
    used_bytes: int
    stream: int
    kind: str


@dataclass
class Snapshot:
    """What a snapshot holds."""

    blocks: list[SnapshotBlock] = field(default_factory=list)
    segments: list[SnapshotSegment] = field(default_factory=list)
    events: int = 0
    peak_bytes: int = 0
    peak_event: tuple[int, int] = (0, 0)
    """Device and event of the peak."""
    out_of_memory: int = 0

    def at_peak(self) -> Iterator[SnapshotBlock]:
        """The blocks that were there when most bytes were in use."""
        device, event = self.peak_event
        for block in self.blocks:
            if block.device == device and block.taken <= event and (block.given is None or block.given > event):
                yield block


def _recognises(head: bytes) -> bool:
    return head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and b"segments" in head


def read_snapshot(path: Path) -> Snapshot:
    """Raises `InvalidFile`; nothing in the file is run."""
    document = load_plain(path, _EXPECTED)
    snapshot = Snapshot()
    try:
        there: dict[int, dict[int, SnapshotBlock]] = {}
        for segment in document["segments"]:
            _add_segment(snapshot, segment, there)
        traces = list(document["device_traces"])
        for device in range(max(len(traces), max(there, default=-1) + 1)):
            _follow(snapshot, device, traces[device] if device < len(traces) else (), there.get(device, {}))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        found = f"one without {error}" if isinstance(error, KeyError) else f"other data ({error})"
        raise InvalidFile([Fault(str(path), None, "snapshot", found[:100], _EXPECTED)]) from None
    return snapshot


def _add_segment(snapshot: Snapshot, segment: Mapping[str, Any], there: dict[int, dict[int, SnapshotBlock]]) -> None:
    """`there` gets, by device and address, the blocks in use."""
    device, address, size_bytes = _whole(segment["device"]), _whole(segment["address"]), _whole(segment["total_size"])
    if device > _MOST_DEVICES:
        raise ValueError(f"device {device}")
    used_bytes, at = 0, address
    stream, kind = _whole(segment["stream"]), str(segment.get("segment_type", ""))
    for block in segment["blocks"]:
        if block["state"] != "inactive":
            used_bytes += _whole(block["size"])
            event = {"addr": at, "size": block["size"], "stream": stream, "frames": block.get("frames")}
            there.setdefault(device, {})[at] = _taken(device, -1, event)
        at += _whole(block["size"])
    snapshot.segments.append(SnapshotSegment(device, address, size_bytes, used_bytes, stream, kind))


def _follow(
    snapshot: Snapshot, device: int, events: Sequence[Mapping[str, Any]], there: Mapping[int, SnapshotBlock]
) -> None:
    """The blocks of a device, by its events in order. What was there before the first of them is told by what is given
    back without having been taken, and by what is there in the end."""
    live: dict[int, SnapshotBlock] = {}
    found: list[SnapshotBlock] = []
    changes: list[int] = []
    for number, event in enumerate(events):
        action, change = event["action"], 0
        if action == "alloc":
            block = _taken(device, number, event)
            live[block.address], change = block, block.size_bytes
        elif action in _FREED:
            before = _taken(device, -1, event)._replace(taken_us=None)
            block = live.pop(before.address, before)
            found.append(block._replace(given=number, given_us=_time(event)))
            change = -block.size_bytes
        elif action == "oom":
            snapshot.out_of_memory += 1
        changes.append(change)
    found += [*live.values(), *(block for address, block in there.items() if address not in live)]
    now_bytes = sum(block.size_bytes for block in found if block.taken < 0)
    for number, change in enumerate([0, *changes], start=-1):
        now_bytes += change
        if now_bytes > snapshot.peak_bytes:
            snapshot.peak_bytes, snapshot.peak_event = now_bytes, (device, number)
    snapshot.events += len(changes)
    snapshot.blocks += sorted(found, key=lambda block: (block.taken, block.address))


def _taken(device: int, number: int, event: Mapping[str, Any]) -> SnapshotBlock:
    address, size_bytes, stream = (_whole(event[name]) for name in ("addr", "size", "stream"))
    category = str(event.get("category", ""))
    frame = _frame(event.get("frames") or ())
    return SnapshotBlock(device, address, size_bytes, stream, number, None, _time(event), None, category, frame)


def _time(event: Mapping[str, Any]) -> int | None:
    return event["time_us"] if isinstance(event.get("time_us"), int) else None


def _frame(frames: Sequence[Mapping[str, Any]]) -> str:
    """Of a stack the innermost place in the user's own Python."""
    named = [f"{one['filename']}:{one['line']} {one['name']}" for one in frames]
    python = [name for name in named if ".py:" in name]
    own = [name for name in python if not any(part in name for part in _OURS)]
    return next(iter(own or python or named), "")


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError(f"{str(value)[:20]} where a number of bytes belongs")
    return value


def _says(snapshot: Snapshot) -> tuple[str, ...]:
    reserved = sum(segment.size_bytes for segment in snapshot.segments)
    used = sum(segment.used_bytes for segment in snapshot.segments)
    held: Counter[str] = Counter()
    for block in snapshot.at_peak():
        held[block.category or block.frame or "an unknown place"] += block.size_bytes
    most = "; ".join(f"{format_bytes(size)} of {name[-60:]}" for name, size in held.most_common(_MOST_NAMED))
    failed = (f"{snapshot.out_of_memory} requests found no room",) if snapshot.out_of_memory else ()
    return (
        f"{snapshot.events} events, {len(snapshot.blocks)} blocks, {len(snapshot.segments)} segments",
        f"peak {format_bytes(snapshot.peak_bytes)} at event {snapshot.peak_event[1]}" + (f": {most}" if most else ""),
        f"in the end {format_bytes(reserved)} reserved, {format_bytes(used)} of them in use",
        *failed,
    )


_LACKS = (
    "kernels, copies and their times: no step can be made of it, 'vdnnsim capture' makes one",
    "what backward needs: a block held from forward to backward looks like any other",
    "what was taken before the history began, but for what was given back since",
)


def _read(path: Path) -> Imported:
    snapshot = read_snapshot(path)
    says = _says(snapshot)
    tables: dict[str, Rows] = {
        "blocks": (SnapshotBlock._fields, snapshot.blocks),
        "segments": (SnapshotSegment._fields, snapshot.segments),
    }
    return Imported(Tables(tables, (*says, *_LACKS)), says, _LACKS, "open {folder}/blocks.csv")


READER = Reader("memory-snapshot", "a memory snapshot of PyTorch (pickle)", _recognises, _read, check_tables_writable)
