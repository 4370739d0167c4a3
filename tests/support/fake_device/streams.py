"""Three in-order streams on a virtual clock: what is put on them is worked off only when somebody waits for it.

At each moment at most one piece of work is under way on a stream. A copy slows down by what the running kernel does to
it, by a copy the other way, and by the script; kernels by the script alone. Rates are exact fractions; a piece ends at
the next whole nanosecond.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from support.fake_device.disturbances import Course, Part, Rate, Script, done
from vdnnsim.program import GPU_STREAMS, Stream

ALONE: tuple[Rate, Rate] = (1, 1)
_DIRECTIONS = {Stream.COPY_OUT: 0, Stream.COPY_IN: 1}
_OTHER = {Stream.COPY_OUT: Stream.COPY_IN, Stream.COPY_IN: Stream.COPY_OUT}
_PARTS = {Stream.COPY_OUT: Part.OUT, Stream.COPY_IN: Part.IN, Stream.COMPUTE: Part.KERNELS}


class Kind(Enum):
    """A mark takes its time whatever happens, and slows nothing."""

    KERNEL = auto()
    COPY = auto()
    MARK = auto()


@dataclass
class Piece:
    """Work on a stream: it may begin at `ready_ns`, when the piece `after` has ended, and takes `work_ns` alone at full
    speed. A kernel `slows` copies (out, in) beside it. `begin_ns` and `end_ns` are known once the streams have been
    worked off so far."""

    kind: Kind
    ready_ns: int
    work_ns: int
    slows: tuple[Rate, Rate] = ALONE
    after: Piece | None = None
    begin_ns: int | None = None
    end_ns: int | None = None

    @property
    def held(self) -> bool:
        """Whether what it waits for has not ended."""
        return self.after is not None and self.after.end_ns is None


class Streams:
    """`both_ways` says by how much a copy on a stream is slowed while the other direction copies."""

    def __init__(self, script: Script, both_ways: Mapping[Stream, Rate]) -> None:
        self._courses: dict[Stream, Course] = {stream: script.course(_PARTS[stream]) for stream in GPU_STREAMS}
        self._both_ways = both_ways
        self._queues: dict[Stream, deque[Piece]] = {stream: deque() for stream in GPU_STREAMS}
        self._left: dict[Stream, Rate] = {}
        """What is left of the piece under way on each stream that has one."""
        self._now_ns = 0
        self.ended_ns = dict.fromkeys(GPU_STREAMS, 0)
        self.put_on = dict.fromkeys(GPU_STREAMS, 0)
        """How many pieces were put on each stream so far."""
        self.last: dict[Stream, Piece | None] = dict.fromkeys(GPU_STREAMS)
        """The last of them."""

    def put(self, stream: Stream, piece: Piece) -> None:
        """Add work behind what is there."""
        self._queues[stream].append(piece)
        self.put_on[stream] += 1
        self.last[stream] = piece

    def work_off(self, stream: Stream) -> int:
        """Go on until nothing is left on a stream; returns when that was."""
        while self._queues[stream]:
            self._go_on()
        return self.ended_ns[stream]

    def work_until(self, piece: Piece) -> int:
        """Go on until a piece has ended; returns when that was."""
        while piece.end_ns is None:
            self._go_on()
        return piece.end_ns

    def _go_on(self) -> None:
        """From now to the next moment at which anything begins, ends or changes its speed."""
        now_ns = self._now_ns
        self._begin_what_is_ready()
        slowness = {stream: self._slowness(stream) for stream in self._left}
        ends_ns = {stream: now_ns + math.ceil(left * slowness[stream]) for stream, left in self._left.items()}
        moments_ns = list(ends_ns.values())
        for stream, queue in self._queues.items():
            if stream in self._left:
                change_ns = self._courses[stream].next_change_ns(now_ns)
                if change_ns is not None:
                    moments_ns.append(change_ns)
            elif queue and not queue[0].held:
                moments_ns.append(queue[0].ready_ns)
        self._now_ns = next_ns = min(moments_ns)
        for stream, end_ns in ends_ns.items():
            if end_ns <= next_ns:
                self._end(stream)
            elif next_ns > now_ns:
                self._left[stream] -= done(next_ns - now_ns, slowness[stream])

    def _begin_what_is_ready(self) -> None:
        for stream, queue in self._queues.items():
            if queue and stream not in self._left and queue[0].ready_ns <= self._now_ns and not queue[0].held:
                queue[0].begin_ns = self._now_ns
                self._left[stream] = queue[0].work_ns

    def _end(self, stream: Stream) -> None:
        piece = self._queues[stream].popleft()
        piece.end_ns = self.ended_ns[stream] = self._now_ns
        del self._left[stream]

    def _slowness(self, stream: Stream) -> Rate:
        piece = self._queues[stream][0]
        if piece.kind is Kind.MARK:
            return 1
        slowness = self._courses[stream].slowness(self._now_ns)
        if piece.kind is Kind.COPY:
            if Stream.COMPUTE in self._left:
                slowness *= self._queues[Stream.COMPUTE][0].slows[_DIRECTIONS[stream]]
            other = _OTHER[stream]
            if other in self._left and self._queues[other][0].kind is Kind.COPY:
                slowness *= self._both_ways[stream]
        return slowness
