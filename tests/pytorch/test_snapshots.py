"""What is read of the snapshots of PyTorch's CUDA allocator."""

from __future__ import annotations

from typing import Any

from vdnnsim.captured.step import AllocatorSegment
from vdnnsim.pytorch.cuda_device import memory_now, taken_of


def block(address: int, size_bytes: int, asked_bytes: int, state: str = "active_allocated") -> dict[str, Any]:
    return {"address": address, "size": size_bytes, "requested_size": asked_bytes, "state": state}


SMALL = {"total_size": 2 << 20, "segment_type": "small"}
SNAPSHOT: dict[str, Any] = {
    "segments": [
        {
            "device": 1,
            "address": 0x9000000,
            "total_size": 20 << 20,
            "segment_type": "large",
            "blocks": [block(0x9000000, 1024, 1000), block(0x9000400, 512, 0, "inactive")],
        },
        {
            "device": 0,
            "address": 0x1000,
            "total_size": 2 << 20,
            "segment_type": "small",
            "blocks": [block(0x1000, 512, 4)],
        },
        {
            "device": 1,
            "address": 0x2000,
            "total_size": 2 << 20,
            "segment_type": "small",
            "blocks": [block(0x2000, 512, 8)],
        },
    ],
    "device_traces": [
        [],
        [
            {"action": "segment_alloc", "addr": 0x9000000, "size": 20 << 20},
            {"action": "alloc", "addr": 0x9000000, "size": 1000},
            {"action": "free_requested", "addr": 0x9000000, "size": 1000},
            {"action": "free_completed", "addr": 0x9000000, "size": 1000},
            {"action": "alloc", "addr": 0x2000, "size": 8},
        ],
    ],
}


def test_blocks_in_use_and_segments_of_one_device() -> None:
    now = memory_now(SNAPSHOT, 1)
    assert now.blocks == {0x9000000: (1000, 1024), 0x2000: (8, 512)}
    assert now.segments == (AllocatorSegment(0x2000, 2 << 20, True), AllocatorSegment(0x9000000, 20 << 20, False))


def test_what_was_taken_with_the_size_asked_for_in_order() -> None:
    assert taken_of(SNAPSHOT, 1) == [(0x9000000, 1000), (0x2000, 8)]
