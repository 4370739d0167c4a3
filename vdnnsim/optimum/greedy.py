"""A plan without a solver: as memory runs short the oldest tensors leave; where a kernel would wait for that longer
than making another tensor again takes, that one is dropped in its place."""

from __future__ import annotations

from vdnnsim.optimum.instance import Choice, Gap, Instance, Step
from vdnnsim.optimum.model import Solution


def oldest_first(instance: Instance) -> Solution | None:
    """What leaves, and is made again, for each period to have room; None where nothing is left to go. Each kernel runs
    at its fastest. It proves nothing, and its time has no copies in."""
    return _Walk(instance).solution()


class _Walk:
    """Period by period. Copies out follow each other in the order in which they come to be wanted, and each begins as
    soon as the one before is done and its tensor written: before the period that wants its room, where it can."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.gaps = instance.gaps
        self.choices = [_fastest(instance, step) for step in instance.steps]
        self.oldest = sorted(range(len(self.gaps)), key=lambda number: self.gaps[number].written)
        self.gone: dict[int, int] = {}
        """The period from which on what fills a gap is gone."""
        self.dropped: set[int] = set()
        self.until: dict[str, int] = {}
        """The last period for which what something is made of may be gone."""
        self.ends_ns: list[float] = []
        self.now_ns = 0.0
        self.link_ns = 0.0

    def solution(self) -> Solution | None:
        waits_ns = []
        for number, period in enumerate(self.instance.periods):
            begin_ns = self.now_ns
            if not self._make_room(number):
                return None
            waits_ns.append(self.now_ns - begin_ns)
            self.now_ns += sum(self.choices[step].duration_ns for step in period)
            self.ends_ns.append(self.now_ns)
        time_ns = self.now_ns + sum(self._again_ns(self.gaps[number]) for number in self.dropped)
        gone = tuple(tuple(map(float, self._periods_gone(number))) for number in range(len(self.gaps)))
        remade = tuple(gap.needed if number in self.dropped else None for number, gap in enumerate(self.gaps))
        names = tuple(choice.algorithm for choice in self.choices)
        return Solution(0.0, time_ns, gone, remade, names, tuple(waits_ns))

    def _periods_gone(self, number: int) -> list[bool]:
        gap = self.gaps[number]
        return [self._is_gone(number, period) for period in range(gap.first, gap.last + 1)]

    def _is_gone(self, number: int, period: int) -> bool:
        return number in self.gone and self.gone[number] <= period <= self._last(self.gaps[number])

    def _last(self, gap: Gap) -> int:
        return min(gap.last, self.until.get(gap.tensor, gap.last))

    def _make_room(self, period: int) -> bool:
        """Has things go until the period has room, if any are left; what it waits for that passes."""
        missing = self._held_bytes(period) - self.instance.capacity_bytes
        while missing > 0:
            acting = {self.gaps[number].tensor for number in self.gone}
            idle = [
                number
                for number in self.oldest
                for gap in [self.gaps[number]]
                if gap.first <= period <= self._last(gap) and gap.tensor not in acting
            ]
            if not idle:
                return False
            number = self._one_of(idle)
            self.gone[number] = period
            missing -= self.gaps[number].size_bytes
        return True

    def _held_bytes(self, period: int) -> int:
        """What there is beside a period, less what is gone."""
        instance = self.instance
        used = (
            instance.steps[step].used_bytes + self.choices[step].workspace_bytes for step in instance.periods[period]
        )
        idle = (
            gap.size_bytes
            for number, gap in enumerate(self.gaps)
            if gap.first <= period <= gap.last and not self._is_gone(number, period)
        )
        return instance.fixed_bytes + max(used) + sum(idle)

    def _one_of(self, idle: list[int]) -> int:
        """The oldest, which leaves, or the one to make again that takes least for its size, which is dropped."""
        oldest = self.gaps[idle[0]]
        written_ns = self.ends_ns[oldest.written] if oldest.written >= 0 else 0.0
        done_ns = max(self.link_ns, written_ns) + oldest.out_ns if oldest.out_ns else 0.0
        again = min(filter(self._may_be_dropped, idle), key=self._again_for_size, default=None)
        if again is not None and self._again_for_size(again) < (done_ns - self.now_ns) / oldest.size_bytes:
            self._drop(again)
            return again
        self.link_ns = max(self.link_ns, done_ns)
        self.now_ns = max(self.now_ns, done_ns)
        return idle[0]

    def _may_be_dropped(self, number: int) -> bool:
        gap = self.gaps[number]
        dropped = {self.gaps[other].tensor for other in self.dropped}
        makable = gap.remake_ns is not None and not gap.others
        return makable and gap.tensor not in self.until and not dropped.intersection(gap.sources)

    def _again_for_size(self, number: int) -> float:
        return self._again_ns(self.gaps[number]) / self.gaps[number].size_bytes

    def _again_ns(self, gap: Gap) -> int:
        return (gap.remake_ns or 0) + sum(self.choices[maker].duration_ns for maker in gap.makers)

    def _drop(self, number: int) -> None:
        gap = self.gaps[number]
        self.dropped.add(number)
        for source in gap.sources:  # they are back when it is made again
            self.until[source] = min(gap.needed - 1, self.until.get(source, gap.needed - 1))


def _fastest(instance: Instance, step: Step) -> Choice:
    return next((choice for choice in step.choices if instance.fits(step, choice)), step.choices[-1])
