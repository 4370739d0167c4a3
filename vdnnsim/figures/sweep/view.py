"""The rows that a figure is of: filtered, named, and reduced to one for each place of the figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vdnnsim.errors import InvalidInput
from vdnnsim.figures.sweep.scales import SCALES, plain
from vdnnsim.sweep.axes import AXES
from vdnnsim.sweep.axes import SCALES as FACTORS
from vdnnsim.sweep.filters import Filter
from vdnnsim.sweep.reading import read_sweep
from vdnnsim.sweep.store import Store
from vdnnsim.units import PPM

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = (
    "status",
    "trainable",
    "performance",
    "iteration_time_ns",
    "pool_high_water_bytes",
    "provenance",
    "link_out_bytes_per_s",
)


class View:
    """`frame` are the rows of points that ran; `rows` also those of points that failed: panels and the limits of axes
    come from these, so that a figure shows where a result is missing. Raises `InvalidInput` for a filter that cannot be
    understood, or that leaves nothing."""

    def __init__(self, folder: Path, where: str | None, column: str | None = None) -> None:
        columns = [*(axis.column for axis in AXES.values()), *_NUMBERS, *([column] if column else [])]
        frame = read_sweep(folder, list(dict.fromkeys(columns)))
        self._progress = _progress(Store(folder).manifest().points, frame)
        frame = frame.rename(columns={axis.column: axis.name for axis in AXES.values()})
        if where is not None:
            names = frozenset(name for name in AXES if frame[name].notna().all())
            condition = Filter(where, names, "--where")
            values = {name: frame[name].to_numpy() for name in names}
            values |= {name: values[name] / PPM for name in FACTORS if name in values}
            frame = frame[condition.keeps({n: v.astype(str) if v.dtype == object else v for n, v in values.items()})]
        self.rows = frame
        self.frame = frame[frame["status"] == "ok"]
        if not len(self.frame):
            raise InvalidInput("plot: found no points that ran, expected some; see vdnnsim sweep status, and --where")
        self.varied = [name for name in AXES if self.rows[name].nunique() > 1]

    def numeric(self) -> list[str]:
        """The varied axes that a figure can be drawn over, those with most values first."""
        names = [name for name in self.varied if name in SCALES]
        if "network" in self.varied and "batch" in names:
            names.remove("batch")  # networks are compared at batches of their own
        return sorted(names, key=lambda name: (-self.rows[name].nunique(), list(AXES).index(name)))

    def policies(self) -> list[str]:
        """In the order in which they stand in the rows, which is that of the spec."""
        return list(dict.fromkeys(self.rows["policy"]))

    def panels(self, shown: Sequence[str], failed: bool = False) -> list[tuple[str, pd.DataFrame]]:
        """The rows that ran of each network, batch and so on that is no axis of the figure, with a title; none where
        every point failed. With those of points that `failed`, if asked for."""
        names = [name for name in ("network", "batch", "gpu", "math") if name not in shown]
        panels = []
        for key, rows in self.rows.groupby(names, sort=False, observed=True):
            values = dict(zip(names, key, strict=True))
            text = str(values.pop("network", "")) + (f" ({values.pop('batch')})" if "batch" in values else "")
            text += "".join(f", {values[name]}" for name in values if name in self.varied)
            panels.append((text, rows if failed else rows[rows["status"] == "ok"]))
        return panels

    def others(self, shown: Sequence[str]) -> list[str]:
        """Varied axes that the figure does not show: it shows the best over them."""
        kept = {*shown, "network", "batch", "gpu", "math", "policy"}
        return [name for name in self.varied if name not in kept]

    def places(self, name: str) -> np.ndarray:
        """The values of an axis of numbers, rising, in the unit that figures show."""
        return np.unique(self.rows[name].dropna().to_numpy(float)) / SCALES[name].factor

    def values(self, name: str) -> str:
        """The values that an axis has in the rows, in words: all of a few, else the range."""
        found = sorted(set(self.rows[name].dropna()))
        scale = SCALES.get(name)
        if scale is None:
            return ", ".join(str(value) for value in found)
        numbers = [plain(float(f"{value / scale.factor:.3g}")) for value in found]
        listed = ", ".join(numbers) if len(numbers) < 4 else f"{numbers[0]} to {numbers[-1]}"
        return f"{listed}{',' if name in FACTORS else ''} {scale.unit}"

    def footer(self, shown: Sequence[str], *notes: str, best: bool = True) -> str:
        """What the reader must know besides: what is not shown, where the figure has only the `best` of it, and how
        good the numbers are."""
        parts = list(notes)
        if best and (others := self.others(shown)):
            listed = ", ".join(f"{words(name)} ({self.values(name)})" for name in others)
            same = ", each against the oracle with the same kernels" if "compute_scale" in others else ""
            parts.append(f"best performance over {listed}{same}")
        subject = ", ".join(dict.fromkeys(self.frame["gpu"]))
        if len(panels := self.panels(shown)) == 1 and panels[0][0]:
            subject = f"{panels[0][0]} on {subject}"
        labels = "/".join(sorted(set(self.frame["provenance"])))
        return "; ".join([*parts, subject, f"{len(self.frame)} points{self._progress}, {labels}"])


def _progress(points: int, frame: pd.DataFrame) -> str:
    """What is missing of a sweep, in words; nothing where nothing is."""
    failed = int((frame["status"] == "failed").sum())
    if len(frame) == points and not failed:
        return ""
    unfinished = "" if len(frame) == points else "unfinished: "
    return f" ({unfinished}{len(frame)} of {points} points done, {failed} failed)"


def words(name: str) -> str:
    """An axis's name for readers."""
    return SCALES[name].words if name in SCALES else name.replace("_", " ")


def best_by(rows: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """For each combination of the axes the row that trains and is closest to the oracle, or any where none does, in
    their order. Not the fastest: the oracle's own time changes with the speed of kernels."""
    ranked = rows.sort_values(["trainable", "performance"], ascending=[False, False], kind="stable")
    return ranked.drop_duplicates(list(axes)).sort_values(list(axes), kind="stable")
