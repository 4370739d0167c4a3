"""Nothing that the simulated machine runs is quicker than the bound for the memory that it took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from support.cases import conv, gpu_of, layer, network_of, row, trace_of
from support.examples import tries
from support.strategies import Case, cases
from vdnnsim.iteration import (
    Action,
    Buffer,
    Iteration,
    Layout,
    Leave,
    MemoryClass,
    Operator,
    Remake,
    Schedule,
    Stage,
    Tensor,
    Waits,
    WeightGradients,
)
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.memory import make_pool
from vdnnsim.network import Kind
from vdnnsim.optimum import Model, instance_of
from vdnnsim.policies import Plan
from vdnnsim.policies.plan import workspaces_of
from vdnnsim.program import BrokenSchedule, build_iteration
from vdnnsim.study import Study


@st.composite
def schedules(draw: DrawFn) -> Case:
    """A case some of whose tensors leave and come back, or are made again, between two uses, whoever waits."""
    case = draw(cases())
    iteration = Study(case.network, case.trace, case.gpu, weight_gradients=case.weight_gradients).iteration
    schedule = replace(case.plan.schedule, waits=draw(st.sampled_from(Waits)))
    stays = schedule.stays.difference(
        name for name in schedule.stays if iteration.tensors[name].buffer.memory_class is MemoryClass.FEATURE_MAPS
    )
    actions: dict[str, Action] = {}
    if not schedule.shared_workspace:
        for name in iteration.tensors:
            action = draw(_actions(iteration, name)) if name not in stays and draw(st.booleans()) else None
            if action:
                actions[name] = action
        schedule = replace(schedule, stays=stays, actions=actions, fences=None)
    while True:
        plan = replace(case.plan, schedule=schedule)
        try:
            build_iteration(iteration, plan)
        except BrokenSchedule as error:
            name = error.args[0] if error.args[0] in schedule.actions else next(iter(schedule.actions))
            schedule = replace(schedule, actions={n: a for n, a in schedule.actions.items() if n != name})
        else:
            return replace(case, plan=plan)


@st.composite
def _actions(draw: DrawFn, iteration: Iteration, name: str) -> Action | None:
    users = sorted({iteration.by_key[key].stage for key in iteration.users[name]})
    gaps = [(before, after) for before, after in pairwise(users) if after > before + 1]
    if not gaps:
        return None
    before, after = draw(st.sampled_from(gaps))
    freed = draw(st.integers(before, after - 1))
    back = draw(st.integers(freed + 1, after))
    if draw(st.booleans()) and iteration.makers[name]:
        makers = tuple(key for key in iteration.makers[name] if name in iteration.again[key].writes)
        return Remake(freed, back, makers)
    given = name in iteration.inputs and name not in iteration.written
    out = None if given else draw(st.integers(max(0, before - 1), freed))
    return Leave(out, freed, back, draw(st.integers(back, after)))


@settings(max_examples=tries(25))
@given(schedules())
def test_no_schedule_is_quicker_than_the_bound(case: Case) -> None:
    study = Study(case.network, case.trace, case.gpu, weight_gradients=case.weight_gradients)
    run = study.run_plan("any", case.plan)
    instance = instance_of(
        study.iteration,
        case.trace,
        case.gpu.link,
        run.timeline.pool_high_water_bytes,
        case.weight_gradients,
    )
    assert instance.least_bytes <= run.timeline.pool_high_water_bytes
    bound_ns = Model(instance, bounding=True).solve(whole=True, seconds=10).bound_ns
    assert bound_ns * (1 - 1e-6) - 1 <= run.result.iteration_time_ns


def iteration_of_uses(uses: Mapping[str, str], sizes_bytes: Mapping[str, int], again: bool = False) -> Iteration:
    """Kernels in stages of their own, each with the tensors that it uses: it writes those that are new, else s; they
    may run again."""
    operators: list[Operator] = []
    written = {"data"}
    for number, (name, used) in enumerate(uses.items()):
        reads = tuple(used.split())
        operators.append(Operator(name, "forward", number, reads, tuple(set(reads) - written) or ("s",)))
        written.update(reads)
    stages = tuple(Stage(name, False, False, "conv", (), number) for number, name in enumerate(uses))
    tensors = {
        name: Tensor(Buffer(name, size_bytes, MemoryClass.FEATURE_MAPS, "a", False))
        for name, size_bytes in sizes_bytes.items()
    }
    return Iteration(stages, tuple(operators), tensors, frozenset({"data"}), {op.key: op for op in operators if again})


OUT_AND_IN_BESIDE_ONE_KERNEL = (
    iteration_of_uses(
        {"a": "data s", "b": "s m", "long": "s", "c": "data s", "loss": "m s"}, {"data": 1024, "s": 512, "m": 1024}
    ),
    {"data": Leave(None, 0, 2, 3), "m": Leave(1, 1, 4, 4)},
    0,
    1536,
    1024,
)
"""The long kernel takes no block: m leaves beside it, and data comes to the same bytes; then m, before the loss."""

IN_WHERE_WORKSPACE_WAS = (
    iteration_of_uses(
        {"a": "data s", "b": "s m", "c": "s x", "long": "m s", "loss": "data m s"},
        {"data": 1024, "s": 512, "m": 512, "x": 1536},
        again=True,
    ),
    {"data": Leave(None, 0, 4, 4), "m": Remake(1, 3, (("b", "forward"),))},
    1024,
    2048,
    10,
)
"""b runs again before the long kernel, beside which data comes to the bytes of its workspace."""


@pytest.mark.parametrize(
    ("iteration", "actions", "workspace_bytes", "peak_bytes", "more_ns"),
    [OUT_AND_IN_BESIDE_ONE_KERNEL, IN_WHERE_WORKSPACE_WAS],
    ids=["out and in beside one kernel", "in where workspace was"],
)
def test_what_only_the_machine_does_is_not_below_the_bound(
    iteration: Iteration, actions: Mapping[str, Action], workspace_bytes: int, peak_bytes: int, more_ns: int
) -> None:
    """Kernels take 10 ns, the long one 2048, copies 1 ns a byte."""
    names = [stage.layer for stage in iteration.stages]
    network = network_of(*map(conv, names[:-1]), layer(Kind.SOFTMAX, names[-1]))
    rows = [row(name, "forward", 2048 if name == "long" else 10, (name == "b") * workspace_bytes) for name in names]
    trace, gpu = trace_of(network, rows), gpu_of(peak_bytes)
    algorithms = {operator.key: "default" for operator in iteration.operators}
    none = WeightGradients.NONE
    schedule = Schedule(Layout.LAYER_WISE, Waits.STREAMS, none, ("s", "data"), frozenset(), actions)
    program = build_iteration(iteration, Plan(schedule, algorithms, workspaces_of(algorithms, trace)))
    time_ns = SimulatedMachine(trace, gpu).run(program, make_pool("best-fit", peak_bytes)).iteration_time_ns
    assert time_ns == 2048 + 4 * 10 + more_ns
    instance = instance_of(iteration, trace, gpu.link, peak_bytes, none)
    assert Model(instance, bounding=True).solve(whole=True, seconds=10).bound_ns == pytest.approx(time_ns)
    assert Model(instance).solve(whole=True, seconds=10).bound_ns > time_ns + 1000
