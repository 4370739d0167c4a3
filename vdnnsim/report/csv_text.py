"""CSV: one row per policy or per layer, the columns of `Comparison.to_frame` and `Comparison.layers_to_frame`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from vdnnsim.result_rows import flat_row, layer_rows
from vdnnsim.results import Comparison


def comparison_csv(comparison: Comparison) -> str:
    """One row per policy under a header of column names; a cell is empty where a policy lacks the column."""
    return rows_csv([flat_row(comparison, result) for result in comparison.results])


def layers_csv(comparison: Comparison) -> str:
    """One row per policy and layer under a header of column names; a cell is empty where a layer lacks the column."""
    return rows_csv(layer_rows(comparison))


def rows_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows under a header of all their column names."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
