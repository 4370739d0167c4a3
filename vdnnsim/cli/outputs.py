"""Where results go: checked before anything runs, written whole when everything has."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from vdnnsim.errors import InvalidInput
from vdnnsim.files import check_writable, write_text

if TYPE_CHECKING:
    from rich.console import Console

    from vdnnsim.results import Comparison

STDOUT = "-"
FIGURE_SUFFIXES = (".png", ".pdf", ".svg")
PAGE_SUFFIXES = (".html", ".htm")


def check_targets(texts: Mapping[str, str | None], pictures: Mapping[str, Path | None] = MappingProxyType({})) -> None:
    """Raise `InvalidInput` for what could not be written in the end. Texts and pictures are what options name, by the
    option; a text may go to stdout ("-"), a picture has a name that says its kind."""
    onto_stdout = [option for option, target in texts.items() if target == STDOUT]
    if len(onto_stdout) > 1:
        raise InvalidInput(f"{' and '.join(onto_stdout)}: each names stdout (-); give all but one a file")
    for option, picture in pictures.items():
        if picture and picture.suffix not in FIGURE_SUFFIXES:
            raise InvalidInput(f"{option}: found '{picture}', expected a name ending in {', '.join(FIGURE_SUFFIXES)}")
    check_writable(Path(target) for target in (*texts.values(), *pictures.values()) if target not in (None, STDOUT))


def check_pages(pages: Mapping[str, Path | None]) -> None:
    """The same for pages, by the option that names each."""
    for option, page in pages.items():
        if page and page.suffix not in PAGE_SUFFIXES:
            raise InvalidInput(f"{option}: found '{page}', expected a name ending in {', '.join(PAGE_SUFFIXES)}")
    check_writable(page for page in pages.values() if page)


def put_text(target: str, text: str) -> None:
    """Write a text to a file, whole or not at all, or to stdout."""
    if target == STDOUT:
        sys.stdout.write(text)
    else:
        write_text(Path(target), text)


class Outputs(NamedTuple):
    """What the options `--json`, `--csv`, `--figure`, `--timeline`, `--snapshot`, `--chakra` named, the last two of a
    run alone."""

    json: str | None
    csv: str | None
    figure: Path | None
    timeline: str | None
    snapshot: Path | None = None
    chakra: Path | None = None

    def check(self) -> None:
        """Raise `InvalidInput` for what could not be written in the end."""
        texts = {"--json": self.json, "--csv": self.csv, "--timeline": self.timeline}
        for option, path, suffix in (("--snapshot", self.snapshot, ".pickle"), ("--chakra", self.chakra, ".et")):
            if path and path.suffix != suffix:
                raise InvalidInput(f"{option}: found '{path}', expected a name ending in {suffix}")
            texts[option] = str(path) if path else None
        check_targets(texts, {"--figure": self.figure})

    def console(self) -> Console | None:
        """Where tables and messages go: nowhere when stdout is for numbers alone."""
        if STDOUT in (self.json, self.csv, self.timeline):
            return None
        from vdnnsim.report.terminal import output_console

        return output_console()

    def write(
        self,
        comparison: Comparison,
        console: Console | None,
        figure: Callable[[Path], None],
        csv: str = "comparison_csv",
    ) -> None:
        """Write what was asked for, and say where it lies; `csv` is the function of `report.csv_text` to use."""
        texts = (
            ("numbers", self.json, "json_text", "comparison_json"),
            ("numbers", self.csv, "csv_text", csv),
            ("timeline", self.timeline, "chrome_trace", "timeline_json"),
        )
        if self.figure:
            figure(self.figure)
            tell(console, "figure", self.figure)
        self._write_run(comparison, console)
        for what, target, module, function in texts:
            if target is None:
                continue
            make: Any = getattr(importlib.import_module(f"vdnnsim.report.{module}"), function)
            put_text(target, make(comparison))
            if target != STDOUT:
                tell(console, what, Path(target))

    def _write_run(self, comparison: Comparison, console: Console | None) -> None:
        if self.snapshot:
            from vdnnsim.report.memory_snapshot import write_snapshot

            write_snapshot(comparison.runs[0], comparison, self.snapshot)
            tell(console, "memory snapshot", self.snapshot)
        if self.chakra:
            from vdnnsim.report.chakra import write_chakra

            write_chakra(comparison.runs[0], comparison, self.chakra)
            tell(console, "execution trace", self.chakra)


def tell(console: Console | None, what: str, path: Path) -> None:
    """Say where something was written."""
    if console:
        console.print(f"{what}: {path.resolve()}", soft_wrap=True)
