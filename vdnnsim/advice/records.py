"""What an advice holds: frozen records."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from vdnnsim.trace import Provenance
from vdnnsim.units import format_bytes

if TYPE_CHECKING:
    from vdnnsim.results import PolicyResult


class Point(NamedTuple):
    """A policy's plan by the memory that it is made for, and the time of an iteration of it."""

    policy: str
    budget_bytes: int
    time_ns: int


class FittingPlan(NamedTuple):
    """A policy's plan, made for a memory of `budget_bytes`, and its numbers there. `offloads` says that something
    leaves."""

    policy: str
    budget_bytes: int
    offloads: bool
    result: PolicyResult


class Reach(NamedTuple):
    """The largest batch that fits under a policy and how many of it are trained in a second; None where none that was
    timed fits. `interpolated`: it lies between two that were timed; `note` says what bounds it, and how far off it may
    be."""

    policy: str
    batch: int | None
    units_per_s: float | None
    interpolated: bool
    note: str


class CapacityFlip(NamedTuple):
    """Memory from which on something trains at all, searched to `step_bytes` (0: not searched, but what the leanest
    policy needs to fetch all in time), and from which on no offload is needed."""

    least_bytes: int
    step_bytes: int
    without_offload_bytes: int


class LinkFlip(NamedTuple):
    """The slowest link with which offloading is worth it: `reach` says beside which batch without offload (None: beside
    the oracle, of which it loses `loss` at most). `bytes_per_s` is None where no link is fast enough; then `note` says
    why."""

    bytes_per_s: int | None
    reach: Reach | None
    loss: float
    note: str


@dataclass(frozen=True)
class Advice:
    """The answer for a network, or a captured step, at `batch` on a GPU of `capacity_bytes`.

    `best` is the fastest plan that fits at that batch, None where none does. `reaches` are the policies at their
    largest batch, none where `missing` says what is needed to know them. `capacity` and `link` say where the answer
    flips, `link` None where nothing is to be copied. `between` is None where the batch was timed, else kernels are
    interpolated and those are the smallest and the largest that were. `points` are what each policy needs for its best
    time, and the best plan's. `step` is the folder of a captured step, of which training can take a plan. Printed, it
    is what the command prints.
    """

    network: str
    batch: int | None
    between: tuple[int, int] | None
    gpu: str
    gpu_named: str
    capacity_bytes: int
    copy_out_bytes_per_s: int
    copy_in_bytes_per_s: int
    baseline: FittingPlan
    best: FittingPlan | None
    reaches: tuple[Reach, ...]
    missing: str
    capacity: CapacityFlip
    link: LinkFlip | None
    points: tuple[Point, ...]
    step: str
    provenance: Provenance

    def __repr__(self) -> str:
        return (
            f"<Advice for {self.network}, batch {self.batch}, on {self.gpu} ({format_bytes(self.capacity_bytes)}): "
            f"{self.policy or 'nothing fits'}>"
        )

    def __str__(self) -> str:
        """What the command prints."""
        from vdnnsim.report.advice import advice_text  # upwards, since a result asks the report to show itself

        return advice_text(self)

    @property
    def fits(self) -> bool:
        """Whether it trains as it is, without offload."""
        return self.baseline.budget_bytes <= self.capacity_bytes

    def units_per_s(self, plan: FittingPlan) -> float | None:
        """How many of the batch a plan trains in a second; None where there is no batch, or no time."""
        if self.batch is None or not plan.result.iteration_time_ns:
            return None
        return self.batch * 1e9 / plan.result.iteration_time_ns

    @cached_property
    def alternative(self) -> Reach | None:
        """The fastest largest batch without offload, where the asked one does not fit so."""
        if self.best is not None and not self.best.offloads:
            return None
        return fastest_without_offload(self.reaches)

    @property
    def pays(self) -> bool | None:
        """Whether offloading gives more than the largest batch that fits without; None where that is not known."""
        if self.best is None or not self.best.offloads:
            return False
        own = self.units_per_s(self.best)
        if not self.reaches or own is None:
            return self.fits or None
        return self.alternative is None or own > (self.alternative.units_per_s or 0)

    @property
    def policy(self) -> str:
        """What to set; empty where nothing fits."""
        if self.pays is False and self.alternative is not None:
            return self.alternative.policy
        return self.best.policy if self.best else ""


def fastest_without_offload(reaches: tuple[Reach, ...]) -> Reach | None:
    """Of the baselines that reach a batch, the one that trains most in a second."""
    known = [reach for reach in reaches if reach.policy.startswith("baseline") and reach.units_per_s]
    return max(known, key=lambda reach: reach.units_per_s or 0, default=None)
