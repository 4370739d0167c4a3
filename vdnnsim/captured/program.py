"""From a captured step and a schedule to a program: what the host did, with what a runtime does at the hook calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, groupby
from typing import NamedTuple

from vdnnsim.captured.agenda import HOOK, HOOK_COPY_IN, HOOK_COPY_OUT, HOOK_STREAM_WAIT, NOTHING, agenda_of
from vdnnsim.captured.checks import actions_of, checked_leave
from vdnnsim.captured.host_optimiser import on_host
from vdnnsim.captured.iteration import buffers_of, kernel_keys, places_of
from vdnnsim.captured.remaking import Again, again_of, checked_remake
from vdnnsim.captured.step import BEFORE_STEP, CapturedStep, Doing
from vdnnsim.iteration import BrokenSchedule, Buffer, CopyStreams, Leave, Remake, Schedule
from vdnnsim.program import (
    Allocate,
    Command,
    CopyIn,
    CopyOut,
    Free,
    HostCall,
    Kernel,
    Piece,
    Program,
    Step,
    Stream,
    StreamWait,
    Synchronise,
)
from vdnnsim.program.nvme import by_nvme

_HOOK, _HOOK_COPY_OUT, _HOOK_COPY_IN, _HOOK_STREAM_WAIT = map(
    HostCall, (HOOK, HOOK_COPY_OUT, HOOK_COPY_IN, HOOK_STREAM_WAIT)
)


class _Run(NamedTuple):
    """Deeds `first` to before `last` of one module's forward or backward."""

    layer: str
    backward: bool
    first: int
    last: int


class _Usual:
    """What the host does where nothing leaves: `commands[begins[n]:begins[n + 1]]` belong to deed n, its own first,
    then the frees of the blocks `dying[n]`; those before the first deed are in front."""

    def __init__(self, own: Sequence[Command | None], behind: Iterable[int | None], frees: Sequence[Free]) -> None:
        self.dying: dict[int, list[int]] = {}
        for number, deed in enumerate(behind):
            if deed is not None:
                self.dying.setdefault(deed, []).append(number)
        self._frees = frees
        self.commands: list[Command] = [*self.frees(BEFORE_STEP)]
        self.begins = []
        for deed, command in enumerate(own):
            self.begins.append(len(self.commands))
            if command is not None:
                self.commands.append(command)
            self.commands += self.frees(deed)
        self.begins.append(len(self.commands))

    def frees(self, deed: int) -> list[Free]:
        """What goes behind this deed."""
        return [self._frees[number] for number in self.dying.get(deed, ())]


class _Prepared:
    """What all programs of a step have in common: the command of each deed (none of a hook call), how many kernels come
    before each hook call, and what is usual without hooks and with them."""

    def __init__(self, step: CapturedStep) -> None:
        self.buffers = buffers_of(step)
        self.frees = tuple(map(Free, self.buffers))
        takes = tuple(map(Allocate, self.buffers))
        names = (kernel.name for kernel in step.kernels)
        kernels = tuple(Kernel(*key, name) for key, name in zip(kernel_keys(step), names, strict=True))
        self.setup = tuple([self.buffers[n] for n, block in enumerate(step.blocks) if block.taken == BEFORE_STEP])
        by_kind: Mapping[Doing, Sequence[Command]] = {Doing.TAKE: takes, Doing.LAUNCH: kernels}
        self.own = [by_kind[doing][number] if doing in by_kind else None for doing, number in step.deeds]
        launched = list(accumulate((deed.doing is Doing.LAUNCH for deed in step.deeds), initial=0))
        self.kernels_before = {stage: launched[call] for stage, call in enumerate(step.hook_calls, start=1)}
        self.places = places_of(step)
        self.runs = []
        for place, run in groupby(range(len(step.deeds)), key=self.places.__getitem__):
            deeds = list(run)
            self.runs.append(_Run(*place, deeds[0], deeds[-1] + 1))
        self.without_hooks = _Usual(self.own, [block.given for block in step.blocks], self.frees)
        self.with_hooks = _Usual(self.own, [block.given_hooked for block in step.blocks], self.frees)


def build_step(step: CapturedStep, plan: Schedule) -> Program:
    """The program of a schedule for this step. One in which nothing leaves runs without hooks. Raises
    `BrokenSchedule`."""
    prepared = step.made.get("program")
    if prepared is None:
        prepared = step.made["program"] = _Prepared(step)
    leaves: dict[int, Leave] = {}
    remakes: dict[int, Remake] = {}
    for number, action in actions_of(step, plan).items():
        if isinstance(action, Leave):
            leaves[number] = checked_leave(step, number, action)
        else:
            remakes[number] = checked_remake(step, number, action)
    building = _Building(step, prepared, leaves, remakes, plan.copies)
    program = replace(building.build(), paging=plan.paging)
    if plan.host_optimiser is not None:
        if plan.actions:
            name = next(iter(plan.actions))
            raise BrokenSchedule(name, "set-up", "that it leaves, too", "an optimiser on the host by itself")
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


class _Building:
    """One program under way: what is usual, up to where a plan has it otherwise."""

    def __init__(
        self,
        step: CapturedStep,
        prepared: _Prepared,
        leaves: Mapping[int, Leave],
        remakes: Mapping[int, Remake],
        copies: CopyStreams,
    ) -> None:
        self.copies = copies
        self.last_copy: Piece | None = None
        self.step = step
        self.prepared = prepared
        self.leaves = leaves
        self.away = {number: _Away(leave.freed, leave.back) for number, leave in leaves.items()}
        self.away |= {number: _Away(remake.dropped, remake.again) for number, remake in remakes.items()}
        self.usual = prepared.with_hooks if self.away else prepared.without_hooks
        self.agenda = agenda_of(leaves)
        self.again = again_of(step, remakes)
        self.dropped: dict[int, list[int]] = {}
        for number in sorted(remakes):
            self.dropped.setdefault(remakes[number].dropped, []).append(number)
        self.busy = {*self.agenda, *self.again, *self.dropped}
        """The stages in which anything is done."""
        self.commands: list[Command] = []
        self.copies_out: dict[int, Piece] = {}
        self.copies_in: dict[int, Piece] = {}
        self.kernels_again = 0
        self.awaited_at = 0
        """How many kernels there were when the compute stream last waited."""
        self.others = {number: self._held_by_others_until(number) for number in self.away}
        self.fetched = {number: self._fetched_buffer(number) for number in self.away}
        self.dying = self._dying()

    def _held_by_others_until(self, number: int) -> int | None:
        """Behind which deed nobody but the runtime holds the block that a tensor leaves; None is not in the step."""
        block = self.step.blocks[number]
        return block.given if block.released is None else block.released

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
            given, fetched_given = blocks[number].given_hooked, blocks[number].fetched_given
            if given is not None:
                del at(given)[number, False]
            assert fetched_given is not None  # else it stays
            at(fetched_given)[number, True] = Free(self.fetched[number])
        for number, others in self.others.items():
            if others is not None and not self._goes_when_dropped(number):
                at(others)[number, False] = frees[number]
        return {deed: [free for _, free in sorted(dying.items())] for deed, dying in found.items()}

    def build(self) -> Program:
        usual, commands = self.usual, self.commands
        calls = self.step.hook_calls if self.away else ()
        stages = {call: stage for stage, call in enumerate(calls, start=1)}
        otherwise = sorted({*self.dying, *calls})
        place = 0  # in `otherwise`
        cursor = 0  # in the usual commands
        steps = []
        first = 0
        for layer, backward, _, last in self.prepared.runs:
            while place < len(otherwise) and otherwise[place] < last:
                deed = otherwise[place]
                place += 1
                commands += usual.commands[cursor : usual.begins[deed]]
                cursor = usual.begins[deed + 1]
                self._otherwise(deed, stages.get(deed), layer)
            commands += usual.commands[cursor : usual.begins[last]]
            cursor = usual.begins[last]
            steps.append(Step(layer, backward, False, first, len(commands)))
            first = len(commands)
        commands.append(Synchronise(self._unfinished()))
        steps[-1] = steps[-1]._replace(last=len(commands))
        offloaded = tuple([self.prepared.buffers[number] for number in self.leaves])
        return Program(self.prepared.setup, tuple(commands), tuple(steps), {}, offloaded)

    def _otherwise(self, deed: int, stage: int | None, layer: str) -> None:
        """A deed with something that is not as usual: a hook call, or what dies behind it."""
        if stage is not None:
            self._hook_call(stage, layer)
        elif command := self.prepared.own[deed]:
            self.commands.append(command)
        dying = self.dying.get(deed)
        self.commands += self.usual.frees(deed) if dying is None else dying

    def _hook_call(self, stage: int, layer: str) -> None:
        self.commands.append(_HOOK)
        if stage not in self.busy:
            return
        deeds = self.agenda.get(stage, NOTHING)
        here = f"{layer}, call {stage}"
        kernels = self.prepared.kernels_before[stage] + self.kernels_again
        for number in deeds.fetched:
            self._copy_in(number, here, kernels)
        for number in deeds.awaited:
            self._wait(self.copies_in[number], kernels)
        for number in deeds.out:
            self._copy_out(number, layer, kernels)
        for number in deeds.dropped:
            self._wait(self.copies_out[number], kernels)
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

    def _copy_out(self, number: int, layer: str, kernels: int) -> None:
        """Behind all kernels given so far, which may still be writing it."""
        self.commands.append(_HOOK_COPY_OUT)
        self._behind(kernels, Stream.COPY_OUT)
        piece = Piece(Stream.COPY_OUT, len(self.copies_out) + 1)
        self.copies_out[number] = self._copy(CopyOut(self.prepared.buffers[number], layer), piece)

    def _copy_in(self, number: int, here: str, kernels: int) -> None:
        """Behind all kernels given so far, which may still use the memory that it gets, and behind its copy out."""
        buffer = self.fetched[number]
        needed = self.leaves[number].needed
        there = f"{self.prepared.places[self.step.hook_calls[needed - 1]][0]}, call {needed}"
        self.commands += (Allocate(buffer), _HOOK_COPY_IN)
        self._behind(kernels, Stream.COPY_IN)
        self.commands.append(StreamWait(Stream.COPY_IN, self.copies_out[number]))
        piece = Piece(Stream.COPY_IN, len(self.copies_in) + 1)
        self.copies_in[number] = self._copy(CopyIn(buffer, here, there), piece)

    def _copy(self, copy: CopyOut | CopyIn, piece: Piece) -> Piece:
        """Gives a copy; one that shares its stream waits for the one before, on the compute stream kernels for it."""
        if self.copies is not CopyStreams.EACH_WAY and self.last_copy and self.last_copy.stream is not piece.stream:
            self.commands.append(StreamWait(piece.stream, self.last_copy))
        self.commands.append(copy)
        self.last_copy = piece
        if self.copies is CopyStreams.COMPUTE:
            self.commands.append(StreamWait(Stream.COMPUTE, piece))
        return piece

    def _behind(self, kernels: int, stream: Stream) -> None:
        if kernels:
            self.commands.append(StreamWait(stream, Piece(Stream.COMPUTE, kernels)))

    def _wait(self, piece: Piece, kernels: int) -> None:
        self.commands += (_HOOK_STREAM_WAIT, StreamWait(Stream.COMPUTE, piece))
        self.awaited_at = kernels

    def _unfinished(self) -> tuple[Stream, ...]:
        """The streams that the host waits for in the end: kernels stand behind all copies that they have waited for."""
        kernels = len(self.step.kernels) + self.kernels_again
        streams = [Stream.COMPUTE]
        if self.leaves and self.awaited_at == kernels:
            streams += [Stream.COPY_OUT, Stream.COPY_IN]
        return tuple(streams)
