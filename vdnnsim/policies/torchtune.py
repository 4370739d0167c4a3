"""torchtune's `OffloadActivations`: every saved tensor is copied out, five are under way, none is fetched ahead.

Read in torchtune's `_activation_offloading.py`: (1) each saved tensor that is no parameter itself (the transposed view
of a weight that a linear layer saves is none), from `min_bytes` on, is copied on a second stream, behind the kernels so
far. (2) Before one is packed, the compute stream waits for the copies of those packed `stash` or more before it, which
are let go then. (3) A tensor that backward asks for is copied back at once, and the compute stream waits for that.
(4) What is still in the stash when the first node of backward asks for it is used in place; behind that node the stash
is emptied. (5) What came back is let go behind the next node for which anything does; then the second stream waits for
its own. (6) Copies both ways are on that stream. Its recipes (`head=stays`) leave out what the head saves and the loss,
which is outside; the class around a whole step (`head=leaves`) does not.

On a captured step it is that, copy by copy; for a view with gaps whose dimensions are in another order (the query, key
and value of an attention whose projection is one) the host waits, since torch's copy takes it through memory that is
not pinned, and turns it there: as long as the capture measured (`WaitCosts`), no longer than any copy where it did not.
What is taken for copies on the second stream PyTorch's allocator keeps apart. Deviation: a copy costs the host what one
of ours does. Of networks the last `stash` tensors are not copied for nothing, a tensor that two layers save is copied
once, parameters stay, and copies in begin behind all kernels so far.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from vdnnsim.captured.nodes import node_ends
from vdnnsim.captured.saved import NO_COPY, need_stages
from vdnnsim.captured.step import CapturedStep, Doing, SavedTensor
from vdnnsim.errors import InvalidValue
from vdnnsim.iteration import CopyStreams, OwnCopy
from vdnnsim.policies.grammar import Parameter, count, name_of, shown_size, size
from vdnnsim.policies.plan import Plan, Problem
from vdnnsim.policies.saves import Saves

STAYS, LEAVES = "stays", "leaves"


def _head(text: str, what: str) -> str:
    if text not in (STAYS, LEAVES):
        raise InvalidValue(what, f"'{text}'", f"{STAYS} or {LEAVES}")
    return text


@dataclass(frozen=True)
class Torchtune:
    """torchtune (rule read): all that is saved leaves, a stash of tensors is on its way, nothing is fetched ahead."""

    stash: int = 5
    min_bytes: int = 1024
    head: str = STAYS

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {
            "stash": Parameter("stash", count),
            "min_bytes": Parameter("min_bytes", size, shown_size),
            "head": Parameter("head", _head),
        }
    )

    @property
    def name(self) -> str:
        return name_of("torchtune", self)

    def check(self, problem: Problem) -> None:
        """Nothing is needed beyond what every problem has."""

    def plan(self, problem: Problem) -> Plan:
        saves = Saves(problem)
        if saves.of_step:
            last = saves.head - 1 if self.head == STAYS else len(problem.step.hook_calls)
            hooked = {number for number, stage in enumerate(problem.step.stages.save) if stage <= last}
            own = _own_copies(problem.step, hooked, self.stash, self.min_bytes)
            return saves.plan_of_copies(own, CopyStreams.SHARED)
        head = saves.head if self.head == STAYS else saves.last_forward + 1
        packed = [one for one in saves.tensors if one.size_bytes >= self.min_bytes and one.out < head]
        waited = packed[self.stash :] if self.stash else packed
        actions = {one.name: saves.leave(one, at.out, one.needed) for one, at in zip(packed, waited, strict=False)}
        return saves.plan(actions, CopyStreams.SHARED)


def _own_copies(step: CapturedStep, hooked: Container[int], stash_size: int, min_bytes: int) -> dict[int, OwnCopy]:
    """By following the calls. What stays has a place in the count of the stash, too."""
    needs, ends = need_stages(step), node_ends(step)
    own: dict[int, OwnCopy] = {}
    stash: dict[int, int] = {}
    """The places of those under way, by number."""
    place = 0
    emptied: tuple[int, int] | None = None
    """The stage of the last need, and the deed at which its node ends."""

    def let_go(numbers: Iterable[int], stage: int) -> None:
        for number in list(numbers):
            own[number] = own[number]._replace(freed=stage)
            del stash[number]

    for stage, call in enumerate(step.hook_calls, start=1):
        doing, number = step.deeds[call]
        if number not in hooked:
            continue
        if emptied and call > emptied[1]:
            let_go(stash, emptied[0])
            emptied = None
        if doing is Doing.NEED:
            if number in own:
                if number in stash:
                    own[number] = own[number]._replace(back=False)
                emptied = stage, ends[call]
            continue
        place += 1
        saved = step.saved[number]
        if saved.size_bytes < min_bytes or _is_parameter(step, saved) or saved.stays in NO_COPY:
            continue
        let_go((old for old, its in stash.items() if its <= place - stash_size), stage)
        gathered = step.header.device != "cpu" and not saved.without_gaps
        unpinned = gathered and not saved.in_order
        own[number] = OwnCopy(stage, number in needs, gathered, unpinned, unpinned)
        if stash_size:
            stash[number] = place
    let_go(stash, emptied[0] if emptied else len(step.hook_calls))
    return own


def _is_parameter(step: CapturedStep, saved: SavedTensor) -> bool:
    """Whether it is the parameter itself: a linear layer saves a transposed view of its weight, which is none."""
    if saved.stays != "parameter" or saved.size_bytes != step.blocks[saved.block].size_bytes:
        return False
    return saved.in_a_row or (len(saved.shape) > 2 and saved.without_gaps)
