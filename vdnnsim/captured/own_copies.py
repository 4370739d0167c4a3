"""Programs of captured steps in which saved tensors are copied each by itself, as frameworks' own hooks do.

A tensor that is saved twice, or a view of what was saved already, is copied again, and comes back as a block of its
own. A block dies when nobody holds it any more: its module's code, the runtime for one of its tensors, autograd for one
that stays.

What came back dies with the node that needed it. Where copies share a stream of their own, whose memory PyTorch's
allocator keeps apart, it dies with the next node for which anything comes back, once that stream waits for its own: so
that a copy in begins behind the node before the last one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace

from vdnnsim.captured.agenda import block_name, unpinned_copy
from vdnnsim.captured.building import Building, Prepared
from vdnnsim.captured.checks import broken
from vdnnsim.captured.nodes import node_ends
from vdnnsim.captured.saved import NO_COPY, need_stages, saved_name
from vdnnsim.captured.step import CapturedStep, Doing, Phase
from vdnnsim.iteration import BrokenSchedule, Buffer, CopyStreams, OwnCopy, Schedule
from vdnnsim.program import Allocate, Free, HostCall, HostWait, Program, Stream

GATHERED = " gathered"
"""Ends the name of the block in which a tensor is put in a row before it is copied."""


def build_own_copies(step: CapturedStep, prepared: Prepared, plan: Schedule) -> Program:
    """The program of such a schedule. Raises `BrokenSchedule`."""
    building = _OwnCopies(step, prepared, plan, checked_own_copies(step, plan))
    program = building.build(building.otherwise, tuple(building.buffers.values()))
    if plan.compression is None:
        return program
    blocks = {buffer.name: block_name(step.saved[n].block) for n, buffer in building.buffers.items()}
    return replace(program, compression=plan.compression.of_others_too(blocks))


def checked_own_copies(step: CapturedStep, plan: Schedule) -> dict[int, OwnCopy]:
    """By the numbers of the saved tensors, each checked. Raises `BrokenSchedule`."""
    names = {saved_name(number): number for number in range(len(step.saved))}
    saves, needs = step.stages.save, need_stages(step)
    found = {}
    for name, own in plan.own_copies.items():
        if name not in names or plan.actions:
            rule = f"one of the {len(names)} saved tensors of {step.header.name}, and no block that leaves beside them"
            raise BrokenSchedule(name, "set-up", "a copy of it by itself", rule)
        number = names[name]
        found[number] = own
        save, need = saves[number], needs.get(number)
        if step.saved[number].stays in NO_COPY:
            raise broken(step, name, save, "that it is copied", f"that it stays: {step.saved[number].stays}")
        if not save <= own.freed <= len(step.hook_calls):
            raise broken(step, name, own.freed, "that it is let go", "its save, or a later hook call")
        if own.back and (need is None or own.freed >= need):
            raise broken(
                step, name, own.freed, "that it comes back", "that it is let go before its need, or taken there"
            )
        if not own.back and need is not None and own.freed < need:
            raise broken(step, name, own.freed, "that it is let go and not back", "that it is held until it is needed")
    return found


class _OwnCopies(Building):
    """One in which saved tensors, by their numbers, are copied each by itself."""

    def __init__(self, step: CapturedStep, prepared: Prepared, plan: Schedule, own: Mapping[int, OwnCopy]) -> None:
        super().__init__(step, prepared, plan.copies, hooked=True)
        self.own = own
        self.ends = node_ends(step)
        self.needs = need_stages(step)
        needed = ((deed.number, n) for n, deed in enumerate(step.deeds) if deed.doing is Doing.NEED)
        self.last_need = dict(sorted(dict(needed).items(), key=lambda one: one[1]))
        """The deed of each saved tensor's last need, in their order."""
        self.buffers = {number: self._buffer(number) for number in own}
        self.let_go: dict[int, list[int]] = {}
        """What goes in each call of a save."""
        self.let_go_behind: dict[int, list[int]] = {}
        """What goes behind each deed: where a node ends."""
        for number, one in own.items():
            call = step.hook_calls[one.freed - 1]
            if step.deeds[call].doing is Doing.SAVE:
                self.let_go.setdefault(one.freed, []).append(number)
            else:
                self.let_go_behind.setdefault(self.ends[call], []).append(number)
        self.dying = self._blocks_dying()
        self.gone = self._fetched_dying()
        self.otherwise = {*self.dying, *self.gone, *self.let_go_behind}

    def _buffer(self, number: int) -> Buffer:
        saved = self.step.saved[number]
        return self.prepared.buffers[saved.block]._replace(
            name=saved_name(number), size_bytes=saved.size_bytes, apart=self.copies is CopyStreams.SHARED
        )

    def _blocks_dying(self) -> dict[int, list[int]]:
        """The blocks that die behind each deed, those that do as usual too, where any does not."""
        in_block: dict[int, list[int]] = {}
        for number, saved in enumerate(self.step.saved):
            in_block.setdefault(saved.block, []).append(number)
        found: dict[int, list[int]] = {}

        def at(deed: int) -> list[int]:
            return found.setdefault(deed, list(self.usual.dying.get(deed, ())))

        for block, numbers in in_block.items():
            if self.own.keys().isdisjoint(numbers):
                continue
            if (given := self.step.blocks[block].given_hooked) is not None:
                at(given).remove(block)
            holds = [self.held_by_others_until(block), *(self._held_until(number) for number in numbers)]
            known = [deed for deed in holds if deed is not None]
            if len(known) == len(holds):
                at(max(known)).append(block)
        return {deed: sorted(blocks) for deed, blocks in found.items()}

    def _held_until(self, number: int) -> int | None:
        """Behind which deed a saved tensor's block is no more held for it; None is not in the step."""
        if number in self.own:
            call = self.step.hook_calls[self.own[number].freed - 1]
            return call if self.step.deeds[call].doing is Doing.SAVE else self.ends[call]
        if number in self.last_need:
            return self.ends[self.last_need[number]]
        return self.step.blocks[self.step.saved[number].block].given_hooked

    def _fetched_dying(self) -> dict[int, list[int]]:
        """The tensors behind each deed whose blocks that came back die there."""
        last_of_block = {self.step.saved[number].block: number for number in self.last_need}
        ends = {number: self.ends[self.last_need[number]] for number, one in self.own.items() if one.back}
        nodes = sorted(set(ends.values()))
        found: dict[int, list[int]] = {}
        for number, end in ends.items():
            block = self.step.saved[number].block
            if last_of_block[block] == number:
                end = max(end, self.step.blocks[block].fetched_given or end)
            if self.copies is CopyStreams.SHARED:
                place = bisect_right(nodes, ends[number])
                end = max(end, nodes[place] if place < len(nodes) else self._end_of_backward(ends[number]))
            found.setdefault(end, []).append(number)
        return found

    def _end_of_backward(self, deed: int) -> int:
        """The last deed of backward behind this one."""
        for later in range(deed + 1, len(self.step.deeds)):
            doing, number = self.step.deeds[later]
            operator = self.step.kernels[number].operator if doing is Doing.LAUNCH else None
            if operator is not None and self.step.operators[operator].phase is Phase.OPTIMISER:
                return later - 1
        return len(self.step.deeds) - 1

    def hook_call(self, stage: int, layer: str) -> None:
        """What is due goes, then what is saved is copied; what is needed is copied back and waited for."""
        call = self.step.hook_calls[stage - 1]
        doing, number = self.step.deeds[call]
        kernels = self.prepared.kernels_before[stage]
        if doing is Doing.SAVE:
            self._let_others_go([other for other in self.let_go.get(stage, ()) if other != number], number, kernels)
            if number in self.own:
                self._copy_out(number, layer, kernels)
                if number in self.let_go.get(stage, ()):
                    self._let_go(number, kernels)
        elif number in self.own and self.own[number].back and self.needs[number] == stage:
            apart = self.copies is CopyStreams.SHARED
            self.copy_in(number, self.buffers[number], f"{layer}, call {stage}", stage, 0 if apart else kernels)
            if self.copies is not CopyStreams.COMPUTE:
                self.wait(self.copies_in[number], kernels)
            self.awaited_at = kernels

    def _let_others_go(self, others: Sequence[int], number: int, kernels: int) -> None:
        """Before the saved tensor of this number is dealt with: blocks that nobody holds then go, too."""
        for other in others:
            self._let_go(other, kernels)
        saved = self.step.saved
        gone = {saved[other].block for other in others} - {saved[number].block}
        call = self.step.hook_calls[self.step.stages.save[number] - 1]
        dying = self.dying.get(call, [])
        self.commands += [self.prepared.frees[block] for block in dying if block in gone]
        dying[:] = [block for block in dying if block not in gone]

    def behind(self, deed: int) -> None:
        """What dies with it, or goes where a node ends."""
        kernels = self.prepared.kernels_with[deed]
        for number in self.let_go_behind.get(deed, ()):
            self._let_go(number, kernels)
        dying = self.dying.get(deed)
        frees = self.prepared.frees
        self.commands += self.usual.frees(deed) if dying is None else [frees[block] for block in dying]
        gone = self.gone.get(deed, ())
        if gone and self.copies is CopyStreams.SHARED:
            used = max(self.prepared.kernels_with[self.ends[self.last_need[number]]] for number in gone)
            self.stand_behind(used, Stream.COPY_IN)
        self.commands += [Free(self.buffers[number]) for number in gone]

    def _copy_out(self, number: int, layer: str, kernels: int) -> None:
        buffer = self.buffers[number]
        own = self.own[number]
        gathered = buffer._replace(name=buffer.name + GATHERED) if own.gathered else None
        if gathered:
            self.commands.append(Allocate(gathered))
        self.copy_out(number, buffer, layer, kernels, own.waited)
        if own.waited:
            self.commands.append(HostWait(self.copies_out[number]))
        if own.unpinned:
            self.commands.append(HostCall(unpinned_copy(buffer.size_bytes)))
        if gathered:
            self.commands.append(Free(gathered))

    def _let_go(self, number: int, kernels: int) -> None:
        if self.copies is not CopyStreams.COMPUTE:
            self.wait(self.copies_out[number], kernels)
