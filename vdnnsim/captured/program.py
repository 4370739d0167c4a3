"""From a captured step and a schedule to a program: what the host did, with what a runtime does at the hook calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from vdnnsim.captured.agenda import NOTHING, agenda_of
from vdnnsim.captured.building import Building, Prepared
from vdnnsim.captured.checks import actions_of, checked_leave
from vdnnsim.captured.host_optimiser import on_host
from vdnnsim.captured.own_copies import build_own_copies
from vdnnsim.captured.remaking import Again, again_of, checked_remake
from vdnnsim.captured.step import CapturedStep
from vdnnsim.captured.trace import uninterrupted_ppm
from vdnnsim.iteration import BrokenSchedule, Buffer, Leave, Remake, Schedule
from vdnnsim.program import Allocate, Free, Kernel, Program
from vdnnsim.program.nvme import by_nvme
from vdnnsim.units import PPM


def build_step(step: CapturedStep, plan: Schedule) -> Program:
    """The program of a schedule for this step. One in which nothing leaves runs without hooks. Raises
    `BrokenSchedule`."""
    prepared = step.made.get("program")
    if prepared is None:
        prepared = step.made["program"] = Prepared(step)
    if plan.own_copies and plan.host_optimiser is None:
        if plan.nvme:
            raise BrokenSchedule(min(plan.nvme), "set-up", "that it goes on to NVMe", "a whole block that leaves")
        return build_own_copies(step, prepared, plan)
    leaves: dict[int, Leave] = {}
    remakes: dict[int, Remake] = {}
    actions = actions_of(step, plan)
    sooner = any(isinstance(action, Remake) for action in actions.values())
    for number, action in actions.items():
        if isinstance(action, Leave):
            leaves[number] = checked_leave(step, number, action, sooner)
        else:
            remakes[number] = checked_remake(step, number, action)
    building = _OfBlocks(step, prepared, leaves, remakes, plan)
    program = building.build(building.dying, tuple(prepared.buffers[number] for number in leaves))
    kernels_ppm = PPM if leaves else uninterrupted_ppm(step)
    program = replace(program, paging=plan.paging, compression=plan.compression, kernels_ppm=kernels_ppm)
    if plan.host_optimiser is not None:
        if moved := (*plan.actions, *plan.own_copies, *sorted(plan.nvme)):
            raise BrokenSchedule(moved[0], "set-up", "that it leaves, too", "an optimiser on the host by itself")
        return on_host(step, program, plan.host_optimiser)
    if plan.compression is None and not plan.nvme:
        return program
    back = {building.fetched[number].name: prepared.buffers[number].name for number in leaves}
    if plan.compression is not None:
        program = replace(program, compression=plan.compression.of_others_too(back))
    return by_nvme(program, plan, back) if plan.nvme else program


class _Away(NamedTuple):
    """In which stage the runtime lets a block go, and in which it takes another one for it."""

    freed: int
    back: int


class _OfBlocks(Building):
    """One in which whole blocks leave, or are made again."""

    def __init__(
        self,
        step: CapturedStep,
        prepared: Prepared,
        leaves: Mapping[int, Leave],
        remakes: Mapping[int, Remake],
        plan: Schedule,
    ) -> None:
        super().__init__(step, prepared, plan.copies, hooked=plan.hooked or bool(leaves or remakes))
        self.leaves = leaves
        self.away = {number: _Away(leave.freed, leave.back) for number, leave in leaves.items()}
        self.away |= {number: _Away(remake.dropped, remake.again) for number, remake in remakes.items()}
        self.agenda = agenda_of(leaves)
        self.again = again_of(step, remakes)
        self.dropped: dict[int, list[int]] = {}
        for number in sorted(remakes):
            self.dropped.setdefault(remakes[number].dropped, []).append(number)
        self.busy = {*self.agenda, *self.again, *self.dropped}
        """The stages in which anything is done."""
        self.others = {number: self.held_by_others_until(number) for number in self.away}
        self.fetched = {number: self._fetched_buffer(number) for number in self.away}
        self.dying = self._dying()

    def _goes_when_dropped(self, number: int) -> bool:
        """Whether nobody else holds the block when the runtime lets it go."""
        others = self.others[number]
        return others is not None and others < self.step.hook_calls[self.away[number].freed - 1]

    def _fetched_buffer(self, number: int) -> Buffer:
        """The block that a tensor comes back into; of another name while others still hold the one it left."""
        buffer = self.prepared.buffers[number]
        others = self.others[number]
        gone = others is not None and others < self.step.hook_calls[self.away[number].back - 1]
        return buffer if gone else buffer._replace(name=f"{buffer.name} back")

    def _dying(self) -> Mapping[int, list[Free]]:
        """What dies behind each deed where that is not as usual; what goes in a hook call itself is not among it."""
        blocks, frees, usual = self.step.blocks, self.prepared.frees, self.usual.dying
        found: dict[int, dict[tuple[int, bool], Free]] = {}

        def at(deed: int) -> dict[tuple[int, bool], Free]:
            if deed not in found:
                found[deed] = {(number, False): frees[number] for number in usual.get(deed, ())}
            return found[deed]

        for number in self.away:
            given, fetched_given = blocks[number].given_hooked, self.dies_when_back(number)
            if given is not None:
                del at(given)[number, False]
            at(fetched_given)[number, True] = Free(self.fetched[number])
        for number, others in self.others.items():
            if others is not None and not self._goes_when_dropped(number):
                at(others)[number, False] = frees[number]
        return {deed: [free for _, free in sorted(dying.items())] for deed, dying in found.items()}

    def behind(self, deed: int) -> None:
        """What dies."""
        dying = self.dying.get(deed)
        self.commands += self.usual.frees(deed) if dying is None else dying

    def hook_call(self, stage: int, layer: str) -> None:
        """Copies, waits, what is let go, what is made again."""
        if stage not in self.busy:
            return
        deeds = self.agenda.get(stage, NOTHING)
        here = f"{layer}, call {stage}"
        kernels = self.prepared.kernels_before[stage] + self.kernels_again
        for number in deeds.fetched:
            self._copy_in(number, here, kernels)
        for number in deeds.awaited:
            self.wait(self.copies_in[number], kernels)
        for number in deeds.out:
            self.copy_out(number, self.prepared.buffers[number], layer, kernels)
        for number in deeds.dropped:
            self.wait(self.copies_out[number], kernels)
            self._let_go(number)
        for number in self.dropped.get(stage, ()):
            self._let_go(number)
        for number in deeds.back:
            self._copy_in(number, here, kernels)
        for again in self.again.get(stage, ()):
            self._make_again(again)

    def _let_go(self, number: int) -> None:
        if self._goes_when_dropped(number):
            self.commands.append(self.prepared.frees[number])

    def _make_again(self, again: Again) -> None:
        """Operators of forward once more: what is kept stays; what else they take dies as soon as it did in forward
        where autograd did not hold it, and at the end of them at the latest."""
        own, deeds, buffers = self.prepared.own, self.step.deeds, self.prepared.buffers
        taken: dict[int, Free] = {}
        for deed in again.deeds:
            for gone in [number for number in taken if self._dies_in_forward(number) < deed]:
                self.commands.append(taken.pop(gone))
            kernel, number = own[deed], deeds[deed].number
            if isinstance(kernel, Kernel):
                self.commands.append(kernel._replace(again=True))
                self.kernels_again += 1
            elif number in again.kept:
                self.commands.append(Allocate(self.fetched[number]))
            else:
                taken[number] = Free(buffers[number]._replace(name=f"{buffers[number].name} again"))
                self.commands.append(Allocate(taken[number].buffer))
        self.commands += taken.values()

    def _dies_in_forward(self, number: int) -> int:
        """Behind which deed nobody but autograd holds a block; behind the last one where somebody does."""
        block = self.step.blocks[number]
        dies = block.given_hooked if block.released is None else block.released
        return len(self.step.deeds) if dies is None else dies

    def _copy_in(self, number: int, here: str, kernels: int) -> None:
        self.copy_in(number, self.fetched[number], here, self.leaves[number].needed, kernels)
