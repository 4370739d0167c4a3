"""Checks a run from outside: what a real GPU would have computed with these commands at these times. Whether a program
is right at any times is for `vdnnsim.machines.checking`.

The checker follows contents, not bookkeeping: who wrote what into which block and when, and what lay there when a
kernel or a copy read it. It shares no code with the program builders beyond `operands_of`, the statement
of what each kernel reads and writes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from vdnnsim.network import Network
from vdnnsim.program import Allocate, Buffer, CopyIn, CopyOut, Free, Kernel, Program, operands_of
from vdnnsim.timeline import COPY_OUT, CopyRecord, KernelRecord, MemoryRecord, Timeline
from vdnnsim.trace import required_passes

GRANULARITY_BYTES = 512


class BrokenRun(AssertionError):  # noqa: N818 - reads as what it is
    """A run that would have computed something wrong."""


@dataclass
class Use:
    """A kernel or a copy that touches a block."""

    what: str
    begin_ns: int
    end_ns: int


@dataclass
class Block:
    """A buffer from its allocation to its free, and what lies in it."""

    buffer: Buffer
    address: int
    order: int
    uses: list[Use] = field(default_factory=list)
    operand: str = ""
    written_by: set[str] = field(default_factory=set)
    ready_ns: int = 0

    @property
    def span(self) -> tuple[int, int]:
        rounded = -(-self.buffer.size_bytes // GRANULARITY_BYTES) * GRANULARITY_BYTES
        return self.address, self.address + rounded


class _Checker:
    def __init__(self, network: Network, program: Program, timeline: Timeline) -> None:
        self.network = network
        self.program = program
        self.kernels = iter(timeline.kernels)
        self.copies = {
            True: iter([copy for copy in timeline.copies if copy.direction == COPY_OUT]),
            False: iter([copy for copy in timeline.copies if copy.direction != COPY_OUT]),
        }
        self.memory = iter(timeline.memory)
        self.live: dict[str, Block] = {}
        self.blocks: list[Block] = []
        self.host_copies: dict[str, tuple[set[str], int]] = {name: (set(), 0) for name in program.on_host}
        ran = Counter(
            (command.layer, command.pass_)
            for command in program.commands
            if isinstance(command, Kernel) and not command.again
        )
        for key in required_passes(network):
            self._expect(ran[key] == 1, f"{key} runs {ran[key]} times")
        self.ran_forward = {layer for layer, pass_ in ran if pass_ == "forward"}
        self.gradient_writers: dict[str, set[str]] = {}
        for layer, pass_ in ran:
            kernel = Kernel(layer, pass_, "")
            for operand in operands_of(network, kernel).writes:
                if self._is_input_gradient(kernel, operand):
                    self.gradient_writers.setdefault(operand, set()).add(layer)

    def _is_input_gradient(self, kernel: Kernel, operand: str) -> bool:
        own = f"gradient:{self.network.views[kernel.layer].map_name}"
        return operand.startswith("gradient:") and operand != own

    def run(self) -> None:
        for buffer in self.program.setup:
            self._take(buffer)
        for name, block in self.live.items():
            if name.startswith("weights:") or name == "map:data":
                block.operand = name
        for command in self.program.commands:
            if isinstance(command, Allocate):
                self._take(command.buffer)
            elif isinstance(command, Free):
                self._give_back(command.buffer)
            elif isinstance(command, Kernel):
                self._kernel(command, next(self.kernels))
            elif isinstance(command, CopyOut):
                self._copy_out(command, next(self.copies[True]))
            elif isinstance(command, CopyIn):
                self._copy_in(command, next(self.copies[False]))
        for rest in (self.kernels, *self.copies.values(), self.memory):
            self._expect(next(rest, None) is None, "the timeline records something the program does not have")
        self._check_addresses()

    def _expect(self, holds: bool, message: str) -> None:
        if not holds:
            raise BrokenRun(message)

    def _take(self, buffer: Buffer) -> None:
        self._expect(buffer.name not in self.live, f"{buffer.name} allocated twice")
        record = next(self.memory)
        self._expect((record.taken, record.buffer) == (True, buffer.name), f"{record} for allocation of {buffer.name}")
        block = Block(buffer, record.address, len(self.blocks))
        self.live[buffer.name] = block
        self.blocks.append(block)

    def _give_back(self, buffer: Buffer) -> None:
        self._expect(buffer.name in self.live, f"{buffer.name} freed without being there")
        record: MemoryRecord = next(self.memory)
        self._expect((record.taken, record.buffer) == (False, buffer.name), f"{record} for free of {buffer.name}")
        block = self.live.pop(buffer.name)
        for use in block.uses:
            self._expect(use.end_ns <= record.time_ns, f"{buffer.name} freed at {record.time_ns}, before {use} ended")

    def _block(self, operand: str, what: str) -> Block:
        name = self.program.operands[operand]
        self._expect(name in self.live, f"{what} needs {operand}, but {name} is not there")
        return self.live[name]

    def _kernel(self, kernel: Kernel, record: KernelRecord) -> None:
        what = f"{kernel.layer} {kernel.pass_}"
        self._expect(record[1:4] == kernel[:3], f"{record} for {kernel}")
        use = Use(what, record.begin_ns, record.end_ns)
        operands = operands_of(self.network, kernel)
        for operand in sorted(operands.reads):
            self._check_read(kernel, operand, self._block(operand, what), use)
        known = {operand for operand in operands.writes if operand in self.program.operands}
        for operand in operands.writes - known:
            self._expect(operand.startswith("weight gradient:"), f"{what} writes {operand}, which has no buffer")
        for operand in sorted(known):
            self._write(kernel, operand, self._block(operand, what), use)
        for operand in (operands.reads | operands.writes) & set(self.program.operands):
            self._block(operand, what).uses.append(use)
        if kernel.workspace is not None:
            name = kernel.workspace.name
            self._expect(name in self.live, f"{what} needs {name}, which is not there")
            self.live[name].uses.append(use)

    def _check_read(self, kernel: Kernel, operand: str, block: Block, use: Use) -> None:
        self._expect(
            block.operand == operand, f"{use.what} reads {operand}, but there lies {block.operand or 'nothing'}"
        )
        self._expect(block.ready_ns <= use.begin_ns, f"{use.what} reads {operand} at {use}, ready at {block.ready_ns}")
        if operand.startswith("map:"):
            wanted = self._writers_before(operand, kernel)
            self._expect(wanted <= block.written_by, f"{use.what} reads {operand} without {wanted - block.written_by}")
        if operand.startswith("gradient:") and not self._is_input_gradient(kernel, operand):
            wanted = self.gradient_writers.get(operand, set())
            self._expect(wanted == block.written_by, f"{use.what} reads {operand} of {block.written_by}, not {wanted}")

    def _writers_before(self, operand: str, kernel: Kernel) -> set[str]:
        """The layers whose output must lie in the map when this kernel reads it."""
        writers = set(self.network.maps[operand.removeprefix("map:")].writers) & self.ran_forward
        own = self.network.views[kernel.layer].map_name
        if kernel.pass_ == "forward" and operand == f"map:{own}":
            return self._ran_for(self.network.by_name[kernel.layer].inputs)
        return writers

    def _ran_for(self, names: tuple[str, ...]) -> set[str]:
        """The layers whose kernels make these outputs: their own, or those of what a mere view joins."""
        made: set[str] = set()
        for name in names:
            made |= {name} if name in self.ran_forward else self._ran_for(self.network.by_name[name].inputs)
        return made

    def _write(self, kernel: Kernel, operand: str, block: Block, use: Use) -> None:
        for earlier in block.uses:
            self._expect(earlier.end_ns <= use.begin_ns, f"{use.what} writes {operand} at {use} during {earlier}")
        if operand.startswith("map:"):
            self._expect(block.operand in ("", operand), f"{use.what} writes {operand} over {block.operand}")
            block.written_by.add(kernel.layer)
        elif self._is_input_gradient(kernel, operand):
            adds = operand.removeprefix("gradient:") in kernel.accumulates
            if adds:
                self._expect(block.operand == operand, f"{use.what} adds to {operand}, but there lies {block.operand}")
            else:
                lost = block.written_by if block.operand == operand else set()
                self._expect(not lost, f"{use.what} writes {operand} over what {lost} wrote")
                block.written_by = set()
            block.written_by.add(kernel.layer)
        block.operand = operand
        block.ready_ns = max(block.ready_ns, use.end_ns)

    def _copy_out(self, command: CopyOut, record: CopyRecord) -> None:
        name = command.buffer.name
        self._expect(record.buffer == name, f"{record} for {command}")
        self._expect(name in self.live, f"{name} copied out, but is not there")
        block = self.live[name]
        writers = set(self.network.maps[name.removeprefix("map:")].writers) & self.ran_forward
        self._expect(writers <= block.written_by, f"{name} copied out before {writers - block.written_by} wrote it")
        self._expect(block.ready_ns <= record.begin_ns, f"{name} copied out at {record}, ready at {block.ready_ns}")
        block.uses.append(Use(f"copy out of {name}", record.begin_ns, record.end_ns))
        self.host_copies[name] = (set(block.written_by), record.end_ns)

    def _copy_in(self, command: CopyIn, record: CopyRecord) -> None:
        name = command.buffer.name
        self._expect(record.buffer == name, f"{record} for {command}")
        self._expect(name in self.live, f"{name} copied in, but has no block")
        self._expect(name in self.host_copies, f"{name} copied in, but was never copied out")
        written_by, since_ns = self.host_copies[name]
        self._expect(since_ns <= record.begin_ns, f"{name} copied in at {record}, on the host at {since_ns}")
        block = self.live[name]
        self._expect(not block.operand, f"{name} copied in over {block.operand}")
        block.operand = name
        block.written_by = set(written_by)
        block.ready_ns = record.end_ns
        block.uses.append(Use(f"copy in of {name}", record.begin_ns, record.end_ns))

    def _check_addresses(self) -> None:
        """Nothing touches a byte while an earlier owner of it is still in use."""
        for later in self.blocks:
            low, high = later.span
            for earlier in self.blocks[: later.order]:
                other_low, other_high = earlier.span
                if low < other_high and other_low < high:
                    last = max((use.end_ns for use in earlier.uses), default=0)
                    first = min((use.begin_ns for use in later.uses), default=last)
                    message = f"{later.buffer.name} used from {first}, {earlier.buffer.name} below it until {last}"
                    self._expect(last <= first, message)


def check_run(network: Network, program: Program, timeline: Timeline) -> None:
    """Raises `BrokenRun` for a run that reads what is not there, loses a gradient or frees too early."""
    _Checker(network, program, timeline).run()


def check_engines(timeline: Timeline, slowest: bool = True) -> None:
    """One thing at a time on each engine, in order; a copy is never quicker than alone where nothing speeds it up."""
    engines = [timeline.kernels, *([c for c in timeline.copies if c.direction == way] for way in _directions(timeline))]
    for engine in engines:
        for left, right in pairwise(engine):
            if left.end_ns > right.begin_ns:
                raise BrokenRun(f"{left} and {right} at once")
    for copy in timeline.copies:
        if slowest and copy.end_ns - copy.begin_ns < copy.alone_ns:
            raise BrokenRun(f"{copy} quicker than alone")
    if list(timeline.step_ends_ns) != sorted(timeline.step_ends_ns):
        raise BrokenRun("steps end out of order")


def check_memory(timeline: Timeline) -> None:
    """No two live blocks overlap; what is freed was taken, with the same size and address; the pool never ran over."""
    live: dict[str, MemoryRecord] = {}
    for record in timeline.memory:
        if record.taken:
            for other in live.values():
                apart = record.address >= _end(other) or other.address >= _end(record)
                if not apart:
                    raise BrokenRun(f"{record} over {other}")
            if record.buffer in live:
                raise BrokenRun(f"{record.buffer} is there already")
            live[record.buffer] = record
        else:
            taken = live.pop(record.buffer)
            if (taken.address, taken.size_bytes) != (record.address, record.size_bytes):
                raise BrokenRun(f"{taken} given back as {record}")
        if _end(record) > timeline.pool_high_water_bytes:
            raise BrokenRun(f"{record} beyond the high water of {timeline.pool_high_water_bytes}")


def left_over(program: Program) -> set[str]:
    """Names of buffers that are still there when the program ends."""
    live = {buffer.name for buffer in program.setup}
    for command in program.commands:
        if isinstance(command, Allocate):
            live.add(command.buffer.name)
        elif isinstance(command, Free):
            live.discard(command.buffer.name)
    return live


def _end(record: MemoryRecord) -> int:
    return record.address + -(-record.size_bytes // GRANULARITY_BYTES) * GRANULARITY_BYTES


def _directions(timeline: Timeline) -> set[str]:
    return {copy.direction for copy in timeline.copies}
