"""A script lowered to what its times depend on: stretches between moments at which nothing is under way.

Where the host knows that all it has given is done, the engines are idle and nothing of the past is left but the clock.
An iteration is then a sum over such *segments*, and segments of the same items take the same time: each distinct one is
worked out once and weighed by how often it occurs. Kernels are known by what the trace says of them, copies by
what they put on the link. What the host's calls cost is the script's; no axis changes it.

Items stand in an order in which they can be worked out one after the other. What a copy takes depends on the kernels
beside it, so that it stands where something first waits for it: the host, a kernel, a copy the other way, the end.
Whatever is given later begins when it is over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import NamedTuple, TypeVar

from vdnnsim.iteration import Buffer, Compression
from vdnnsim.machines.script import COMPUTE, IN, OUT, Awaited, Script
from vdnnsim.sweep.held import Held, HeldByScript, held_by

_Value = TypeVar("_Value", bound=Hashable)


class KernelKind(NamedTuple):
    """What times depend on in a kernel: its duration alone, and what it does to a copy beside it."""

    duration_ns: int
    copy_out_slowdown_ppm: int
    copy_in_slowdown_ppm: int


class Launch(NamedTuple):
    """Work of an engine that may begin `ready_ns` after the host's wait of the number `since` in its segment (0: after
    its begin), and when the pieces `after` are done, counted in the segment from 1. `number` is that of the kernel's
    kind, or of the copy's; `late` a fetch that is."""

    engine: int
    since: int
    ready_ns: int
    number: int
    late: bool = False
    after: tuple[Awaited, ...] = ()


class Wait(NamedTuple):
    """The host waits for these pieces, counted in the segment from 1 (0: for what it knows to be done already), from
    `offset_ns` after its last wait."""

    awaited: tuple[Awaited, ...]
    offset_ns: int


class Flip(NamedTuple):
    """A step ended, and the next is on the other side of the border between feature extraction and classifier."""


Item = Launch | Wait | Flip


class CopyKind(NamedTuple):
    """A copy's bytes on the link, and what it takes at least."""

    wire_bytes: int
    least_ns: int


class Segment(NamedTuple):
    """From one moment at which nothing is under way to the next, or to the end of the program (not `closed`), which is
    `rest_ns` of the host's own time after its last wait."""

    items: tuple[Item, ...]
    starts_in_classifier: bool
    closed: bool
    rest_ns: int


class Weighted(NamedTuple):
    """A distinct segment, how often it occurs, and for each of its waits the sum of what was held during it."""

    segment: Segment
    times: int
    held: tuple[Held, ...]


@dataclass(frozen=True)
class Lowered:
    """`again_counts` are how many of `kernel_counts` run once more. `host_ns` is the host's own time outside waits.
    `both_ways`: copies of both directions may be under way at once."""

    kernels: tuple[KernelKind, ...]
    kernel_counts: tuple[int, ...]
    again_counts: tuple[int, ...]
    outs: tuple[CopyKind, ...]
    ins: tuple[CopyKind, ...]
    segments: tuple[Weighted, ...]
    host_ns: int
    held: HeldByScript
    both_ways: bool
    uncovered: bool = False
    """Whether tensors go on to NVMe or come in by page faults: there are no segments then, which is the reference
    engine's."""


def lower(script: Script) -> Lowered:
    """The script as segments."""
    kinds, kernel_numbers = _numbered(
        [KernelKind(row.duration_ns, *slows) for row, slows in zip(script.kernels, script.slowdowns_ppm, strict=True)]
    )
    outs, out_numbers = _numbered(_copies(script, script.outs))
    ins, in_numbers = _numbered(_copies(script, script.ins))
    counts = Counter(kernel_numbers)
    again = Counter(compress(kernel_numbers, script.again))
    uncovered = bool(script.writes or script.program.paging)
    quiet, both_ways = ([], False) if uncovered else script.known
    held = held_by(script)
    found: dict[Segment, Weighted] = {}
    waits = iter(held.waits)
    lowering = _Lowering(script, quiet, (out_numbers, in_numbers, kernel_numbers))
    for segment in () if uncovered else lowering.segments():
        its_held = tuple(next(waits) for item in segment.items if isinstance(item, Wait))
        before = found.get(segment)
        if before is not None:
            its_held = tuple(one + other for one, other in zip(before.held, its_held, strict=True))
        found[segment] = Weighted(segment, before.times + 1 if before else 1, its_held)
    return Lowered(
        tuple(kinds),
        tuple(counts[number] for number in range(len(kinds))),
        tuple(again[number] for number in range(len(kinds))),
        tuple(outs),
        tuple(ins),
        tuple(found.values()),
        sum(script.calls_ns),
        held,
        both_ways,
        uncovered,
    )


def _copies(script: Script, buffers: Sequence[Buffer]) -> list[CopyKind]:
    program = script.program
    least_ns = (program.compression or Compression()).least_ns
    return [CopyKind(program.wire_bytes(buffer), least_ns(buffer.name, buffer.size_bytes)) for buffer in buffers]


def _numbered(values: Sequence[_Value]) -> tuple[list[_Value], list[int]]:
    """The distinct values in the order in which they come first, and the number of each value among them."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return list(numbers), [numbers[value] for value in values]


class _Lowering:
    """`quiet` says after which waits nothing is under way, `numbers` what each engine's pieces are."""

    def __init__(self, script: Script, quiet: Sequence[bool], numbers: tuple[list[int], list[int], list[int]]) -> None:
        self.script = script
        self.quiet = quiet
        self.numbers = numbers
        self.sides = [step.in_classifier for step in script.program.steps]
        self.in_classifier = self.sides[0] if self.sides else False
        self.copies: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
        """For each copy given, since which wait of its segment, and how long after it, it is ready."""
        self.placed = [0, 0, 0]
        self.known = [0, 0, 0]
        self._begin(0)

    def _begin(self, wait: int) -> None:
        self.items: list[Item] = []
        self.started_in_classifier = self.in_classifier
        self.first_wait = wait
        self.before = tuple(self.placed)

    def segments(self) -> Iterator[Segment]:
        """In the order in which they run; the last one ends with the program."""
        script = self.script
        for wait, (awaited, calls_ns) in enumerate(zip(script.waits, script.calls_ns, strict=True)):
            self._give(wait)
            if awaited is None:
                if self.sides:
                    self._move_to(len(self.sides) - 1)
                for engine in (OUT, IN):
                    self._place(engine, len(self.copies[engine]))
                yield Segment(tuple(self.items), self.started_in_classifier, False, calls_ns)
                return
            self._move_to(script.wait_steps[wait])
            self.items.append(Wait(tuple(map(self._awaited, awaited)), calls_ns))
            if self.quiet[wait]:
                yield Segment(tuple(self.items), self.started_in_classifier, True, 0)
                self._begin(wait + 1)

    def _give(self, wait: int) -> None:
        """What is given before this wait: kernels are placed, copies are not yet."""
        since = wait - self.first_wait
        compute = self.script.work[COMPUTE]
        for engine in (OUT, IN):
            self.copies[engine].extend((since, ready_ns) for ready_ns in self.script.work[engine].ready_ns[wait])
        for ready_ns in compute.ready_ns[wait]:
            kernel = self.placed[COMPUTE]
            self._move_to(compute.steps[kernel])
            for engine, done in self.script.holds[COMPUTE].get(kernel, {}).items():
                self._place(engine, done)
            self._launch(COMPUTE, since, ready_ns)

    def _move_to(self, step: int) -> None:
        if self.sides[step] is not self.in_classifier:
            self.items.append(Flip())
            self.in_classifier = self.sides[step]

    def _awaited(self, awaited: Awaited) -> Awaited:
        engine, done = awaited
        self._place(engine, done)
        if done <= self.known[engine]:
            return engine, 0
        self.known[engine] = done
        return engine, done - self.before[engine]

    def _place(self, engine: int, done: int) -> None:
        """So many of an engine's copies, each behind what it waits for itself. Kernels stand already."""
        stack = [(engine, done)]
        while stack:
            engine, done = stack[-1]
            copy = self.placed[engine]
            if copy >= done:
                stack.pop()
                continue
            awaited = self.script.holds[engine].get(copy, {})
            missing = [(other, first) for other, first in awaited.items() if self.placed[other] < first]
            if missing:
                stack += missing
            else:
                self._launch(engine, *self.copies[engine][copy])

    def _launch(self, engine: int, since: int, ready_ns: int) -> None:
        piece = self.placed[engine]
        awaited = self.script.holds[engine].get(piece)
        after: tuple[Awaited, ...] = ()
        if awaited:
            places = ((other, done - self.before[other]) for other, done in sorted(awaited.items()))
            after = tuple(place for place in places if place[1] > 0)
        late = engine == IN and self.script.late_ins[piece]
        self.items.append(Launch(engine, since, ready_ns, self.numbers[engine][piece], late, after))
        self.placed[engine] += 1
