"""Puts a built trace into a folder of traces."""

from __future__ import annotations

from pathlib import Path

from vdnnsim import InvalidInput, Trace, trace_path, write_trace


def write_into(directory: Path, trace: Trace) -> Path:
    """Write a trace where it belongs in a folder of traces; returns the path of its table.

    Raises `InvalidInput` where the folder cannot be written.
    """
    header = trace.header
    table = trace_path(directory, header.gpu, header.network, header.batch, header.math)
    try:
        table.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"cannot write {table.parent}: {error.strerror}; choose a writable folder") from None
    write_trace(trace, table)
    return table
