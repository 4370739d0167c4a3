"""The page of a sweep: what trains, which policy is the fastest where, its figures and its points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vdnnsim.errors import InvalidInput
from vdnnsim.figures.sweep import plot_sweep
from vdnnsim.figures.sweep.view import View, words
from vdnnsim.pages.parts import Column, Grid, Items, Page, Part, Row, Section, Words, filled
from vdnnsim.pages.pictures import picture_of
from vdnnsim.pages.writing import write_page
from vdnnsim.sweep.reading import Status, read_status, read_sweep
from vdnnsim.units import format_bytes

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 2000
"""More points are left to `vdnnsim sweep export`."""
_FOLDED_FROM = 60
"""Longer tables are shown when asked for, and not printed."""
_NEAR = 0.95
_ORACLE = "oracle"
_SHOWN = ("iteration_time_ns", "performance", "stall_ns", "peak_bytes", "offloaded_bytes", "needed_bytes", "bound")
_UNITS = {"ns": ("ms", 1e6), "bytes": ("GB", 1e9), "bytes_per_s": ("GB/s", 1e9)}


def sweep_page(folder: Path | str, path: Path | str | None = None, *, command: str = "") -> Page:
    """A page of what a sweep's folder holds: the answer in words, figures, and its points as a table. It is written
    where there is a `path`. Raises `InvalidInput` for a folder without a sweep, or in which no point ran, and
    `CannotWrite`."""
    folder = Path(folder)
    status, view, frame = read_status(folder), View(folder, None), read_sweep(folder)
    sections = (
        Section("Figures", _figures(folder, view)),
        Section("Points", _points(frame, view)),
        Section("Failed", _failed(frame)),
        Section("Where the numbers are from", _origins(status, view, frame)),
    )
    title = status.manifest.title or f"Sweep: {folder.name}"
    page = Page(title, _answer(status, view), filled(sections), command, _axes(view))
    if path is not None:
        write_page(page, path)
    return page


def _axes(view: View) -> str:
    return "; ".join(f"{words(name)}: {view.values(name)}" for name in view.varied)


def _answer(status: Status, view: View) -> list[tuple[str, str]]:
    done = f"{status.done} of {status.manifest.points} done" + (f", {status.failed} failed" if status.failed else "")
    answer = [("Points", done)]
    policies = [name for name in view.policies() if name != _ORACLE]
    ran = view.frame[view.frame["policy"] != _ORACLE]
    if not len(ran):
        return answer
    lines = []
    for name in policies:
        rows = ran[ran["policy"] == name]
        trained = rows[rows["trainable"].astype(bool)]
        near = int((trained["performance"] >= _NEAR).sum())
        told = f"{name}: trains at {len(trained)} of {len(rows)} points"
        if len(trained):
            low, high = trained["performance"].min(), trained["performance"].max()
            span = _percent(low) if low == high else f"{_percent(low)} to {_percent(high)}"
            told += f", within {100 * (1 - _NEAR):.0f} % of the oracle at {near}; performance {span}"
        lines.append(told)
    answer.append(("Policies", "\n".join(lines)))
    if len(policies) > 1:
        answer.append(("Fastest", _fastest(ran, view, policies)))
    return answer


def _fastest(ran: pd.DataFrame, view: View, policies: Sequence[str]) -> str:
    """At how many settings each policy is the fastest, or as fast as any."""
    axes = [name for name in view.varied if name != "policy"]
    trained = ran[ran["trainable"].astype(bool)]
    best = (
        trained.groupby(axes, dropna=False)["iteration_time_ns"].transform("min")
        if axes
        else (trained["iteration_time_ns"].min())
    )
    first = trained[trained["iteration_time_ns"] == best]
    settings = len(ran[axes].drop_duplicates()) if axes else 1
    counts = {name: int((first["policy"] == name).sum()) for name in policies}
    ranked = sorted(counts, key=lambda name: -counts[name])
    told = ", ".join(f"{name} at {counts[name]}" for name in ranked if counts[name])
    return f"of {settings} settings, with those that are as fast: {told}" if told else "none trains anywhere"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _figures(folder: Path, view: View) -> list[Part]:
    kinds = [None, "pareto"] if view.numeric() else ["pareto"]
    return [_figure(folder, kind) for kind in kinds]


def _figure(folder: Path, kind: str | None) -> Part:
    alt = "Time against memory" if kind else "Performance over the sweep's axes"
    try:
        return picture_of(lambda path: plot_sweep(folder, path, kind=kind), alt)
    except InvalidInput as error:
        return Words(str(error), faint=True)


def _points(frame: pd.DataFrame, view: View) -> list[Part]:
    """The axes that vary, and of each point the numbers that decide."""
    from vdnnsim.sweep.axes import AXES

    axes = [AXES[name].column for name in view.varied]
    names = [*axes, *(name for name in _SHOWN if name not in axes)]
    ran = frame[frame["status"] == "ok"]
    shown = ran[[*names, "trainable"]].head(MOST_ROWS)
    columns = [_column(name, frame) for name in names]
    rows = [
        Row([_cell(name, value) for name, value in zip(names, values, strict=False)], faint=not values[-1])
        for values in shown.itertuples(index=False, name=None)
    ]
    notes = [
        Words("Faint: does not train; numbers as if the memory had room, and what memory it would need.", faint=True)
    ]
    if len(ran) > len(shown):
        left = f"The first {len(shown)} of {len(ran)} points; vdnnsim sweep export has all, with every column."
        notes.append(Words(left, faint=True))
    caption = f"{len(rows)} points" if len(rows) > _FOLDED_FROM else ""
    return [*notes, Grid(columns, rows, caption, folded=bool(caption))]


def _column(name: str, frame: pd.DataFrame) -> Column:
    for ending, (unit, _) in _UNITS.items():
        if name.endswith(f"_{ending}"):
            return Column(f"{name.removesuffix(f'_{ending}').replace('_', ' ')} {unit}", True)
    return Column(name.replace("_", " "), frame[name].dtype.kind in "iuf")


def _cell(name: str, value: Any) -> str:
    if value is None or value != value:  # NaN
        return ""
    for ending, (_, size) in _UNITS.items():
        if name.endswith(f"_{ending}"):
            return f"{float(value) / size:.3f}"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _failed(frame: pd.DataFrame) -> list[Part]:
    failed = frame[frame["status"] == "failed"]
    reasons = failed.groupby("reason").size()
    return [Items([(f"{count} points", str(reason)) for reason, count in reasons.items()])] if len(failed) else []


def _origins(status: Status, view: View, frame: pd.DataFrame) -> list[Part]:
    manifest = status.manifest
    labels = view.frame["provenance"].value_counts()
    listed = ", ".join(f"{label} {count}" for label, count in labels.items())
    engines = ", ".join(f"{name} {count}" for name, count in frame["engine"].value_counts().items())
    made_from = [
        ("labels", f"the weakest of what each point used, in points: {listed}"),
        ("engines", f"points: {engines}; both give the same numbers"),
        ("vdnnsim", manifest.version),
        ("folder", f"{status.parts_done} parts, {format_bytes(status.size_bytes)}"),
        ("SHA-256", f"of all inputs: {manifest.digest}"),
        *((f"input {name}", digest) for name, digest in manifest.inputs.items()),
    ]
    return [Items(made_from)]
