"""Programs of captured steps under way: what the host did anyway, up to where a plan has it otherwise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate, groupby
from typing import NamedTuple

from vdnnsim.captured.agenda import (
    HOOK,
    HOOK_COPY_IN,
    HOOK_COPY_OUT,
    HOOK_STREAM_WAIT,
    STEP_BEGINS,
    STEP_ENDS,
    WAITED_COPY,
)
from vdnnsim.captured.iteration import buffers_of, kernel_keys, places_of
from vdnnsim.captured.nodes import node_ends
from vdnnsim.captured.step import BEFORE_STEP, CapturedStep, Doing
from vdnnsim.iteration import Buffer, CopyStreams
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

_HOOK, _HOOK_COPY_OUT, _HOOK_COPY_IN, _HOOK_STREAM_WAIT = map(
    HostCall, (HOOK, HOOK_COPY_OUT, HOOK_COPY_IN, HOOK_STREAM_WAIT)
)
_STEP_BEGINS, _STEP_ENDS, _WAITED_COPY = map(HostCall, (STEP_BEGINS, STEP_ENDS, WAITED_COPY))


class Run(NamedTuple):
    """Deeds `first` to before `last` of one module's forward or backward."""

    layer: str
    backward: bool
    first: int
    last: int


class Usual:
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


class Prepared:
    """What all programs of a step have in common: the command of each deed (none of a hook call), how many kernels come
    before each hook call and up to each deed, and what is usual without hooks and with them."""

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
        self.kernels_with = launched[1:]
        self.weight_copies = {saved.block for saved in step.saved if saved.stays == "weight copy"}
        self.places = places_of(step)
        self.runs = []
        for place, run in groupby(range(len(step.deeds)), key=self.places.__getitem__):
            deeds = list(run)
            self.runs.append(Run(*place, deeds[0], deeds[-1] + 1))
        self.without_hooks = Usual(self.own, [block.given for block in step.blocks], self.frees)
        self.with_hooks = Usual(self.own, [block.given_hooked for block in step.blocks], self.frees)


class Building(ABC):
    """One program under way. Copies are known by the numbers of what leaves."""

    def __init__(self, step: CapturedStep, prepared: Prepared, copies: CopyStreams, hooked: bool) -> None:
        self.step = step
        self.prepared = prepared
        self.copies = copies
        self.hooked = hooked
        self.usual = prepared.with_hooks if hooked else prepared.without_hooks
        self.behind_wait = hooked and step.waits is not None
        self.commands: list[Command] = [_STEP_BEGINS] if self.behind_wait else []
        self.copies_out: dict[int, Piece] = {}
        self.copies_in: dict[int, Piece] = {}
        self.last_copy: Piece | None = None
        self.kernels_again = 0
        self.awaited_at = 0
        """How many kernels there were when the compute stream last waited."""

    @abstractmethod
    def hook_call(self, stage: int, layer: str) -> None:
        """What is done in this call, behind the call itself."""

    @abstractmethod
    def behind(self, deed: int) -> None:
        """What is done behind a deed at which something is not as usual."""

    def held_by_others_until(self, number: int) -> int | None:
        """Behind which deed nobody but autograd and the runtime holds a block; None is not in the step. Of blocks that
        a capture did not let leave it is not known: copies of weights are taken to go when autocast ends, at the end of
        forward, others with their save."""
        block, deeds = self.step.blocks[number], self.step.deeds
        if block.fetched_given is not None or block.taken == BEFORE_STEP or block.given is None:
            return block.given if block.released is None else block.released
        save = self.step.hook_calls[self.step.stages.leaves(number) - 1]
        if number not in self.prepared.weight_copies:
            return save
        return next((n - 1 for n in range(save, len(deeds)) if deeds[n].doing is Doing.NEED), save)

    def dies_when_back(self, number: int) -> int:
        """Behind which deed a block dies that is there in place of one that left, or was made again."""
        fetched_given = self.step.blocks[number].fetched_given
        if fetched_given is not None:
            return fetched_given
        return node_ends(self.step)[self.step.hook_calls[self.step.stages.needs[number][-1] - 1]]

    def build(self, otherwise: Collection[int], offloaded: tuple[Buffer, ...]) -> Program:
        """The program; `otherwise` are the deeds behind which not all is as usual, beside the hook calls."""
        usual, commands = self.usual, self.commands
        calls = self.step.hook_calls if self.hooked else ()
        stages = {call: stage for stage, call in enumerate(calls, start=1)}
        places = sorted({*otherwise, *calls})
        place = 0  # in `places`
        cursor = 0  # in the usual commands
        steps = []
        first = 0
        for layer, backward, _, last in self.prepared.runs:
            while place < len(places) and places[place] < last:
                deed = places[place]
                place += 1
                commands += usual.commands[cursor : usual.begins[deed]]
                cursor = usual.begins[deed + 1]
                self._otherwise(deed, stages.get(deed), layer)
            commands += usual.commands[cursor : usual.begins[last]]
            cursor = usual.begins[last]
            steps.append(Step(layer, backward, False, first, len(commands)))
            first = len(commands)
        commands.append(Synchronise(self._unfinished()))
        if self.behind_wait:
            commands.append(_STEP_ENDS)
        steps[-1] = steps[-1]._replace(last=len(commands))
        return Program(self.prepared.setup, tuple(commands), tuple(steps), {}, offloaded)

    def _otherwise(self, deed: int, stage: int | None, layer: str) -> None:
        """A deed with something that is not as usual: a hook call, or what is done behind it."""
        if stage is not None:
            self.commands.append(_HOOK)
            self.hook_call(stage, layer)
        elif command := self.prepared.own[deed]:
            self.commands.append(command)
        self.behind(deed)

    def copy_out(self, number: int, buffer: Buffer, layer: str, kernels: int, waited: bool = False) -> None:
        """Behind all kernels given so far, which may still be writing it."""
        self.commands.append(_WAITED_COPY if waited else _HOOK_COPY_OUT)
        self.stand_behind(kernels, Stream.COPY_OUT)
        piece = Piece(Stream.COPY_OUT, len(self.copies_out) + 1)
        self.copies_out[number] = self._copy(CopyOut(buffer, layer), piece)

    def copy_in(self, number: int, buffer: Buffer, here: str, needed: int, kernels: int) -> None:
        """Into a new block, for the stage `needed`: behind so many kernels, which may still use the memory that it
        gets, and behind its copy out."""
        there = f"{self.prepared.places[self.step.hook_calls[needed - 1]][0]}, call {needed}"
        self.commands += (Allocate(buffer), _HOOK_COPY_IN)
        self.stand_behind(kernels, Stream.COPY_IN)
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

    def stand_behind(self, kernels: int, stream: Stream) -> None:
        """What is put on the stream from now on begins when so many kernels are done."""
        if kernels:
            self.commands.append(StreamWait(stream, Piece(Stream.COMPUTE, kernels)))

    def wait(self, piece: Piece, kernels: int) -> None:
        """The compute stream, which has been given so many kernels, waits."""
        self.commands += (_HOOK_STREAM_WAIT, StreamWait(Stream.COMPUTE, piece))
        self.awaited_at = kernels

    def _unfinished(self) -> tuple[Stream, ...]:
        """The streams that the host waits for in the end: kernels stand behind all copies that they have waited for."""
        kernels = len(self.step.kernels) + self.kernels_again
        streams = [Stream.COMPUTE]
        if self.copies_out and self.awaited_at == kernels:
            streams += [Stream.COPY_OUT, Stream.COPY_IN]
        return tuple(streams)
