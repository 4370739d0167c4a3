"""A trace that an import made, in a folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from vdnnsim.files import whole_folder
from vdnnsim.readers.tables_record import ABOUT, check_tables_writable
from vdnnsim.trace import Trace, write_trace

TABLE = "trace.csv"


@dataclass(frozen=True)
class TraceFolder:
    """A trace to be written as `trace.csv` with its header."""

    trace: Trace

    def on_gpu(self, gpu: str) -> TraceFolder:
        """The same of a GPU of this name."""
        return TraceFolder(Trace(replace(self.trace.header, gpu=gpu), self.trace.rows))

    def save(self, folder: Path) -> None:
        """Raises `CannotWrite`."""
        check_tables_writable(folder)
        with whole_folder(folder) as new:
            write_trace(self.trace, new / TABLE)
            (new / ABOUT).write_text(f"{self.trace.header.title}\n", encoding="utf-8", newline="\n")
