"""`reproduce`: from names of figures to their files and the table of claims."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vdnnsim import InvalidInput, whole_file, write_text
from vdnnsim_paper.bars import BandedBar, Stated, bars_csv
from vdnnsim_paper.bench import load_gpu
from vdnnsim_paper.choices import CHOICES, choices_csv, choices_markdown, compare_choices
from vdnnsim_paper.claims import Claim, compare_claims, stated_values
from vdnnsim_paper.config import choose_figures, figure_config, figure_names, gpu_rules, rules
from vdnnsim_paper.report_page import write_report
from vdnnsim_paper.runs import (
    FigureBars,
    Progress,
    all_figures,
    available_figures,
    measure,
    plan_jobs,
    run_all,
    workers,
)
from vdnnsim_paper.table import claims_csv, markdown

SUFFIXES = (".png", ".pdf")
RULES = "rules"
"""Asked for like a figure, by itself: a table of what each choice of rules makes of the claims."""


@dataclass(frozen=True)
class Reproduction:
    """What came out: the bars of each figure, the claims that they answer, the files written, and the cases (of a table
    of rules, the choices) left out because the GPU has no trace of them."""

    gpu: str
    bars: FigureBars
    claims: tuple[Claim, ...]
    files: tuple[Path, ...]
    left_out: tuple[str, ...] = ()


class Drawing(NamedTuple):
    """One figure to draw, in another process."""

    name: str
    bars: tuple[BandedBar, ...]
    gpu: str
    folder: Path
    stated: tuple[Stated, ...] = ()

    @property
    def title(self) -> str:
        return f"figure {self.name}" if self.name.isdigit() else self.name


def quiet(_title: str, _done: int, _all: int) -> None:
    """Tells nobody."""


def reproduce(
    figures: Sequence[str] = (),
    *,
    gpu: str = "titan-x-maxwell",
    out: Path | None = None,
    bands: bool = True,
    progress: Progress = quiet,
    command: str = "",
) -> Reproduction:
    """Measure figures of the paper (all where none are named) on a GPU, and write them where `out` names a folder: each
    as PNG, PDF and CSV, the table of claims as CSV and Markdown, and all of it as one page of HTML, which says the
    `command` that made it. Cases that the GPU has no trace of are left out. Without names, so are figures without any
    case, and the power estimate where the GPU's profile has no power figures.

    `claims.csv` and `claims.md` are of all figures. Where figures are named, the claims that rest on them go into a
    table named after them ("claims_fig11_fig14.csv"), none where none does, so that no table of all is cut short; the
    page of all is `report.html`, of some named alike.

    With "rules" instead of figures, the table of `vdnnsim_paper.choices` is written.

    Raises `UnknownName` for a figure or GPU that is not known, `InvalidInput` where a figure holds no results or has no
    trace at all, or the folder cannot be written; nothing is written then.
    """
    gpu_rules(gpu)
    if list(figures) == [RULES]:
        return _compare_rules(gpu, out, progress)
    if figures:
        chosen, left_out = available_figures(choose_figures(figures), gpu, rules(), named=True)
    else:
        chosen, left_out = all_figures(gpu, rules())
    if out is not None:
        _check_folder(out)
    jobs = len(plan_jobs(chosen, gpu, bands, rules())) + (0 if out is None else len(chosen))
    with workers(jobs) as executor:
        bars = measure(chosen, gpu, executor, bands, progress, rules())
        claims = tuple(compare_claims(bars, gpu))
        tables = claims_stem(list(bars) if figures else ())
        files = () if out is None else _write(bars, claims, gpu, out / tables, executor, progress)
    if out is not None:
        page = out / f"{tables.replace('claims', 'report', 1)}.html"
        write_report(bars, claims, gpu, page, command, left_out)
        files = tuple(sorted((*files, page)))
    return Reproduction(gpu, bars, claims, files, left_out)


def _compare_rules(gpu: str, out: Path | None, progress: Progress) -> Reproduction:
    if out is not None:
        _check_folder(out)
    claims, outcomes = compare_choices(gpu, progress, CHOICES)
    if out is not None:
        write_text(out / "rules.csv", choices_csv(claims, outcomes))
        write_text(out / "rules.md", choices_markdown(claims, outcomes))
    files = () if out is None else (out / "rules.csv", out / "rules.md")
    compared = [outcome.choice.title for outcome in outcomes]
    left_out = tuple(choice.title for choice in CHOICES if choice.title not in compared)
    return Reproduction(gpu, {}, tuple(claims), files, left_out)


def _check_folder(folder: Path) -> None:
    """Make the folder, and see that it can be written before any time is spent."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"cannot write {folder}: {error.strerror}; choose a writable folder") from None
    probe = folder / "claims.csv"
    if not probe.exists():
        with whole_file(probe):
            pass
        probe.unlink()


def claims_stem(figures: Sequence[str]) -> str:
    """What the table of claims is called, without its suffix: "claims" where it is of all figures (or none are named),
    else with the names of those that it is of, in the paper's order."""
    named = [name for name in figure_names() if name in figures]
    if len(named) in (0, len(figure_names())):
        return "claims"
    return "_".join(("claims", *(figure_config(name).stem for name in named)))


def _write(
    bars: FigureBars, claims: Sequence[Claim], gpu: str, table: Path, executor: Executor | None, progress: Progress
) -> tuple[Path, ...]:
    """Draw the figures beside the table of claims, whose path is `table` with each of its suffixes."""
    stated = stated_values(claims)
    drawings = [
        Drawing(name, found, gpu, table.parent, tuple(value for value in stated if value.figure == name))
        for name, found in bars.items()
    ]
    files = [path for paths in run_all(draw, drawings, executor, progress) for path in paths]
    if claims:
        for suffix, text in ((".csv", claims_csv(claims)), (".md", markdown(claims))):
            write_text(table.with_suffix(suffix), text)
            files.append(table.with_suffix(suffix))
    return tuple(sorted(files))


def draw(drawing: Drawing) -> list[Path]:
    """Draw one figure and write its bars; returns the paths."""
    from vdnnsim_paper.drawing import draw_figure

    config = figure_config(drawing.name)
    table = drawing.folder / f"{config.stem}.csv"
    pictures = [table.with_suffix(suffix) for suffix in SUFFIXES]
    draw_figure(config, drawing.bars, load_gpu(drawing.gpu, rules()), pictures, drawing.stated)
    write_text(table, bars_csv(drawing.name, drawing.bars))
    return [*pictures, table]
