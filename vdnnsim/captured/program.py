"""From a captured step and a schedule to a program: what the host did, with what a runtime does at the hook calls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import NamedTuple

from vdnnsim.captured.agenda import HOOK, HOOK_COPY_IN, HOOK_COPY_OUT, HOOK_STREAM_WAIT, agenda_of
from vdnnsim.captured.checks import leaves_of
from vdnnsim.captured.iteration import buffers_of, kernel_keys, places_of
from vdnnsim.captured.step import BEFORE_STEP, Block, CapturedStep, Doing
from vdnnsim.iteration import Buffer, Leave, Schedule
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

Deaths = Mapping[int, list[int]]
"""By deed, the blocks that die behind it."""


class _Run(NamedTuple):
    """Deeds `first` to before `last` of one module's forward or backward."""

    layer: str
    backward: bool
    first: int
    last: int


class _Prepared:
    """What all programs of a step have in common."""

    def __init__(self, step: CapturedStep) -> None:
        self.buffers = buffers_of(step)
        self.takes = tuple(map(Allocate, self.buffers))
        self.frees = tuple(map(Free, self.buffers))
        algorithms = (kernel.name for kernel in step.kernels)
        self.kernels = tuple(Kernel(*key, name) for key, name in zip(kernel_keys(step), algorithms, strict=True))
        self.setup = tuple(
            buffer for buffer, block in zip(self.buffers, step.blocks, strict=True) if block.taken == BEFORE_STEP
        )
        self.places = places_of(step)
        runs = groupby(range(len(step.deeds)), key=self.places.__getitem__)
        self.runs = [_Run(*place, deeds[0], deeds[-1] + 1) for place, deeds in ((p, list(d)) for p, d in runs)]
        self.dying = _deaths(block.given for block in step.blocks)
        self.dying_hooked = _deaths(block.given_hooked for block in step.blocks)
        self.stage_of = {call: stage for stage, call in enumerate(step.hook_calls, start=1)}


def build_step(step: CapturedStep, plan: Schedule) -> Program:
    """The program of a schedule for this step. One in which nothing leaves runs without hooks. Raises
    `BrokenSchedule`."""
    prepared = step.made.get("program")
    if prepared is None:
        prepared = step.made["program"] = _Prepared(step)
    return _Building(step, prepared, leaves_of(step, plan)).build()


def _deaths(behind: Iterable[int | None]) -> Deaths:
    found: defaultdict[int, list[int]] = defaultdict(list)
    for number, deed in enumerate(behind):
        if deed is not None:
            found[deed].append(number)
    return dict(found)


def left_behind(step: CapturedStep, number: int, freed: int) -> int | None:
    """Behind which deed the block of a tensor that left dies, where its runtime lets it go in stage `freed`: when
    nobody else holds it. None is not within the step."""
    block: Block = step.blocks[number]
    others = block.given if block.released is None else block.released
    return None if others is None else max(others, step.hook_calls[freed - 1])


class _Building:
    """One program under way."""

    def __init__(self, step: CapturedStep, prepared: _Prepared, leaves: Mapping[int, Leave]) -> None:
        self.step = step
        self.prepared = prepared
        self.leaves = leaves
        self.agenda = agenda_of(leaves)
        self.commands: list[Command] = []
        self.kernels = 0
        self.awaited_at = 0
        """How many kernels there were when the compute stream last waited."""
        self.copies_out: dict[int, Piece] = {}
        self.copies_in: dict[int, Piece] = {}
        self.dies = {n: left_behind(step, n, leave.freed) for n, leave in leaves.items()}
        self.fetched = {n: self._fetched_buffer(n, leave) for n, leave in leaves.items()}
        self.dying = self._dying()

    def _fetched_buffer(self, number: int, leave: Leave) -> Buffer:
        """The block that a tensor comes back into; of another name while others still hold the one it left."""
        buffer = self.prepared.buffers[number]
        dies = self.dies[number]
        gone = dies is not None and dies < self.step.hook_calls[leave.back - 1]
        return buffer if gone else buffer._replace(name=f"{buffer.name} back")

    def _dying(self) -> Mapping[int, list[Free]]:
        """What dies behind each deed; what goes in a hook call itself is not among it."""
        frees = self.prepared.frees
        if not self.leaves:
            return {deed: [frees[n] for n in numbers] for deed, numbers in self.prepared.dying.items()}
        dying: defaultdict[int, list[tuple[int, Free]]] = defaultdict(list)
        for deed, numbers in self.prepared.dying_hooked.items():
            dying[deed] = [(n, frees[n]) for n in numbers if n not in self.leaves]
        for n, leave in self.leaves.items():
            dies = self.dies[n]
            if dies is not None and not self._goes_at_once(n, leave):
                dying[dies].append((n, frees[n]))
            fetched_given = self.step.blocks[n].fetched_given
            if fetched_given is not None:
                dying[fetched_given].append((n, Free(self.fetched[n])))
        return {deed: [free for _, free in sorted(found)] for deed, found in dying.items()}

    def _goes_at_once(self, number: int, leave: Leave) -> bool:
        """Whether nobody else holds the block when the runtime lets it go."""
        block = self.step.blocks[number]
        others = block.given if block.released is None else block.released
        return others is not None and others < self.step.hook_calls[leave.freed - 1]

    def build(self) -> Program:
        commands, steps = self.commands, []
        commands.extend(self.dying.get(BEFORE_STEP, ()))
        first = 0
        for run in self.prepared.runs:
            self._give(run)
            steps.append(Step(run.layer, run.backward, False, first, len(commands)))
            first = len(commands)
        commands.append(Synchronise(self._unfinished()))
        steps[-1] = steps[-1]._replace(last=len(commands))
        offloaded = tuple(self.prepared.buffers[number] for number in self.leaves)
        return Program(self.prepared.setup, tuple(commands), tuple(steps), {}, offloaded)

    def _give(self, run: _Run) -> None:
        commands, dying, deeds = self.commands, self.dying, self.step.deeds
        takes, kernels = self.prepared.takes, self.prepared.kernels
        for deed in range(run.first, run.last):
            doing, number = deeds[deed]
            if doing is Doing.TAKE:
                commands.append(takes[number])
            elif doing is Doing.LAUNCH:
                commands.append(kernels[number])
                self.kernels += 1
            elif self.leaves:
                self._hook_call(self.prepared.stage_of[deed], run.layer)
            if deed in dying:
                commands.extend(dying[deed])

    def _hook_call(self, stage: int, layer: str) -> None:
        self.commands.append(_HOOK)
        deeds = self.agenda.get(stage)
        if deeds is None:
            return
        here = f"{layer}, call {stage}"
        for number in deeds.fetched:
            self._copy_in(number, here)
        for number in deeds.awaited:
            self._wait(self.copies_in[number])
        for number in deeds.out:
            self._copy_out(number, layer)
        for number in deeds.dropped:
            self._wait(self.copies_out[number])
            if self._goes_at_once(number, self.leaves[number]):
                self.commands.append(self.prepared.frees[number])
        for number in deeds.back:
            self._copy_in(number, here)

    def _copy_out(self, number: int, layer: str) -> None:
        """Behind all kernels given so far, which may still be writing it."""
        self.commands.append(_HOOK_COPY_OUT)
        self._behind_kernels(Stream.COPY_OUT)
        self.commands.append(CopyOut(self.prepared.buffers[number], layer))
        self.copies_out[number] = Piece(Stream.COPY_OUT, len(self.copies_out) + 1)

    def _copy_in(self, number: int, here: str) -> None:
        """Behind all kernels given so far, which may still use the memory that it gets, and behind its copy out."""
        buffer = self.fetched[number]
        needed = self.leaves[number].needed
        there = f"{self.prepared.places[self.step.hook_calls[needed - 1]][0]}, call {needed}"
        self.commands += (Allocate(buffer), _HOOK_COPY_IN)
        self._behind_kernels(Stream.COPY_IN)
        self.commands.append(StreamWait(Stream.COPY_IN, self.copies_out[number]))
        self.commands.append(CopyIn(buffer, here, there))
        self.copies_in[number] = Piece(Stream.COPY_IN, len(self.copies_in) + 1)

    def _behind_kernels(self, stream: Stream) -> None:
        if self.kernels:
            self.commands.append(StreamWait(stream, Piece(Stream.COMPUTE, self.kernels)))

    def _wait(self, piece: Piece) -> None:
        self.commands += (_HOOK_STREAM_WAIT, StreamWait(Stream.COMPUTE, piece))
        self.awaited_at = self.kernels

    def _unfinished(self) -> tuple[Stream, ...]:
        """The streams that the host waits for in the end: kernels stand behind all copies that they have waited for."""
        streams = [Stream.COMPUTE] if self.kernels else []
        if self.awaited_at == self.kernels:
            streams += [Stream.COPY_OUT] if self.copies_out else []
            streams += [Stream.COPY_IN] if self.copies_in else []
        return tuple(streams)
