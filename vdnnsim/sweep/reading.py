"""Reading a sweep's folder: how far it is, its rows as a table of pandas, as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from vdnnsim.sweep.columns import COLUMNS
from vdnnsim.sweep.store import Manifest, Store
from vdnnsim.sweep.table import Arrow, arrow

if TYPE_CHECKING:
    import pandas as pd


class Status(NamedTuple):
    """How far a sweep is. `running`: a process writes to it now. `size_bytes` are those of its files."""

    manifest: Manifest
    done: int
    failed: int
    parts_done: int
    running: bool
    size_bytes: int


def read_status(folder: Path) -> Status:
    """Raises `InvalidInput` where the folder holds no sweep."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    store = Store(folder)
    manifest = store.manifest()
    arrow()
    done = failed = size_bytes = 0
    parts = sorted(part for part in store.done(manifest) if manifest.parts[part])
    for part in parts:
        path = store.part_path(part)
        status = pq.read_table(path, columns=["status"])["status"]
        done += len(status)
        failed += pc.sum(pc.equal(status.cast("string"), "failed")).as_py() or 0
        size_bytes += path.stat().st_size
    return Status(manifest, done, failed, len(parts), store.locked(), size_bytes)


def read_frame(folder: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The rows there are, in the order of their points; all columns, or some. Raises `InvalidInput` for a folder
    without any."""
    import pandas as pd
    import pyarrow.parquet as pq

    files = Store(folder).part_files()
    names = list(columns) if columns is not None else [column.name for column in COLUMNS]
    text = {column.name for column in COLUMNS if column.kind == "text"}
    frames = [pq.read_table(path, columns=names).to_pandas() for path in files]
    for frame in frames:  # categories differ from part to part
        for name in text.intersection(names):
            frame[name] = frame[name].astype(object)
    joined: pd.DataFrame = pd.concat(frames, ignore_index=True)
    return joined


def export_csv(folder: Path, out: IO[bytes]) -> int:
    """Write the rows there are as CSV, part by part; returns their number. Raises `InvalidInput` for a folder without
    any."""
    pa = arrow()
    import pyarrow.csv
    import pyarrow.parquet as pq

    schema = pa.schema([(column.name, _plain(column.kind)) for column in COLUMNS])
    options = pyarrow.csv.WriteOptions(quoting_style="needed")
    rows = 0
    with pyarrow.csv.CSVWriter(out, schema, write_options=options) as writer:
        for path in Store(folder).part_files():
            table = pq.read_table(path).cast(schema)
            writer.write_table(table)
            rows += table.num_rows
    return rows


def _plain(kind: str) -> Arrow:
    pa = arrow()
    return {"text": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}[kind]
