"""The inverse question: the largest batch, the smallest memory or the slowest link with which a policy still does.

A search by halving over whole steps, every point on the simulated machine itself. It takes it that what does at one
value does at every easier one too; every point tried is shown, so that one can see where it was looked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from vdnnsim.gpu import GpuProfile, load_profile
from vdnnsim.network import load_network
from vdnnsim.program import WeightGradients
from vdnnsim.results import PolicyResult
from vdnnsim.study import Study, compare_policies
from vdnnsim.sweep.interpolation import leave_one_out_error_ppm
from vdnnsim.sweep.sources import TraceShelf
from vdnnsim.trace import Provenance, weakest

CAPACITY_STEP_BYTES = 10**6
LINK_STEP_BYTES_PER_S = 10**8
ENDLESS_BYTES = 1 << 44
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
class Question:
    """What is asked about. `loss` is the share of the oracle's speed that may be lost; None where fitting is enough."""

    network: str
    gpu: str
    policy: str
    loss: float | None = None
    math: str = "fp32"
    pool: str = "best-fit"
    weight_gradients: WeightGradients = WeightGradients.PER_LAYER
    capacity_bytes: int | None = None
    link_bandwidth_bytes_per_s: int | None = None
    traces: tuple[Path, ...] = ()
    tables: tuple[Path, ...] = ()

    def shelf(self) -> TraceShelf:
        """Where its traces are looked for."""
        return TraceShelf(self.traces, self.tables)

    def profile(self) -> GpuProfile:
        gpu = load_profile(self.gpu)
        gpu = gpu if self.capacity_bytes is None else gpu.with_capacity(self.capacity_bytes)
        if self.link_bandwidth_bytes_per_s is not None:
            gpu = gpu.with_link_bandwidth(self.link_bandwidth_bytes_per_s)
        return gpu

    def study_of(self, batch: int) -> Study:
        """As `study`, where no other batch is asked about. Raises `InvalidInput` for a table that is of no use."""
        shelf = self.shelf()
        study = self.study(shelf, batch)
        shelf.check_tables()
        return study

    def study(self, shelf: TraceShelf, batch: int) -> Study:
        """Raises `InvalidInput` (and its kinds) for what cannot be used, and for batches that no trace reaches."""
        gpu = self.profile()
        source = shelf.source(load_network(self.network, batch), self.network, gpu, self.math)
        return replace(source.study, pool=self.pool, weight_gradients=self.weight_gradients)


@dataclass
class _Search:
    question: Question
    study_at: Callable[[int], Study]
    tried: dict[int, Tried] = field(default_factory=dict)
    labels: list[Provenance] = field(default_factory=list)
    trace_checked: bool = True

    def good(self, value: int) -> bool:
        if value not in self.tried:
            comparison = compare_policies(self.study_at(value), [self.question.policy])
            result = comparison.results[0]
            self.labels.append(result.provenance)
            self.trace_checked &= comparison.origin.trace_checked
            self.tried[value] = _judged(value, result, self.question.loss)
        return self.tried[value].good

    def boundary(self, bad: int, good: int, step: int) -> int:
        """The last good value on the way from a good one to a bad one, in whole steps from the bad one."""
        while abs(good - bad) > step:
            middle = bad + (good - bad) // 2 // step * step if good > bad else bad - (bad - good) // 2 // step * step
            if middle == bad:
                break
            if self.good(middle):
                good = middle
            else:
                bad = middle
        return good

    def answer(self, value: int | None, note: str) -> Answer:
        tried = tuple(self.tried[key] for key in sorted(self.tried))
        return Answer(value, note, tried, weakest(self.labels), self.trace_checked)


def _judged(value: int, result: PolicyResult, loss: float | None) -> Tried:
    close = loss is None or result.performance >= 1 - loss
    # Labels of buffers have colons for spaces, as "workspace:conv3_3:backward_filter".
    reason = re.sub(r"\([^)]*\)", lambda label: label[0].replace(":", " "), result.reason.split(";")[0])
    why = reason if not result.trainable else "" if close else "loses too much"
    return Tried(
        value,
        result.trainable and close,
        result.trainable,
        result.performance,
        result.iteration_time_ns,
        result.pool_high_water_bytes if result.trainable else result.needed_bytes,
        why,
    )


def largest_batch(question: Question) -> Answer:
    """Among the batches between the smallest and the largest that were timed; those between timed ones are
    interpolated.

    Raises `InvalidInput` (and its kinds) for what cannot be used, and where there is no trace at all.
    """
    shelf = question.shelf()
    name = load_network(question.network, 1).name
    tables = shelf.batches(name, question.profile().name, question.math)
    shelf.check_tables(tables.values())
    timed = sorted(tables)
    if not timed:
        raise shelf.missing(name, question.profile().name, question.math)
    search = _Search(question, lambda batch: question.study(shelf, batch))
    low, high = timed[0], timed[-1]
    if search.good(high):
        return search.answer(high, f"the largest batch that was timed; beyond {high} nothing is extrapolated")
    if not search.good(low):
        return search.answer(None, f"not even batch {low}, the smallest that was timed")
    found = search.boundary(high, low, 1)
    error_ppm = leave_one_out_error_ppm({batch: question.study(shelf, batch).trace for batch in timed})
    error = "unknown" if error_ppm is None else f"{error_ppm / 10_000:.1f} %"
    note = f"batches that were not timed are interpolated, leave-one-out error of kernel times {error}"
    return search.answer(found, note)


def smallest_capacity(question: Question, batch: int) -> Answer:
    """To `CAPACITY_STEP_BYTES`. Raises `InvalidInput` (and its kinds) for what cannot be used."""
    study = question.study_of(batch)
    search = _Search(question, lambda capacity: replace(study, gpu=study.gpu.with_capacity(capacity)))
    if not search.good(ENDLESS_BYTES):
        return search.answer(None, "not even with more memory than it can use")
    roomy = search.tried.pop(ENDLESS_BYTES)
    high = -(-roomy.memory_bytes // CAPACITY_STEP_BYTES) * CAPACITY_STEP_BYTES
    while not search.good(high):  # a pool with an end may place blocks elsewhere than an endless one
        high += max(CAPACITY_STEP_BYTES, high // 100 // CAPACITY_STEP_BYTES * CAPACITY_STEP_BYTES)
    found = search.boundary(0, high, CAPACITY_STEP_BYTES)
    return search.answer(found, f"to {CAPACITY_STEP_BYTES // 10**6} MB")


def smallest_link(question: Question, batch: int) -> Answer:
    """To `LINK_STEP_BYTES_PER_S`, up to the bandwidth of the device memory. Raises `InvalidInput` (and its kinds) for
    what cannot be used."""
    study = question.study_of(batch)
    search = _Search(question, lambda link: replace(study, gpu=study.gpu.with_link_bandwidth(link)))
    low = LINK_STEP_BYTES_PER_S
    high = study.gpu.memory_bandwidth_bytes_per_s // low * low
    if not search.good(high):
        return search.answer(None, "not even behind a link as fast as the device memory")
    if search.good(low):
        return search.answer(low, "the slowest that is tried")
    return search.answer(search.boundary(low, high, low), f"to {low / 1e9:g} GB/s")
