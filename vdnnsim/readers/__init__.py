"""Foreign files, read into records of ours: one module for each kind, which is told by how the file begins.

Knows those records (`replay`, `captured`); libraries that one kind needs are imported in its module.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from vdnnsim.errors import Fault, InvalidFile, check_known
from vdnnsim.readers import caffe_time, dtr_log, g10_kernels, kineto, memory_snapshot, nsys
from vdnnsim.readers.kinds import Imported, OfGpu, Reader, head_of

__all__ = ["READERS", "Imported", "OfGpu", "Reader", "reader_of"]

READERS: Mapping[str, Reader] = MappingProxyType(
    {module.READER.kind: module.READER for module in (dtr_log, kineto, memory_snapshot, nsys, caffe_time, g10_kernels)}
)
"""Every reader by its kind, in the order in which they are asked."""


def reader_of(path: Path, kind: str | None = None) -> Reader:
    """The reader for a file: of this kind, or the first that recognises it. Raises `InvalidFile`, `UnknownName`."""
    if kind is not None:
        check_known("kind of file", kind, READERS)
        return READERS[kind]
    head = head_of(path)
    for reader in READERS.values():
        if reader.recognises(head):
            return reader
    known = "; ".join(f"{reader.kind}: {reader.title}" for reader in READERS.values())
    raise InvalidFile([Fault(str(path), None, "kind", "none that is known", f"one of these: {known}")])
