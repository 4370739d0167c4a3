"""What an advice holds: frozen records."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from vdnnsim.captured.captures import BATCH
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
    leaves; a copy in begins at the need of what is needed so many places `ahead`, at most."""

    policy: str
    budget_bytes: int
    offloads: bool
    ahead: int
    result: PolicyResult


class Reach(NamedTuple):
    """The largest batch, or the longest sequence, that fits under a policy and how many units of it are trained in a
    second; None where none that was timed fits. `interpolated`: it lies between two that were timed."""

    policy: str
    value: int | None
    units_per_s: float | None
    interpolated: bool


class ValueFlip(NamedTuple):
    """The smallest batch, or the shortest sequence, from which on offloading gives more than whatever fits without;
    None where none that was timed is large enough. `interpolated` as in `Reach`."""

    policy: str
    value: int | None
    interpolated: bool


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
    """The answer for a network, or a captured step, on a GPU of `capacity_bytes`, at a `value` of what is `varied`: the
    batch, or the length of a sequence, by the name that the script has for it.

    `best` is the fastest plan that fits there, None where none does. Rates are of `unit`: `per_iteration` of them are
    trained in an iteration (None: not known). `reaches` are the policies at their largest value, none where `missing`
    says what is needed to know them; `error` is that of values between those that were timed, in words. `flip`,
    `capacity` and `link` say where the answer flips, `flip` None where there are no `reaches`, `link` None where
    nothing is to be copied. `between` is None where the value was timed, else kernels are interpolated and those are
    the smallest and the largest that were. `points` are what each policy needs for its best time, and the best plan's.
    `step` is the folder of a captured step, of which training can take a plan. Printed, it is what the command prints.
    """

    network: str
    varied: str
    value: int | None
    unit: str
    per_iteration: int | None
    between: tuple[int, int] | None
    gpu: str
    gpu_named: str
    capacity_bytes: int
    copy_out_bytes_per_s: int
    copy_in_bytes_per_s: int
    baseline: FittingPlan
    best: FittingPlan | None
    reaches: tuple[Reach, ...]
    error: str
    missing: str
    flip: ValueFlip | None
    capacity: CapacityFlip
    link: LinkFlip | None
    points: tuple[Point, ...]
    step: str
    provenance: Provenance

    def __repr__(self) -> str:
        return (
            f"<Advice for {self.network}, {self.varied} {self.value}, on {self.gpu} "
            f"({format_bytes(self.capacity_bytes)}): {self.policy or 'nothing fits'}>"
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
        """How many units a plan trains in a second; None where it is not known how many an iteration has, or no time
        passes."""
        if self.per_iteration is None or not plan.result.iteration_time_ns:
            return None
        return self.per_iteration * 1e9 / plan.result.iteration_time_ns

    @cached_property
    def alternative(self) -> Reach | None:
        """The fastest that fits without offload, where the asked value does not fit so."""
        if self.varied != BATCH or (self.best is not None and not self.best.offloads):
            return None  # a shorter sequence is another training
        return fastest_without_offload(self.reaches)

    @property
    def pays(self) -> bool | None:
        """Whether offloading gives more than the largest value that fits without; None where that is not known."""
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
