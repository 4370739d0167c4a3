"""What is made again, in the model: when, by which kernels, of what, and where these have room."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from vdnnsim.optimum.instance import Gap

if TYPE_CHECKING:
    from vdnnsim.optimum.model import Model

Terms = list[tuple[int, float]]


class Remaking:
    """Adds to a model what keeps things from being made again for nothing.

    Kernels that run again do so in a wait, one after the other, each by the algorithm by which it ran before and with
    its workspace, beside what the stage behind the wait uses and all that is not gone; only what is made behind it need
    not be there yet. What they read is there: not gone yet, or wholly back. They run behind the copies in that the
    stage, or they, need: where they have no `makers`, nothing is known of that. A bound does not count their workspace:
    when that is done with, another tensor may begin to come there beside the kernel of the same stage.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.waits: defaultdict[int, Terms] = defaultdict(list)
        """What kernels that run again take before each period."""
        self.copies: defaultdict[int, Terms] = defaultdict(list)
        """What copies in take before each period that they wait for."""
        self.made: defaultdict[int, list[int]] = defaultdict(list)
        """What may be made again before each period."""
        for number, remake in enumerate(model.remake):
            for period in remake:
                self.made[period].append(number)
        for number, (gap, remake) in enumerate(zip(model.instance.gaps, model.remake, strict=True)):
            for period, variable in remake.items():
                assert gap.remake_ns is not None
                self.waits[period].append((variable, gap.remake_ns / model.unit_ns))
                for maker in gap.makers:
                    self._kernel(number, maker, period, variable)
        self._sources()
        self._needed()
        for period, terms in self.waits.items():
            model.rows.add([*terms, *self.copies[period], (model.wait[period], -1.0)], 0.0)

    def _needed(self) -> None:
        """Copies in run before what is made again where the stage needs them."""
        model, gaps = self.model, self.model.instance.gaps
        for gap, back in zip(gaps, model.back, strict=True):
            if any(gaps[number].makers for number in self.made[gap.needed]):
                self.copies[gap.needed].append((back[2 * gap.needed], gap.in_ns / model.unit_ns))

    def _kernel(self, number: int, maker: int, period: int, remade: int) -> None:
        """One kernel of those that make it again."""
        model, instance = self.model, self.model.instance
        step = instance.steps[maker]
        ways = [
            (choice, variable)
            for choice, variable in zip(step.choices, model.chosen[maker], strict=True)
            if instance.fits(step, choice)
        ]
        if len(ways) == 1:
            runs = [remade]
        else:
            runs = [model.variable() for _ in ways]
            model.equal([*((run, 1.0) for run in runs), (remade, -1.0)])
            for run, (_, chosen) in zip(runs, ways, strict=True):
                model.rows.add([(run, 1.0), (chosen, -1.0)], 0.0)
        for run, (choice, _) in zip(runs, ways, strict=True):
            self.waits[period].append((run, choice.duration_ns / model.unit_ns))
        spaces = [(run, choice.workspace_bytes) for run, (choice, _) in zip(runs, ways, strict=True)]
        if any(size_bytes for _, size_bytes in spaces) and not model.bounding:
            self._room(number, period, spaces)

    def _room(self, number: int, period: int, spaces: list[tuple[int, int]]) -> None:
        model, gaps = self.model, self.model.instance.gaps
        after = [other for other in self.made[period] if other != number and self._last(other) >= self._last(number)]
        missing = [(model.remake[other][period], -gaps[other].size_bytes) for other in after]
        model.room(model.periods[period][0], period, [*spaces, *missing])

    def _last(self, number: int) -> int:
        """The stage of the last kernel that makes it: programs make things again in that order."""
        instance = self.model.instance
        makers = instance.gaps[number].makers
        return instance.steps[makers[-1]].stage if makers else len(instance.steps)

    def _sources(self) -> None:
        gaps = self.model.instance.gaps
        for other, source in enumerate(gaps):
            readers = [number for number, gap in enumerate(gaps) if source.tensor in gap.sources]
            if not readers:
                continue
            ever = self._has_gone(other, source)
            for period in range(source.first, source.last + 1):
                made = [self.model.remake[number][period] for number in readers if period in self.model.remake[number]]
                if made:
                    self._found(made, other, source, period, ever.get(period - 1))

    def _has_gone(self, number: int, gap: Gap) -> dict[int, int]:
        """Whether what fills the gap was gone at some step up to this one."""
        model = self.model
        ever: dict[int, int] = {}
        for step, gone in zip(range(gap.first, gap.last + 1), model.gone[number], strict=True):
            ever[step] = variable = model.variable()
            model.rows.add([(gone, 1.0), (variable, -1.0)], 0.0)
            if step > gap.first:
                model.rows.add([(ever[step - 1], 1.0), (variable, -1.0)], 0.0)
        return ever

    def _found(self, made: list[int], other: int, source: Gap, period: int, ever: int | None) -> None:
        """What something is made of before this period is there."""
        model = self.model
        back = model.back[other]
        for remade in made:
            model.rows.add([(remade, 1.0), (model.gone[other][period - source.first], 1.0)], 1.0)
        if ever is None:
            return
        beside, returned = back[2 * period + 1], model.returned[other][period]
        copied = model.variable()
        self.copies[period].append((copied, source.in_ns / model.unit_ns))
        for remade in made:
            model.rows.add([(remade, 1.0), (ever, 1.0), (returned, -1.0), (beside, 1.0)], 1.0)
            model.rows.add([(remade, 1.0), (back[2 * period], 1.0), (copied, -1.0)], 1.0)
