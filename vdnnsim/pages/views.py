"""What the page's program needs of runs to draw them: columns of whole numbers, made small.

Names stand once, in `strings`, and are numbers elsewhere. Times are nanoseconds, each as what it is later than the one
before. Memory is what happened, in order: a block is taken (0), the next of `blocks`, or given back, by its number
counted back from the last one taken (1 is that). Places are bytes within the stretches of `report.blocks`.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any

from vdnnsim.figures import looks
from vdnnsim.memory import NULL_ADDRESS
from vdnnsim.pages.parts import Views
from vdnnsim.report.blocks import Block, blocks_of, end_of_changes_ns, packed_addresses, step_title, unplaced
from vdnnsim.report.table import algorithms_of
from vdnnsim.results import Comparison, LayerResult, PolicyRun
from vdnnsim.timeline import COPY_OUT, SETUP
from vdnnsim.units import format_bytes

_COMPRESSION = 9


def views_of(comparison: Comparison, begin: int = 0) -> Views:
    """The views of all runs of a comparison."""
    strings = _Strings()
    classes = looks.class_colours(name for run in comparison.runs for name in run.result.bytes_by_class_at_peak)
    strings.numbers(classes)  # those of no block too: the page's program knows classes by their numbers
    runs = [_run(run, comparison, strings) for run in comparison.runs]
    engines = dict(looks.ENGINE_COLOURS)
    document = {
        "strings": strings.texts,
        "classes": classes,
        "engines": engines,
        "passes": dict(looks.PASS_COLOURS),
        "capacity": comparison.capacity_bytes,
        "runs": runs,
    }
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    data = b64encode(zlib.compress(text.encode(), _COMPRESSION)).decode()
    shown = {"computes": engines["compute"], "waits for copies": engines["stall"]}
    policies = tuple(run.result.policy for run in comparison.runs)
    return Views(data, policies, classes, shown, f"capacity {format_bytes(comparison.capacity_bytes)}", begin)


class _Strings:
    """Texts, each by its number."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        found = self._numbers.setdefault(text, len(self.texts))
        if found == len(self.texts):
            self.texts.append(text)
        return found

    def numbers(self, texts: Iterable[str]) -> list[int]:
        return [self.number(text) for text in texts]


def _run(run: PolicyRun, comparison: Comparison, strings: _Strings) -> dict[str, Any]:
    timeline, result = run.timeline, run.result
    blocks = blocks_of(run)
    lost = unplaced(run, blocks)
    copies = (*timeline.copies, *timeline.nvme)
    return {
        "policy": result.policy,
        "trains": result.trainable,
        "end": timeline.iteration_time_ns,
        "peak": result.peak_bytes,
        "changes": end_of_changes_ns(run),
        "steps": {
            "title": strings.numbers(step_title(run, step) for step in range(len(run.steps))),
            "backward": [int(step.backward) for step in run.steps],
            **_spans((step.begin_ns, step.end_ns) for step in run.steps),
        },
        "kernels": {
            "layer": strings.numbers(kernel.layer for kernel in timeline.kernels),
            "pass": strings.numbers(kernel.pass_ for kernel in timeline.kernels),
            "algorithm": strings.numbers(kernel.algorithm for kernel in timeline.kernels),
            **_spans((kernel.begin_ns, kernel.end_ns) for kernel in timeline.kernels),
        },
        "copies": {
            "engine": strings.numbers(copy.direction for copy in copies),
            "buffer": strings.numbers(copy.buffer for copy in copies),
            "bytes": [copy.size_bytes for copy in copies],
            **_spans((copy.begin_ns, copy.end_ns) for copy in copies),
        },
        "stalls": {
            "out": [int(stall.direction == COPY_OUT) for stall in timeline.stalls],
            "late": [int(stall.late) for stall in timeline.stalls],
            "buffer": strings.numbers(stall.buffer for stall in timeline.stalls),
            **_spans((stall.begin_ns, stall.end_ns) for stall in timeline.stalls),
        },
        "waits": _spans((wait.begin_ns, wait.end_ns) for wait in timeline.waits),
        **_memory(run, comparison, blocks, strings),
        "lost": blocks.index(lost) if lost else None,
        "layers": _layers(result.layers, strings),
    }


def _memory(run: PolicyRun, comparison: Comparison, blocks: Sequence[Block], strings: _Strings) -> dict[str, Any]:
    packed = packed_addresses(blocks, comparison)
    records = [record for record in run.timeline.memory if record.address != NULL_ADDRESS]
    live: dict[str, int] = {}
    happened: list[int] = []
    taken = 0
    for record in records:
        if record.taken:
            live[record.buffer] = taken
            taken += 1
            happened.append(0)
        else:
            happened.append(taken - live.pop(record.buffer))
    return {
        "stretches": [
            [start, *stretch] for start, stretch in zip(packed.starts_bytes(), packed.stretches, strict=False)
        ],
        "blocks": {
            "buffer": strings.numbers(block.buffer for block in blocks),
            "class": strings.numbers(block.memory_class for block in blocks),
            "place": packed.place_bytes([block.address for block in blocks]),
            "size": [block.end - block.address for block in blocks],
            "asked": [block.size_bytes for block in blocks],
            "title": strings.numbers(step_title(run, block.step) for block in blocks),
        },
        "happened": happened,
        "turn": next(
            (record.time_ns for record in records if record.step != SETUP and run.steps[record.step].backward), None
        ),
        "moments": _deltas([record.time_ns for record in records]),
    }


def _layers(layers: Iterable[LayerResult], strings: _Strings) -> dict[str, list[int]]:
    layers = tuple(layers)
    numbers = (
        "forward_ns",
        "backward_ns",
        "kernel_ns",
        "stall_ns",
        "offloaded_bytes",
        "prefetched_bytes",
        "reuse_distance_ns",
    )
    return {
        "layer": strings.numbers(layer.layer for layer in layers),
        "kind": strings.numbers(layer.kind for layer in layers),
        "algorithms": strings.numbers(algorithms_of(layer) for layer in layers),
        "stalled": strings.numbers(", ".join(layer.stalls_by_copy_ns) for layer in layers),
        **{name: [getattr(layer, name) for layer in layers] for name in numbers},
    }


def _spans(spans: Iterable[tuple[int, int]]) -> dict[str, list[int]]:
    """Begins and lengths, in the order in which they are."""
    known = list(spans)
    return {"begin": _deltas([begin for begin, _ in known]), "length": [end - begin for begin, end in known]}


def _deltas(numbers: Sequence[int]) -> list[int]:
    return [now - before for now, before in zip(numbers, [0, *numbers], strict=False)]
