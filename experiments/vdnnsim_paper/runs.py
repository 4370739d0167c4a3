"""Measures every case of the chosen figures, under the traces as they are and as they may be, on all cores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from vdnnsim import InvalidInput, Processes, finished, usable_cores, weakest
from vdnnsim_builder import moves
from vdnnsim_paper.bars import BandedBar, Measured, with_bands
from vdnnsim_paper.bench import find_headers, load_gpu, make_bench
from vdnnsim_paper.config import Case, FigureConfig, Rules, choose_figures, figure_config
from vdnnsim_paper.measures import MEASURES

Progress = Callable[[str, int, int], None]
"""Called with what was just done, how much is done, and how much there is."""
FigureBars = dict[str, tuple[BandedBar, ...]]
"""The bars of each figure, by its name."""
_WITHOUT_BANDS = frozenset({"overlap"})
_FEW = 15
"""So many jobs are done here before other processes have begun."""


class Job(NamedTuple):
    """One case under one sample of its trace, and the figures that want it."""

    case: Case
    sample: int
    samples: int
    figures: tuple[str, ...]
    gpu: str
    rules: Rules

    @property
    def title(self) -> str:
        return self.case.label + (f", sample {self.sample}" if self.sample else "")


@contextmanager
def workers(jobs: int) -> Iterator[Executor | None]:
    """Processes for so many jobs beside this one, or None where this one does."""
    if jobs <= _FEW or usable_cores() == 1:
        yield None
        return
    with Processes(min(jobs, usable_cores()) - 1) as executor:
        yield executor


class Available(NamedTuple):
    """The figures with the cases that have traces, and the cases that have none, as the paper writes them."""

    figures: list[FigureConfig]
    left_out: tuple[str, ...]


def available_figures(figures: Sequence[FigureConfig], gpu: str, rules: Rules, named: bool) -> Available:
    """The figures as far as the GPU has traces. One left without a case goes, unless it was `named`.

    Raises `InvalidInput` in one line where a named figure has no case left, or all have none.
    """
    headers = find_headers(_cases(figures, rules), gpu, rules.gpus[gpu].math)
    kept = []
    for figure in figures:
        cases = tuple(case for case in figure.cases if headers[case.under(rules)])
        if cases:
            kept.append(replace(figure, cases=cases))
        elif named:
            raise _no_traces(figure.cases, gpu, rules)
    if not kept:
        raise _no_traces([case for figure in figures for case in figure.cases], gpu, rules)
    wanted = dict.fromkeys(case for figure in figures for case in figure.cases)
    return Available(kept, tuple(case.label for case in wanted if not headers[case.under(rules)]))


def all_figures(gpu: str, rules: Rules) -> Available:
    """Every figure that the GPU has a trace for; the power estimate only where its profile has power figures.

    Raises `InvalidInput` where it has no trace at all.
    """
    found = available_figures(choose_figures(()), gpu, rules, named=False)
    if load_gpu(gpu, rules).power is None:
        return found._replace(figures=[figure for figure in found.figures if figure.file.measure != "power"])
    return found


def _no_traces(cases: Iterable[Case], gpu: str, rules: Rules) -> InvalidInput:
    wanted = dict.fromkeys(f"{case.under(rules).network} batch {case.batch}" for case in cases)
    return InvalidInput(
        f"{gpu}: no {rules.gpus[gpu].math} traces for {', '.join(wanted)}; "
        "choose another --gpu or other figures ('vdnnsim list traces' shows what there is)"
    )


def _cases(figures: Sequence[FigureConfig], rules: Rules) -> list[Case]:
    return list(dict.fromkeys(case.under(rules) for figure in figures for case in figure.cases))


def plan_jobs(figures: Sequence[FigureConfig], gpu: str, bands: bool, rules: Rules) -> list[Job]:
    """The jobs of these figures, the longest first. A trace that was measured has no samples: nothing in it moves."""
    headers = find_headers(_cases(figures, rules), gpu, rules.gpus[gpu].math)
    wanted: dict[Case, list[FigureConfig]] = {}
    for figure in figures:
        for case in figure.cases:
            wanted.setdefault(case.under(rules), []).append(figure)
    jobs = []
    for case, using in wanted.items():
        samples = rules.samples_very_deep if case.very_deep else rules.samples
        jobs.append(Job(case, 0, samples, tuple(figure.name for figure in using), gpu, rules))
        banded = tuple(figure.name for figure in using if figure.file.measure not in _WITHOUT_BANDS)
        header = headers[case]
        if bands and banded and header is not None and moves(header):
            jobs += [Job(case, sample, samples, banded, gpu, rules) for sample in range(1, samples + 1)]
    return sorted(jobs, key=lambda job: (not job.case.very_deep, job.case.network))


def run_job(job: Job) -> list[Measured]:
    """Measure one case for its figures."""
    rules = job.rules
    gpu = load_gpu(job.gpu, rules)
    bench = make_bench(job.case, gpu, rules.gpus[job.gpu].math, rules, job.sample, job.samples)
    measured = []
    for name in job.figures:
        file = figure_config(name).file
        bars = tuple(MEASURES[file.measure](bench, file))
        label = bench.provenance if file.measure != "power" else weakest([bench.provenance, bench.power_provenance])
        measured.append(Measured(name, job.case.label, job.sample, bars, label))
    return measured


def measure(
    figures: Sequence[FigureConfig],
    gpu: str,
    executor: Executor | None,
    bands: bool,
    progress: Progress,
    rules: Rules,
) -> FigureBars:
    """The bars of each figure, in the order of its cases."""
    measured: dict[str, list[Measured]] = {figure.name: [] for figure in figures}
    for entries in run_all(run_job, plan_jobs(figures, gpu, bands, rules), executor, progress):
        for entry in entries:
            measured[entry.figure].append(entry)
    found: FigureBars = {}
    for figure in figures:
        order = {case.label: index for index, case in enumerate(figure.cases)}
        entries = sorted(measured[figure.name], key=lambda entry: (order[entry.case], entry.sample))
        found[figure.name] = with_bands(entries)
    return found


def run_all(
    call: Callable[[Any], Any], jobs: Sequence[Any], executor: Executor | None, progress: Progress
) -> Iterator[Any]:
    """The results of all jobs as they come; each job has a `title`.

    Raises `WorkerEnded` where workers cannot start, as under a script that runs on being imported.
    """
    here = ((job, call(job)) for job in jobs)
    found = here if executor is None else finished(executor, call, jobs, 2 * usable_cores(), here=call)
    for done, (job, result) in enumerate(found, start=1):
        yield result
        progress(job.title, done, len(jobs))
