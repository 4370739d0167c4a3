"""What an optimum is sought of: kernels one after the other, what must lie beside each, and what could be elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from vdnnsim.gpu import Link
from vdnnsim.iteration import Iteration, Key, MemoryClass, WeightGradients
from vdnnsim.trace import Trace


class Choice(NamedTuple):
    """One way of running a kernel."""

    algorithm: str
    duration_ns: int
    workspace_bytes: int


class Step(NamedTuple):
    """A kernel, its stage, and its choices, fastest first and each with less workspace than the one before.
    `used_bytes` is what its whole stage uses: blocks are taken before a stage's first kernel and go back after its
    last one. `before_ns` is what other kernels take that run before it and of which nothing more is known. It begins at
    `ready_ns` at the earliest; and at `given_ns` by the host alone, which comes to its stage at `called_ns`, both later
    by what the host does besides for what leaves and is made again."""

    key: Key
    stage: int
    choices: tuple[Choice, ...]
    used_bytes: int
    before_ns: int = 0
    ready_ns: int = 0
    given_ns: int = 0
    called_ns: int = 0


class Calls(NamedTuple):
    """What the host does besides, in nanoseconds: for a copy out, for what comes back by a copy until it is needed, and
    to have something made again."""

    out_ns: int = 0
    in_ns: int = 0
    again_ns: int = 0


class Uses(NamedTuple):
    """The stages of the last kernel before a gap that writes its tensor, of the last before it that uses it, and of the
    first behind it that does."""

    written: int
    before: int
    after: int


class Gap(NamedTuple):
    """Periods `first` to `last` whose steps do not use a tensor which is used before and after them, at `needed` for
    the first time again.

    It may go out from behind period `written` on, in `out_ns` (0 where the host has the bytes), and back in `in_ns`; or
    be made again in `remake_ns`, None where nothing makes it in forward, and what the steps `makers` take, which run
    again as they did; from `sources`: those that are used as late as it. Where there are `others`, these have to be
    made again before it, at a cost that is not counted. It is back neither way before period `again`.
    """

    tensor: str
    size_bytes: int
    first: int
    last: int
    needed: int
    written: int
    out_ns: int
    in_ns: int
    remake_ns: int | None
    sources: tuple[str, ...]
    others: bool = False
    uses: Uses = Uses(0, 0, 0)
    makers: tuple[int, ...] = ()
    again: int = 0
    calls: Calls = Calls()


@dataclass(frozen=True)
class Instance:
    """An iteration on a GPU, as the model has it; `fixed_bytes` are there all the time. What is gone is gone for whole
    *periods*, rows of steps of which `begins` are the first ones; without them each step is one. What leaves by copies
    needs `host_bytes` together at most (None: whatever it is)."""

    steps: tuple[Step, ...]
    gaps: tuple[Gap, ...]
    fixed_bytes: int
    capacity_bytes: int
    begins: tuple[int, ...] = ()
    host_bytes: int | None = None

    @property
    def periods(self) -> list[range]:
        """The steps of each period."""
        begins = self.begins or range(len(self.steps))
        return [range(begin, end) for begin, end in pairwise((*begins, len(self.steps)))]

    def within(self, capacity_bytes: int) -> Instance:
        """The same in another memory."""
        return replace(self, capacity_bytes=capacity_bytes)

    def without_remakes(self) -> Instance:
        """The same where nothing is made again."""
        gaps = (gap._replace(remake_ns=None, sources=(), makers=(), others=False) for gap in self.gaps)
        return replace(self, gaps=tuple(gaps))

    def fits(self, step: Step, choice: Choice) -> bool:
        """Whether a kernel has room that way where all that can be is gone."""
        return self.fixed_bytes + step.used_bytes + choice.workspace_bytes <= self.capacity_bytes

    @property
    def least_bytes(self) -> int:
        """What the largest operator needs by itself: with less nothing runs, whatever leaves."""
        return self.fixed_bytes + max(step.used_bytes + step.choices[-1].workspace_bytes for step in self.steps)

    @property
    def fastest_ns(self) -> int:
        """All kernels at their fastest for which there is room, one after the other."""
        return sum(step.before_ns + self.fastest_of_ns(step) for step in self.steps)

    def fastest_of_ns(self, step: Step) -> int:
        """A kernel at its fastest for which there is room."""
        fitting = (choice.duration_ns for choice in step.choices if self.fits(step, choice))
        return next(fitting, step.choices[-1].duration_ns)


def instance_of(
    iteration: Iteration, trace: Trace, link: Link, capacity_bytes: int, weight_gradients: WeightGradients
) -> Instance:
    """The instance of an iteration in so many bytes."""
    fixed = {name for name, tensor in iteration.tensors.items() if tensor.buffer.memory_class is MemoryClass.WEIGHTS}
    uncounted = iteration.weight_gradients if weight_gradients is WeightGradients.NONE else frozenset()
    if weight_gradients is WeightGradients.RESIDENT:
        fixed |= iteration.weight_gradients
    moving = {name: buffer.size_bytes for name, buffer in iteration.buffers.items() if name not in fixed | uncounted}
    used: list[set[str]] = [set() for _ in iteration.stages]
    for operator in iteration.operators:
        used[operator.stage].update(name for name in (*operator.reads, *operator.writes) if name in moving)
    steps = tuple(
        Step(
            operator.key,
            operator.stage,
            _choices(trace, operator.key),
            sum(moving[name] for name in used[operator.stage]),
        )
        for operator in iteration.operators
    )
    gaps = tuple(gap for name in moving for gap in _gaps(iteration, link, steps, name, fixed))
    return Instance(steps, gaps, sum(iteration.buffers[name].size_bytes for name in fixed), capacity_bytes)


def _choices(trace: Trace, key: Key) -> tuple[Choice, ...]:
    """Those that no other beats in both time and workspace."""
    rows = sorted(trace.choices(*key), key=lambda row: (row.duration_ns, row.workspace_bytes, row.algorithm))
    kept: list[Choice] = []
    for row in rows:
        if not kept or row.workspace_bytes < kept[-1].workspace_bytes:
            kept.append(Choice(row.algorithm, row.duration_ns, row.workspace_bytes))
    return tuple(kept)


def _gaps(iteration: Iteration, link: Link, steps: tuple[Step, ...], name: str, fixed: set[str]) -> Iterable[Gap]:
    numbers = {step.key: number for number, step in enumerate(steps)}
    users = [(numbers[key], iteration.by_key[key]) for key in iteration.users[name]]
    stages = list(dict.fromkeys(operator.stage for _, operator in users))
    given = name in iteration.inputs and name not in iteration.written
    if given and stages and stages[0] > 0:
        stages.insert(0, 0)  # there before the iteration; it may go at the end of the first stage
    size_bytes = iteration.buffers[name].size_bytes
    for before, after in pairwise(stages):
        first = sum(step.stage <= before for step in steps)
        last = sum(step.stage < after for step in steps) - 1
        if first > last:
            continue
        written = max((number for number, operator in users if number < first and name in operator.writes), default=-1)
        makers = (
            [key for key in iteration.makers[name] if name in iteration.again[key].writes] if iteration.again else []
        )
        sources = {read for key in makers for read in iteration.again[key].reads} - {name} - fixed
        there = {source for source in sources if iteration.last_stage[source] >= after}
        remade = bool(makers) and all(numbers[key] < first for key in makers)
        yield Gap(
            name,
            size_bytes,
            first,
            last,
            last + 1,
            written,
            0 if given else link.copy_out.duration_ns(size_bytes),
            link.copy_in.duration_ns(size_bytes),
            0 if remade else None,
            tuple(sorted(there)) if remade else (),
            remade and there < sources,
            Uses(max(0, steps[written].stage if written >= 0 else 0), before, after),
            tuple(numbers[key] for key in makers) if remade else (),
        )
