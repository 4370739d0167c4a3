"""Reading a sweep's folder: how far it is, its rows as a table of pandas, as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from vdnnsim.errors import UnknownName
from vdnnsim.sweep.columns import COLUMNS
from vdnnsim.sweep.store import Manifest, PartFile, Store
from vdnnsim.sweep.table import Arrow, arrow, schema

if TYPE_CHECKING:
    import pandas as pd


class Status(NamedTuple):
    """How far a sweep is. `running`: a process writes to it now. `size_bytes` are those of its whole parts; `faulty`
    are the others, and `strangers` files that are none of its parts."""

    manifest: Manifest
    done: int
    failed: int
    parts_done: int
    running: bool
    size_bytes: int
    faulty: tuple[PartFile, ...] = ()
    strangers: tuple[Path, ...] = ()


def read_status(folder: Path) -> Status:
    """Raises `InvalidInput` where the folder holds no sweep. Needs no library: parts say what they hold."""
    store = Store(folder)
    manifest = store.manifest()
    parts = store.survey(manifest)
    whole = [part for part in parts if part.seal is not None and not part.fault]
    return Status(
        manifest,
        sum(part.seal.points for part in whole if part.seal),
        sum(part.seal.failed for part in whole if part.seal),
        len(whole),
        store.locked(),
        sum(part.size_bytes for part in whole),
        tuple(part for part in parts if part.fault),
        tuple(store.strangers(manifest)),
    )


def read_sweep(folder: Path | str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The rows there are in a sweep's folder, in the order of their points; all columns, or some. Raises
    `InvalidInput` for a folder without any, for one with damaged parts, and for columns that there are not."""
    known = [column.name for column in COLUMNS]
    names = list(columns) if columns is not None else known
    for name in names:
        if name not in known:
            raise UnknownName("column", name, known)
    whole = arrow().concat_tables(_tables(Path(folder), names)).unify_dictionaries()
    frame: pd.DataFrame = whole.to_pandas()
    for column in COLUMNS:
        if column.kind == "text" and column.name in names:
            frame[column.name] = frame[column.name].astype(object)
    return frame


def _tables(folder: Path, columns: Sequence[str] | None = None) -> Iterator[Arrow]:
    """The parts there are as tables; raises as `Store.parts`, and where pyarrow is missing."""
    pa = arrow()
    import pyarrow.parquet as pq

    for contents in Store(folder).parts():
        yield pq.ParquetFile(pa.BufferReader(contents)).read(None if columns is None else list(columns))


def export_csv(folder: Path, out: IO[bytes]) -> int:
    """Write the rows there are as CSV, part by part; returns their number. Raises as `read_sweep`, before the first
    byte."""
    pa = arrow()
    import pyarrow.csv

    kinds = {"text": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    plain = pa.schema([(column.name, kinds[column.kind]) for column in COLUMNS])
    options = pyarrow.csv.WriteOptions(quoting_style="needed")
    return _export(folder, plain, lambda: pyarrow.csv.CSVWriter(out, plain, write_options=options))


def export_parquet(folder: Path, out: IO[bytes]) -> int:
    """As `export_csv`, one Parquet file with units and meanings."""
    arrow()
    import pyarrow.parquet as pq

    return _export(folder, schema(), lambda: pq.ParquetWriter(out, schema(), compression="zstd"))


def _export(folder: Path, kinds: Arrow, begin: Callable[[], Any]) -> int:
    rows = 0
    with ExitStack() as stack:
        writer = None
        for table in _tables(folder):
            writer = writer or stack.enter_context(begin())
            writer.write_table(table.cast(kinds))
            rows += table.num_rows
    return rows
