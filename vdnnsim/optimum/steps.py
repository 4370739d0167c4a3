"""What an optimum is sought of in a captured training step: its hook calls, and the blocks that may leave at them.

Stage n begins with the n-th hook call, and its kernels are one step of the model. Of a block's deaths in the various
circumstances the earliest counts, so that no schedule needs less than the model says.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from vdnnsim.captured.agenda import block_name
from vdnnsim.captured.checks import why_it_cannot_go
from vdnnsim.captured.choosing import may_leave
from vdnnsim.captured.iteration import kernel_keys
from vdnnsim.captured.making import Making, makings
from vdnnsim.captured.schedules import schedule_of
from vdnnsim.captured.step import BEFORE_STEP, CapturedStep, Doing
from vdnnsim.captured.trace import trace_of_step
from vdnnsim.gpu import Link
from vdnnsim.iteration import Action, Leave, Remake, Schedule
from vdnnsim.optimum.instance import Calls, Choice, Gap, Instance, Step, Uses
from vdnnsim.optimum.rehearsal import Rehearsal


def instance_of_step(
    step: CapturedStep, link: Link, capacity_bytes: int, begun: Rehearsal, planned: bool = False, hooked: bool = True
) -> Instance:
    """The instance of a captured step in so many bytes, whose kernels begin no sooner than where nothing leaves, with
    hooks or without, as `begun` says. What is made again is so by kernels that no other block is charged with, out of
    nothing: the bound counts that. Where a plan is sought, it is as `makings` have it."""
    stages = _stages(step, begun, hooked)
    gaps = tuple(_gaps(step, link, makings(step) if planned else None))
    used = _most_bytes(step)
    for number in () if planned else _never_leaving(step):  # what modules make again may be gone as well
        for stage in range(step.stages.leaves(number), step.stages.needs[number][0]):
            used[stage] -= step.blocks[number].size_bytes
    for gap in gaps:
        for number in range(gap.first, gap.last + 1):
            used[number] -= gap.size_bytes
    steps = tuple(step._replace(used_bytes=size_bytes) for step, size_bytes in zip(stages, (*used, 0), strict=True))
    return Instance(steps, gaps, 0, capacity_bytes)


def _stages(step: CapturedStep, begun: Rehearsal, hooked: bool) -> list[Step]:
    """The kernels of each stage as one step, and the end: when they begin where nothing leaves, and when the host by
    itself gives them. A stage begins so late that none of its kernels is too early."""
    trace, keys = trace_of_step(step), kernel_keys(step)
    found: list[Step] = []
    call_ns = step.hooks.call_ns if hooked else 0
    host_ns = called_ns = step.waits.begin_ns if hooked and step.waits else 0
    kernels_ns = ready_ns = given_ns = end_ns = 0

    def stage() -> Step:
        choices = (Choice("", kernels_ns, 0),)
        return Step((f"stage {len(found)}", ""), len(found), choices, 0, 0, ready_ns, given_ns, called_ns)

    for doing, number in step.deeds:
        if doing is Doing.LAUNCH:
            row = trace.row(*keys[number], step.kernels[number].name)
            assert row.launch_ns is not None
            assert row.start_ns is not None
            ready_ns = max(ready_ns, begun.begins_ns[number] - kernels_ns)
            given_ns = max(given_ns, host_ns + row.start_ns - kernels_ns)
            end_ns = begun.begins_ns[number] + row.duration_ns
            kernels_ns += row.duration_ns
            host_ns += row.launch_ns
        elif doing is not Doing.TAKE:
            found.append(stage())
            host_ns = called_ns = host_ns + call_ns
            kernels_ns = ready_ns = given_ns = 0
    found.append(stage())
    tail_ns = max(0, begun.time_ns - max(host_ns, end_ns))
    ready_ns = begun.time_ns - tail_ns
    return [*found, Step(("the end", ""), len(found), (Choice("", tail_ns, 0),), 0, 0, ready_ns, host_ns, host_ns)]


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
    makes = _least_makes(step) if ways is None else {number: cost_of_making(step, number) for number in ways}
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
            name, making = block_name(number), makes.get(number)
            others = ways is None
            yield Gap(
                name,
                block.size_bytes,
                first,
                needed - 1,
                needed,
                out - 1,
                *copies_ns,
                making and making.kernels_ns,
                tuple(map(block_name, sorted(ways[number].sources))) if ways and making else (),
                others,
                uses,
                again=soonest,
                calls=_calls(step, copies_ns[0], making.launches_ns if making else 0, ways is None),
            )


class Cost(NamedTuple):
    """What making something again takes: kernels, and the host's launches of them."""

    kernels_ns: int
    launches_ns: int


def _calls(step: CapturedStep, out_ns: int, again_ns: int, least: bool) -> Calls:
    """What the host does besides for what leaves, or is made again. At least: it may stand until a copy out is done,
    and on the compute stream copies are not waited for."""
    hooks, waits = step.hooks, step.waits
    if not least:  # one more stream waits for each copy; both of them by the time that it is needed
        return Calls(hooks.copy_out_ns, hooks.copy_in_ns + 2 * hooks.stream_wait_ns, again_ns)
    stands_ns = waits.copy_ns + out_ns if waits else hooks.copy_out_ns
    return Calls(min(hooks.copy_out_ns, stands_ns), hooks.copy_in_ns, again_ns)


def cost_of_making(step: CapturedStep, number: int) -> Cost:
    """What making a block again takes."""
    return _cost(step, makings(step)[number].kernels)


def _cost(step: CapturedStep, numbers: Iterable[int]) -> Cost:
    kernels = [step.kernels[number] for number in numbers]
    return Cost(sum(one.gap_ns + one.duration_ns for one in kernels), sum(one.launch_ns for one in kernels))


def _least_makes(step: CapturedStep) -> dict[int, Cost]:
    """What making a block again takes at least: each kernel counts for the block that was taken last before it, of
    those whose makers it is among."""
    found: dict[int, list[int]] = {n: [] for n in may_leave(step) if step.blocks[n].taken != BEFORE_STEP}
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
            found[open_blocks[-1]].append(kernel)
    return {number: _cost(step, kernels) for number, kernels in found.items()}


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
