"""The page of a calibration's report: how near predictions came to what was measured, case by case."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vdnnsim.calibration.records import read_records
from vdnnsim.calibration.report import case_table, summary
from vdnnsim.calibration.step_records import NOTES, read_step_records, step_table, summary_of
from vdnnsim.calibration.stored import RESULTS, is_report
from vdnnsim.errors import InvalidInput
from vdnnsim.figures.calibration import calibration_figure, steps_figure
from vdnnsim.files import read_text
from vdnnsim.pages.parts import Column, Grid, Items, Page, Picture, Row, Section, filled
from vdnnsim.pages.pictures import picture_of
from vdnnsim.pages.writing import write_page

_ALT = "The error of every case, and every step's time, as predicted and as measured"
_STEPS_ALT = "The error of every case, and its peak of memory, as predicted and as measured"
_KNOWN = (
    ("measured", "the median of the repetitions on the machine below, whose range is the spread"),
    ("predicted", "simulated with the traces and the profile of that machine"),
    ("held out", "the case's own measurement went into neither trace nor profile"),
    ("bytes, addresses, decisions", "what the real pool gave and the policy chose, against the simulated ones"),
)


class _Found(NamedTuple):
    """What a folder's results are: in words, as a table with what its columns are, as a picture."""

    cases: int
    gpus: Sequence[str]
    summary: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[tuple[str, str]]
    picture: Picture


def calibration_page(folder: Path | str, path: Path | str | None = None, *, command: str = "") -> Page:
    """A page of a calibration's report, of a list of networks or of a script's plans: the answer in words, the figure,
    every case, and the conditions under which it was measured. It is written where there is a `path`. Raises
    `InvalidInput` for a folder without results, `InvalidFile` for results that are none, and `CannotWrite`."""
    folder = Path(folder)
    if not is_report(folder):
        raise InvalidInput(f"{folder}: found no {RESULTS}, expected the folder of a calibration's report")
    results = folder / RESULTS
    document = _document(results)
    if document.get("cases") == []:
        raise InvalidInput(f"{results}: found no cases, expected one or more")
    found = _steps(results) if _of_steps(document) else _cases(results)
    columns = [
        Column(heading, _numeric([row[place] for row in found.rows])) for place, heading in enumerate(found.headings)
    ]
    conditions = [(str(name), str(text)) for name, text in document.get("conditions", {}).items()]
    sections = (
        Section("Predicted and measured", [found.picture]),
        Section("Cases", [Grid(columns, [Row(row) for row in found.rows])]),
        Section("Where the numbers are from", [Items([*found.notes, *conditions])]),
    )
    gpus = f" on {', '.join(found.gpus)}" if found.gpus else ""
    answer = [("How near", found.summary.replace(". ", ".\n"))]
    page = Page(f"Predicted and measured{gpus}: {found.cases} cases", answer, filled(sections), command)
    if path is not None:
        write_page(page, path)
    return page


def _document(results: Path) -> dict[str, Any]:
    """The file as it is, empty where it is none: those who read its cases say so."""
    try:
        document = json.loads(read_text(results))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _of_steps(document: Mapping[str, Any]) -> bool:
    """Whether the cases are a script's plans."""
    cases = document.get("cases")
    return isinstance(cases, list) and bool(cases) and isinstance(cases[0], dict) and "predicted" in cases[0]


def _cases(results: Path) -> _Found:
    records = read_records(results)
    headings, rows = case_table(records)
    picture = picture_of(lambda path: calibration_figure(records, path), _ALT)
    gpus = list(dict.fromkeys(record.gpu for record in records if record.gpu))
    return _Found(len(records), gpus, summary(records), headings, rows, _KNOWN, picture)


def _steps(results: Path) -> _Found:
    records = read_step_records(results)
    headings, rows = step_table(records)
    picture = picture_of(lambda path: steps_figure(records, path), _STEPS_ALT)
    gpus = list(dict.fromkeys(record.gpu for record in records if record.gpu))
    return _Found(len(records), gpus, summary_of(records), headings, rows, NOTES, picture)


def _numeric(cells: Sequence[str]) -> bool:
    """Whether numbers stand in a column, with gaps."""
    told = [cell.split(" to ")[0] for cell in cells if cell]
    return bool(told) and all(cell.lstrip("+-").replace(".", "", 1).isdigit() for cell in told)
