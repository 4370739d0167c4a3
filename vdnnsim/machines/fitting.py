"""Fitting a plan into a pool: which prefetches must wait, and vDNN-dyn's greedy choice of smaller workspaces.

Addresses depend on the order of commands alone, so that no time passes here: the program is walked with an empty pool.
Where a workspace finds no room and shrinking is allowed, its pass moves to the next slower algorithm with less.
Where something else finds none, blocks whose copies out have been given go at the end of the layer before, if their
schedule allows it; else the youngest prefetch whose map is not yet in use waits for the next layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from vdnnsim.iteration import Iteration, Schedule
from vdnnsim.machines.device_memory import DeviceMemory, OutOfMemory
from vdnnsim.machines.steady import StepMemory
from vdnnsim.policies import Life, Plan
from vdnnsim.policies.schedules import defer, free_earlier
from vdnnsim.program import Allocate, Buffer, Builder, CopyIn, Free, Kernel, Program
from vdnnsim.timeline import SETUP
from vdnnsim.trace import Trace, TraceRow


class Fitted(NamedTuple):
    """A plan as far as it could be fitted, its program, and what still finds no room, if anything; where nothing does,
    what it used of the pool, and a captured step of PyTorch's allocator, once that has come to rest."""

    plan: Plan
    program: Program
    failure: OutOfMemory | None
    used_bytes: int = 0
    at_rest: StepMemory | None = None


class _NoRoom(NamedTuple):
    step: int
    error: OutOfMemory


class Candidate:
    """A plan with its program, and what it becomes where something finds no room: each built once, whatever the pool,
    and from where it differs."""

    def __init__(self, iteration: Iteration, plan: Plan, builder: Builder | None = None) -> None:
        self.iteration = iteration
        self.plan = plan
        self._builder = builder or Builder(iteration, plan)
        self.program = self._builder.build()
        self._next: dict[tuple[int, int], Candidate | None] = {}

    def with_more_room(self, step: int, wanted_bytes: int) -> Candidate | None:
        """With blocks given back earlier where they may be, else with a prefetch put off, where so many bytes found no
        room in this step; None where there is neither."""
        if (step, wanted_bytes) not in self._next:
            self._next[step, wanted_bytes] = self._roomier(step, wanted_bytes)
        return self._next[step, wanted_bytes]

    def _roomier(self, step: int, wanted_bytes: int) -> Candidate | None:
        schedule = self.plan.schedule
        earlier = free_earlier(self.iteration, schedule, step, wanted_bytes)
        if earlier is not None:
            return self._with(earlier, step - 1)
        stage = _unused_prefetch(self.program, step)
        return None if stage is None else self._with(defer(self.iteration, schedule, stage), stage)

    def _with(self, schedule: Schedule, stage: int) -> Candidate:
        """With another schedule that is the same before this stage."""
        plan = replace(self.plan, schedule=schedule)
        return Candidate(self.iteration, plan, self._builder.from_stage(stage, plan))


class FixedCandidate(Candidate):
    """A plan whose tensors come and go at given places whatever room there is, with its program."""

    def __init__(self, iteration: Iteration, plan: Plan, program: Program) -> None:
        self.iteration = iteration
        self.plan = plan
        self.program = program

    def with_more_room(self, step: int, wanted_bytes: int) -> None:
        """Nothing of it may be put off."""


def fit_plan(given: Candidate, empty_memory: Callable[[], DeviceMemory], trace: Trace | None = None) -> Fitted:
    """The plan with prefetches put off where the pool has no room for them; with a trace, also with smaller workspaces
    where they were needed. The first failure is the one that is told.

    Without a trace a plan that fits nowhere comes back as it was given, with all its prefetches: it is shown as it
    would run in a pool that has room.
    """
    candidate = given
    first: OutOfMemory | None = None
    while True:
        plan, program = candidate.plan, candidate.program
        walk = _Walk(program, empty_memory(), trace)
        if walk.no_room is None:
            algorithms = {**plan.algorithms, **walk.chosen}
            if trace is None or algorithms == plan.algorithms:
                return Fitted(plan, program, None, walk.memory.pool.high_water_bytes)
            # Walked once more: in some pools a request that found no room has changed where later ones go.
            candidate = Candidate(given.iteration, plan.with_algorithms(algorithms, trace))
        else:
            first = first or walk.no_room.error
            roomier = candidate.with_more_room(walk.no_room.step, walk.no_room.error.requested_bytes)
            if roomier is None:
                told = given if trace is None else candidate
                return Fitted(told.plan, told.program, first)
            candidate = roomier


def lives_of(program: Program) -> tuple[Life, ...]:
    """The lives of all blocks, in the order in which they are taken."""
    end = len(program.commands)
    lives = [Life(0, end + 1, buffer.size_bytes) for buffer in program.setup]
    taken = {buffer.name: number for number, buffer in enumerate(program.setup)}
    for at, command in enumerate(program.commands, 1):
        if isinstance(command, Allocate):
            taken[command.buffer.name] = len(lives)
            lives.append(Life(at, end + 1, command.buffer.size_bytes))
        elif isinstance(command, Free):
            number = taken[command.buffer.name]
            lives[number] = lives[number]._replace(back=at)
    return tuple(lives)


def _unused_prefetch(program: Program, no_room_in: int) -> int | None:
    """The stage whose backward issued the youngest prefetch that is for a layer still to come after this step."""
    if no_room_in < 0:
        return None
    to_come = {step.layer for step in program.steps[no_room_in + 1 :] if step.backward}
    for number in range(no_room_in, -1, -1):
        step = program.steps[number]
        if not step.backward:
            return None
        for command in program.commands[step.first : step.last]:
            if isinstance(command, CopyIn) and command.for_layer in to_come:
                return number
    return None


class _Walk:
    """A program's allocations, one after the other, until one finds no room."""

    def __init__(self, program: Program, memory: DeviceMemory, trace: Trace | None) -> None:
        self.memory = memory
        self.trace = trace
        self.chosen: dict[tuple[str, str], str] = {}
        self.no_room: _NoRoom | None = None
        index = SETUP
        try:
            for buffer in program.setup:
                memory.set_up(buffer)
            for index in range(len(program.steps)):
                self._walk_step(program, index)
        except OutOfMemory as error:
            self.no_room = _NoRoom(index, error)

    def _walk_step(self, program: Program, index: int) -> None:
        step, where = program.steps[index], program.titles[index]
        commands = program.commands[step.first : step.last]
        users = self.trace and {command.workspace: command for command in commands if isinstance(command, Kernel)}
        for command in commands:
            if isinstance(command, Free):
                self.memory.free(command.buffer)
            elif isinstance(command, Allocate):
                kernel = users and users.get(command.buffer)
                if kernel and self.trace:
                    self._allocate_workspace(command.buffer, kernel, where, self.trace)
                else:
                    self.memory.allocate(command.buffer, where)

    def _allocate_workspace(self, buffer: Buffer, kernel: Kernel, where: str, trace: Trace) -> None:
        row = trace.row(kernel.layer, kernel.pass_, kernel.algorithm)
        while True:
            try:
                self.memory.allocate(buffer._replace(size_bytes=row.workspace_bytes), where)
            except OutOfMemory:
                leaner = next_leaner(row, trace)
                if leaner is None:
                    raise
                row = leaner
            else:
                self.chosen[kernel.layer, kernel.pass_] = row.algorithm
                return


def next_leaner(row: TraceRow, trace: Trace) -> TraceRow | None:
    """The fastest algorithm of the same pass with less workspace, or None."""
    leaner = [other for other in trace.choices(row.layer, row.pass_) if other.workspace_bytes < row.workspace_bytes]
    return min(leaner, key=lambda other: (other.duration_ns, other.workspace_bytes, other.algorithm), default=None)
