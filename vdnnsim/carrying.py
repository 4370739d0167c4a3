"""Traces carried over to a GPU that nobody timed, by a roofline (docs/profiles.md, "Traces carried over").

A kernel took t on one GPU, where the bytes that it must move take M at least. On the other it takes

    t' = launch + (t - launch - M) * arithmetic + M * memory

with the ratios of the two GPUs' specified rates (`[roofline]`). The launch, 2 us, is what a kernel takes that has next
to nothing to do; it is never more than t, and M never more than the rest. M counts each operand that is read or written
once, and the workspace once. The arithmetic is that of the trace's math mode for CONV and FC, fp32's for all else.

No constant was fitted. What was chosen is the rule: of seven, among them the longer of both limits, it is off least on
the rows that were measured on both an H200 and an H100.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import Roofline, load_roofline
from vdnnsim.network import Kind, Network, iteration_of, load_network
from vdnnsim.trace import CARRIED, DEFAULT_MATH, INTERPOLATED, Provenance, Trace, TraceRow, TraceShelf, required_passes

LAUNCH_NS = 2000
"""Of every kernel's time, what no GPU makes shorter."""
_ARITHMETIC = frozenset({Kind.CONV, Kind.FC})
_CHECKED_ARITHMETIC = (1.0, 1.0)
_CHECKED_MEMORY = (0.69, 1.44)
"""How much faster the other GPU was where the rule was checked: H200 and H100, either way."""
_CHECKED_ERRORS = "3 % a kernel and 0.7 % an iteration in the middle, between an H200 and an H100"


class CarriedOver(NamedTuple):
    """A trace on another GPU. `left_out` are algorithms that it lacks; `beyond` says how far it is from where the rule
    was checked, empty where it is within."""

    trace: Trace
    left_out: tuple[str, ...]
    beyond: str


def model_trace(
    network: str | Path,
    *,
    batch: int,
    source: str | Path,
    target: str | Path,
    math: str = DEFAULT_MATH,
    traces: Iterable[str | Path] = (),
) -> CarriedOver:
    """The trace of a network on the GPU `target` that nobody timed there, from one of the GPU `source`.

    Both are names or files of profiles with a `[roofline]`; the trace of `source` is looked for as `compare` does,
    also between two batches. Raises `InvalidInput` (and its kinds) for what cannot be used, and for a GPU that lacks
    the math mode, or every algorithm of some kernel.
    """
    named, shape = str(network), load_network(network, batch)
    old, new = load_roofline(source), load_roofline(target)
    found = TraceShelf(map(Path, traces)).trace(shape, named, old.gpu, math)
    return carry_over(found.trace, shape, old, new)


def carry_over(trace: Trace, network: Network, old: Roofline, new: Roofline) -> CarriedOver:
    """As `model_trace`, of a trace of the network that was read already."""
    math = trace.header.math
    for roofline in (old, new):
        if math not in roofline.operations_per_s:
            known = ", ".join(roofline.operations_per_s)
            raise InvalidInput(f"math: found {math}, expected one that {roofline.gpu} has ([roofline]): {known}")
    lacks = sorted({row.algorithm for row in trace.rows} & new.lacks)
    slower = _Slower.between(old, new, math)
    moved_ns = _moved_ns(network, trace, old)
    kinds = {layer.name: layer.kind for layer in network.layers}
    rows = [
        _carried(row, moved_ns[row.layer, row.pass_], old.memory_bytes_per_s, slower, kinds[row.layer])
        for row in trace.rows
        if row.algorithm not in new.lacks
    ]
    _check_complete(rows, network, new)
    beyond = slower.beyond()
    text = _told(trace, slower, beyond, lacks)
    header = replace(
        trace.header, gpu=new.gpu, created_by="vdnnsim model-trace", sources={CARRIED: text}, conditions={}
    )
    return CarriedOver(Trace(header, rows), tuple(lacks), beyond)


class _Slower(NamedTuple):
    """How much longer the other GPU takes: for memory, for arithmetic in the trace's math mode, and in fp32."""

    memory: float
    arithmetic: float
    fp32: float

    @classmethod
    def between(cls, old: Roofline, new: Roofline, math: str) -> _Slower:
        def ratio(mode: str) -> float:
            return old.operations_per_s[mode] / new.operations_per_s[mode]

        return cls(old.memory_bytes_per_s / new.memory_bytes_per_s, ratio(math), ratio("fp32"))

    def beyond(self) -> str:
        """Which of these lie outside what was checked."""
        checked = {"memory": _CHECKED_MEMORY, "arithmetic": _CHECKED_ARITHMETIC, "fp32": _CHECKED_ARITHMETIC}
        outside = []
        for (what, (low, high)), slower in zip(checked.items(), self, strict=True):
            if not low <= 1 / slower <= high and (what != "fp32" or self.fp32 != self.arithmetic):
                outside.append(f"{what} x{1 / slower:.3g} (checked x{low:g} to x{high:g})")
        return ", ".join(outside)


def _moved_ns(network: Network, trace: Trace, old: Roofline) -> Mapping[tuple[str, str], float]:
    """How long each kernel's operands take to move there at least."""
    passes = frozenset((row.layer, row.pass_) for row in trace.rows)
    iteration = iteration_of(network, passes)
    sizes = {name: buffer.size_bytes for name, buffer in iteration.buffers.items()}
    return {
        (operator.layer, operator.pass_): 1e9
        * sum(sizes.get(name, 0) for part in (operator.reads, operator.writes) for name in part)
        / old.memory_bytes_per_s
        for operator in iteration.operators
    }


def _carried(row: TraceRow, operands_ns: float, bytes_per_s: int, slower: _Slower, kind: Kind) -> TraceRow:
    """The row on the other GPU; what the host does for it stays, what its measurements spread by does not."""
    launch_ns = min(row.duration_ns, LAUNCH_NS)
    rest_ns = row.duration_ns - launch_ns
    moved_ns = min(rest_ns, operands_ns + 1e9 * row.workspace_bytes / bytes_per_s)
    arithmetic = slower.arithmetic if kind in _ARITHMETIC else slower.fp32
    duration_ns = round(launch_ns + (rest_ns - moved_ns) * arithmetic + moved_ns * slower.memory)
    return row._replace(
        duration_ns=duration_ns, provenance=Provenance.MODELLED, source=CARRIED, spread=None, disturbed=""
    )


def _check_complete(rows: Iterable[TraceRow], network: Network, new: Roofline) -> None:
    present = {(row.layer, row.pass_) for row in rows}
    for layer, pass_ in required_passes(network):
        if (layer, pass_) not in present:
            raise InvalidInput(
                f"{new.gpu}: found no algorithm that it has for {pass_} of layer '{layer}', expected one or more; it "
                f"lacks {', '.join(sorted(new.lacks))}"
            )


def _told(trace: Trace, slower: _Slower, beyond: str, lacks: Iterable[str]) -> str:
    """The source of every row, in words."""
    header = trace.header
    text = (
        f"modelled: carried over from {header.gpu} by the roofline (memory x{1 / slower.memory:.3g}, arithmetic "
        f"x{1 / slower.arithmetic:.3g} in {header.math}); off by {_CHECKED_ERRORS}"
    )
    text += f"; beyond what was checked: {beyond}" if beyond else ""
    if left_out := ", ".join(lacks):
        text += f"; without {left_out}, which the GPU lacks"
    own = "; ".join(words for source, words in header.sources.items() if source == INTERPOLATED)
    return f"{text}. There: {own}" if own else f"{text}."
