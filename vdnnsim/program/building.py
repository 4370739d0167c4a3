"""From a schedule to a program: mechanical, stage by stage, the same for every policy.

A stage takes its blocks, gives its kernels, then its copies out; then the host waits, where the schedule says so, and
blocks go back whose tensors are done. Before its kernels come the copies in that it needs and those that it gives for
later stages, and what is made again.

What a schedule leaves open is the order between streams: wherever a kernel or copy is about to touch a block that
another stream may still be using, the program waits for that one piece of work, the host where it does the waiting
(`Waits`), else the stream. A block goes back at a fixed place of the host's order, so that addresses do not depend on
time.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from vdnnsim.iteration import (
    BrokenSchedule,
    Buffer,
    CopyStreams,
    Iteration,
    Leave,
    MemoryClass,
    Operator,
    Remake,
    Shared,
    Waits,
)
from vdnnsim.program.agenda import Agenda
from vdnnsim.program.commands import (
    Allocate,
    Command,
    CopyIn,
    CopyOut,
    Free,
    HostWait,
    Kernel,
    Piece,
    Program,
    Step,
    Stream,
    StreamWait,
    Synchronise,
)
from vdnnsim.program.nvme import by_nvme
from vdnnsim.program.order import Order

if TYPE_CHECKING:
    from vdnnsim.policies.plan import Plan


def build_iteration(iteration: Iteration, plan: Plan) -> Program:
    """The program of a plan for this iteration. Raises `BrokenSchedule`."""
    return Builder(iteration, plan).build()


_KEPT = 4
"""In how many states a builder is kept."""


@dataclass(eq=False)
class _Progress:
    """How far a builder is: what changes from stage to stage."""

    stage: int = 0
    given: int = 0
    taken: int = 0
    commands: list[Command] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    order: Order = field(default_factory=Order)
    present: set[str] = field(default_factory=set)
    copies_out: dict[str, Piece] = field(default_factory=dict)
    copies_in: dict[str, Piece] = field(default_factory=dict)
    written_by: dict[str, Piece] = field(default_factory=dict)
    last_kernel: Piece | None = None
    last_copy: Piece | None = None
    freed: dict[Stream, Piece] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)

    def progress(self) -> _Progress:
        """As it is now, whatever happens later."""
        return _Progress(*(copy(getattr(self, one.name)) for one in fields(_Progress)))


class Builder(_Progress):
    """Builds one program, and keeps how far it was at some stages: a plan that differs late is soon built."""

    def __init__(self, iteration: Iteration, plan: Plan) -> None:
        super().__init__()
        self.iteration = iteration
        self.buffers = iteration.buffers
        self.plan = plan
        self.schedule = schedule = plan.schedule
        self.actions = schedule.actions
        self.waits = schedule.waits
        self.agenda = Agenda(iteration, schedule)
        self.shared: dict[str, str] = {}
        self.workspace: Buffer | None = None
        """The one that all share."""
        self.in_use: Buffer | None = None
        """That of the kernel before, in this stage."""
        self.kept: list[_Progress] = []
        if schedule.host_optimiser is not None:
            raise BrokenSchedule("optimiser", "set-up", "that the host runs it", "a captured step, which has one")
        self.setup = self._before()

    def build(self) -> Program:
        back = sorted(self.agenda.back)
        keep = back[:: -(-len(back) // _KEPT)] if back else ()
        while self.stage < len(self.iteration.stages):
            if self.stage in keep:
                self.kept.append(self.progress())
            self._build_stage()
            self.stage += 1
        self._end()
        self._check_addresses()
        operands = {item: item for item in self.schedule.before if isinstance(item, str)} | self.shared
        operands.update((command.buffer.name,) * 2 for command in self.commands if isinstance(command, Allocate))
        leaves = self.schedule.leaves
        offloaded = tuple(self.buffers[name] for name in leaves)
        on_host = frozenset(name for name, leave in leaves.items() if leave.out is None)
        commands, steps = tuple(self.commands), tuple(self.steps)
        schedule = self.schedule
        program = Program(
            self.setup, commands, steps, operands, offloaded, on_host, schedule.compression, paging=schedule.paging
        )
        return by_nvme(program, schedule) if schedule.nvme else program

    def from_stage(self, stage: int, plan: Plan) -> Builder:
        """The builder of a plan whose schedule is the same before this stage; this one has built its own."""
        builder = Builder(self.iteration, plan)
        builder.kept = [progress for progress in self.kept if progress.stage <= stage]
        if builder.kept:
            vars(builder).update(vars(builder.kept.pop().progress()))
        return builder

    # What is there before the iteration

    def _before(self) -> tuple[Buffer, ...]:
        setup: list[Buffer] = []
        for item in self.schedule.before:
            if isinstance(item, Shared):
                setup.append(self._placed(item.buffer))
                self.shared.update(dict.fromkeys(item.tensors, item.buffer.name))
            else:
                setup.append(self._placed(self.buffers[item]))
                self.present.add(item)
        if self.schedule.shared_workspace and any(self.plan.workspaces.values()):
            (layer, _), size_bytes = max(self.plan.workspaces.items(), key=lambda item: item[1])
            self.workspace = self._placed(Buffer("workspace", size_bytes, MemoryClass.WORKSPACE, layer, False))
            setup.append(self.workspace)
        missing = self.iteration.inputs - self.present
        if missing:
            rule = "in place before the iteration, since it holds its values"
            raise BrokenSchedule(min(missing), "set-up", "an input that is not there", rule)
        return tuple(setup)

    # One stage

    def _build_stage(self) -> None:
        agenda = self.agenda
        stage = self.iteration.stages[self.stage]
        first = len(self.commands)
        given = self.given
        copies = None
        if self.stage in agenda.needed:
            self._fetch(agenda.needed[self.stage])
        if self.stage in agenda.back:
            copies = self._prefetch(agenda.back[self.stage])
        if self.stage in agenda.takes:
            self._allocate(agenda.takes[self.stage])
        if self.stage in agenda.again:
            self._remake(agenda.again[self.stage])
        for operator in self.iteration.operators_of_stage[self.stage]:
            self._kernel(operator)
        if self.stage in agenda.out:
            copies = self._copy_out(agenda.out[self.stage])
        if self.given > given:
            self._end_of_stage(copies)
        if stage.backward:
            self._free_workspace()
        if self.stage in agenda.done:
            self._release(agenda.done[self.stage])
        self._free_workspace()
        self.steps.append(Step(stage.layer, stage.backward, stage.in_classifier, first, len(self.commands)))

    def _fetch(self, needed: list[str]) -> None:
        """The copies in that this stage needs: those given only now, and the waits for all."""
        late = [name for name in self._in_order(needed) if self._leave(name).back == self.stage]
        for name in late:
            self._copy_in(name)
        if late and self.waits is Waits.EACH_LAYER:
            self._synchronise(Stream.COPY_IN)
        newest = max((self.copies_in[name] for name in needed), key=lambda piece: piece.number)
        self._await(newest, Stream.COMPUTE)

    def _prefetch(self, back: list[str]) -> Stream | None:
        wanted = [name for name in back if self._leave(name).needed > self.stage]
        for name in self._in_order(wanted):
            self._copy_in(name)
        return Stream.COPY_IN if wanted else None

    def _in_order(self, names: list[str]) -> list[str]:
        """In the order in which the stage that needs them reads them."""
        if len(names) < 2:
            return names
        stages = self.iteration.stages
        return sorted(names, key=lambda name: _place(stages[self._leave(name).needed].inputs, name))

    def _leave(self, name: str) -> Leave:
        action = self.actions[name]
        assert isinstance(action, Leave)
        return action

    def _remade(self, name: str) -> Remake:
        action = self.actions[name]
        assert isinstance(action, Remake)
        return action

    def _copy_in(self, name: str) -> None:
        action = self._leave(name)
        if name in self.present:
            raise self._broken(name, "a copy in of what is there", "one of what has left")
        self._allocate([name], Stream.COPY_IN)  # behind whatever was done with blocks that went, its own among them
        stages = self.iteration.stages
        now, wanted = stages[self.stage].layer, stages[action.needed].layer
        self.copies_in[name] = self._copy(CopyIn(self.buffers[name], now, wanted, action.put_off), Stream.COPY_IN)

    def _copy(self, copy: CopyOut | CopyIn, stream: Stream) -> Piece:
        """Gives a copy; one that shares its stream waits for what was put on that before, and has what comes wait."""
        copies = self.schedule.copies
        if copies is not CopyStreams.EACH_WAY and self.last_copy:
            self._wait_for(self.last_copy, stream)
        if copies is CopyStreams.COMPUTE and self.last_kernel:
            self._wait_for(self.last_kernel, stream)
        self.commands.append(copy)
        self.last_copy = piece = self._give(stream)
        if copies is CopyStreams.COMPUTE:
            self._wait_for(piece, Stream.COMPUTE)
        return piece

    def _give(self, stream: Stream) -> Piece:
        self.given += 1
        return self.order.give(stream)

    def _copy_out(self, out: list[str]) -> Stream:
        for name in out:
            if name not in self.present or name in self.copies_in:
                raise self._broken(name, "a copy out of what is not there", "one of what is")
            if writer := self.written_by.get(name):
                self._wait_for(writer, Stream.COPY_OUT)
            elif name not in self.iteration.inputs:
                raise self._broken(name, "a copy out before it is written", "one of what is written")
            copy_out = CopyOut(self.buffers[name], self.iteration.stages[self.stage].layer)
            self.copies_out[name] = self._copy(copy_out, Stream.COPY_OUT)
        return Stream.COPY_OUT

    def _remake(self, again: list[str]) -> None:
        """What was dropped, by its operators in order; each works as in forward, and what it keeps is kept."""
        for name in again:
            self._allocate([name])
            for key in self._remade(name).by:
                operator = self.iteration.again[key]
                for used in (*operator.reads, *operator.writes):
                    if used not in self.present and used not in self.shared:
                        raise self._gone(used, operator)
                self._kernel(operator, again=True)

    def _kernel(self, operator: Operator, again: bool = False) -> None:
        if self.in_use:
            # A block in use is not free: the kernel before has to be done before its workspace goes.
            if self.waits is not Waits.STREAMS:
                self._synchronise(Stream.COMPUTE)
            self._free_workspace()
        key = operator.key
        workspace = self._workspace(operator) if self.plan.workspaces.get(key) else None
        for name in self.agenda.uses.get(key, ()):
            self._check_there(name, operator)
        accumulates = frozenset(name.partition(":")[2] for name in operator.adds) if operator.adds else operator.adds
        algorithm = self.plan.algorithms[key]
        self.commands.append(Kernel(operator.layer, operator.pass_, algorithm, workspace, accumulates, again))
        self.last_kernel = self._give(Stream.COMPUTE)
        for name in self.agenda.uses.get(key, ()):
            if name in operator.writes:
                self.written_by[name] = self.last_kernel

    def _workspace(self, operator: Operator) -> Buffer:
        if self.workspace:
            return self.workspace
        layer, pass_ = operator.key
        size_bytes = self.plan.workspaces[layer, pass_]
        inside = self.iteration.stages[operator.stage].in_classifier
        self.in_use = Buffer(f"workspace:{layer}:{pass_}", size_bytes, MemoryClass.WORKSPACE, layer, inside)
        self._take(self.in_use, Stream.COMPUTE)
        return self.in_use

    def _free_workspace(self) -> None:
        if self.in_use:
            self._free(self.in_use)
            self.in_use = None

    def _check_there(self, name: str, operator: Operator) -> None:
        """Only what has an action can be missing, or be under way."""
        if name not in self.present:
            raise self._gone(name, operator)
        if name in self.copies_in and not self.order.ordered(self.copies_in[name], Stream.COMPUTE):
            raise self._broken(
                name,
                f"{operator.title} uses it while it is on its way back",
                f"needed at this stage or before, not at {self.agenda.title(self._leave(name).needed)}",
            )
        if name in self.copies_out and name in operator.writes:
            if name not in self.copies_in:
                found = f"{operator.title} writes it after its copy out"
                raise self._broken(name, found, "a copy out behind the last write before it comes back")
            self._wait_for(self.copies_out[name], Stream.COMPUTE)

    def _gone(self, name: str, operator: Operator) -> BrokenSchedule:
        found = f"{operator.title} uses it, but {self.gone.get(name, 'it is not there')}"
        return self._broken(name, found, "what an operator uses to be there, kept, back or made again")

    def _broken(self, name: str, found: str, rule: str) -> BrokenSchedule:
        return BrokenSchedule(name, self.agenda.title(self.stage), found, rule)

    # Waits

    def _end_of_stage(self, copies: Stream | None) -> None:
        if self.waits is Waits.STREAMS:
            return
        if copies and self.waits is Waits.EACH_LAYER:
            self._synchronise(Stream.COMPUTE, copies)
        else:
            self._synchronise(Stream.COMPUTE)

    def _synchronise(self, *streams: Stream) -> None:
        self.commands.append(Synchronise(streams))
        self.order.synchronise(streams)

    def _await(self, piece: Piece, stream: Stream) -> None:
        """Nothing on the stream begins before this piece is done: the host waits where the schedule has it wait."""
        if self.order.ordered(piece, stream):
            return
        if self.waits is Waits.STREAMS:
            self._wait_for(piece, stream)
        else:
            self._host_wait(piece)

    def _wait_for(self, piece: Piece, stream: Stream) -> None:
        """As `_await`, always by the stream: where the host has no reason to stand still."""
        if not self.order.ordered(piece, stream):
            self.commands.append(StreamWait(stream, piece))
            self.order.stream_wait(stream, piece)

    def _end(self) -> None:
        """The host waits for all that it does not know to be done."""
        if self.waits is Waits.EACH_LAYER:
            return
        copies = [*list(self.copies_out.values())[-1:], *list(self.copies_in.values())[-1:]]
        left = [piece.stream for piece in copies if not self.order.ordered(piece, Stream.COMPUTE)]
        kernels = self.last_kernel and not self.order.known(self.last_kernel)
        streams = [*([Stream.COMPUTE] if kernels else []), *left]
        if streams:
            self._synchronise(*streams)
            self.steps[-1] = self.steps[-1]._replace(last=len(self.commands))

    # Memory

    def _allocate(self, names: Iterable[str], stream: Stream = Stream.COMPUTE) -> None:
        for name in names:
            if name not in self.present:
                self.present.add(name)
                self._take(self.buffers[name], stream)

    def _take(self, buffer: Buffer, stream: Stream) -> None:
        """A block that this stream will use first. What used its bytes before may be under way where the host did not
        wait for it: which bytes those are is the pool's to say, so that it stands for all blocks given back so far."""
        self.commands.append(Allocate(self._placed(buffer)))
        for piece in self.freed.values():
            self._wait_for(piece, stream)

    def _placed(self, buffer: Buffer) -> Buffer:
        """The buffer where the schedule has it lie."""
        addresses = self.schedule.addresses
        if not addresses:
            return buffer
        self.taken += 1
        return buffer._replace(address=addresses[self.taken - 1]) if self.taken <= len(addresses) else buffer

    def _check_addresses(self) -> None:
        addresses = self.schedule.addresses
        if addresses and self.taken != len(addresses):
            name = next(iter(self.buffers))
            raise BrokenSchedule(name, "set-up", f"{len(addresses)} addresses", f"one for each of {self.taken} blocks")

    def _release(self, done: list[str]) -> None:
        """Give back what leaves or is dropped, and what no operator to come uses."""
        for name in done:
            if name not in self.present:
                continue
            action = self.actions.get(name)
            if isinstance(action, Leave) and self.stage == action.freed:
                if action.out is not None:
                    self._hand_over(self.copies_out[name])
                self.gone[name] = f"it left in {self.agenda.title(action.freed)}"
            elif isinstance(action, Remake) and self.stage == action.dropped:
                self.gone[name] = f"it was dropped in {self.agenda.title(action.dropped)}"
            self.present.discard(name)
            self._free(self.buffers[name])

    def _hand_over(self, piece: Piece) -> None:
        """Before a block goes back that a copy may still be reading."""
        if self.order.known(piece):
            return
        if self.waits is Waits.STREAMS:
            self.freed[piece.stream] = max(piece, self.freed.get(piece.stream, piece))
        else:
            self._host_wait(piece)

    def _host_wait(self, piece: Piece) -> None:
        self.commands.append(HostWait(piece))
        self.order.host_wait(piece)

    def _free(self, buffer: Buffer) -> None:
        self.commands.append(Free(buffer))
        if self.waits is Waits.STREAMS and self.last_kernel:
            self.freed[Stream.COMPUTE] = self.last_kernel


def _place(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else len(names)
