"""Where results go: checked before anything runs, written whole when everything has."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vdnnsim.errors import InvalidInput
from vdnnsim.files import check_writable

if TYPE_CHECKING:
    from rich.console import Console

    from vdnnsim.results import Comparison

STDOUT = "-"
FIGURE_SUFFIXES = (".png", ".pdf", ".svg")


class Outputs(NamedTuple):
    """What the options `--json`, `--csv`, `--figure` and `--timeline` named."""

    json: str | None
    csv: str | None
    figure: Path | None
    timeline: Path | None

    def check(self) -> None:
        """Raise `InvalidInput` for what could not be written in the end."""
        if self.json == STDOUT and self.csv == STDOUT:
            raise InvalidInput("--json and --csv: both name stdout (-); give one of them a file")
        if self.figure and self.figure.suffix not in FIGURE_SUFFIXES:
            raise InvalidInput(
                f"--figure: found '{self.figure}', expected a name ending in {', '.join(FIGURE_SUFFIXES)}"
            )
        paths = [
            Path(str(target)).resolve()
            for target in (self.json, self.csv, self.figure, self.timeline)
            if target not in (None, STDOUT)
        ]
        check_writable(paths)

    def console(self) -> Console | None:
        """Where tables and messages go: nowhere when stdout is for numbers alone."""
        if STDOUT in (self.json, self.csv):
            return None
        from rich.console import Console

        return Console(highlight=False)

    def write(self, comparison: Comparison, console: Console | None, figure: Callable[[Path], None]) -> None:
        """Write what was asked for, and say where it lies."""
        texts = (
            ("numbers", self.json, "json_text", "comparison_json"),
            ("numbers", self.csv, "csv_text", "comparison_csv"),
            ("timeline", self.timeline, "chrome_trace", "timeline_json"),
        )
        if self.figure:
            figure(self.figure)
            _tell(console, "figure", self.figure)
        for what, target, module, function in texts:
            if target is None:
                continue
            make: Any = getattr(importlib.import_module(f"vdnnsim.report.{module}"), function)
            if target == STDOUT:
                sys.stdout.write(make(comparison))
                continue
            from vdnnsim.files import write_text

            write_text(Path(target), make(comparison))
            _tell(console, what, Path(target))


def _tell(console: Console | None, what: str, path: Path) -> None:
    if console:
        console.print(f"{what}: {path.resolve()}", soft_wrap=True)
