"""Tables of points, built run by run and written as Parquet. The only module of the package that writes pyarrow
tables."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from vdnnsim.errors import InvalidInput
from vdnnsim.sweep.columns import COLUMNS, Column
from vdnnsim.sweep.seals import KEY, Seal, seal

Entry = str | bool | int | float | None | np.ndarray
"""A column's entry for a run of points: one value for all, None for null, or an array."""
Arrow = Any
"""A table, a schema or an array of pyarrow, which is imported only where it is used."""


def arrow() -> Any:
    """The pyarrow module. Raises `InvalidInput` with what to install where there is none."""
    try:
        import pyarrow
        import pyarrow.parquet  # with it, so that forked workers have both
    except ImportError:
        raise InvalidInput("sweep: found no pyarrow, expected it for Parquet; pip install pyarrow") from None
    return pyarrow


class TableBuilder:
    """Takes runs of points and gives one table with all of `COLUMNS`."""

    def __init__(self) -> None:
        self._entries: dict[str, list[tuple[Entry, int]]] = {column.name: [] for column in COLUMNS}
        self.points = 0

    def add(self, count: int, entries: Mapping[str, Entry]) -> None:
        """`count` points. Raises `ValueError` unless there is an entry for each column and none besides: a column whose
        name is misspelt would be null in silence."""
        if wrong := sorted(entries.keys() ^ self._entries.keys()):
            raise ValueError(f"found entries that differ from the columns in {', '.join(wrong)}")
        for name, kept in self._entries.items():
            kept.append((entries[name], count))
        self.points += count

    def table(self) -> Arrow:
        """The table of all points, with each column's unit and meaning in its field's metadata."""
        arrays = [_array(column, self._entries[column.name]) for column in COLUMNS]
        return arrow().Table.from_arrays(arrays, schema=schema())


def schema() -> Arrow:
    """The schema of every part of a sweep's results."""
    pa = arrow()
    kinds = {
        "text": pa.dictionary(pa.int32(), pa.string()),
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
    }
    return pa.schema(
        [
            pa.field(
                column.name,
                pa.string() if column.name == "point_hash" else kinds[column.kind],
                metadata={"unit": column.unit, "meaning": column.meaning},
            )
            for column in COLUMNS
        ]
    )


def _array(column: Column, entries: list[tuple[Entry, int]]) -> Arrow:
    if column.name == "point_hash":
        return _words([word for entry, _ in entries for word in np.asarray(entry).tolist()])
    if column.kind == "text":
        return _text_array(entries)
    counts = [count for _, count in entries]
    if not any(isinstance(entry, np.ndarray) for entry, _ in entries):
        values, missing = _filled([entry for entry, _ in entries], column.kind)
        return _numbers(np.repeat(values, counts), np.repeat(missing, counts))
    parts = [_part(entry, count, column.kind) for entry, count in entries]
    values = np.concatenate([values for values, _ in parts])
    return _numbers(values, np.concatenate([missing for _, missing in parts]))


_TYPES: Mapping[str, Any] = {"int": np.int64, "float": np.float64, "bool": np.bool_}


def _filled(entries: list[Any], kind: str) -> tuple[np.ndarray, np.ndarray]:
    missing = np.array([entry is None for entry in entries])
    return np.array([0 if entry is None else entry for entry in entries], dtype=_TYPES[kind]), missing


def _part(entry: Entry, count: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(entry, np.ndarray):
        return entry.astype(_TYPES[kind], copy=False), np.zeros(count, dtype=bool)
    values, missing = _filled([entry], kind)
    return np.repeat(values, count), np.repeat(missing, count)


def _text_array(entries: list[tuple[Entry, int]]) -> Arrow:
    """A dictionary array; an array entry holds text of which few are distinct."""
    pa = arrow()
    vocabulary: dict[str, int] = {}
    codes = []
    for entry, count in entries:
        if isinstance(entry, np.ndarray):
            words, own = np.unique(entry, return_inverse=True)
            numbers = np.array([vocabulary.setdefault(str(word), len(vocabulary)) for word in words], dtype=np.int32)
            codes.append(numbers[own])
        else:
            code = -1 if entry is None else vocabulary.setdefault(str(entry), len(vocabulary))
            codes.append(np.full(count, code, dtype=np.int32))
    indices = np.concatenate(codes)
    return pa.DictionaryArray.from_arrays(_numbers(indices, indices < 0), _words(list(vocabulary)))


# By buffers: pyarrow.array and to_numpy import pandas to ask what they were given, half a second in every process.


def column_of_integers(table: Arrow, name: str) -> np.ndarray:
    """A column that has no nulls, of a table from a `TableBuilder`."""
    _, values = table[name].chunk(0).buffers()
    return np.frombuffer(values, dtype=np.int64)


def _numbers(values: np.ndarray, missing: np.ndarray) -> Arrow:
    """Numbers or truth values, null where they are missing."""
    pa = arrow()
    data = _bits(values) if values.dtype == np.bool_ else values
    there = _bits(~missing) if missing.any() else None
    buffers = [there if there is None else pa.py_buffer(there), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def _bits(truths: np.ndarray) -> np.ndarray:
    return np.packbits(truths, bitorder="little")


def _words(words: list[str]) -> Arrow:
    pa = arrow()
    encoded = [word.encode() for word in words]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(words), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])


def parquet_bytes(table: Arrow, of: Seal) -> bytes:
    """The table as a sealed Parquet file."""
    import pyarrow.parquet as pq

    out = io.BytesIO()
    words = [field.name for field in table.schema if arrow().types.is_dictionary(field.type)]  # numbers are many
    with pq.ParquetWriter(out, table.schema, compression="zstd", use_dictionary=words) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({KEY: of.line()})
    return seal(out.getvalue())
