"""A captured step from what a profiler saw of steps that nobody captured: what is saved and needed is inferred."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import NamedTuple

from vdnnsim.calibration.samples import sample
from vdnnsim.captured.step import (
    BEFORE_STEP,
    Block,
    BlockClass,
    CapturedStep,
    Deed,
    Doing,
    HookCosts,
    ModelKernel,
    Phase,
    SavedTensor,
    Seen,
    StepHeader,
)
from vdnnsim.errors import InvalidInput
from vdnnsim.profiler.kinds import kind_of
from vdnnsim.profiler.lives import DeedNumbers, lives
from vdnnsim.profiler.operators import Operators
from vdnnsim.profiler.order import happenings, host_kernels, operators_of
from vdnnsim.profiler.recording import NEED, NODE, SAVE, STEP, Does, Happening, HostRange, Recording
from vdnnsim.profiler.timing import KernelTimes, gpu_times, host_times
from vdnnsim.readers.kineto_modules import with_modules

_DOING = {Does.TAKE: Doing.TAKE, Does.LAUNCH: Doing.LAUNCH, Does.SAVE: Doing.SAVE, Does.NEED: Doing.NEED}
_SMALLEST_BYTES = {"cpu": 2**10, "cuda": 2**20}
_NOT_TOLD = "not told"


class _Held(NamedTuple):
    """A block (by its number among those that the step takes) that one operator's node holds: saved when its forward is
    through, needed when the node begins."""

    block: int
    saved_ns: int
    needed_ns: int
    node: int


def step_of_recordings(
    name: str, gpu: str, device: str, steps: Sequence[Recording], peaks_bytes: tuple[int, int]
) -> CapturedStep:
    """The last of these steps; all of them launch the same and say how long it takes. Raises `InvalidInput` where there
    is no backward, or no kernel."""
    recording = with_modules(steps[-1])
    held = sorted(_Holding(recording).held(), key=lambda one: (one.saved_ns, one.block))
    kernels = host_kernels(recording, recording.window(STEP)) if device == "cpu" else None
    ordered = happenings(_marked(recording, held), recording.window(STEP), kernels)
    operators = Operators(recording, ordered)
    launches = [one for one in ordered if one.does is Does.LAUNCH]
    if not operators.has_backward or not launches:
        raise InvalidInput("no kernel" if not launches else "a step without backward")
    whole = sample(end_ns - begin_ns for begin_ns, end_ns in (one.window(STEP) for one in steps))
    times = _times(steps, recording, launches, kernels, whole.median_ns)
    numbers, before = DeedNumbers.of(ordered), _before(recording)
    there = {address: number for number, (address, _) in enumerate(before)}
    found = lives(ordered, numbers, there, len(before))
    listed = _blocks(ordered, operators, before, found.given, held)
    blocks = [len(before) + one.block for one in held]
    saved = tuple(
        _saved(one, block, listed[block].size_bytes, operators, device) for one, block in zip(held, blocks, strict=True)
    )
    digest = sha256(f"imported {name} {[launch.name for launch in launches]}".encode()).hexdigest()
    header = StepHeader(
        name, gpu, device, {}, _NOT_TOLD, digest, digest, {"imported": "from a trace of torch.profiler, not captured"}
    )
    allocated, reserved = peaks_bytes
    return CapturedStep(
        header,
        Seen(whole.median_ns, whole.spread_ppm, allocated, allocated, max(allocated, reserved)),
        HookCosts(0, 0, 0, 0),
        tuple(operators.found),
        tuple(_kernel(one, time, operators, device) for one, time in zip(launches, times, strict=True)),
        tuple(listed),
        saved,
        tuple(_deeds(ordered, len(before))),
    )


@dataclass
class _Holding:
    """Which blocks the graph holds from forward to backward."""

    recording: Recording

    def held(self) -> Iterator[_Held]:
        """Of each such block the operators that saved it, as far as that can be told: the one whose node lets it go,
        and the first one behind that which made it, where its node runs before."""
        begin_ns, end_ns = self.recording.window(STEP)
        nodes = {
            one.sequence: number
            for number, one in enumerate(self.recording.ranges)
            if one.name.startswith(NODE) and begin_ns <= one.begin_ns < end_ns
        }
        forward_of = self._forward_of(nodes, begin_ns, end_ns)
        first_node = self._first_nodes(forward_of, nodes)
        forwards = sorted(first_node, key=lambda number: self._of(number).begin_ns)
        begins_ns = [self._of(number).begin_ns for number in forwards]
        for block, taken_ns, maker, node in self._crossing(begin_ns, end_ns):
            saver = forward_of.get(self._of(node).sequence)
            place = bisect_left(begins_ns, self._end_ns(maker, taken_ns))
            behind = forwards[place] if place < len(forwards) else None
            pairs = [] if saver is None else [(saver, node)]
            if behind is not None and behind != saver:
                first = first_node[behind]
                if taken_ns < self._of(first).begin_ns < self._of(node).begin_ns:
                    pairs.append((behind, first))
            if not pairs:
                yield _Held(block, self._end_ns(maker, taken_ns), self._of(node).begin_ns, node)
            for forward, of in pairs:
                saved_ns = max(taken_ns, self._of(forward).end_ns)
                if saved_ns <= self._of(of).begin_ns:
                    yield _Held(block, saved_ns, self._of(of).begin_ns, of)

    def _forward_of(self, nodes: Mapping[int, int], begin_ns: int, end_ns: int) -> dict[int, int]:
        """By sequence number the forward operator that made the node: of several that end with it (those that called
        it, and those before it that made none) the last one."""
        found: dict[int, int] = {}
        for number, one in enumerate(self.recording.ranges):
            own = one.is_operator and one.sequence in nodes and begin_ns <= one.begin_ns < end_ns
            if own and one.end_ns <= self._of(nodes[one.sequence]).begin_ns:
                before = found.get(one.sequence)
                if before is None or self._of(before).end_ns < one.end_ns:
                    found[one.sequence] = number
        return found

    def _first_nodes(self, forward_of: Mapping[int, int], nodes: Mapping[int, int]) -> dict[int, int]:
        """By outermost forward operator the first to run of the nodes that it and what it calls made."""
        found: dict[int, int] = {}
        for sequence, number in forward_of.items():
            *_, outermost = (n for n in self.recording.chain(number) if self._of(n).is_operator)
            node = nodes[sequence]
            if outermost not in found or self._of(node).begin_ns < self._of(found[outermost]).begin_ns:
                found[outermost] = node
        return found

    def _of(self, number: int) -> HostRange:
        return self.recording.ranges[number]

    def _end_ns(self, maker: int | None, taken_ns: int) -> int:
        return taken_ns if maker is None else self._of(maker).end_ns

    def _crossing(self, begin_ns: int, end_ns: int) -> Iterator[tuple[int, int, int | None, int]]:
        """Blocks that are taken outside of the graph's nodes and let go inside one: their number, when they are taken,
        the outermost operator that takes them, and that node."""
        live: dict[int, tuple[int, int, int | None]] = {}
        taken = 0
        for event in self.recording.memory:
            if not begin_ns <= event.at_ns < end_ns:
                continue
            chain = list(self.recording.chain(event.within))
            node = next((n for n in chain if self._of(n).name.startswith(NODE)), None)
            if event.size_bytes > 0:
                if node is None:
                    maker = next((n for n in reversed(chain) if self._of(n).is_operator), None)
                    live[event.address] = (taken, event.at_ns, maker)
                else:
                    live.pop(event.address, None)
                taken += 1
                continue
            known = live.pop(event.address, None)
            if known is not None and node is not None and known[1] < self._of(node).begin_ns:
                yield (*known, node)


def _marked(recording: Recording, held: Sequence[_Held]) -> Recording:
    """With the marks of saves and needs that a capture's hooks would have left."""
    at_ns = {
        **{f"{SAVE}{number}": one.saved_ns for number, one in enumerate(held)},
        **{f"{NEED}{number}": one.needed_ns for number, one in enumerate(held)},  # behind saves at the same time
    }
    marks = [HostRange(name, False, time_ns, time_ns, 0, None, -1) for name, time_ns in at_ns.items()]
    return replace(recording, ranges=[*recording.ranges, *marks])


def _times(
    steps: Sequence[Recording],
    recording: Recording,
    launches: Sequence[Happening],
    kernels: Sequence[int] | None,
    step_ns: int,
) -> list[KernelTimes]:
    if kernels is None:
        return gpu_times(steps, [one.name for one in launches], 1.0)
    names = [recording.ranges[number].name for number in operators_of(recording, recording.window(STEP))]
    alike = [
        one for one in steps if [one.ranges[number].name for number in operators_of(one, one.window(STEP))] == names
    ]
    return host_times(alike, names, kernels, step_ns)


def _before(recording: Recording) -> list[tuple[int, int]]:
    """Address and bytes of what is there when the step begins: blocks that the trace saw being taken, and what else
    there must be, as one."""
    begin_ns, end_ns = recording.window(STEP)
    live: dict[int, int] = {}
    total = 0
    for event in recording.memory:
        if event.at_ns >= begin_ns:
            total = event.total_bytes - event.size_bytes
            break
        if event.size_bytes > 0:
            live[event.address] = event.size_bytes
        else:
            live.pop(event.address, None)
    inside = [event for event in recording.memory if begin_ns <= event.at_ns < end_ns]
    now: set[int] = set()
    for event in inside:
        if event.size_bytes > 0:
            now.add(event.address)
        elif event.address not in now:
            live.setdefault(event.address, -event.size_bytes)
        else:
            now.discard(event.address)
    rest = total - sum(live.values())
    return [*live.items(), *([(0, rest)] if rest > 0 else [])]


def _blocks(
    ordered: Sequence[Happening],
    operators: Operators,
    before: Sequence[tuple[int, int]],
    given: Mapping[int, int],
    held: Sequence[_Held],
) -> list[Block]:
    deeds = list(_deeds(ordered, len(before)))
    saves: dict[int, int] = {}
    for place, (doing, number) in enumerate(deeds):
        if doing is Doing.SAVE:
            saves[len(before) + held[number].block] = place
    found = [
        Block(size_bytes, BlockClass.OTHER, BEFORE_STEP, given.get(number), given.get(number), address=address)
        for number, (address, size_bytes) in enumerate(before)
    ]
    takes = (place for place, deed in enumerate(deeds) if deed.doing is Doing.TAKE)
    for place, one in zip(takes, (one for one in ordered if one.does is Does.TAKE), strict=True):
        number = len(found)
        dies, operator = given.get(number), operators.number(one.within)
        kept = dies is None and operators.found[operator].phase is Phase.BACKWARD
        holds = BlockClass.SAVED if number in saves else BlockClass.GRADIENT if kept else BlockClass.OTHER
        fetched = dies if number in saves else None
        found.append(Block(one.size_bytes, holds, place, dies, dies, saves.get(number), fetched, operator, one.number))
    return found


def _deeds(ordered: Sequence[Happening], taken: int) -> Iterator[Deed]:
    """`taken` blocks are there before."""
    launched = 0
    for one in ordered:
        match one.does:
            case Does.TAKE:
                yield Deed(Doing.TAKE, taken)
                taken += 1
            case Does.LAUNCH:
                yield Deed(Doing.LAUNCH, launched)
                launched += 1
            case Does.SAVE | Does.NEED:
                yield Deed(_DOING[one.does], one.number)


def _saved(one: _Held, block: int, size_bytes: int, operators: Operators, device: str) -> SavedTensor:
    """All of the block, since what of it is saved is not told."""
    node, module, _ = operators.found[operators.number(one.node)]
    stays = "small" if size_bytes < _SMALLEST_BYTES[device] else ""
    return SavedTensor(block, node, "", module, "uint8", (size_bytes,), (1,), 0, stays)


def _kernel(launch: Happening, times: KernelTimes, operators: Operators, device: str) -> ModelKernel:
    operator = operators.number(launch.within)
    name, _, phase = operators.found[operator]
    kind = kind_of(launch.name, name, phase is Phase.OPTIMISER, host_runs_kernels=device == "cpu")
    return ModelKernel(launch.name, kind, operator, *times)
