"""Writing and checking the schedules of captured steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping

from vdnnsim.captured.agenda import block_name
from vdnnsim.captured.checks import why_it_cannot_go
from vdnnsim.captured.step import BEFORE_STEP, CapturedStep
from vdnnsim.errors import InvalidInput
from vdnnsim.iteration import Action, Layout, Leave, Schedule, Waits, WeightGradients


def hook_schedule(
    step: CapturedStep,
    leaving: Iterable[int] = (),
    ahead: int = 1,
    in_flight_bytes: int | None = None,
    at_once: bool = False,
) -> Schedule:
    """The schedule in which these blocks leave at their last save.

    At each hook call blocks are let go, the longest under way first, while the copies out that were given and not
    waited for exceed `in_flight_bytes` (None: no bound), at the earliest one call behind their own, or in that with
    `at_once`; all that are left at the last save before they are needed. A block comes back at the need of the leaving
    block that is needed `ahead` places before it, or of the first one; with 0 when it is needed itself. Raises
    `InvalidInput` for a negative bound, or a block that cannot leave.
    """
    for what, value in (("copies in ahead", ahead), ("bytes in flight", in_flight_bytes or 0)):
        if value < 0:
            raise InvalidInput(f"{what}: found {value}, expected 0 or more")
    numbers = sorted(set(leaving))
    for number in numbers:
        if reason := why_it_cannot_go(step, number):
            raise InvalidInput(f"{block_name(number)} of {step.header.name}: found that it leaves: {reason}")
    stages = step.stages
    needed = {number: stages.needs[number][0] for number in numbers}
    freed = _freed(step, numbers, in_flight_bytes, at_once)
    by_need = sorted(numbers, key=needed.__getitem__)
    back = {}
    for place, number in enumerate(by_need):
        soonest = stages.first_need_after(freed[number])
        assert soonest is not None  # its own is behind it
        back[number] = max(needed[by_need[max(0, place - ahead)]], soonest)
    actions = {n: Leave(stages.leaves(n), freed[n], back[n], needed[n]) for n in numbers}
    return schedule_of(step, {block_name(number): action for number, action in actions.items()})


def _freed(step: CapturedStep, numbers: Collection[int], in_flight_bytes: int | None, at_once: bool) -> dict[int, int]:
    """The stage in which each is let go; who waits for one copy out has waited for those before."""
    stages = step.stages
    out = {stages.leaves(number): number for number in numbers}
    latest: dict[int, set[int]] = {}
    for number in numbers:
        latest.setdefault(stages.last_save_before(stages.needs[number][0]), set()).add(number)
    freed: dict[int, int] = {}
    under_way: deque[int] = deque()
    bytes_under_way = 0
    for stage in range(1, len(step.hook_calls) + 1):
        if stage in out:
            under_way.append(out[stage])
            bytes_under_way += step.blocks[out[stage]].size_bytes
        due = latest.get(stage, set()).difference(freed)
        while under_way:
            oldest = under_way[0]
            over = in_flight_bytes is not None and bytes_under_way > in_flight_bytes
            if not due and not (over and (at_once or stages.leaves(oldest) < stage)):
                break
            freed[oldest] = stage
            due.discard(oldest)
            bytes_under_way -= step.blocks[oldest].size_bytes
            under_way.popleft()
    return freed


def schedule_of(step: CapturedStep, actions: Mapping[str, Action]) -> Schedule:
    """The schedule in which blocks do this, by name, and all others what they do in the step itself."""
    before = {block_name(number): block for number, block in enumerate(step.blocks) if block.taken == BEFORE_STEP}
    stays = frozenset(name for name, block in before.items() if block.given is None)
    gradients = WeightGradients.PER_LAYER  # a captured step says itself when they come and go
    return Schedule(Layout.LAYER_WISE, Waits.STREAMS, gradients, tuple(before), stays, actions)
