"""Random steps under random plans: refused, or right on any machine, and run."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captured.steps import three_layers
from captured.strategies import any_leaves, any_own_copies, steps
from captured.test_program import GPU, run
from support.examples import tries
from vdnnsim.captured import (
    CapturedStep,
    Doing,
    build_step,
    check_step,
    hook_schedule,
    remake_modules,
    schedule_of,
    trace_of_step,
    why_it_stays,
)
from vdnnsim.captured.checking import check_step_program
from vdnnsim.captured.choosing import can_go
from vdnnsim.errors import InvalidInput
from vdnnsim.iteration import Action, CopyStreams, Schedule
from vdnnsim.machines import BrokenProgram, DeviceMemory
from vdnnsim.memory import make_pool
from vdnnsim.program import Allocate, BrokenSchedule, Free, Kernel, Program, Stream, StreamWait
from vdnnsim.study import Study


def check(step: CapturedStep, schedule: Schedule) -> Program:
    """The program is right, runs, and leaves the memory as it should be."""
    program = build_step(step, schedule)
    for pool in ("first-fit", "best-fit"):
        check_step_program(step, program, DeviceMemory(make_pool(pool, 10**12)))
    timeline = run(step, schedule)
    assert len(timeline.kernels) >= len(step.kernels)
    assert len(timeline.copies) == 2 * len(schedule.leaves)
    live = Counter(buffer.name for buffer in program.setup)
    for command in program.commands:
        if isinstance(command, Allocate):
            live[command.buffer.name] += 1
            assert live[command.buffer.name] == 1
        elif isinstance(command, Free):
            live[command.buffer.name] -= 1
            assert live[command.buffer.name] == 0
    for number, block in enumerate(step.blocks):
        left = f"b{number}" in schedule.actions
        given = (block.given if block.released is None else block.released) if left else block.given
        assert live[f"b{number}"] == (given is None)
        assert not live[f"b{number} back"]
        assert not live[f"b{number} again"]
    return program


@settings(max_examples=tries(60))
@given(steps(), st.data())
def test_hook_schedules_can_be_carried_out(step: CapturedStep, data: st.DataObject) -> None:
    check_step(step)
    may = can_go(step)
    leaving = data.draw(st.sets(st.sampled_from(may))) if may else set()
    bound = data.draw(st.none() | st.integers(0, 2**24))
    schedule = hook_schedule(step, leaving, data.draw(st.integers(0, 4)), bound, data.draw(st.booleans()))
    assert schedule.leaves.keys() == {f"b{number}" for number in leaving}
    check(step, schedule)


@given(steps(), st.data())
def test_any_schedule_is_refused_or_right(step: CapturedStep, data: st.DataObject) -> None:
    if not step.saved:
        return
    schedule = schedule_of(step, data.draw(any_leaves(step)))
    try:
        build_step(step, schedule)
    except BrokenSchedule:
        return
    check(step, schedule)


@settings(max_examples=tries(40))
@given(steps(), st.data(), st.sampled_from(CopyStreams))
def test_saved_tensors_are_copied_each_by_itself(step: CapturedStep, data: st.DataObject, copies: CopyStreams) -> None:
    """As often as they are asked to be; every block dies once, and what came back with its node."""
    if not step.saved:
        return
    own = data.draw(any_own_copies(step))
    schedule = replace(schedule_of(step, {}), copies=copies, own_copies=own)
    program = build_step(step, schedule)
    check_step_program(step, program, DeviceMemory(make_pool("best-fit", 10**12)))
    copied = [copy.buffer for copy in run(step, schedule).copies]
    assert sorted(copied) == sorted([*own, *(name for name, one in own.items() if one.back)])
    live = Counter(buffer.name for buffer in program.setup)
    for command in program.commands:
        if isinstance(command, Allocate | Free):
            live[command.buffer.name] += 1 if isinstance(command, Allocate) else -1
            assert live[command.buffer.name] in (0, 1)
    assert not any(count for name, count in live.items() if name.startswith("s"))


@settings(max_examples=tries(60))
@given(steps(), st.data())
def test_modules_are_made_again_beside_what_leaves(step: CapturedStep, data: st.DataObject) -> None:
    modules = data.draw(st.sets(st.sampled_from([f"layer{number}" for number in range(5)]), min_size=1))
    remakes: dict[str, Action] = {}
    for module in sorted(modules):
        with suppress(InvalidInput):
            remakes |= remake_modules(step, [module])
    may = [number for number in range(len(step.blocks)) if not why_it_stays(step, number)]
    leaving = data.draw(st.sets(st.sampled_from(may))) if may else set()
    schedule = schedule_of(step, {**hook_schedule(step, leaving).actions, **remakes})
    program = build_step(step, schedule)
    again = [command for command in program.commands if isinstance(command, Kernel) and command.again]
    assert bool(again) == bool(remakes)
    check(step, schedule)


@settings(max_examples=tries(40))
@given(steps())
def test_what_nothing_leaves_is_the_step_itself(step: CapturedStep) -> None:
    program = check(step, hook_schedule(step))
    deeds = [deed for deed in step.deeds if deed.doing in (Doing.TAKE, Doing.LAUNCH)]
    commands = [command for command in program.commands if isinstance(command, Allocate | Kernel)]
    assert len(commands) == len(deeds)
    for deed, command in zip(deeds, commands, strict=True):
        if isinstance(command, Allocate):
            assert command.buffer.name == f"b{deed.number}"
        else:
            assert command.pass_.endswith(f" {deed.number}")
    deaths = Counter(f"b{n}" for n, block in enumerate(step.blocks) if block.given is not None)
    assert Counter(command.buffer.name for command in program.commands if isinstance(command, Free)) == deaths


def test_a_study_checks_programs_of_captured_steps() -> None:
    """As everywhere else; a program that lets nothing wait for a copy in is told."""
    step = three_layers()
    gpu = replace(GPU, capacity_bytes=2**30)
    assert Study(step, trace_of_step(step), gpu, "pytorch-caching", checked=True).run("vdnn-all").result.trainable
    program = build_step(step, hook_schedule(step, [8]))
    wait = next(c for c in program.commands if isinstance(c, StreamWait) and c.piece.stream is Stream.COPY_IN)
    commands = tuple(command for command in program.commands if command is not wait)
    steps = (program.steps[0]._replace(last=len(commands)),)
    with pytest.raises(BrokenProgram, match="touches b8 while the copy in of b8 may still be under way"):
        check_step_program(
            step, replace(program, commands=commands, steps=steps), DeviceMemory(make_pool("best-fit", 2**30))
        )
