"""The mixed-integer model of an instance, and its relaxation: docs/optimum.md writes it out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from vdnnsim.errors import InvalidInput
from vdnnsim.optimum.hosting import keep_to_host
from vdnnsim.optimum.instance import Choice, Gap, Instance, Step
from vdnnsim.optimum.remaking import Remaking
from vdnnsim.optimum.silence import silence

if TYPE_CHECKING:
    import numpy as np

_HALF = 0.5


class Solution(NamedTuple):
    """What the solver found: a `bound_ns` that no schedule is below, and where it found one the time of its best
    choice, which periods each gap is gone for (by gap, a share of each from `first` to `last`), the period before
    which it is made again, if so, the algorithm of each step, and the wait before each period."""

    bound_ns: float
    time_ns: float | None
    gone: tuple[tuple[float, ...], ...] = ()
    remade: tuple[int | None, ...] = ()
    algorithms: tuple[str, ...] = ()
    waits_ns: tuple[float, ...] = ()


class Unsolvable(Exception):  # noqa: N818 - reads as what it is
    """There is no solution at all."""


@dataclass
class _Rows:
    """Constraints sum(coefficient * variable) <= upper, as they are written down."""

    row: list[int]
    column: list[int]
    value: list[float]
    upper: list[float]

    def add(self, terms: Iterable[tuple[int, float]], upper: float) -> None:
        number = len(self.upper)
        for column, value in terms:
            self.row.append(number)
            self.column.append(column)
            self.value.append(value)
        self.upper.append(upper)


class Model:
    """Variables, by number, and constraints.

    Period k is a *wait* and then its kernels. Copies run in cells 2k (the wait) and 2k + 1 (beside the kernels). With
    `shares` parts of a tensor may be gone, but whether any are is a whole number. One for `bounding`, of single steps,
    allows what the machine does beyond plans of the model: no schedule is below its optimum.
    """

    def __init__(
        self, instance: Instance, shares: bool = False, trouble: float = 0.0, *, bounding: bool = False
    ) -> None:
        self.instance = instance
        self.bounding = bounding
        self.shares = shares
        self.trouble = trouble
        self.acting: list[int] = []
        # The solver works with numbers near 1.
        self.unit_ns = max(1, instance.fastest_ns) / 1000
        self.unit_bytes = instance.capacity_bytes / 100
        self.cost: list[float] = []
        self.upper: list[float] = []
        self.integer: list[int] = []
        self.rows = _Rows([], [], [], [])
        steps = instance.steps
        self.periods = instance.periods
        self.before_ns = [sum(steps[step].before_ns for step in period) for period in self.periods]
        self.wait = [self.variable(cost=1.0, upper=float("inf")) for _ in self.periods]
        self.chosen = [[self._choice(step, choice) for choice in step.choices] for step in steps]
        self.kernels: list[list[tuple[int, float]]] = [[] for _ in self.periods]
        for period, kernels in zip(self.periods, self.kernels, strict=True):
            for step in period:
                one = [(variable, 1.0) for variable in self.chosen[step]]
                self.rows.add([(variable, -1.0) for variable, _ in one], -1.0)
                if len(one) > 1:
                    self.rows.add(one, 1.0)
                kernels += [(variable, self.cost[variable]) for variable in self.chosen[step]]
        self.gone = [self._gone(gap) for gap in instance.gaps]
        self.out: list[dict[int, int]] = []
        self.back: list[dict[int, int]] = []
        self.remake: list[dict[int, int]] = []
        self.made: list[int | None] = []
        """Whether it is made again at all."""
        self.returned: list[dict[int, int]] = []
        """The share that is back, or on its way, by the end of each step's kernel."""
        for number, gap in enumerate(instance.gaps):
            self._add_gap(number, gap)
        self._one_action_each()
        self._copies(self.out, [gap.out_ns for gap in instance.gaps])
        self._copies(self.back, [gap.in_ns for gap in instance.gaps])
        self.idle = self._idle()
        Remaking(self)
        keep_to_host(self)
        self._memory()
        self._host()

    def variable(self, cost: float = 0.0, upper: float = 1.0, integer: bool = False) -> int:
        """One more variable of 0 to `upper`."""
        self.cost.append(cost)
        self.upper.append(upper)
        self.integer.append(int(integer))
        return len(self.cost) - 1

    def _choice(self, step: Step, choice: Choice) -> int:
        cost = choice.duration_ns / self.unit_ns
        return self.variable(cost, float(self.instance.fits(step, choice)), integer=len(step.choices) > 1)

    def _gone(self, gap: Gap) -> list[int]:
        """Whether what fills the gap is gone in each of its periods."""
        gone = [self.variable(integer=not self.shares) for _ in range(gap.first, gap.last + 1)]
        if self.shares:
            ever = self.variable(integer=True)
            for variable in gone:
                self.rows.add([(variable, 1.0), (ever, -1.0)], 0.0)
        return gone

    def _add_gap(self, number: int, gap: Gap) -> None:
        steps = range(gap.first, gap.last + 1)
        gone = dict(zip(steps, self.gone[number], strict=True))
        # Out: the share that has left by the begin of each kernel; in cells behind the one that wrote it.
        latest = 2 * gap.last + (2 if self.bounding else 1)
        out = {cell: self.variable() for cell in range(2 * gap.written + 2, latest)} if gap.out_ns else {}
        soonest = max(gap.first + 1, gap.again)
        back = {cell: self.variable() for cell in range(2 * soonest, 2 * gap.needed + 1)}
        remake = {}
        total = None
        if gap.remake_ns is not None:
            remake = {step: self.variable(integer=True) for step in range(soonest, gap.needed + 1)}
            total = self.variable()
            self.equal([*((variable, 1.0) for variable in remake.values()), (total, -1.0)])
        self.out.append(out)
        self.back.append(back)
        self.remake.append(remake)
        self.returned.append({})
        self.made.append(total)
        made = [(total, 1.0)] if total is not None else []
        if out:  # what is gone has left by copies, or is made again; where the host has it, it may just go
            share = self._left_by(gap, out)
            for step in steps:
                left = [share[step], *self._late(step, out), *(variable for variable, _ in made)]
                self.rows.add([(gone[step], 1.0), *((variable, -1.0) for variable in left)], 0.0)
            self.rows.add([(share[gap.last], 1.0), *made], 1.0)
        # What has begun to come back, or was made again, is there.
        returned = self.returned[number]
        before: int | None = None
        for step in range(gap.first + 1, gap.needed + 1):
            cells = (2 * step, 2 * step + 1) if step < gap.needed else (2 * step,)
            coming = [back[cell] for cell in cells if cell in back]
            if step in remake:
                coming.append(remake[step])
            variable = self.variable()
            returned[step] = variable
            self.equal(
                [(variable, 1.0), *((c, -1.0) for c in coming), *([(before, -1.0)] if before is not None else [])]
            )
            before = variable
            if step <= gap.last:
                self.rows.add([(gone[step], 1.0), (variable, 1.0)], 1.0)
        assert before is not None
        self.acting.append(before)
        self.cost[before] = 1000 * self.trouble
        for step in steps:
            self.rows.add([(gone[step], 1.0), (before, -1.0)], 0.0)

    def _left_by(self, gap: Gap, out: dict[int, int]) -> dict[int, int]:
        """The share that has left by the begin of the kernel of each step of the gap."""
        share: dict[int, int] = {}
        before: int | None = None
        done = min(out)
        for step in range(gap.first, gap.last + 1):
            cells = range(done, 2 * step + 1)
            done = 2 * step + 1
            variable = self.variable()
            terms = [(variable, 1.0), *((out[cell], -1.0) for cell in cells)]
            self.equal([*terms, *([(before, -1.0)] if before is not None else [])])
            share[step] = before = variable
        return share

    def _late(self, period: int, out: dict[int, int]) -> list[int]:
        """The share that leaves beside a kernel and is gone by its end: one that takes no workspace need not have
        waited for what went before it, and another may come to the same bytes beside it."""
        if not self.bounding:
            return []
        beside = out[2 * period + 1]
        [step] = self.periods[period]
        choices = zip(self.chosen[step], self.instance.steps[step].choices, strict=True)
        plain = [variable for variable, choice in choices if not choice.workspace_bytes]
        if len(plain) == len(self.chosen[step]):
            return [beside]
        late = self.variable(upper=float(bool(plain)))
        self.rows.add([(late, 1.0), (beside, -1.0)], 0.0)
        self.rows.add([(late, 1.0), *((variable, -1.0) for variable in plain)], 0.0)
        return [late]

    def equal(self, terms: list[tuple[int, float]]) -> None:
        """What they add up to is 0."""
        self.rows.add(terms, 0.0)
        self.rows.add([(column, -value) for column, value in terms], 0.0)

    def _one_action_each(self) -> None:
        """A tensor leaves, or is made again, in one of its gaps."""
        by_tensor: dict[str, list[int]] = {}
        for number, gap in enumerate(self.instance.gaps):
            by_tensor.setdefault(gap.tensor, []).append(number)
        for numbers in by_tensor.values():
            if len(numbers) < 2:
                continue
            acts = [self.variable(integer=True) for _ in numbers]
            self.rows.add([(act, 1.0) for act in acts], 1.0)
            for act, number in zip(acts, numbers, strict=True):
                for variable in self.gone[number]:
                    self.rows.add([(variable, 1.0), (act, -1.0)], 0.0)

    def _copies(self, cells_of: list[dict[int, int]], durations_ns: list[int]) -> None:
        """In each cell a direction's copies take no longer than it lasts."""
        cells: dict[int, list[tuple[int, float]]] = {}
        for cells_of_gap, duration_ns in zip(cells_of, durations_ns, strict=True):
            for cell, variable in cells_of_gap.items():
                cells.setdefault(cell, []).append((variable, duration_ns / self.unit_ns))
        for cell, terms in cells.items():
            period, beside = divmod(cell, 2)
            lasts = self.kernels[period] if beside else [(self.wait[period], 1.0)]
            known = 0.0 if beside else self.before_ns[period] / self.unit_ns
            self.rows.add([*terms, *((variable, -time) for variable, time in lasts)], known)

    def _idle(self) -> list[list[tuple[int, int]]]:
        """What fills gaps beside each period: whether it is gone, and its bytes."""
        idle: list[list[tuple[int, int]]] = [[] for _ in self.periods]
        for gap, gone in zip(self.instance.gaps, self.gone, strict=True):
            for period, variable in zip(range(gap.first, gap.last + 1), gone, strict=True):
                idle[period].append((variable, gap.size_bytes))
        return idle

    def _memory(self) -> None:
        """Beside each kernel lie what its stage uses, its workspace, and what is not gone."""
        for number, period in enumerate(self.periods):
            for step in period:
                choices = zip(self.chosen[step], self.instance.steps[step].choices, strict=True)
                self.room(step, number, [(variable, choice.workspace_bytes) for variable, choice in choices])

    def room(self, step: int, period: int, spaces: list[tuple[int, int]]) -> None:
        """Beside this step of a period there is room for what its stage uses, what is not gone, and `spaces`."""
        instance, idle = self.instance, self.idle[period]
        room = instance.capacity_bytes - instance.fixed_bytes - instance.steps[step].used_bytes
        held = sum(size_bytes for _, size_bytes in idle)
        if held + max(size_bytes for _, size_bytes in spaces) <= room:
            return
        terms = [(variable, -size_bytes / self.unit_bytes) for variable, size_bytes in idle]
        terms += [(variable, size_bytes / self.unit_bytes) for variable, size_bytes in spaces]
        self.rows.add(terms, (room - held) / self.unit_bytes)

    def _host(self) -> None:
        """What comes back by copies has a place in the host's memory, each its own."""
        host_bytes = self.instance.host_bytes
        if host_bytes is not None:
            self.rows.add(self._on_host(), host_bytes / self.unit_bytes)

    def _on_host(self) -> list[tuple[int, float]]:
        copied = zip(self.instance.gaps, self.back, strict=True)
        return [(cell, gap.size_bytes / self.unit_bytes) for gap, back in copied for cell in back.values()]

    def least_host_bytes(self, seconds: float) -> int:
        """So much of the host's memory is needed at least, whatever the time; 0 where the solver runs out of its own.
        Raises as `solve`."""
        self.cost = [0.0] * len(self.cost)
        for cell, size in self._on_host():
            self.cost[cell] = size
        found = self._solve(False, seconds, 0.0)
        return int(found.fun * self.unit_bytes * (1 - 1e-6)) if found.status == 0 else 0

    def solve(self, *, whole: bool, seconds: float, gap: float = 0.0) -> Solution:
        """The optimum of the model; with `whole` tensors leave whole or not at all, without it is a relaxation. Raises
        `Unsolvable`, and `InvalidInput` where scipy is not installed."""
        found = self._solve(whole, seconds, gap)
        proven = found.mip_dual_bound if whole else found.fun if found.status == 0 else None
        known_ns = sum(self.before_ns)
        bound_ns = 0.0 if proven is None else float(proven) * self.unit_ns + known_ns
        if found.x is None:
            return Solution(bound_ns, None)
        trouble = sum(self.cost[variable] * found.x[variable] for variable in self.acting)
        return self._read(found.x, bound_ns, (found.fun - trouble) * self.unit_ns + known_ns)

    def _solve(self, whole: bool, seconds: float, gap: float) -> Any:
        try:
            import numpy as np
            from scipy.optimize import Bounds, LinearConstraint, milp
            from scipy.sparse import csr_array
        except ImportError:
            raise InvalidInput("optimum: found no solver; expected scipy: pip install scipy") from None
        rows = self.rows
        matrix = csr_array((rows.value, (rows.row, rows.column)), shape=(len(rows.upper), len(self.cost)))
        found: Any
        with silence():
            found = milp(
                np.array(self.cost),
                integrality=np.array(self.integer) if whole else np.zeros(len(self.cost)),
                bounds=Bounds(0.0, np.array(self.upper)),
                constraints=LinearConstraint(matrix, -np.inf, np.array(rows.upper)),
                options={"time_limit": seconds, "mip_rel_gap": gap},
            )
        if found.status == 2:
            raise Unsolvable
        return found

    def _read(self, values: np.ndarray[Any, Any], bound_ns: float, time_ns: float) -> Solution:
        algorithms = []
        for step, chosen in zip(self.instance.steps, self.chosen, strict=True):
            shares = [float(values[variable]) for variable in chosen]
            algorithms.append(step.choices[shares.index(max(shares))].algorithm)
        gone = tuple(tuple(float(values[variable]) for variable in gone) for gone in self.gone)
        remade = tuple(
            next((step for step, variable in remake.items() if values[variable] > _HALF), None)
            for remake in self.remake
        )
        waits_ns = tuple(float(values[wait]) * self.unit_ns for wait in self.wait)
        return Solution(bound_ns, time_ns, gone, remade, tuple(algorithms), waits_ns)
