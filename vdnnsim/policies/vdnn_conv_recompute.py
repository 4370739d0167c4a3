"""vDNN-conv with recomputation: cheap maps are dropped and made again where that takes less time than their copies."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vdnnsim.iteration import Action, Iteration, Leave, Remake, Schedule
from vdnnsim.network import Kind
from vdnnsim.policies.plan import Algorithms, Plan, Problem, workspaces_of
from vdnnsim.policies.remaking import input_is_there
from vdnnsim.policies.schedules import layer_wise, replace_window

CHEAP = frozenset({Kind.ACTV, Kind.BN, Kind.LRN, Kind.POOL})
"""Kinds of layers whose kernels do little arithmetic for each byte (as SuperNeurons recomputes them)."""


@dataclass(frozen=True)
class VdnnConvRecompute:
    """As vDNN-conv, each pass at its fastest; a map that only cheap layers write is dropped after its last use in
    forward and made again for its first use in backward, where their kernels take less time than its copies make wait.

    What is waited for is reckoned from the trace, layer by layer: a copy's time less that of the kernels beside it.
    What the cheap layers read must be there then: it stays, or is back by then.
    """

    name: str = "vdnn-conv+recompute"

    def check(self, problem: Problem) -> None:
        """A network: its layers say what makes a map again, and which are cheap."""
        _ = problem.network

    def plan(self, problem: Problem) -> Plan:
        algorithms = problem.performance_optimal
        convs = problem.workload.movable((Kind.CONV,))
        copying = layer_wise(problem.iteration, convs, problem.weight_gradients)
        actions = dict(copying.actions)
        for name in sorted(copying.leaves, key=problem.iteration.order.__getitem__):
            remake = _remake(problem.iteration, actions, name)
            if remake and _kernels_ns(problem, algorithms, remake.by) < _waited_ns(problem, algorithms, copying, name):
                actions[name] = remake
        schedule = replace_window(problem.iteration, replace(copying, actions=actions), ())
        return Plan(schedule, algorithms, workspaces_of(algorithms, problem.trace))


def _remake(iteration: Iteration, actions: dict[str, Action], name: str) -> Remake | None:
    """How the tensor could be dropped and made again; None where something dear writes it, or what it is made of is not
    there when it is needed."""
    makers = iteration.makers[name]
    again = iteration.first_read_in_backward[name]
    if not makers or any(iteration.stages[iteration.by_key[key].stage].kind not in CHEAP for key in makers):
        return None
    reads = {read for key in makers for read in iteration.again[key].reads} - {name}
    if all(_there(iteration, actions.get(read), read, again) for read in reads):
        return Remake(iteration.last_input_of[name], again, makers)
    return None


def _there(iteration: Iteration, action: Action | None, name: str, stage: int) -> bool:
    if name in iteration.inputs and action is None:
        return input_is_there(iteration, name, stage)
    if iteration.last_stage[name] < stage:
        return False
    if isinstance(action, Leave):
        return action.needed <= stage
    return action is None or action.again <= stage


def _kernels_ns(problem: Problem, algorithms: Algorithms, keys: tuple[tuple[str, str], ...]) -> int:
    return sum(problem.trace.row(*key, algorithms[key]).duration_ns for key in keys)


def _waited_ns(problem: Problem, algorithms: Algorithms, schedule: Schedule, name: str) -> int:
    """How long the kernels beside its copies leave the host waiting for them."""
    leave = schedule.leaves[name]
    iteration, link = problem.iteration, problem.gpu.link
    size_bytes = iteration.buffers[name].size_bytes
    out_ns, in_ns = link.copy_out.duration_ns(size_bytes), link.copy_in.duration_ns(size_bytes)

    def beside_ns(stage: int | None) -> int:
        operators = () if stage is None else iteration.operators_of_stage[stage]
        return _kernels_ns(problem, algorithms, tuple(operator.key for operator in operators))

    hidden_in_ns = beside_ns(leave.back) if leave.back < leave.needed else 0
    return max(0, out_ns - beside_ns(leave.out)) + max(0, in_ns - hidden_in_ns)
