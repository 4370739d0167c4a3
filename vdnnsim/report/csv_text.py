"""CSV: one row per policy, the columns of `Comparison.to_frame`."""

from __future__ import annotations

import csv
import io

from vdnnsim.results import Comparison, flat_row


def comparison_csv(comparison: Comparison) -> str:
    """One row per policy under a header of column names; a cell is empty where a policy lacks the column."""
    rows = [flat_row(comparison, result) for result in comparison.results]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
