"""What users of frameworks set by hand: which saved tensors leave, how many copies are under way, how far ahead they
come back.

All is what a capture says may leave; everything also what it says is small, and the copies of weights that autocast
makes, of which nothing is gained while autocast itself still has them. A share of the layers is spread evenly, the
first layer among them. A block is of the layer that saves it first. Copies out are waited for at the first hook call at
which more than `in_flight_bytes` of them are under way; of a captured step not in their own call, save with 0, when
each is. Copies in begin `ahead` leaving blocks before their need. In networks stages stand for hook calls, the
classifier stays, and everything is all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from types import MappingProxyType
from typing import ClassVar

from vdnnsim.captured.agenda import block_name
from vdnnsim.captured.choosing import can_go, layers_of, may_leave, numbers_of, read_by, spread
from vdnnsim.captured.schedules import hook_schedule
from vdnnsim.captured.step import CapturedStep
from vdnnsim.errors import InvalidValue
from vdnnsim.policies.grammar import Parameter, count, name_of, shown_size, size, size_or_none
from vdnnsim.policies.plan import Plan, Problem, workspaces_of
from vdnnsim.policies.saves import Saved, Saves
from vdnnsim.policies.workload import LONG_KERNELS

_EVERYTHING = "everything"
_SHARES: Mapping[str, float] = MappingProxyType({"half": 1 / 2, "quarter": 1 / 4})
_WHICH = "all, everything, gemm, half, quarter or a share of the layers such as 0.3"


def _which(text: str, what: str) -> str:
    if text in ("all", _EVERYTHING, "gemm", *_SHARES):
        return text
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise InvalidValue(what, f"'{text}'", _WHICH)
    return text


@dataclass(frozen=True)
class Offload:
    """Saved tensors leave: all, everything that can, what GEMM, CONV and attention read, or those of a share of layers.

    Blocks below `min_bytes` stay, and all that is saved from the begin of the last `keep_last` layers on.
    """

    which: str = "all"
    ahead: int = 4
    in_flight_bytes: int | None = 1 << 30
    min_bytes: int = 1 << 20
    keep_last: int = 0

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {
            "which": Parameter("which", _which),
            "ahead": Parameter("ahead", count),
            "in_flight": Parameter("in_flight_bytes", size_or_none, shown_size),
            "min_bytes": Parameter("min_bytes", size, shown_size),
            "keep_last": Parameter("keep_last", count),
        }
    )

    @property
    def name(self) -> str:
        return name_of("offload", self)

    def check(self, problem: Problem) -> None:
        """Nothing is needed beyond what every problem has."""

    def plan(self, problem: Problem) -> Plan:
        if not problem.workload.one_way:
            return self._plan_of_network(Saves(problem))
        leaving = map(block_name, self.chosen(problem.step))
        return offload_plan(problem, leaving, self.ahead, self.in_flight_bytes)

    def _plan_of_network(self, saves: Saves) -> Plan:
        leaving = self._chosen_of(saves)
        freed = _freed(leaving, self.in_flight_bytes, saves.last_forward)
        by_need = sorted(leaving, key=lambda one: one.needed)
        back = {one.name: by_need[max(0, place - self.ahead)].needed for place, one in enumerate(by_need)}
        return saves.plan({one.name: saves.leave(one, freed[one.name], back[one.name]) for one in leaving})

    def _chosen_of(self, saves: Saves) -> list[Saved]:
        """As `chosen`, of a network: its layers are those that save something."""
        problem = saves.problem
        movable = [one for one in saves.tensors if not problem.workload.in_classifier(one.layer)]
        layers = list(dict.fromkeys(one.layer for one in movable))
        if self.which == "gemm":
            read = saves.read_by(problem.workload.movable(LONG_KERNELS))
            wanted = {one.name for one in movable if one.name in read}
        else:
            share = _SHARES.get(self.which) or (1.0 if self.which in ("all", _EVERYTHING) else float(self.which))
            shared = {layers[place] for place in spread(len(layers), share)}
            wanted = {one.name for one in movable if one.layer in shared}
        kept = set(layers[-self.keep_last :] if self.keep_last else ())
        large = (one for one in movable if one.size_bytes >= max(1, self.min_bytes))
        return [one for one in large if one.name in wanted and one.layer not in kept]

    def chosen(self, step: CapturedStep) -> list[int]:
        """The blocks that leave, in the order of their first save."""
        wanted = self._wanted(step) - self._kept(step)
        return [number for number in step.stages.saves if number in wanted and self._large(step, number)]

    def _large(self, step: CapturedStep, number: int) -> bool:
        return step.blocks[number].size_bytes >= max(1, self.min_bytes)

    def _wanted(self, step: CapturedStep) -> set[int]:
        if self.which == "all":
            return set(may_leave(step))
        if self.which == _EVERYTHING:
            return set(can_go(step))
        if self.which == "gemm":
            return set(read_by(step, LONG_KERNELS))
        layers = list(layers_of(step).values())
        share = _SHARES.get(self.which) or float(self.which)
        return {number for place in spread(len(layers), share) for number in layers[place]}

    def _kept(self, step: CapturedStep) -> set[int]:
        layers = list(layers_of(step).values())[-self.keep_last :] if self.keep_last else []
        if not layers:
            return set()
        first = min(step.stages.saves[number][0] for number in layers[0])
        return {number for number, saves in step.stages.saves.items() if saves[0] >= first}


def _freed(leaving: Sequence[Saved], in_flight_bytes: int | None, last: int) -> dict[str, int]:
    """The stage at whose end each is let go: the first by which more than so many bytes were given, its own among
    them; else the last one of forward."""
    freed = {one.name: last for one in leaving}
    if in_flight_bytes is None:
        return freed
    for place, one in enumerate(leaving):
        under_way = accumulate(later.size_bytes for later in leaving[place:])
        over = (later.out for later, given in zip(leaving[place:], under_way, strict=True) if given > in_flight_bytes)
        freed[one.name] = next(over, last)
    return freed


def offload_plan(
    problem: Problem, blocks: Iterable[str], ahead: int = 4, in_flight_bytes: int | None = 1 << 30
) -> Plan:
    """The plan in which these blocks of a captured step leave, by their names ("b17"): at most so many bytes of copies
    out are under way before the oldest is waited for (None: no bound; 0: each in its own hook call), and a copy in
    begins at the need of the leaving block that is needed `ahead` places before. Raises `InvalidInput` for one that
    must stay."""
    leaving = list(blocks)
    step, at_once = problem.step, in_flight_bytes == 0
    schedule = hook_schedule(step, numbers_of(step, leaving), ahead, in_flight_bytes, at_once)
    algorithms = problem.performance_optimal
    named = replace(schedule, offload=frozenset(leaving))
    return Plan(named, algorithms, workspaces_of(algorithms, problem.trace))
