"""Buffers in a pool: addresses, bytes by class, the largest hole when most was in use."""

from __future__ import annotations

import pytest

from vdnnsim.machines import DeviceMemory, OutOfMemory
from vdnnsim.memory import make_pool
from vdnnsim.program import Buffer, MemoryClass

UNIT = 512


def buffer(name: str, units: float, memory_class: MemoryClass = MemoryClass.FEATURE_MAPS) -> Buffer:
    return Buffer(name, int(units * UNIT), memory_class, name, False)


def test_addresses_and_bytes_by_class() -> None:
    memory = DeviceMemory(make_pool("best-fit", 10 * UNIT))
    assert memory.allocate(buffer("a", 1.5), "x") == 0
    assert memory.allocate(buffer("b", 1, MemoryClass.WEIGHTS), "x") == 2 * UNIT
    assert memory.addresses == {"a": 0, "b": 2 * UNIT}
    sizes = {"weights": 512, "weight gradients": 0, "feature maps": 768, "gradient maps": 0, "workspace": 0}
    assert memory.bytes_by_class() == sizes
    assert memory.free(buffer("a", 1.5)) == 0
    assert memory.addresses == {"b": 2 * UNIT}
    assert memory.bytes_by_class() == {**sizes, "feature maps": 0}


def test_the_hole_is_the_largest_when_most_was_in_use() -> None:
    """Ten units. a, b, c take 2, 3, 4: the peak, with 1 in one piece. Later the same 9 are in use otherwise: the first
    peak counts, and no later moment with more room."""
    memory = DeviceMemory(make_pool("best-fit", 10 * UNIT))
    for name, units in (("a", 2), ("b", 3), ("c", 4)):
        memory.allocate(buffer(name, units), "x")
    assert memory.largest_hole_at_peak() == UNIT
    memory.free(buffer("b", 3))
    assert memory.largest_hole_at_peak() == UNIT
    memory.allocate(buffer("d", 2), "x")
    memory.free(buffer("c", 4))
    assert memory.peak_in_use_bytes == 9 * UNIT
    assert memory.largest_hole_at_peak() == UNIT


def test_a_higher_peak_has_another_hole() -> None:
    memory = DeviceMemory(make_pool("best-fit", 10 * UNIT))
    memory.allocate(buffer("a", 4), "x")
    memory.free(buffer("a", 4))
    assert memory.largest_hole_at_peak() == 6 * UNIT
    memory.allocate(buffer("b", 1), "x")
    memory.allocate(buffer("c", 7), "x")
    memory.free(buffer("b", 1))
    assert memory.largest_hole_at_peak() == 2 * UNIT


def test_of_equal_peaks_the_first_counts() -> None:
    """Six of ten units twice: first with 4 free in one piece, then in pieces of 1, 1 and 2."""
    memory = DeviceMemory(make_pool("best-fit", 10 * UNIT))
    for name, units in (("a", 1), ("b", 2), ("c", 1), ("d", 2)):
        memory.allocate(buffer(name, units), "x")
    memory.free(buffer("a", 1))
    memory.free(buffer("c", 1))
    memory.allocate(buffer("e", 2), "x")
    memory.free(buffer("e", 2))
    assert memory.largest_hole_at_peak() == 4 * UNIT


def test_out_of_memory_keeps_what_was_asked_and_what_was_there() -> None:
    memory = DeviceMemory(make_pool("best-fit", 4 * UNIT))
    memory.allocate(buffer("a", 1), "set-up")
    memory.allocate(buffer("b", 1, MemoryClass.WEIGHTS), "set-up")
    memory.free(buffer("a", 1))
    with pytest.raises(OutOfMemory) as caught:
        memory.allocate(buffer("c", 3), "conv forward")
    error = caught.value
    assert (error.where, error.largest_hole_bytes, error.fragmented) == ("conv forward", 2 * UNIT, True)
    assert error.args[1:4] == ("c", 3 * UNIT, 4 * UNIT)
    assert error.args[4]["weights"] == UNIT
    assert memory.addresses == {"b": UNIT}
