"""What is neither a step nor a trace: tables for people and spreadsheets, with what they cannot tell."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vdnnsim.errors import CannotWrite
from vdnnsim.files import check_writable, whole_folder

ABOUT = "about.txt"
Rows = tuple[Sequence[str], Iterable[Sequence[object]]]
"""The names of columns, and rows."""


@dataclass(frozen=True)
class Tables:
    """Tables by their names, and lines about them."""

    tables: Mapping[str, Rows]
    about: tuple[str, ...]

    def save(self, folder: Path) -> None:
        """A CSV for each table, and the lines in `about.txt`. Raises `CannotWrite`."""
        check_tables_writable(folder)
        with whole_folder(folder) as new:
            for name, (columns, rows) in self.tables.items():
                out = io.StringIO()
                writer = csv.writer(out, lineterminator="\n")
                writer.writerow(columns)
                writer.writerows(rows)
                (new / f"{name}.csv").write_text(out.getvalue(), encoding="utf-8", newline="\n")
            (new / ABOUT).write_text("".join(f"{line}\n" for line in self.about), encoding="utf-8", newline="\n")


def check_tables_writable(folder: Path) -> None:
    """Raise `CannotWrite` where a folder of tables could not be written in the end; tables that are there are
    replaced."""
    empty = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not empty and not (folder / ABOUT).is_file():
        raise CannotWrite(str(folder), "it is there and no folder of tables", "choose another name")
    check_writable([folder.parent / f"{folder.name}.try" if folder.exists() else folder])
