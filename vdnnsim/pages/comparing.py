"""The page of a comparison, or of one policy's run: does it fit, what does it cost, and where time and memory go."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from vdnnsim.advice import Advice
from vdnnsim.figures import looks
from vdnnsim.figures.advice import advice_figure
from vdnnsim.figures.page import FAR
from vdnnsim.gpu import GpuProfile
from vdnnsim.metrics.loss import LOSS_WORDS
from vdnnsim.pages.answering import COSTS, answer_of
from vdnnsim.pages.origins import origins
from vdnnsim.pages.parts import Bar, Bars, Items, Page, Part, Section, Words, filled
from vdnnsim.pages.pictures import picture_of
from vdnnsim.pages.tables import grid_of
from vdnnsim.pages.views import views_of
from vdnnsim.pages.writing import write_page
from vdnnsim.report.advice import advice_lines, advice_note
from vdnnsim.report.blocks import end_of_changes_ns
from vdnnsim.report.power import power_note, power_table
from vdnnsim.report.table import comparison_notes, comparison_table, losses_table
from vdnnsim.report.trials import trials_table
from vdnnsim.report.words import distances, subject
from vdnnsim.results import Comparison, PolicyResult, PolicyRun
from vdnnsim.units import format_bytes, format_ms

_CAPTURED_WORDS = {"algorithms_ns": "slower kernels"}
"""There is no choice of algorithms in a captured step."""
_FOLDED_FROM = 3
_UNROOMY = "Numbers of policies that do not train: as they would run if the memory had room."


def comparison_page(
    comparison: Comparison,
    path: Path | str | None = None,
    *,
    command: str = "",
    profile: GpuProfile | None = None,
    advice: Advice | None = None,
) -> Page:
    """A page of a comparison, of one policy or several: the answer in words, the tables, what the loss is made of, and
    each run to zoom into. A GPU's `profile` says where its numbers are from, an `advice` where the answer flips;
    `command` is what made it. It is written where there is a `path`. Raises `CannotWrite` where it cannot be."""
    told = Words("\n".join(comparison_notes(comparison)), faint=True)
    untrained = [] if all(result.trainable for result in comparison.results) else [Words(_UNROOMY, faint=True)]
    sections = (
        Section("Policies", [grid_of(comparison_table(comparison)), *untrained, told]),
        Section("Where the answer flips", _advice(advice)),
        Section("What it costs, and why", _losses(comparison)),
        Section("Memory at the peak", [_peaks(comparison)]),
        Section("What an iteration draws", _power(comparison)),
        Section("Time and memory", [*_said(comparison), views_of(comparison, _shown_first(comparison))]),
        Section("What was tried", _trials(comparison.runs)),
        Section("Where the numbers are from", origins(comparison, profile)),
    )
    title = subject(comparison)
    if len(comparison.runs) == 1:
        title = f"{comparison.runs[0].result.policy}: {title}"
    page = Page(title, _answer(comparison, advice), filled(sections), command)
    if path is not None:
        write_page(page, path)
    return page


def _answer(comparison: Comparison, advice: Advice | None) -> list[tuple[str, str]]:
    """An advice answers more than a comparison can, but what the best of these policies costs."""
    answer = answer_of(comparison)
    if advice is None:
        return answer
    return [*advice_lines(advice), *(line for line in answer if line[0] == COSTS)]


def _advice(advice: Advice | None) -> list[Part]:
    if advice is None:
        return []
    figure = picture_of(
        lambda path: advice_figure(advice, path), "Speed over device memory, and where the answer flips"
    )
    return [figure, Words(advice_note(advice), faint=True)]


def _shown_first(comparison: Comparison) -> int:
    """The fastest policy that trains in this memory, or the first there is."""
    usable = [number for number, run in enumerate(comparison.runs) if run.result.trainable and not run.plan.endless]
    return min(usable, key=lambda number: comparison.runs[number].result.iteration_time_ns, default=0)


def _losses(comparison: Comparison) -> list[Part]:
    if not any(part for result in comparison.results for part in result.loss):
        return [Words("Nothing is lost against a GPU whose memory is endless.")]
    used = [name for name in LOSS_WORDS if any(getattr(result.loss, name) for result in comparison.results)]
    words = {**LOSS_WORDS, **(_CAPTURED_WORDS if comparison.captured else {})}
    caption = "What an iteration takes longer than the oracle's, whose memory is endless"
    bars = [
        Bar(
            result.policy,
            {words[name]: float(getattr(result.loss, name)) for name in used},
            _loss_words(result),
            not result.trainable,
        )
        for result in comparison.results
    ]
    chart = Bars(bars, {words[name]: looks.LOSS_COLOURS[name] for name in used}, caption)
    findings = Items([(result.policy, result.verdict) for result in comparison.results if result.trainable])
    far = distances(comparison)
    table = grid_of(losses_table(comparison), "The parts in ms", folded=len(comparison.runs) >= _FOLDED_FROM)
    best: list[Part] = [Words("How far from the best possible:"), Items(far)] if far else []
    return [chart, findings, *best, table]


def _loss_words(result: PolicyResult) -> str:
    return f"{format_ms(result.loss.total_ns)} of {format_ms(result.iteration_time_ns)}"


def _peaks(comparison: Comparison) -> Bars:
    names = dict.fromkeys(chain.from_iterable(result.bytes_by_class_at_peak for result in comparison.results))
    colours = {
        name: colour
        for name, colour in looks.class_colours(names).items()
        if any(result.bytes_by_class_at_peak.get(name) for result in comparison.results)
    }
    bars = [
        Bar(
            result.policy,
            {name: float(result.bytes_by_class_at_peak.get(name, 0)) for name in colours},
            format_bytes(result.peak_bytes),
            not result.trainable,
        )
        for result in comparison.results
    ]
    highest = max((result.peak_bytes for result in comparison.results), default=0)
    limit = (f"capacity {format_bytes(comparison.capacity_bytes)}", float(comparison.capacity_bytes))
    near = comparison.capacity_bytes <= FAR * highest
    said = "" if near else f"; {limit[0]}, far above"
    return Bars(bars, colours, f"Bytes in use at each policy's peak{said}", limit if near else None)


def _power(comparison: Comparison) -> list[Part]:
    drawn = [result for result in comparison.results if result.power is not None]
    return [grid_of(power_table(drawn)), Words(power_note(drawn), faint=True)] if drawn else []


def _said(comparison: Comparison) -> list[Part]:
    told = []
    early = [end_of_changes_ns(run) < run.timeline.iteration_time_ns for run in comparison.runs]
    if comparison.captured or any(early):
        told.append("Blocks come and go as the host calls for it, ahead of the kernels.")
    if any(not result.trainable for result in comparison.results):
        told.append(
            "What does not train is shown as it would run if the memory had room, with the block that found none."
        )
    return [Words(" ".join(told), faint=True)] if told else []


def _trials(runs: Sequence[PolicyRun]) -> list[Part]:
    parts: list[Part] = []
    for run in runs:
        if not run.result.trials:
            continue
        parts.append(grid_of(trials_table(run), f"{run.result.policy}: what it tried, in this order"))
        rejected = [
            (str(number), trial.verdict) for number, trial in enumerate(run.result.trials, start=1) if not trial.fits
        ]
        parts += [Items(rejected)] if rejected else []
    return parts
