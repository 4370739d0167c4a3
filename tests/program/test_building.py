"""From schedules to programs: who waits for what, what is made again, and which schedules are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.cases import conv, fc, gpu_of, layer, network_of, plan_of, pool, trace_of
from support.checker import check_run
from support.examples import tries
from support.render import command_line, step_lines
from support.strategies import Case, cases
from vdnnsim.iteration import (
    Action,
    Compression,
    CopyStreams,
    Iteration,
    Layout,
    Leave,
    OwnCopy,
    Paging,
    Remake,
    Schedule,
    Waits,
    WeightGradients,
)
from vdnnsim.machines import DeviceMemory, replay_memory
from vdnnsim.machines.checking import BrokenProgram, check_program
from vdnnsim.machines.fitting import lives_of
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.memory import ENDLESS_BYTES, make_pool
from vdnnsim.network import Kind, Network, iteration_of
from vdnnsim.policies import Plan
from vdnnsim.program import Allocate, BrokenSchedule, CopyOut, Program, Stream, StreamWait, Synchronise, build_program

LOSS = layer(Kind.SOFTMAX, "loss")
MIB = 2**20
NETWORK = network_of(conv("a"), conv("b"), conv("c"), LOSS)
PLAN = plan_of(NETWORK, trace_of(NETWORK))
"""Stages: a, b, c, loss forward are 0 to 3, loss, c, b, a backward 4 to 7; nothing leaves."""
CHEAP = network_of(conv("a"), pool("p"), conv("b"), LOSS)


def with_schedule(network: Network, actions: Mapping[str, Action], waits: Waits = Waits.EACH_LAYER) -> Program:
    return build_program(network, scheduled(network, actions, waits))


def scheduled(network: Network, actions: Mapping[str, Action], waits: Waits = Waits.EACH_LAYER) -> Plan:
    plan = plan_of(network, trace_of(network))
    schedule = replace(plan.schedule, actions=actions, waits=waits, stays=plan.schedule.stays - actions.keys())
    return replace(plan, schedule=schedule)


def check(network: Network, program: Program) -> None:
    """Right on any machine, and on this one."""
    check_program(network, program, DeviceMemory(make_pool("best-fit", ENDLESS_BYTES)))
    trace = trace_of(network)
    machine = SimulatedMachine(trace, gpu_of())
    timeline = machine.run(program, make_pool("best-fit", ENDLESS_BYTES))
    if not any(isinstance(command, StreamWait) for command in program.commands):
        check_run(network, program, timeline)


@pytest.mark.parametrize(
    "change",
    [
        {"waits": Waits.KERNELS},
        {"weight_gradients": WeightGradients.NONE},
        {"before": ()},
        {"stays": frozenset()},
        {"actions": {"map:a": Leave(1, 2, 5, 6)}},
        {"shared_workspace": True},
        {"copies": CopyStreams.SHARED},
        {"compression": Compression({"map:a": 1})},
        {"addresses": (0,)},
        {"nvme": frozenset({"map:a"})},
        {"paging": Paging(1, 1)},
        {"host_optimiser": 0},
        {"own_copies": {"s0": OwnCopy(1)}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_schedules_that_run_otherwise_have_other_keys(change: dict[str, Any]) -> None:
    """Studies remember what ran by them."""
    assert replace(PLAN.schedule, **change).key != PLAN.schedule.key


# Who waits


def test_a_copy_out_may_outlive_its_layer_and_is_waited_for_where_its_block_goes() -> None:
    program = with_schedule(NETWORK, {"map:a": Leave(1, 2, 5, 6)}, Waits.KERNELS)
    assert step_lines(program, "b") == ["allocate map:b", "run b forward", "copy out map:a", "wait for compute"]
    assert step_lines(program, "c")[1:] == ["run c forward", "wait for compute", "wait for copy out 1", "free map:a"]
    check(NETWORK, program)


def test_a_copy_in_is_waited_for_where_its_tensor_is_read() -> None:
    program = with_schedule(NETWORK, {"map:a": Leave(1, 1, 4, 6)}, Waits.KERNELS)
    assert step_lines(program, "loss", backward=True)[:2] == ["allocate map:a", "copy in map:a for b"]
    assert step_lines(program, "loss", backward=True)[-1] == "wait for compute"
    assert step_lines(program, "b", backward=True)[0] == "wait for copy in 1"
    check(NETWORK, program)


def test_streams_wait_for_each_other_where_the_host_does_not() -> None:
    """The copy out waits for the kernel that writes the map, what takes its bytes over for the copy, the copy in for
    the kernels before, and b's backward for the copy in."""
    program = with_schedule(NETWORK, {"map:a": Leave(0, 1, 5, 6)}, Waits.STREAMS)
    lines = [command_line(command) for command in program.commands]
    assert lines[:4] == ["allocate map:a", "run a forward", "copy out waits for compute 1", "copy out map:a"]
    assert step_lines(program, "b") == ["allocate map:b", "run b forward", "free map:a"]
    assert step_lines(program, "c", backward=True)[:4] == [
        "allocate map:a",
        "copy in waits for copy out 1",
        "copy in waits for compute 4",
        "copy in map:a for b",
    ]
    assert step_lines(program, "b", backward=True)[0] == "compute waits for copy in 1"
    assert [line for line in lines if line.startswith("wait")] == ["wait for compute"] == lines[-1:]
    check(NETWORK, program)


def test_whoever_takes_a_block_over_waits_for_the_copy_that_still_reads_it() -> None:
    program = with_schedule(NETWORK, {"map:a": Leave(1, 1, 5, 6)}, Waits.STREAMS)
    assert step_lines(program, "b")[-2:] == ["copy out map:a", "free map:a"]
    assert step_lines(program, "c") == ["allocate map:c", "compute waits for copy out 1", "run c forward"]
    check(NETWORK, program)


def test_what_the_host_has_already_is_not_copied_out() -> None:
    program = with_schedule(NETWORK, {"map:data": Leave(None, 0, 6, 7)})
    assert not any(isinstance(command, CopyOut) for command in program.commands)
    assert step_lines(program, "a")[-2:] == ["wait for compute", "free map:data"]
    assert step_lines(program, "b", backward=True)[:2] == ["allocate map:data", "copy in map:data for a"]
    assert program.on_host == {"map:data"}
    assert [buffer.name for buffer in program.offloaded] == ["map:data"]
    check(NETWORK, program)


def test_a_network_of_fc_layers_offloads_what_its_policy_says() -> None:
    network = network_of(fc("a"), fc("b"), fc("c"), LOSS)
    trace = trace_of(network)
    nothing = build_program(network, plan_of(network, trace))
    assert not nothing.offloaded
    program = build_program(network, plan_of(network, trace, offload=("b", "c")))
    assert [buffer.name for buffer in program.offloaded] == ["map:a", "map:b"]
    assert step_lines(program, "b") == [
        "allocate map:b",
        "run b forward",
        "copy out map:a",
        "wait for compute, copy out",
        "free map:a",
    ]
    check(network, program)


# Made again


def test_a_dropped_map_is_made_again_before_its_first_use_in_backward() -> None:
    program = with_schedule(CHEAP, {"map:p": Remake(2, 5, (("p", "forward"),))})
    assert step_lines(program, "b")[1:] == ["run b forward", "wait for compute", "free map:p"]
    assert step_lines(program, "b", backward=True) == [
        "allocate gradient:p",
        "allocate weight gradient:b",
        "allocate map:p",
        "run p forward again",
        "run b backward_filter",
        "run b backward_data",
        "wait for compute",
        "free weight gradient:b",
        "free gradient:b",
    ]
    assert "free map:p" in step_lines(program, "p", backward=True)
    check(CHEAP, program)


def test_what_several_layers_write_is_made_again_by_all_of_them() -> None:
    """BN's map, over which ACTV works in place."""
    network = network_of(conv("a"), layer(Kind.BN, "n"), layer(Kind.ACTV, "r"), conv("b"), LOSS)
    makers = (("n", "forward"), ("r", "forward"))
    program = with_schedule(network, {"map:n": Remake(3, 6, makers)})
    backward = step_lines(program, "b", backward=True)
    assert [line for line in backward if "again" in line] == ["run n forward again", "run r forward again"]
    check(network, program)
    with pytest.raises(BrokenSchedule, match="found made again by n forward; expected by what makes it in forward"):
        with_schedule(network, {"map:n": Remake(3, 6, makers[:1])})


# Refused


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ({"map:a": Leave(0, 0, 5, 6)}, "map:a, b forward: found b forward uses it, but it left in a forward; expected"),
        ({"map:a": Leave(2, 1, 5, 6)}, "found out 2, freed 1, back 5, needed 6; expected 0 <= out <= freed < back"),
        ({"map:a": Leave(1, 1, 6, 5)}, "found out 1, freed 1, back 6, needed 5"),
        (
            {"map:a": Leave(1, 1, 7, 7)},
            "map:a, a backward: found back for nobody; expected a use at that stage",
        ),
        ({"map:a": Leave(1, 6, 7, 9)}, "needed 9; expected 0 <= out <= freed < back <= needed < 8, the stages"),
        ({"map:b": Leave(1, 2, 4, 5), "map:zz": Leave(1, 1, 5, 6)}, "map:zz, set-up: found no such tensor"),
        (
            {"map:a": Leave(None, 1, 5, 6)},
            "map:a, b forward: found no copy out; expected a copy out of what the host",
        ),
        ({"map:b": Leave(0, 2, 4, 5)}, "map:b, a forward: found a copy out of what is not there"),
        (
            {"map:a": Remake(1, 1, (("a", "forward"),))},
            "found dropped 1, made again 1; expected 0 <= dropped < again",
        ),
        ({"map:a": Remake(1, 6, ())}, "found made again by nothing; expected by what makes it in forward: a forward"),
        ({"map:a": Remake(1, 7, (("a", "forward"),))}, "map:a, a backward: found made again for nobody"),
        ({"map:a": Remake(1, 5, (("a", "forward"),))}, None),
        ({"map:c": Remake(2, 3, (("c", "forward"),))}, None),
        (
            {"map:data": Leave(0, 0, 7, 7), "map:a": Remake(1, 6, (("a", "forward"),))},
            "map:data, b backward: found a forward uses it, but it left in a forward; expected what an operator uses",
        ),
    ],
)
def test_schedules_that_cannot_be(actions: dict[str, Action], message: str | None) -> None:
    """Refused with tensor, stage and rule, or a program that is right."""
    if message is None:
        check(NETWORK, with_schedule(NETWORK, actions))
        return
    with pytest.raises(BrokenSchedule) as caught:
        with_schedule(NETWORK, actions)
    assert message in str(caught.value)


IN_PLACE = network_of(conv("a"), layer(Kind.ACTV, "r"), conv("b"), LOSS)
"""Stages: a, r, b, loss forward are 0 to 3; r works on a's map in place."""


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (
            Leave(0, 2, 4, 5),
            "map:a, r forward: found r forward writes it after its copy out; expected a copy",
        ),
        (Remake(0, 5, (("a", "forward"), ("r", "forward"))), "map:a, a forward: found dropped before it is made"),
    ],
)
def test_what_is_still_to_be_written_neither_leaves_nor_is_dropped(action: Action, message: str) -> None:
    with pytest.raises(BrokenSchedule) as caught:
        with_schedule(IN_PLACE, {"map:a": action})
    assert message in str(caught.value)


def test_the_checking_mode_sees_a_copy_out_before_the_last_write() -> None:
    """The host would bring back what a's ACTV had not yet been through, at the right time and to the right place."""
    program = with_schedule(IN_PLACE, {"map:a": Leave(2, 2, 4, 5)})
    commands = list(program.commands)
    out = next(command for command in commands if isinstance(command, CopyOut))
    commands.remove(out)
    place = [command_line(command) for command in commands].index("run r forward")
    commands[place:place] = [out, Synchronise((Stream.COPY_OUT,))]
    steps = (program.steps[0]._replace(first=0, last=len(commands)),)
    with pytest.raises(BrokenProgram, match="copy in of map:a brings back what was written again after it was copied"):
        check(IN_PLACE, replace(program, commands=tuple(commands), steps=steps))


def test_what_stays_or_shares_its_block_has_no_action() -> None:
    for name in ("weights:a", "gradient:loss"):
        plan = replace(PLAN, schedule=replace(PLAN.schedule, actions={name: Leave(2, 2, 3, 4)}))
        with pytest.raises(BrokenSchedule, match=f"{name}, set-up: found an action; expected none"):
            build_program(NETWORK, plan)


def test_an_input_that_is_not_there_before_the_iteration() -> None:
    schedule = PLAN.schedule
    before = tuple(item for item in schedule.before if item != "weights:b")
    with pytest.raises(BrokenSchedule, match="weights:b, set-up: found an input that is not there"):
        build_program(NETWORK, replace(PLAN, schedule=replace(schedule, before=before)))


# Anything at all


@st.composite
def random_actions(draw: st.DrawFn, iteration: Iteration) -> dict[str, Action]:
    """Any tensors leaving or made again at any stages, most of them in a possible order."""
    stages = len(iteration.stages)
    actions: dict[str, Action] = {}
    names = [name for name in iteration.tensors if name.startswith(("map:", "saved:"))]
    for name in draw(st.lists(st.sampled_from(names), unique=True, max_size=4)):
        first, last = iteration.first_stage.get(name, 0), iteration.last_stage.get(name, stages - 1)
        near = st.integers(max(0, first - 1), min(stages - 1, last + 1))
        one, two, three, four = sorted(draw(st.tuples(near, near, near, near)))
        if draw(st.booleans()):
            actions[name] = Leave(draw(st.sampled_from([one, one, None])), two, three, four)
        else:
            actions[name] = Remake(two, three, iteration.makers[name])
    return actions


@settings(max_examples=tries(80))
@given(st.data(), cases(layout=Layout.LAYER_WISE), st.sampled_from(Waits))
def test_any_schedule_is_refused_or_right(data: st.DataObject, case: Case, waits: Waits) -> None:
    """No operator reads what is not there, and nothing is used out of order, however long kernels and copies take."""
    iteration = iteration_of(case.network, frozenset(case.plan.algorithms))
    actions = data.draw(random_actions(iteration))
    schedule = _leaving(case.plan.schedule, actions, waits)
    try:
        program = build_program(case.network, replace(case.plan, schedule=schedule))
    except BrokenSchedule:
        return
    check_program(case.network, program, DeviceMemory(make_pool("best-fit", ENDLESS_BYTES)))
    timeline = SimulatedMachine(case.trace, case.gpu).run(program, make_pool("best-fit", ENDLESS_BYTES))
    if waits is not Waits.STREAMS and all(name.startswith("map:") for name in actions):
        # else blocks go back while streams use them, or hold what this checker does not know: the checking mode does
        check_run(case.network, program, timeline)


def _leaving(schedule: Schedule, actions: Mapping[str, Action], waits: Waits) -> Schedule:
    """These actions instead of the schedule's; what it kept for all the iteration may go."""
    given_up = frozenset(actions)
    before = tuple(item for item in schedule.before if item not in given_up or item == "map:data")
    return replace(schedule, actions=actions, waits=waits, stays=schedule.stays - given_up, before=before)


def test_blocks_where_the_schedule_has_them_lie() -> None:
    plan = scheduled(NETWORK, {})
    free = lives_of(build_program(NETWORK, plan))
    addresses = tuple(MIB * number for number in range(len(free)))
    program = build_program(NETWORK, replace(plan, schedule=replace(plan.schedule, addresses=addresses)))
    assert lives_of(program) == free
    memory = DeviceMemory(make_pool("best-fit", ENDLESS_BYTES))
    replay_memory(program, memory)
    buffers = [*program.setup, *(command.buffer for command in program.commands if isinstance(command, Allocate))]
    assert [buffer.address for buffer in buffers] == list(addresses)
    assert memory.pool.high_water_bytes > MIB * (len(free) - 1)


@pytest.mark.parametrize("count", [1, 99])
def test_as_many_addresses_as_blocks(count: int) -> None:
    plan = scheduled(NETWORK, {})
    with pytest.raises(BrokenSchedule, match=f"found {count} addresses; expected one for each of"):
        build_program(NETWORK, replace(plan, schedule=replace(plan.schedule, addresses=(0,) * count)))
