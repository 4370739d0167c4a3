"""By how much a copy is slowed by a kernel beside it: a chain of copies alone, and under repeated launches."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vdnnsim.calibration.pairs import FORBIDDEN, Slowdown, forbidden, measure_pairs
from vdnnsim.calibration.watch import Watch
from vdnnsim.machines.real.device import Action
from vdnnsim.program import Stream
from vdnnsim.units import PPM

_LONGEST_CHAIN = 40
_MOST_LAUNCHES = 1500
_LEAST_SHARE = 0.3
NONE = Slowdown()


class CopySlowdowns:
    """Measures with the link's reference copies, chained so that they last about as long as the kernel does."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._device = watch.device
        self._link = watch.link

    def measure(self, kernel: Action, duration_ns: int, launch_ns: int) -> tuple[Slowdown, Slowdown]:
        """Slowdowns of copies (out, in) beside a kernel that takes `duration_ns` and whose launch costs the host
        `launch_ns`. Where launches come slower than the kernel runs, the copies see it only a share of the time, and
        the slowdown is scaled up to the whole; below a third, or where the kernel is so short that even the most
        launches last less than a third of a copy, it counts as none."""
        share = min(1.0, duration_ns / max(1, launch_ns))
        if share < _LEAST_SHARE:
            return NONE, NONE
        out, back = (self._slowdown(way, kernel, duration_ns, share) for way in (Stream.COPY_OUT, Stream.COPY_IN))
        return out, back

    def _slowdown(self, stream: Stream, kernel: Action, duration_ns: int, share: float) -> Slowdown:
        piece_ns = self._link.fastest_ns(stream)
        chain = max(1, min(_LONGEST_CHAIN, round(duration_ns / piece_ns)))
        wanted = math.ceil(1.4 * chain * piece_ns / max(1, duration_ns / share)) + 1
        if _LEAST_SHARE * wanted > _MOST_LAUNCHES:
            return NONE
        launches = min(_MOST_LAUNCHES, wanted)
        found = measure_pairs(
            self._watch,
            stream,
            lambda: self.chain(stream, chain),
            lambda: self.chain(stream, chain, kernel, launches),
        )
        ppm = max(PPM // 2, round(PPM + (found.ppm - PPM) / share))
        whole = found._replace(ppm=ppm, spread_ppm=round(found.spread_ppm / share))
        return whole._replace(ppm=PPM, disturbed=FORBIDDEN) if forbidden(whole) else whole

    def chain(self, stream: Stream, copies: int, other: Action | None = None, others: int = 0) -> Sequence[int]:
        """The nanoseconds of each of some reference copies, while `other` is given so many times: twice before them,
        the rest behind."""
        marked = [self._device.timed(stream, self._link.copies[stream]) for _ in range(copies)]
        for _ in range(min(others, 2)):
            if other is not None:
                other()
        for action, _ in marked:
            action()
        for _ in range(others - 2):
            if other is not None:
                other()
        self._device.drain()
        return [end_ns - begin_ns for begin_ns, end_ns in (stopwatch.read() for _, stopwatch in marked)]
