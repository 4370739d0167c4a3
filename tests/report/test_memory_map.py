"""Maps of memory: a rectangle for each block, at its address, for as long as it lived, and what is marked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from tests.support.legible import assert_legible, figure_of, texts_of
from vdnnsim import memory_map
from vdnnsim.figures.looks import class_colours
from vdnnsim.report.blocks import Block, Stretch, blocks_of, packed_addresses
from vdnnsim.results import Comparison, PolicyRun
from vdnnsim.timeline import MemoryRecord
from vdnnsim.units import format_bytes

Compare = Callable[..., Comparison]
MIB = 2**20


def with_memory(comparison: Comparison, records: Sequence[MemoryRecord], end_ns: int) -> PolicyRun:
    """A run whose blocks are these."""
    run = comparison.runs[0]
    return replace(run, timeline=replace(run.timeline, memory=tuple(records), iteration_time_ns=end_ns))


def taken(time_ns: int, buffer: str, address: int, size_bytes: int, step: int = 0) -> MemoryRecord:
    return MemoryRecord(step, time_ns, True, buffer, "feature maps", False, address, size_bytes)


def rectangles(figure: Figure) -> Any:
    """The corners of every block's rectangle: (left, low), and opposite (right, high)."""
    [blocks] = [drawn for drawn in figure.axes[0].collections if isinstance(drawn, PolyCollection)]
    return [(path.vertices[0], path.vertices[2]) for path in blocks.get_paths()], blocks.get_facecolors()


def test_a_block_lives_from_its_take_to_its_end(roomy: Comparison) -> None:
    first, nothing, second = taken(5, "x", 0, 1000), taken(5, "none", -1, 0), taken(7, "y", 1024, 512, step=1)
    records = [first, nothing, second, second._replace(time_ns=9, taken=False), second._replace(time_ns=11)]
    assert blocks_of(with_memory(roomy, records, end_ns=20)) == [
        Block("x", "feature maps", 0, 1024, 1000, 5, 20, 0, kept=True),
        Block("y", "feature maps", 1024, 1536, 512, 7, 9, 1, kept=False),
        Block("y", "feature maps", 1024, 1536, 512, 11, 20, 1, kept=True),
    ]


def test_addresses_that_no_block_has_are_left_out_of_pytorchs_allocator_alone(roomy: Comparison) -> None:
    far = 2**46
    blocks = blocks_of(
        with_memory(roomy, [taken(0, "x", 0, 512), taken(0, "y", 19 * MIB, MIB), taken(0, "z", far + 512, 512)], 1)
    )
    packed = packed_addresses(blocks, replace(roomy, pool="pytorch-caching"))
    assert packed.stretches == (Stretch(0, 20 * MIB), Stretch(far, far + 2 * MIB))
    assert packed.place_bytes([0, 19 * MIB, far + 512]) == [0, 19 * MIB, 20 * MIB + 512]
    assert packed_addresses(blocks, roomy).stretches == (Stretch(0, far + 1024),)


def test_every_map_can_be_read_and_has_every_block(every: Comparison) -> None:
    for run in every.runs[:4]:
        figure = figure_of(lambda run=run: memory_map(run, every, "map.png"))  # type: ignore[misc]
        assert_legible(figure)
        corners, colours = rectangles(figure)
        of_blocks = [record for record in run.timeline.memory if record.taken and record.size_bytes]
        assert len(corners) == len(of_blocks)
        classes = class_colours(run.result.bytes_by_class_at_peak).values()
        assert {to_hex(colour).upper() for colour in colours} <= set(classes)


def test_time_in_which_nothing_changes_is_left_out_and_told(roomy: Comparison) -> None:
    for last_ms, shown_ms in ((2, 2.1), (6, 10)):
        run = with_memory(roomy, [taken(0, "x", 0, 512), taken(last_ms * 10**6, "y", 512, 512)], 10 * 10**6)
        figure = figure_of(lambda run=run: memory_map(run, roomy, "map.png"))  # type: ignore[misc]
        assert figure.axes[0].get_xlim()[1] == pytest.approx(shown_ms)
        told = " ".join(text.get_text() for text in texts_of(figure)).replace("\n", " ")
        assert ("From its edge to the end, at 10.0 ms, nothing changes" in told) == (shown_ms < 10)


def test_rectangles_are_where_the_blocks_are(roomy: Comparison) -> None:
    records = [taken(0, "x", 0, 10**9), taken(4 * 10**6, "y", 2 * 10**9, 10**9)]
    run = with_memory(roomy, records, 10 * 10**6)
    corners, _ = rectangles(figure_of(lambda: memory_map(run, replace(roomy, capacity_bytes=4 * 10**9), "map.png")))
    found = [tuple(round(float(number), 3) for point in pair for number in point) for pair in corners]
    assert found == [(0, 0, 10, 1), (4, 2, 10, 3)]


def test_the_peak_the_capacity_and_what_found_no_room_are_marked(tight: Comparison) -> None:
    run = next(run for run in tight.runs if run.result.policy == "vdnn-all(p)")
    figure = figure_of(lambda: memory_map(run, tight, "map.png"))
    said = {text.get_text() for text in texts_of(figure)}
    assert run.result.failure is not None
    assert {"capacity 32.8 KB", f"peak {format_bytes(run.result.peak_bytes)}", "backward begins"} <= said
    assert f"out of memory: no room for {format_bytes(run.result.failure.requested_bytes)}" in said
    live = peak_bytes = at_ns = 0
    for record in run.timeline.memory:
        live += record.size_bytes if record.taken else -record.size_bytes
        if live > peak_bytes:
            peak_bytes, at_ns = live, record.time_ns
    marked = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "v"]  # type: ignore[index]
    assert marked == [pytest.approx(at_ns / 1000)]


def test_ten_thousand_blocks_take_no_two_seconds(roomy: Comparison, tmp_path: Path) -> None:
    records = []
    for number in range(10_000):
        block = taken(number * 1000, f"b{number}", number % 97 * 4096, 4096)
        records += [block, block._replace(time_ns=(number + 50) * 1000, taken=False)]
    run = with_memory(roomy, sorted(records, key=lambda record: record.time_ns), 10_100_000)
    before_s = time.process_time()
    memory_map(run, roomy, tmp_path / "map.png")
    assert time.process_time() - before_s < 2


def test_long_names_are_broken_into_lines(roomy: Comparison) -> None:
    wide = replace(roomy, network="W" * 60, gpu="M" * 40)
    assert_legible(figure_of(lambda: memory_map(roomy.runs[0], wide, "map.png")))
