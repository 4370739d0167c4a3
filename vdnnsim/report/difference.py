"""A difference as text: what went in, what came out, which layers gained and lost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vdnnsim.differences.records import Change, Difference, LayerChange, Side, Value, quantity_of
from vdnnsim.errors import printable
from vdnnsim.report.columns import plain_table
from vdnnsim.report.terminal import print_table, print_text
from vdnnsim.report.words import shortened
from vdnnsim.units import format_bytes, format_ms

_MAIN = (
    "trainable", "iteration_time_ns", "performance", "stall_ns", "peak_bytes", "peak_allocated_bytes",
    "peak_reserved_bytes", "average_bytes", "needed_bytes", "offloaded_bytes", "pinned_host_bytes", "host_bound",
    "deferred_prefetches", "verdict", "plan.layout", "plan.offload", "plan.deferred", "measured_iteration_time_ns",
    "predicted_iteration_time_ns", "measured_peak_bytes", "predicted_peak_bytes", "measured_offloaded_bytes",
    "step_ns", "predicted.step_ns", "requested_bytes", "allocated_bytes", "reserved_bytes", "gradients",
    "as_planned", "error", "same_addresses", "same_decisions",
)  # fmt: skip
"""What the text shows of a result or a case, with the parts of its loss; the rest is counted."""
_PART = "loss."
_MOST_LAYERS = 6
_LONGEST_VALUE = 34
_MOST_NAMES = 4
_MOST_PAIRS = 4
_LEAST_MS_NS = 10**5
_RATIOS = ("performance", "error")
_LEAST_SHOWN = 0.00005
_NOTE = "%: of A, or of A's iteration time or peak where that is larger"


def difference_subject(difference: Difference) -> str:
    """Which two things."""
    before, after = difference.before, difference.after
    return f"A: {_named(before)}    B: {_named(after)}"


def _named(side: Side) -> str:
    return shortened(printable(Path(side.name).name if side.kind == "result" else side.name), 48)


def side_words(side: Side) -> str:
    """On what a result ran, in short."""
    told = side.inputs
    batch = "" if told.get("batch") is None else f", batch {told['batch']}"
    link = " and ".join(_words(name, told.get(name)) for name in ("copy_out_bytes_per_s", "copy_in_bytes_per_s"))
    text = f"{told.get('network')}{batch}, {told.get('gpu')}, {_words('capacity_bytes', told.get('capacity_bytes'))}"
    return shortened(printable(f"{text}, link {link}"), 100)


def difference_text(difference: Difference) -> str:
    """As `print_difference`, without colours."""
    text = StringIO()
    print_difference(difference, Console(file=text, force_terminal=False, highlight=False))
    return text.getvalue().rstrip("\n")


def print_difference(difference: Difference, console: Console) -> None:
    """The inputs that differ, the main numbers of each policy or case, and the layers that gained and lost most."""
    print_text(console, difference_subject(difference), "bold")
    if not (difference.inputs or difference.numbers or difference.layers):
        print_text(console, "No difference.")
        return
    _print_changes(console, "What went in", difference.inputs)
    of_results = difference.before.kind in ("result", "calibration")
    shown = [change for change in difference.numbers if not of_results or _is_main(change.name)]
    shown = [change for change in shown if _told(change)]
    _print_lonely(console, difference)
    _print_changes(console, "What came out" if of_results else "Numbers", shown)
    if not shown:
        print_text(console, "The main numbers are equal.")
    if rest := len(difference.numbers) - len(shown) - len(difference.lonely):
        print_text(console, f"{rest} more numbers differ, which --json has.", "dim")
    if any(change.share not in (None, math.inf) for change in shown):
        print_text(console, _NOTE, "dim")
    by_pair: dict[str, list[LayerChange]] = {}
    for layer in difference.layers:
        by_pair.setdefault(layer.of, []).append(layer)
    moved = sorted(by_pair, key=lambda of: -max(abs(layer.gained_ns) for layer in by_pair[of]))
    for of in moved[:_MOST_PAIRS]:
        _print_layers(console, of, by_pair[of])
    if len(moved) > _MOST_PAIRS:
        print_text(console, f"\nLayers of {len(moved) - _MOST_PAIRS} more differ, which --json has.", "dim")


def _print_lonely(console: Console, difference: Difference) -> None:
    """What only one side has."""
    for side, had in (("A", "before"), ("B", "after")):
        names = [printable(change.of) for change in difference.lonely if getattr(change, had) is not None]
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        if names:
            print_text(console, f"\nOnly in {side}: {', '.join(names[:_MOST_NAMES])}{more}")


def _is_main(name: str) -> bool:
    return name in _MAIN or name.startswith(_PART)


def _told(change: Change) -> bool:
    """Whether the change shows in the digits that are printed."""
    words = [_words(change.name, value) for value in (change.before, change.after)]
    return words[0] != words[1] and (change.share is None or abs(change.share) >= _LEAST_SHOWN)


def _print_changes(console: Console, heading: str, changes: Iterable[Change]) -> None:
    table = plain_table()
    rows = list(changes)
    if not rows:
        return
    print_text(console, f"\n{heading}", "bold")
    with_parts = any(change.of for change in rows)
    for name in (*(["of"] if with_parts else []), "what", "A", "B"):
        table.add_column(name, no_wrap=True)
    table.add_column("%", justify="right", no_wrap=True)
    last = ""
    for change in rows:
        own = [Text(printable(change.of) if change.of != last else "")] if with_parts else []
        last = change.of
        values = [Text(_words(change.name, value)) for value in (change.before, change.after)]
        if change.name.endswith("sha256"):  # which says nothing to people
            values = [Text("one"), Text("another")]
        table.add_row(*own, Text(_label(change.name)), *values, Text(share_words(change.share)))
    print_table(console, table)


def _print_layers(console: Console, of: str, layers: list[LayerChange]) -> None:
    """The layers that gained and lost most time, and those that one side alone has."""
    ordered = sorted(layers, key=lambda layer: -abs(layer.gained_ns))
    if not ordered:
        return
    print_text(console, f"\nLayers that gained and lost{f', {printable(of)}' if of else ''}", "bold")
    table = plain_table()
    for name in ("layer", "A ms", "B ms", "gained ms", "stall A ms", "stall B ms", "offl. A", "offl. B"):
        table.add_column(name, justify="left" if name == "layer" else "right", no_wrap=True)
    for layer in ordered[:_MOST_LAYERS]:
        table.add_row(*(Text(cell) for cell in _layer_cells(layer)))
    _without_empty(table)
    print_table(console, table)
    if len(ordered) > _MOST_LAYERS:
        print_text(console, f"{len(ordered) - _MOST_LAYERS} more layers differ.", "dim")


def _layer_cells(layer: LayerChange) -> list[str]:
    sides = (layer.before, layer.after)
    times = ["-" if side is None else _ms(LayerChange("", "", side, None).gained_ns) for side in sides]
    stalls = [_ms(side["stall_ns"]) if side and side.get("stall_ns") else "" for side in sides]
    bytes_ = [
        _words("_bytes", side["offloaded_bytes"]) if side and side.get("offloaded_bytes") else "" for side in sides
    ]
    return [printable(layer.layer), *times, f"{layer.gained_ns / 1e6:+.3f}", *stalls, *bytes_]


def _ms(time_ns: Value) -> str:
    return f"{float(time_ns or 0) / 1e6:.3f}"


def _without_empty(table: Table) -> None:
    table.columns = [column for column in table.columns if any(str(cell) for cell in column.cells)]


def over_words(over: Sequence[Change], limit: float) -> str:
    """How many numbers differ by more than a limit, and the first three of them."""
    named = [
        f"{change.of + ' ' if change.of else ''}{_label(change.name)} {_words(change.name, change.before)} → "
        f"{_words(change.name, change.after)}"
        + ("" if math.isinf(change.share or 0) else f" ({share_words(change.share)} %)")
        for change in over[:3]
    ]
    more = f"; and {len(over) - len(named)} more" if len(over) > len(named) else ""
    return printable(f"over {100 * limit:g} %: {'; '.join(named)}{more}")


def share_words(share: float | None) -> str:
    """Such as "+1.2"; "new" for what only one side has."""
    if share is None:
        return ""
    return "!" if math.isinf(share) else f"{100 * share:+.2f}"


def _label(name: str) -> str:
    """The name of a number without its unit, which stands beside its value: "loss: copies out"."""
    group, dot, last = name.rpartition(".")
    for unit in ("_bytes_per_s", "_ns", "_bytes", "_sha256"):
        last = last.removesuffix(unit)
    return printable(f"{group}: {last}" if dot else last).replace("_", " ")


def _words(name: str, value: Value) -> str:
    """A value as people read it, by the unit in its name."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(name, value)
    if name == "verdict":  # up to what binds; the rest are numbers that stand for themselves
        value = value.partition(":")[0]
    if value.endswith((" B", " B/s")) and (size := quantity_of(value)) is not None:
        value = _number("_per_s" if value.endswith("s") else "_bytes", size)
    return shortened(printable(value), _LONGEST_VALUE) or "none"


def _number(name: str, value: float) -> str:
    if name.endswith("_per_s"):
        return f"{format_bytes(round(value))}/s"
    if "_bytes" in name:
        return format_bytes(round(value))
    if "_ns" in name:
        return format_ms(round(value)) if abs(value) >= _LEAST_MS_NS or not value else f"{value} ns"
    return f"{100 * value:.2f} %" if name.endswith(_RATIOS) else f"{value:g}"
