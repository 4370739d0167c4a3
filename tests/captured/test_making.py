"""What is made again: by which kernels, of what, and with which blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from captured.steps import HEADER, HOOKS, LAUNCH, MIB, NEED, SAVE, TAKE, kernel
from captured.test_program import run
from vdnnsim.captured import (
    BEFORE_STEP,
    Block,
    BlockClass,
    CapturedStep,
    Deed,
    ModelOperator,
    Phase,
    SavedTensor,
    Seen,
    build_step,
    schedule_of,
)
from vdnnsim.captured.iteration import kernel_keys
from vdnnsim.captured.making import Making, makings
from vdnnsim.iteration import Action, Leave, Remake
from vdnnsim.optimum.steps import in_time
from vdnnsim.program import Allocate, BrokenSchedule, HostCall


def step_of(gelu: str = "GeluBackward0", add: str = "aten::add", gelu_operator: int = 2) -> CapturedStep:
    """b1 is made of the input b0; b2, which a caller holds until the end of forward, and b3 are made of it: b3 by a
    gelu, which saves b1. Stages 1 and 2 begin with their saves, 3 and 4 with the needs of b3 and b1."""
    names = ("aten::mul", add, "aten::gelu", "aten::loss")
    operators = [ModelOperator(name, "", Phase.FORWARD) for name in names]
    operators += [ModelOperator("Backward", "", Phase.BACKWARD)] * 2
    blocks = (
        Block(MIB, BlockClass.INPUT, BEFORE_STEP, None, None),
        Block(8 * MIB, BlockClass.SAVED, 0, 12, 12, 8, 12, 0),
        Block(4 * MIB, BlockClass.OTHER, 2, 8, 8, operator=1),
        Block(8 * MIB, BlockClass.SAVED, 5, 10, 10, 8, 10, gelu_operator),
    )
    deeds = (
        *((TAKE, 1), (LAUNCH, 0), (TAKE, 2), (LAUNCH, 1)),  # deeds 0 to 3
        *((SAVE, 0), (TAKE, 3), (LAUNCH, 2), (SAVE, 1), (LAUNCH, 3)),  # 4 to 8
        *((NEED, 1), (LAUNCH, 4), (NEED, 0), (LAUNCH, 5)),  # 9 to 12
    )
    shape = (2 * MIB,)
    tensors = (
        SavedTensor(1, gelu, "self", "", "float32", shape, (1,), 0),
        SavedTensor(3, "SumBackward0", "self", "", "float32", shape, (1,), 0),
    )
    kernels = tuple(kernel(operator) for operator in (0, 1, gelu_operator, 3, 4, 5))
    seen = Seen(600_000, 5_000, 21 * MIB, 21 * MIB, 40 * MIB)
    return CapturedStep(
        HEADER, seen, HOOKS, tuple(operators), kernels, blocks, tensors, tuple(Deed(*deed) for deed in deeds)
    )


def test_a_node_that_saves_all_that_its_operator_reads_tells_it() -> None:
    assert makings(step_of()) == {1: Making((0, 1), frozenset()), 3: Making((2,), frozenset({1}))}


def test_else_whatever_somebody_holds_might_be_read() -> None:
    """b2 dies in forward and is made again, by the kernel that writes it."""
    assert makings(step_of(gelu="TanhBackward0"))[3] == Making((1, 2), frozenset({1}))


def test_what_works_in_place_may_write_anything() -> None:
    """The kernel behind b1's own may write it then, and reads what is held: b2, made by itself."""
    assert makings(step_of(add="aten::add_"))[1] == Making((0, 1), frozenset())


def _keys(step: CapturedStep, *kernels: int) -> tuple[tuple[str, str], ...]:
    return tuple(kernel_keys(step)[number] for number in kernels)


def test_operators_take_only_what_is_for_the_kernels_that_run_again() -> None:
    """b1 and b3 are of one operator; b1 alone is made again."""
    step = step_of(gelu_operator=0)
    program = build_step(step, schedule_of(step, {"b1": Remake(1, 4, _keys(step, 0, 1))}))
    taken = [command.buffer.name for command in program.commands if isinstance(command, Allocate)]
    assert taken == ["b1", "b2", "b3", "b1", "b2 again"]


def test_what_others_are_made_of_is_back_by_then() -> None:
    step = step_of()
    remake = Remake(2, 3, _keys(step, 2))
    actions: dict[str, Action] = {"b3": remake, "b1": Leave(1, 2, 4, 4)}
    in_turn = in_time(step, actions)
    assert in_turn == {"b1": Leave(1, 2, 3, 3), "b3": remake}
    timeline = run(step, schedule_of(step, in_turn))
    (back,) = (copy for copy in timeline.copies if copy.direction == "copy in")
    again = timeline.kernels[4]  # behind the four of forward
    assert again.begin_ns >= back.end_ns
    with pytest.raises(BrokenSchedule, match="needed before its first need"):
        build_step(step, schedule_of(step, {"b1": Leave(1, 2, 3, 3)}))


def test_all_of_a_chain_is_made_again_in_the_order_of_forward() -> None:
    step = step_of()
    actions: dict[str, Action] = {"b3": Remake(2, 3, _keys(step, 2)), "b1": Remake(1, 4, _keys(step, 0, 1))}
    assert list(in_time(step, actions).items()) == [
        ("b1", Remake(1, 3, _keys(step, 0, 1))),
        ("b3", Remake(2, 3, _keys(step, 2))),
    ]


def test_hooks_are_called_though_nothing_leaves() -> None:
    step = step_of()
    for hooked in (False, True):
        program = build_step(step, replace(schedule_of(step, {}), hooked=hooked))
        assert sum(isinstance(command, HostCall) for command in program.commands) == 4 * hooked


def test_what_one_operator_takes_and_another_writes_is_taken_again() -> None:
    step = step_of()
    step = replace(step, blocks=(*step.blocks[:3], step.blocks[3]._replace(operator=1)))
    program = build_step(step, schedule_of(step, {"b3": Remake(2, 3, _keys(step, 2))}))
    assert [command.buffer.name for command in program.commands if isinstance(command, Allocate)].count("b3") == 2
