"""Nothing that the simulated machine runs is quicker than the bound for the memory that it took."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from support.examples import tries
from support.strategies import Case, cases
from vdnnsim.iteration import Action, Iteration, Leave, MemoryClass, Remake, Waits
from vdnnsim.optimum import Model, instance_of
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
    bound_ns = Model(instance).solve(whole=True, seconds=10).bound_ns
    assert bound_ns * (1 - 1e-6) - 1 <= run.result.iteration_time_ns
