"""How far each policy reaches, of the batches or lengths of sequences that were timed or lie between two that were,
and from where on offloading gives more than what fits without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from vdnnsim.advice.plans import fitted, is_baseline, shown_policies, time_ns
from vdnnsim.advice.records import Reach, ValueFlip, fastest_without_offload
from vdnnsim.study import Study
from vdnnsim.sweep.solve import last_good


@dataclass(frozen=True)
class Reaching:
    """Searches by halving, over values of which some, ascending, were `timed`. `units_at` says how many an iteration
    trains."""

    timed: list[int]
    study_at: Callable[[int], Study]
    units_at: Callable[[int], int | None]

    def reaches(self) -> tuple[Reach, ...]:
        """Those of every policy that is set side by side; none where one value alone was timed."""
        if len(self.timed) < 2:
            return ()
        return tuple(self._reach(policy) for policy in shown_policies(self.study_at(self.timed[0])))

    def _reach(self, policy: str) -> Reach:
        fits = cache(lambda value: fitted(self.study_at(value), policy) is not None)
        low, high = self.timed[0], self.timed[-1]
        if not fits(high) and not fits(low):
            return Reach(policy, None, None, False)
        found = high if fits(high) else last_good(fits, high, low, 1)
        return Reach(policy, found, self._rate(found, policy), found not in self.timed)

    def _rate(self, value: int, policy: str) -> float | None:
        time, units = time_ns(self.study_at(value), policy), self.units_at(value)
        return units * 1e9 / time if time and units else None

    def flip(self, reaches: tuple[Reach, ...], alternative: bool) -> ValueFlip | None:
        """From where on offloading gives more than the fastest that fits without; where that is no `alternative`, from
        where on nothing else fits. It takes it that what does at one value does at every larger one up to the policy's
        largest."""
        offloading = [reach for reach in reaches if not is_baseline(reach.policy) and reach.units_per_s]
        if not offloading:
            return None
        best = max(offloading, key=lambda reach: (reach.units_per_s if alternative else reach.value) or 0)
        without = fastest_without_offload(reaches)
        if without is None or without.value is None or best.value is None:
            return ValueFlip(best.policy, self.timed[0], False)
        rate = (without.units_per_s or 0) if alternative else 0.0
        if best.value <= without.value or (best.units_per_s or 0) <= rate:
            return ValueFlip(best.policy, None, False)
        pays = lambda value: (self._rate(value, best.policy) or 0) > rate  # noqa: E731
        found = last_good(pays, without.value, best.value, 1) if alternative else without.value + 1
        return ValueFlip(best.policy, found, found not in self.timed)
