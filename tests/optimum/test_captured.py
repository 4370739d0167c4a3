"""Captured steps: no schedule is quicker than the bound, and what leaves does so at hook calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captured.steps import module_with_workspace, three_layers
from captured.strategies import any_leaves, steps
from captured.test_program import GPU, run
from vdnnsim.captured import BEFORE_STEP, CapturedStep, WaitCosts, build_step, remake_modules, schedule_of
from vdnnsim.captured.agenda import block_name
from vdnnsim.captured.checks import why_it_cannot_go
from vdnnsim.captured.choosing import may_leave
from vdnnsim.captured.iteration import kernel_keys
from vdnnsim.captured.making import makings
from vdnnsim.captured.plan_file import why_not_trained
from vdnnsim.captured.remaking import makers_of
from vdnnsim.captured.trace import POWER_CAP
from vdnnsim.errors import InvalidInput
from vdnnsim.iteration import Action, Leave, Remake
from vdnnsim.making import study_of_step
from vdnnsim.optimum import Model, Rehearsal, Told, instance_of_step, schedule_of_step
from vdnnsim.optimum.saying import said_ns
from vdnnsim.optimum.steps import in_time, remake_of
from vdnnsim.policies.optimal import Optimal
from vdnnsim.program import BrokenSchedule
from vdnnsim.study import Study

STEP = three_layers()


def stop_behind(what: str) -> Callable[[Told], None]:
    """Ends a search behind one of its rounds, as Ctrl-C does."""

    def hear(told: Told) -> None:
        if told.what == what:
            raise KeyboardInterrupt

    return hear


@pytest.fixture(scope="module")
def study() -> Study:
    return study_of_step(STEP, replace(GPU, name=STEP.header.gpu))


@settings(max_examples=15)
@given(st.data())
def test_no_schedule_is_quicker_than_the_bound(data: st.DataObject) -> None:
    step = _launched(data.draw(steps()), data.draw(st.sampled_from((10_000, 40_000, 200_000))))
    actions: dict[str, Action] = dict(data.draw(any_leaves(step))) if step.saved else {}
    for number in data.draw(st.sets(st.sampled_from(sorted(makings(step))))) if makings(step) else ():
        actions[block_name(number)] = remake_of(step, number, step.stages.needs[number][0])
    actions = in_time(step, actions) | data.draw(_small_ones(step))
    try:
        build_step(step, schedule_of(step, actions))
    except BrokenSchedule:
        actions = {}
    _check_bound(step, actions)


def _launched(step: CapturedStep, launch_ns: int) -> CapturedStep:
    """The same with a host that needs so long for each kernel."""
    return replace(step, kernels=tuple(kernel._replace(launch_ns=launch_ns) for kernel in step.kernels))


@st.composite
def _small_ones(draw: st.DrawFn, step: CapturedStep) -> dict[str, Action]:
    """Of those that never leave, some that are dropped, as modules that are checkpointed drop them."""
    found: dict[str, Action] = {}
    for number, needs in step.stages.needs.items():
        if number not in may_leave(step) and not why_it_cannot_go(step, number) and draw(st.booleans()):
            taken = step.blocks[number].taken
            makers = sorted(makers_of(step, number)) if taken != BEFORE_STEP else []
            if makers:
                keys = tuple(kernel_keys(step)[kernel] for kernel in makers)
                found[block_name(number)] = Remake(step.stages.leaves(number), needs[0], keys)
    return found


def test_what_modules_make_again_is_not_quicker_either() -> None:
    step = module_with_workspace()
    remakes: dict[str, Action] = dict(remake_modules(step, ["a"]))
    assert remakes
    _check_bound(step, remakes)


@pytest.mark.parametrize("launch_ns", [10_000, 400_000])
def test_the_model_says_how_long_a_plan_takes(launch_ns: int) -> None:
    """With quick launches y1 is made again by the device and y2's copy in is waited for; with slow ones the host is all
    that there is: what it is launched again, gives copies and waits for them."""
    step = _launched(STEP, launch_ns)
    actions = in_time(step, {"b7": remake_of(step, 7, 12), "b8": Leave(5, 7, 8, 10)})
    timeline = run(step, schedule_of(step, actions))
    nothing = run(step, replace(schedule_of(step, {}), hooked=True))
    begun = Rehearsal(nothing.iteration_time_ns, begins_ns=tuple(kernel.begin_ns for kernel in nothing.kernels))
    instance = instance_of_step(step, GPU.link, 10**9, begun, planned=True)
    assert timeline.iteration_time_ns > nothing.iteration_time_ns * 1.05
    assert said_ns(instance, actions, seconds=10) == pytest.approx(timeline.iteration_time_ns, rel=0.01)


def test_a_host_that_binds_pays_the_calls_of_copies_in_the_bound_as_on_the_machine() -> None:
    """All but the two calls that wait for them, which a copy on the compute stream does without."""
    step = _launched(STEP, 400_000)
    hooked = run(step, replace(schedule_of(step, {}), hooked=True))
    begun = Rehearsal(hooked.iteration_time_ns, begins_ns=tuple(kernel.begin_ns for kernel in hooked.kernels))
    instance = instance_of_step(step, GPU.link, hooked.pool_high_water_bytes - 512, begun)
    bound_ns = Model(instance).solve(whole=True, seconds=10).bound_ns
    _, copy_out_ns, copy_in_ns, wait_ns = step.hooks
    assert bound_ns == pytest.approx(hooked.iteration_time_ns + copy_out_ns + copy_in_ns, abs=1)
    leaving = run(step, schedule_of(step, {"b8": Leave(5, 6, 8, 10)}))
    assert leaving.iteration_time_ns == round(bound_ns) + 2 * wait_ns


def _check_bound(step: CapturedStep, actions: dict[str, Action]) -> None:
    timeline = run(step, schedule_of(step, actions))
    nothing = run(step, replace(schedule_of(step, {}), hooked=bool(actions)))
    begun = Rehearsal(nothing.iteration_time_ns, begins_ns=tuple(kernel.begin_ns for kernel in nothing.kernels))
    instance = instance_of_step(step, GPU.link, timeline.pool_high_water_bytes, begun, hooked=bool(actions))
    assert instance.least_bytes <= timeline.pool_high_water_bytes
    bound_ns = Model(instance).solve(whole=True, seconds=10).bound_ns
    assert bound_ns * (1 - 1e-6) - 1 <= timeline.iteration_time_ns
    assert nothing.iteration_time_ns <= timeline.iteration_time_ns


def test_blocks_leave_where_they_must(study: Study) -> None:
    """Of 103 MB in use at most, PyTorch's allocator holds 117."""
    run = study.within(116 * 10**6).run(Optimal(told=stop_behind("whole tensors")))
    assert run.plan.bound is not None
    assert run.result.trainable
    assert run.plan.schedule.actions
    least_ns = study.run("oracle").result.iteration_time_ns
    assert least_ns <= run.plan.bound.bound_ns <= run.result.iteration_time_ns


def test_the_relaxation_has_kernels_wait_for_copies_out(study: Study) -> None:
    """Could blocks leave beside a kernel and be gone by its end, it would prove no more than 1,000,638 ns."""
    bounds_ns: dict[str, int] = {}

    def hear(told: Told) -> None:
        bounds_ns[told.what] = told.bound_ns
        if told.what == "relaxation":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.within(84 * 10**6).run(Optimal(told=hear))
    assert bounds_ns["relaxation"] > 1_008_000


def test_a_plan_that_hooks_can_carry_out(study: Study) -> None:
    run = study.within(112 * 10**6).run(
        Optimal(seconds=1, remake="no", told=stop_behind("changes of another policy's plan"))
    )
    assert run.result.trainable
    assert run.plan.schedule.leaves
    assert why_not_trained(run.plan.schedule) == ""


def test_what_leaves_only_where_it_is_asked_for_is_not_below_the_bound(study: Study) -> None:
    """y1 is a copy of weights, y2 small: no plan of the solver's has them leave, but one that a search
    tries first, of all that may leave, has."""
    stays = {7: "weight copy", 8: "small"}
    step = replace(STEP, saved=tuple(one._replace(stays=stays.get(one.block, one.stays)) for one in STEP.saved))
    little = replace(study_of_step(step, study.gpu), pool="best-fit").within(96 * 10**6)
    asked = little.run("offload(which=everything, ahead=0, in_flight=0)")

    found = little.run(Optimal(remake="no", told=stop_behind("whole tensors")))
    assert not found.plan.schedule.leaves.keys().isdisjoint({"b7", "b8"})
    assert found.plan.bound is not None
    assert found.plan.bound.bound_ns <= found.result.iteration_time_ns <= asked.result.iteration_time_ns


def test_only_in_a_step_with_hooks_the_host_begins_late() -> None:
    step = replace(STEP, waits=WaitCosts(5_000, 7_000, 3_000))
    nothing = run(step, schedule_of(step, {}))
    begun = Rehearsal(nothing.iteration_time_ns, begins_ns=tuple(kernel.begin_ns for kernel in nothing.kernels))
    first = [instance_of_step(step, GPU.link, 10**9, begun, hooked=hooked).steps[0] for hooked in (False, True)]
    assert [one.called_ns for one in first] == [0, 5_000]
    assert first[1].given_ns == first[0].given_ns + 5_000


def test_kernels_that_power_holds_down_where_nothing_leaves_are_no_bound() -> None:
    """They take ten times as long there, and as captured where something leaves."""
    conditions = STEP.header.conditions | {"clocks": f"SM 1700 of 1980 MHz, {POWER_CAP}"}
    held_down = replace(STEP, header=replace(STEP.header, conditions=conditions))
    held_down = replace(held_down, seen=STEP.seen._replace(step_ns=10 * STEP.seen.step_ns))
    study = study_of_step(held_down, replace(GPU, name=STEP.header.gpu))
    kept, away = (study.run(policy).result.iteration_time_ns for policy in ("baseline", "vdnn-all"))
    assert away < 0.8 * kept
    bound = study.run(Optimal(told=stop_behind("whole tensors"))).plan.bound
    assert bound is not None
    assert bound.bound_ns <= away


def test_hook_calls_at_which_things_are_done() -> None:
    """Stages 4, 6, 8 begin with saves of y1, y2, y3 behind them, 9, 11, 13 with the needs of weights between."""
    found = schedule_of_step(STEP, {"b7": Leave(2, 3, 7, 12)}).actions
    assert found == {"b7": Leave(3, 4, 8, 12)}


def test_no_room_whatever_leaves(study: Study) -> None:
    with pytest.raises(InvalidInput, match="found a capacity of 60000000 bytes, expected at least 77595136"):
        study.within(60 * 10**6).run("optimal")
