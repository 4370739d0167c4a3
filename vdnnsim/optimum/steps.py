"""What an optimum is sought of in a captured training step: its hook calls, and the blocks that may leave at them.

Stage n begins with the n-th hook call, and its kernels are one step of the model. Of a block's deaths in the various
circumstances the earliest counts, so that no schedule needs less than the model says.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping

from vdnnsim.captured.agenda import block_name
from vdnnsim.captured.checks import why_it_cannot_go
from vdnnsim.captured.choosing import may_leave
from vdnnsim.captured.iteration import kernel_keys
from vdnnsim.captured.making import Making, makings
from vdnnsim.captured.schedules import schedule_of
from vdnnsim.captured.step import BEFORE_STEP, CapturedStep, Doing
from vdnnsim.gpu import Link
from vdnnsim.iteration import Action, Leave, Remake, Schedule
from vdnnsim.optimum.instance import Choice, Gap, Instance, Step, Uses
from vdnnsim.optimum.rehearsal import Rehearsal


def instance_of_step(
    step: CapturedStep, link: Link, capacity_bytes: int, begun: Rehearsal, planned: bool = False
) -> Instance:
    """The instance of a captured step in so many bytes, whose kernels begin no sooner than where nothing leaves, as
    `begun` says. What is made again is so by kernels that no other block is charged with, out of nothing: the bound
    counts that. Where a plan is sought, it is as `makings` have it."""
    durations_ns = [0] * (len(step.hook_calls) + 1)
    ready_ns = [0] * len(durations_ns)
    stage = 0
    for doing, number in step.deeds:
        if doing is Doing.LAUNCH:
            ready_ns[stage] = ready_ns[stage] or begun.begins_ns[number]
            durations_ns[stage] += step.kernels[number].gap_ns + step.kernels[number].duration_ns
        elif doing is not Doing.TAKE:
            stage += 1
    gaps = tuple(_gaps(step, link, makings(step) if planned else None))
    used = _most_bytes(step)
    for number in () if planned else _never_leaving(step):  # what modules make again may be gone as well
        for stage in range(step.stages.leaves(number), step.stages.needs[number][0]):
            used[stage] -= step.blocks[number].size_bytes
    for gap in gaps:
        for number in range(gap.first, gap.last + 1):
            used[number] -= gap.size_bytes
    steps = tuple(
        Step((f"stage {number}", ""), number, (Choice("", duration_ns, 0),), used[number], 0, ready_ns[number])
        for number, duration_ns in enumerate(durations_ns)
    )
    end = Step(("the end", ""), len(durations_ns), (Choice("", 0, 0),), 0, 0, begun.time_ns)
    return Instance((*steps, end), gaps, 0, capacity_bytes)


def schedule_of_step(step: CapturedStep, actions: Mapping[str, Action]) -> Schedule:
    """The schedule of a captured step whose blocks do this. Copies out are given at the last save, copies in at a
    need, and what a network gives back at the end of a stage goes with the next hook call."""
    needs = step.stages.need
    found: dict[str, Action] = {}
    for name, action in actions.items():
        if isinstance(action, Remake):
            found[name] = remake_of(step, int(name[1:]), action.again)
            continue
        assert isinstance(action, Leave)
        out = step.stages.leaves(int(name[1:]))
        freed = max(out, action.freed + 1)
        back = needs[bisect_left(needs, max(action.back, freed + 1))]
        found[name] = Leave(out, freed, min(back, action.needed), action.needed)
    return schedule_of(step, in_time(step, found))


def in_time(step: CapturedStep, actions: Mapping[str, Action]) -> dict[str, Action]:
    """The same, with what others are made of back when they are made; what is made again in one call is so in the order
    of forward."""
    found = dict(actions)
    remade = sorted(int(name[1:]) for name, action in actions.items() if isinstance(action, Remake))
    last_first: dict[str, Action] = {}
    for number in reversed(remade):
        remake = found.pop(block_name(number))
        assert isinstance(remake, Remake)
        last_first[block_name(number)] = remake
        for name in map(block_name, makings(step)[number].sources):
            if name in found:
                found[name] = _by_then(found[name], remake.again)
    return {**found, **dict(reversed(last_first.items()))}


def _by_then(action: Action, stage: int) -> Action:
    """The same, back by a stage."""
    if isinstance(action, Remake):
        return action._replace(again=min(stage, action.again))
    needed = min(stage, action.needed)
    return action._replace(back=min(action.back, needed), needed=needed)


def remake_of(step: CapturedStep, number: int, stage: int) -> Remake:
    """A block that is dropped with its last save, and made again at the last need up to this stage."""
    keys, needs = kernel_keys(step), step.stages.need
    dropped = step.stages.leaves(number)
    again = needs[bisect_right(needs, max(stage, dropped + 1)) - 1]
    return Remake(dropped, again, tuple(keys[kernel] for kernel in makings(step)[number].kernels))


def _never_leaving(step: CapturedStep) -> list[int]:
    """What does not leave, and may be dropped: small blocks and copies of weights. The bound has it for nothing."""
    return [
        number
        for number in step.stages.needs.keys() - set(may_leave(step))
        if step.blocks[number].taken != BEFORE_STEP and not why_it_cannot_go(step, number)
    ]


def _gaps(step: CapturedStep, link: Link, ways: Mapping[int, Making] | None) -> Iterator[Gap]:
    """With `ways` what is made again is so by them, else by what takes no longer than any way."""
    remakes_ns = _remakes_ns(step) if ways is None else {number: cost_of_making(step, number) for number in ways}
    soonest = step.stages.need[0] if step.stages.need else 0  # what comes back does so at a need
    for number in may_leave(step):
        block, out, needed = step.blocks[number], step.stages.leaves(number), step.stages.needs[number][0]
        others = block.given if block.released is None else block.released
        if others is None:
            continue  # somebody else has it until the end
        first = max(out, bisect_right(step.hook_calls, others))
        if first < needed:
            copies_ns = link.copy_out.duration_ns(block.size_bytes), link.copy_in.duration_ns(block.size_bytes)
            uses = Uses(out - 1, first - 1, needed)
            name, again_ns = block_name(number), remakes_ns.get(number)
            others = ways is None
            yield Gap(
                name,
                block.size_bytes,
                first,
                needed - 1,
                needed,
                out - 1,
                *copies_ns,
                again_ns,
                (),  # `in_time` sees to them
                others,
                uses,
                again=soonest,
            )


def cost_of_making(step: CapturedStep, number: int) -> int:
    """How long it takes to make a block again, in nanoseconds."""
    kernels = map(step.kernels.__getitem__, makings(step)[number].kernels)
    return sum(kernel.gap_ns + kernel.duration_ns for kernel in kernels)


def _remakes_ns(step: CapturedStep) -> dict[int, int]:
    """What making a block again takes at least: each kernel counts for the block that was taken last before it, of
    those whose makers it is among."""
    found = {number: 0 for number in may_leave(step) if step.blocks[number].taken != BEFORE_STEP}
    saved_at = {number: step.hook_calls[step.stages.leaves(number) - 1] for number in found}
    by_taken = sorted(found, key=lambda number: step.blocks[number].taken)
    open_blocks: list[int] = []
    place = 0
    for deed, (doing, kernel) in enumerate(step.deeds):
        while place < len(by_taken) and step.blocks[by_taken[place]].taken <= deed:
            open_blocks.append(by_taken[place])
            place += 1
        open_blocks = [number for number in open_blocks if saved_at[number] > deed]
        if doing is Doing.LAUNCH and open_blocks:
            found[open_blocks[-1]] += step.kernels[kernel].gap_ns + step.kernels[kernel].duration_ns
    return found


def _most_bytes(step: CapturedStep) -> list[int]:
    """The most that is there at once in each stage where nothing leaves."""
    dying: dict[int, int] = {}
    held = 0
    for block in step.blocks:
        held += block.size_bytes if block.taken == BEFORE_STEP else 0
        deaths = [deed for deed in (block.given, block.given_hooked, block.fetched_given) if deed is not None]
        if block.given is not None or block.given_hooked is not None:
            dying[min(deaths)] = dying.get(min(deaths), 0) + block.size_bytes
    held -= dying.get(BEFORE_STEP, 0)
    most = [held]
    for deed, (doing, number) in enumerate(step.deeds):
        if doing is Doing.TAKE:
            held += step.blocks[number].size_bytes
            most[-1] = max(most[-1], held)
        elif doing is not Doing.LAUNCH:
            most.append(held)
        held -= dying.get(deed, 0)
    return most
