"""Which schedules a captured step can carry out."""

from __future__ import annotations

from vdnnsim.captured.step import CapturedStep, Doing
from vdnnsim.iteration import Action, BrokenSchedule, Leave, Schedule

COULD_GO = ("small", "weight copy")
"""Why blocks stay that leave where a plan asks for them, as `SavedTensor.stays` has it."""


def actions_of(step: CapturedStep, schedule: Schedule) -> dict[int, Action]:
    """What becomes of blocks, by their numbers. Raises `BrokenSchedule` for a name that no saved tensor's block has."""
    names = {f"b{number}": number for number in step.stages.saves}
    for name in schedule.actions:
        if name not in names:
            rule = f"one of the {len(names)} blocks of {step.header.name} that hold saved tensors"
            raise BrokenSchedule(name, "set-up", "no such tensor", rule)
    return {names[name]: action for name, action in schedule.actions.items()}


def leaves_of(step: CapturedStep, schedule: Schedule) -> dict[int, Leave]:
    """The blocks that leave by their numbers, each checked. Raises `BrokenSchedule`, with tensor, stage and rule."""
    actions = actions_of(step, schedule)
    return {n: checked_leave(step, n, action) for n, action in actions.items() if isinstance(action, Leave)}


def why_it_stays(step: CapturedStep, number: int) -> str:
    """Why a block does not leave by itself; "" where it does."""
    if "stays" not in step.made:
        step.made["stays"] = {saved.block: saved.stays for saved in step.saved if saved.stays}
    if number not in step.stages.saves:
        return "nothing that autograd saves lies in it"
    if stays := step.made["stays"].get(number):
        return f"it never leaves ({stays})"
    if number not in step.stages.needs:
        return "backward never needs it"
    if step.stages.leaves(number) > step.stages.needs[number][0]:
        return "it is saved again after backward needed it"
    if step.blocks[number].fetched_given is None:
        return "how long it lives when it is fetched was not captured"
    return ""


def why_it_cannot_go(step: CapturedStep, number: int) -> str:
    """Why a block can neither leave nor be dropped and made again; "" where it can, as what is small and copies of
    weights can, too, which stay unless they are asked for by name."""
    reason, stages = why_it_stays(step, number), step.stages
    if step.made["stays"].get(number, "") not in COULD_GO or number not in stages.needs:
        return reason
    return "" if stages.leaves(number) <= stages.needs[number][0] else reason


def stage_title(step: CapturedStep, stage: int) -> str:
    """What a stage of a captured step is called in messages."""
    if not 1 <= stage <= len(step.hook_calls):
        return "before the first hook call" if stage == 0 else f"stage {stage}"
    doing, number = step.deeds[step.hook_calls[stage - 1]]
    saved = step.saved[number]
    return f"hook call {stage} ({doing} of {saved.node} {saved.attribute}, {saved.module or 'no module'})"


def broken(step: CapturedStep, name: str, stage: int, found: str, rule: str) -> BrokenSchedule:
    """The error of a schedule that cannot be, with the stage as messages have it."""
    return BrokenSchedule(name, stage_title(step, stage), found, rule)


def check_stages_of_need(step: CapturedStep, name: str, freed: int, back: int, first_need: int) -> None:
    """What is let go comes back later, at a need, and not behind its own first one. Raises `BrokenSchedule`."""
    if back <= freed:
        raise broken(step, name, back, f"that it is back before it is freed in stage {freed}", "later")
    if back > len(step.hook_calls) or step.deeds[step.hook_calls[back - 1]].doing is not Doing.NEED:
        raise broken(step, name, back, "that it comes back", "a call of the unpack hook")
    if back > first_need:
        raise broken(step, name, back, "that it comes back behind its first need", f"by then, stage {first_need}")


def checked_leave(step: CapturedStep, number: int, leave: Leave, sooner: bool = False) -> Leave:
    """The same, where it can be; it may be waited for `sooner` than needed, where others are made of it. Raises
    `BrokenSchedule`."""
    name = f"b{number}"
    out, freed, back, needed = leave[:4]
    if reason := why_it_cannot_go(step, number):
        raise broken(step, name, freed, "that it leaves", f"that it stays: {reason}")
    last_save, first_need = step.stages.leaves(number), step.stages.needs[number][0]
    if out is None:
        raise broken(step, name, freed, "no copy out", f"one at its last save, stage {last_save}")
    if out != last_save:
        when = "before all that lies in it is saved" if out < last_save else "after its last save"
        raise broken(step, name, out, f"that it leaves {when}", f"at its last save, stage {last_save}")
    if freed < out:
        raise broken(step, name, freed, f"that it is freed before it leaves in stage {out}", "then, or later")
    check_stages_of_need(step, name, freed, back, first_need)
    if needed > first_need or (needed < first_need and not sooner):
        when = "later than" if needed > first_need else "before"
        raise broken(step, name, needed, f"that it is needed {when} its first need", f"then, in stage {first_need}")
    check_stages_of_need(step, name, freed, needed, first_need)
    return leave
