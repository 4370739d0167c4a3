"""Which schedules a captured step can carry out."""

from __future__ import annotations

from vdnnsim.captured.step import CapturedStep, Doing
from vdnnsim.iteration import Action, Leave, Schedule
from vdnnsim.program import BrokenSchedule


def leaves_of(step: CapturedStep, schedule: Schedule) -> dict[int, Leave]:
    """The blocks that leave by their numbers, each checked. Raises `BrokenSchedule`, with tensor, stage and rule."""
    names = {f"b{number}": number for number in step.stages.saves}
    found = {}
    for name, action in schedule.actions.items():
        if name not in names:
            rule = f"one of the {len(names)} blocks of {step.header.name} that hold saved tensors"
            raise BrokenSchedule(name, "set-up", "no such tensor", rule)
        found[names[name]] = _checked(step, names[name], name, action)
    return found


def why_it_stays(step: CapturedStep, number: int) -> str:
    """Why a block cannot leave; "" where it can."""
    if "stays" not in step.made:
        step.made["stays"] = {saved.block: saved.stays for saved in step.saved if saved.stays}
    if number not in step.stages.saves:
        return "nothing that autograd saves lies in it"
    if stays := step.made["stays"].get(number):
        return f"it never leaves ({stays})"
    if number not in step.stages.needs:
        return "backward never needs it"
    if step.blocks[number].fetched_given is None:
        return "how long it lives when it is fetched was not captured"
    return ""


def stage_title(step: CapturedStep, stage: int) -> str:
    """What a stage of a captured step is called in messages."""
    if not 1 <= stage <= len(step.hook_calls):
        return "before the first hook call" if stage == 0 else f"stage {stage}"
    doing, number = step.deeds[step.hook_calls[stage - 1]]
    saved = step.saved[number]
    return f"hook call {stage} ({doing} of {saved.node} {saved.attribute}, {saved.module or 'no module'})"


def _checked(step: CapturedStep, number: int, name: str, action: Action) -> Leave:
    def broken(stage: int, found: str, rule: str) -> BrokenSchedule:
        return BrokenSchedule(name, stage_title(step, stage), found, rule)

    if not isinstance(action, Leave):
        raise broken(action.dropped, "that it is made again", "that it leaves or stays: recomputing is the model's own")
    if reason := why_it_stays(step, number):
        raise broken(action.freed, "that it leaves", f"that it stays: {reason}")
    out, freed, back, needed = action[:4]
    stages = step.stages
    first_save, first_need = stages.saves[number][0], stages.needs[number][0]
    if out is None:
        raise broken(freed, "no copy out", f"one at its first save, stage {first_save}: the host has no copy of it")
    if out != first_save:
        when = "before it is saved" if out < first_save else "after its first save"
        raise broken(out, f"that it leaves {when}", f"at its first save, stage {first_save}")
    if freed < out:
        raise broken(freed, f"that it is freed before it leaves in stage {out}", "then, or later")
    if back <= freed:
        raise broken(back, f"that it is back before it is freed in stage {freed}", "later")
    if back > len(step.hook_calls) or step.deeds[step.hook_calls[back - 1]].doing is not Doing.NEED:
        raise broken(back, "that it comes back", "a call of the unpack hook")
    if needed < back:
        raise broken(needed, f"that it is needed before it is back in stage {back}", "then, or later")
    if needed != first_need:
        when = "later than" if needed > first_need else "before"
        raise broken(needed, f"that it is needed {when} its first need", f"then, in stage {first_need}")
    return action
