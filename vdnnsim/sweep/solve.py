"""The inverse question: the largest batch, the smallest memory or the slowest link with which a policy still does.

A search by halving over whole steps, every point on the simulated machine itself. It takes it that what does at one
value does at every easier one too; every point tried is shown, so that one can see where it was looked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Unpack

from vdnnsim.captured.captures import BATCH, Captures, captures_of
from vdnnsim.captured.step import CapturedStep
from vdnnsim.changes import Changes, MachineOptions
from vdnnsim.errors import InvalidInput, NoPlan, check_known
from vdnnsim.gpu import GpuProfile, load_profile
from vdnnsim.making import check_told, is_captured, study_of_step
from vdnnsim.memory import check_pool
from vdnnsim.network import load_network
from vdnnsim.policies import Policy
from vdnnsim.program import WeightGradients
from vdnnsim.results import PolicyResult
from vdnnsim.study import Study
from vdnnsim.summary import against
from vdnnsim.sweep.sources import study_source
from vdnnsim.trace import DEFAULT_MATH, Provenance, TraceShelf, leave_one_out_error_ppm, weakest
from vdnnsim.workloads import NETWORK_POOL

CAPACITY_STEP_BYTES = 10**6
LINK_STEP_BYTES_PER_S = 10**8
ROOMY_BYTES = 1 << 44
"""More memory than anything can use."""


class Tried(NamedTuple):
    """A point of the search. `good`: it trains, and loses no more than allowed against the oracle."""

    value: int
    good: bool
    trainable: bool
    performance: float
    iteration_time_ns: int
    memory_bytes: int
    why: str


class Answer(NamedTuple):
    """`value` is None where nothing in the range does. `note` says what bounds the answer; `tried` is in order of
    values; `provenance` is the weakest label of the points tried; `trace_checked` as in `Origin`, for all of them."""

    value: int | None
    note: str
    tried: tuple[Tried, ...]
    provenance: Provenance
    trace_checked: bool


@dataclass(frozen=True)
class Setting:
    """What is asked about, at any batch: with a batch that was timed (or captured) or lies between two that were, a
    `Study`. `network` may be the folder of captured steps, or one.

    Raises `UnknownName` for a pool or weight gradients that there are not, `InvalidInput` for what a captured step says
    itself.
    """

    network: str | Path | CapturedStep
    gpu: str | Path | GpuProfile
    math: str | None = None
    pool: str | None = None
    weight_gradients: str = WeightGradients.PER_LAYER
    capacity: int | str | None = None
    link_bandwidth: int | str | None = None
    tables: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    may_vary: tuple[str, ...] = (BATCH,)
    """What captured steps may vary, in place of the batch too."""
    options: MachineOptions = field(default_factory=MachineOptions)

    def __post_init__(self) -> None:
        check_known("weight gradients", self.weight_gradients, [choice.value for choice in WeightGradients])
        check_pool(self.pool or NETWORK_POOL)
        if self.captures is not None:
            check_told(self.captures.where, self.math, self.weight_gradients, self.tables, self.folders)

    @classmethod
    def of(
        cls,
        network: str | Path | CapturedStep,
        *,
        gpu: str | Path | GpuProfile,
        math: str | None = None,
        pool: str | None = None,
        weight_gradients: str = WeightGradients.PER_LAYER,
        capacity: int | str | None = None,
        link_bandwidth: int | str | None = None,
        trace: Iterable[Path] = (),
        traces: Iterable[Path] = (),
        **options: Unpack[MachineOptions],
    ) -> Setting:
        """By the names that `compare` has, but that `trace` are several tables, of one batch each."""
        files = (tuple(trace), tuple(traces))
        return cls(network, gpu, math, pool, weight_gradients, capacity, link_bandwidth, *files, options=options)

    @cached_property
    def captures(self) -> Captures | None:
        """The captured steps that are meant, where some are."""
        return captures_of(self.network, self.may_vary) if is_captured(self.network) else None

    def shelf(self) -> TraceShelf:
        """Where its traces are looked for."""
        return TraceShelf(self.folders, self.tables)

    @cached_property
    def changes(self) -> Changes:
        """What is asked of the machine beside capacity and link bandwidth."""
        return Changes(**self.options)

    def profile(self) -> GpuProfile:
        """The GPU before what studies change of it."""
        gpu = self.gpu if isinstance(self.gpu, GpuProfile) else load_profile(self.gpu)
        gpu = gpu.on_numa(self.changes.numa)
        gpu = gpu if self.capacity is None else gpu.with_capacity(self.capacity)
        return gpu if self.link_bandwidth is None else gpu.with_link_bandwidth(self.link_bandwidth)

    def study_of(self, batch: int | None) -> Study:
        """As `study`, where no other batch is asked about. Raises `InvalidInput` for a table that is of no use."""
        shelf = self.shelf()
        study = self.study(shelf, batch)
        shelf.check_tables()
        return study

    def study(self, shelf: TraceShelf, batch: int | None) -> Study:
        """Raises `InvalidInput` (and its kinds) for what cannot be used, and for batches that no trace reaches."""
        if self.captures is not None:
            study = study_of_step(self.captures.at(batch).step, self.profile(), self.pool, self.captures.where)
            return study.changed(self.changes)
        assert not isinstance(self.network, CapturedStep)
        if batch is None:
            name = load_network(self.network, 1).name
            raise InvalidInput(f"batch: found none, expected the number of images of an iteration of {name}: --batch")
        network = load_network(self.network, batch)
        source = study_source(shelf, network, str(self.network), self.profile(), self.math or DEFAULT_MATH)
        weight_gradients = WeightGradients(self.weight_gradients)
        study = replace(source.study, pool=self.pool or NETWORK_POOL, weight_gradients=weight_gradients)
        return study.changed(self.changes)

    def timed(self, shelf: TraceShelf) -> list[int]:
        """The batches that were timed or captured, ascending. Raises `InvalidInput` where there are too few to ask
        which one is the largest."""
        if self.captures is not None:
            self.captures.check_several("the largest batch")
        return self.batches(shelf)

    def batches(self, shelf: TraceShelf) -> list[int]:
        """The batches that were timed or captured, ascending; none of a captured step that does not say its batch.
        Raises `InvalidInput` for a network of which none was timed, and for a table that is of no use."""
        if self.captures is not None:
            return self.captures.values
        assert not isinstance(self.network, CapturedStep)
        gpu, math = self.profile().name, self.math or DEFAULT_MATH
        name = load_network(self.network, 1).name
        tables = shelf.batches(name, gpu, math)
        shelf.check_tables(tables.values())
        if not tables:
            raise shelf.missing(name, gpu, math)
        return sorted(tables)

    def error(self, shelf: TraceShelf, timed: list[int]) -> str:
        """How far off what is interpolated between these may be, in words."""
        if self.captures is not None:
            return str(self.captures.errors)
        error_ppm = leave_one_out_error_ppm({batch: self.study(shelf, batch).trace for batch in timed})
        return (
            f"leave-one-out error of kernel times {'unknown' if error_ppm is None else f'{error_ppm / 10_000:.1f} %'}"
        )


@dataclass
class _Search:
    policy: str | Policy
    loss: float | None
    study_at: Callable[[int], Study]
    tried: dict[int, Tried] = field(default_factory=dict)
    oracles: dict[int | None, PolicyResult] = field(default_factory=dict)
    labels: list[Provenance] = field(default_factory=list)
    trace_checked: bool = True

    def good(self, value: int) -> bool:
        if value not in self.tried:
            study = self.study_at(value)
            try:
                run = study.run(self.policy)
            except NoPlan:
                self.tried[value] = Tried(value, False, False, 0.0, 0, 0, "no plan was found that fits")
                return False
            result = against(self._oracle(study), run.result, run.steps)
            self.labels.append(result.provenance)
            self.trace_checked &= study.workload.captured is not None or bool(study.trace.header.layers)
            self.tried[value] = _judged(value, result, self.loss)
        return self.tried[value].good

    def _oracle(self, study: Study) -> PolicyResult:
        """It copies nothing and its memory has no end, so that neither link nor capacity changes it."""
        batch = study.workload.batch
        if batch not in self.oracles:
            self.oracles[batch] = study.run("oracle").result
        return self.oracles[batch]

    def boundary(self, bad: int, good: int, step: int) -> int:
        """As `last_good`, of points of the search."""
        return last_good(self.good, bad, good, step)

    def answer(self, value: int | None, note: str) -> Answer:
        tried = tuple(self.tried[key] for key in sorted(self.tried))
        return Answer(value, note, tried, weakest(self.labels), self.trace_checked)


def last_good(is_good: Callable[[int], bool], bad: int, good: int, step: int) -> int:
    """The last good value on the way from a good one to a bad one, in whole steps from the bad one."""
    while abs(good - bad) > step:
        middle = bad + (good - bad) // 2 // step * step if good > bad else bad - (bad - good) // 2 // step * step
        if middle == bad:
            break
        if is_good(middle):
            good = middle
        else:
            bad = middle
    return good


def _judged(value: int, result: PolicyResult, loss: float | None) -> Tried:
    close = loss is None or result.performance >= 1 - loss
    why = "" if close else "loses too much"
    if result.failure:  # labels of buffers have colons for spaces, as "workspace:conv3_3:backward_filter"
        label = result.failure.buffer
        why = result.failure.in_short.replace(label, label.replace(":", " "))
    return Tried(
        value,
        result.trainable and close,
        result.trainable,
        result.performance,
        result.iteration_time_ns,
        result.pool_high_water_bytes if result.trainable else result.needed_bytes,
        why,
    )


def largest_batch(
    network: str | Path,
    *,
    gpu: str | Path | GpuProfile,
    policy: str | Policy,
    loss: float | None = None,
    capacity: int | str | None = None,
    link_bandwidth: int | str | None = None,
    math: str | None = None,
    pool: str | None = None,
    weight_gradients: str = WeightGradients.PER_LAYER,
    trace: Iterable[Path] = (),
    traces: Iterable[Path] = (),
    **options: Unpack[MachineOptions],
) -> Answer:
    """The largest batch that trains under a policy and loses no more than `loss` (a share; None: fitting is enough)
    against the oracle: among those between the smallest and the largest that were timed; between timed ones traces are
    interpolated. All else is as in `compare`, but that `trace` are several tables, of one batch each.

    Raises `InvalidInput` (and its kinds) for what cannot be used, and where there is no trace at all.
    """
    setting = Setting.of(
        network, gpu=gpu, math=math, pool=pool, weight_gradients=weight_gradients, capacity=capacity,
        link_bandwidth=link_bandwidth, trace=trace, traces=traces, **options,
    )  # fmt: skip
    shelf = setting.shelf()
    timed = setting.timed(shelf)
    return largest_of(
        timed, lambda batch: setting.study(shelf, batch), policy, loss, lambda: setting.error(shelf, timed)
    )


def largest_of(
    timed: Sequence[int],
    study_at: Callable[[int], Study],
    policy: str | Policy,
    loss: float | None,
    error: Callable[[], str],
) -> Answer:
    """As `largest_batch`, of studies by batch; `timed` are the batches that were, ascending, `error` says how far off
    those between may be. Raises as `study_at` and `Study.run`."""
    search = _Search(policy, loss, study_at)
    low, high = timed[0], timed[-1]
    if search.good(high):
        return search.answer(high, f"the largest batch that was timed; beyond {high} nothing is extrapolated")
    if not search.good(low):
        return search.answer(None, f"not even batch {low}, the smallest that was timed")
    found = search.boundary(high, low, 1)
    note = f"batches that were not timed are interpolated, {error()}"
    return search.answer(found, note)


def smallest_capacity(study: Study, policy: str | Policy, *, loss: float | None = None) -> Answer:
    """The smallest device memory, to `CAPACITY_STEP_BYTES`, in which a study's network trains under a policy and loses
    no more than `loss` (a share; None: fitting is enough) against the oracle; the study's own capacity is not asked
    for. Raises `InvalidInput` (and its kinds) for what cannot be used."""
    search = _Search(policy, loss, lambda capacity: replace(study, gpu=study.gpu.with_capacity(capacity)))
    if not search.good(ROOMY_BYTES):
        return search.answer(None, "not even with more memory than it can use")
    roomy = search.tried.pop(ROOMY_BYTES)
    high = -(-roomy.memory_bytes // CAPACITY_STEP_BYTES) * CAPACITY_STEP_BYTES
    while not search.good(high):  # a pool with an end may place blocks elsewhere than an endless one
        high += max(CAPACITY_STEP_BYTES, high // 100 // CAPACITY_STEP_BYTES * CAPACITY_STEP_BYTES)
    found = search.boundary(0, high, CAPACITY_STEP_BYTES)
    return search.answer(found, f"to {CAPACITY_STEP_BYTES // 10**6} MB")


def smallest_link(
    study: Study, policy: str | Policy, *, loss: float | None = 0.05, step_bytes_per_s: int = LINK_STEP_BYTES_PER_S
) -> Answer:
    """The slowest link, to `step_bytes_per_s` and up to the bandwidth of the device memory, behind which a study's
    network trains under a policy and loses no more than `loss` against the oracle. Raises `InvalidInput` (and its
    kinds) for what cannot be used."""
    search = _Search(policy, loss, study.behind)
    low = step_bytes_per_s
    high = study.gpu.memory_bandwidth_bytes_per_s // low * low
    if not search.good(high):
        return search.answer(None, "not even behind a link as fast as the device memory")
    if search.good(low):
        return search.answer(low, "the slowest that is tried")
    return search.answer(search.boundary(low, high, low), f"to {low / 1e9:g} GB/s")
