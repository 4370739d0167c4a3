"""Schedules that a captured step cannot carry out are refused with tensor, hook call and rule."""

from __future__ import annotations

from dataclasses import replace

import pytest

from captured.steps import one_block_thrice, three_layers
from vdnnsim.captured import build_step, hook_schedule, schedule_of
from vdnnsim.captured.checks import why_it_cannot_go
from vdnnsim.errors import InvalidInput
from vdnnsim.iteration import Action, Leave, Remake
from vdnnsim.program import BrokenSchedule

MAKER = (("layers.1", "aten::addmm 1"), ("layers.2", "aten::addmm 2"))
"""What is launched between the take of b8 and its save."""
BACKWARD = ("layers.2", "AddmmBackward0 5")
CALL = r"hook call {} \({} of AddmmBackward0 mat1, {}\)"


@pytest.mark.parametrize(
    ("name", "action", "message"),
    [
        (
            "b8",
            Leave(4, 7, 8, 10),
            "b8, hook call 4 .*: found that it leaves before all that lies in it is saved; expected at",
        ),
        ("b8", Leave(6, 7, 8, 10), "b8, hook call 6 .*: found that it leaves after its last save; expected at its"),
        ("b8", Leave(5, 4, 8, 10), "b8, hook call 4 .*: found that it is freed before it leaves in stage 5"),
        ("b8", Leave(5, 9, 9, 10), "b8, hook call 9 .*: found that it is back before it is freed in stage 9"),
        ("b8", Leave(5, 6, 7, 10), "b8, hook call 7 .*: found that it comes back; expected a call of the unpack hook"),
        ("b8", Leave(5, 7, 15, 16), "b8, stage 15: found that it comes back; expected a call of the unpack hook"),
        ("b8", Leave(5, 7, 9, 8), "b8, hook call 8 .*: found that it is needed before its first need; expected"),
        ("b8", Leave(5, 7, 8, 11), "b8, hook call 11 .*: found that it is needed later than its first need; expected"),
        ("b8", Leave(5, 7, 11, 11), "b8, hook call 11 .*: found that it comes back behind its first need; expected by"),
        ("b8", Leave(5, 7, 8, 9), "b8, hook call 9 .*: found that it is needed before its first need; expected then"),
        ("b8", Leave(None, 7, 8, 10), "b8, hook call 7 .*: found no copy out; expected one at its last save, stage"),
        (
            "b8",
            Leave(0, 0, 8, 10),
            "b8, before the first hook call: found that it leaves before all that lies in it is",
        ),
        (
            "b0",
            Leave(2, 7, 8, 13),
            "b0, hook call 7 .*: found that it leaves; .* it never leaves .parameter.",
        ),
        ("b6", Leave(1, 7, 8, 14), "expected that it stays: it never leaves .input."),
        ("b8", Remake(4, 9, MAKER), "b8, hook call 4 .*: found that it is dropped before all that lies in it is"),
        ("b8", Remake(5, 5, MAKER), "b8, hook call 5 .*: found that it is back before it is freed in stage 5"),
        ("b8", Remake(5, 11, MAKER), "b8, hook call 11 .*: found that it comes back behind its first need"),
        ("b8", Remake(5, 9, ()), "b8, hook call 9 .*: found made again by 0 of its makers; expected all 2"),
        (
            "b8",
            Remake(5, 9, (("layers.1", "forward"),)),
            "found made again by layers.1 forward; expected by kernels",
        ),
        ("b8", Remake(5, 9, (BACKWARD,)), "found made again by layers.2 AddmmBackward0 5; expected by kernels of f"),
        ("b8", Remake(5, 9, MAKER * 2), "b8, hook call 9 .*: found kernels out of order; expected each once, in the"),
        ("b0", Remake(5, 9, MAKER), "b0, .*: found that it is dropped; expected that it stays: it never leaves"),
        (
            "b12",
            Leave(8, 8, 9, 9),
            "b12, set-up: found no such tensor; expected one of the 7 blocks of three",
        ),
        ("y8", Leave(5, 7, 8, 10), "y8, set-up: found no such tensor"),
    ],
)
def test_what_cannot_be_is_refused(name: str, action: Action, message: str) -> None:
    step = three_layers()
    with pytest.raises(BrokenSchedule, match=rf"^plan: .*{message}"):
        build_step(step, schedule_of(step, {name: action}))


def test_a_stage_is_told_by_its_hook_call() -> None:
    step = three_layers()
    with pytest.raises(BrokenSchedule, match=CALL.format(8, "need", "no module")):
        build_step(step, schedule_of(step, {"b8": Leave(5, 8, 8, 10)}))
    with pytest.raises(BrokenSchedule, match=CALL.format(4, "save", r"layers\.1")):
        build_step(step, schedule_of(step, {"b8": Leave(5, 4, 8, 10)}))


def test_what_backward_never_needs_stays() -> None:
    step = one_block_thrice()
    unneeded = replace(
        step, deeds=step.deeds[:7], kernels=step.kernels[:3], blocks=(step.blocks[0]._replace(given=None),)
    )
    with pytest.raises(BrokenSchedule, match="expected that it stays: backward never needs it"):
        build_step(unneeded, schedule_of(unneeded, {"b0": Leave(1, 3, 4, 4)}))
    unknown = replace(step, blocks=(step.blocks[0]._replace(fetched_given=None),))
    with pytest.raises(BrokenSchedule, match="how long it lives when it is fetched was not captured"):
        build_step(unknown, schedule_of(unknown, {"b0": Leave(1, 3, 4, 4)}))


def test_what_is_small_and_saved_again_after_backward_needed_it_stays() -> None:
    step = one_block_thrice()
    again = (*step.deeds[:5], *step.deeds[6:8], step.deeds[5], *step.deeds[8:])
    saved = tuple(one._replace(stays="small") for one in step.saved)
    assert not why_it_cannot_go(replace(step, saved=saved), 0)
    assert why_it_cannot_go(replace(step, saved=saved, deeds=again), 0)


def test_one_view_that_stays_keeps_the_block() -> None:
    step = one_block_thrice()
    step = replace(step, saved=(*step.saved[:2], step.saved[2]._replace(stays="buffer")))
    with pytest.raises(BrokenSchedule, match=r"expected that it stays: it never leaves \(buffer\)"):
        build_step(step, schedule_of(step, {"b0": Leave(1, 3, 4, 4)}))


def test_hook_schedules_are_asked_for_what_can_be() -> None:
    step = three_layers()
    for arguments, message in (
        (((8,), -1, None), "copies in ahead: found -1, expected 0 or more"),
        (((8,), 1, -1), "bytes in flight: found -1, expected 0 or more"),
        (((8, 12), 1, None), "b12 of three: found that it leaves: nothing that autograd saves lies in it"),
    ):
        with pytest.raises(InvalidInput, match=message):
            hook_schedule(step, *arguments)
