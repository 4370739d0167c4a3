"""Memory snapshots of PyTorch: what its viewer needs, which has no words for what it misses."""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vdnnsim import write_snapshot
from vdnnsim.errors import InvalidInput
from vdnnsim.report.memory_snapshot import memory_snapshot
from vdnnsim.results import Comparison, PolicyRun

KNOWN_TO_THE_VIEWER = {
    *"]}(eausldt)KMJGNXqrhj.",
    *"\x80\x85\x86\x87\x88\x89\x8a\x8c\x94\x95",  # PROTO, TUPLE1 to 3, booleans, LONG1, short text, MEMOIZE, FRAME
}
"""MemoryViz.js reads pickles by itself, and these opcodes alone."""


def snapshots(comparison: Comparison) -> Iterator[tuple[PolicyRun, Any]]:
    for run in comparison.runs:
        yield run, memory_snapshot(run, comparison)


def test_what_happened_leads_to_the_segments_at_the_end(every: Comparison) -> None:
    for run, snapshot in snapshots(every):
        live: dict[int, int] = {}
        for entry in snapshot["device_traces"][0]:
            match entry["action"]:
                case "alloc":
                    assert not overlapping(live, entry["addr"], entry["size"])
                    live[entry["addr"]] = entry["size"]
                case "free_completed":
                    assert live.pop(entry["addr"]) == entry["size"]
        tiles = [tile for segment in snapshot["segments"] for tile in tiled(segment)]
        assert {tile["address"]: tile["size"] for tile in tiles if tile["state"] == "active_allocated"} == live
        records = sum(record.size_bytes > 0 for record in run.timeline.memory if record.taken)
        assert sum(entry["action"] == "alloc" for entry in snapshot["device_traces"][0]) == records


def overlapping(live: dict[int, int], address: int, size: int) -> bool:
    return any(other < address + size and address < other + its for other, its in live.items())


def tiled(segment: Any) -> list[Any]:
    """The blocks of a segment, which lie one behind the other from its begin to its end."""
    address = segment["address"]
    for tile in segment["blocks"]:
        assert tile["address"] == address
        address += tile["size"]
    assert address == segment["address"] + segment["total_size"]
    blocks: list[Any] = segment["blocks"]
    return blocks


def test_frames_name_buffer_and_layer(roomy: Comparison) -> None:
    _, snapshot = next(pair for pair in snapshots(roomy) if pair[0].result.policy == "vdnn-all(p)")
    entries = snapshot["device_traces"][0]
    of_map = [entry for entry in entries if entry["frames"] and entry["frames"][0]["name"] == "map:conv1"]
    told = [(entry["action"], entry["frames"][0]["filename"], entry["frames"][1]["name"]) for entry in of_map]
    assert told[0] == ("alloc", "feature maps", "conv1 forward")
    assert ("free_requested", "feature maps", "relu1 backward") in told
    assert of_map[0]["frames"][1]["filename"] == "tiny"
    assert {entry["frames"][1]["name"] for entry in entries[1:9]} == {"set-up"}


def test_out_of_memory_is_told_where_it_was(tight: Comparison) -> None:
    run, snapshot = next(pair for pair in snapshots(tight) if pair[0].result.policy == "vdnn-all(p)")
    entries = snapshot["device_traces"][0]
    [place] = [place for place, entry in enumerate(entries) if entry["action"] == "oom"]
    failure = run.result.failure
    assert failure is not None
    assert (entries[place]["size"], entries[place]["device_free"]) == (failure.requested_bytes, failure.free_bytes)
    assert [frame["name"] for frame in entries[place]["frames"]] == [failure.buffer, failure.where]
    assert entries[place + 1]["action"] == "alloc"


def test_the_viewers_own_reader_knows_every_opcode(every: Comparison, tmp_path: Path) -> None:
    for run in every.runs[:2]:
        write_snapshot(run, every, tmp_path / "s.pickle")
        data = (tmp_path / "s.pickle").read_bytes()
        opcodes = {opcode.code for opcode, _, _ in pickletools.genops(data)}
        assert (data[1], opcodes - KNOWN_TO_THE_VIEWER) == (4, set())
        entries = pickle.loads(data)["device_traces"][0]
        assert "unknown" in {entry["category"] for entry in entries}  # without one the page fails


def test_a_snapshot_that_cannot_be_written_leaves_nothing(roomy: Comparison, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="choose a writable folder"):
        write_snapshot(roomy.runs[0], roomy, tmp_path / "no" / "s.pickle")
    assert list(tmp_path.iterdir()) == []
