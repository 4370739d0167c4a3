"""How long copies run in a segment, and whether a kernel runs beside one: `metrics.power.copy_time` for many points.

A copy is told of when every piece that may run beside it and was not told of yet waits for it (`segments`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vdnnsim.machines.script import COMPUTE, IN, OUT
from vdnnsim.sweep.copying import Ns


class _Span(NamedTuple):
    begin_ns: Ns
    end_ns: Ns


class Overlaps:
    """Pieces of the three engines as they come. `both_ways`: copies of both directions may run at once."""

    def __init__(self, both_ways: bool, beside: np.ndarray | bool = False) -> None:
        self.copying_ns: Ns = 0
        self.beside = beside
        """Whether a kernel ran beside a copy, here or in what went before."""
        self._both_ways = both_ways
        self._spans: dict[int, list[_Span]] = {engine: [] for engine in (OUT, IN, COMPUTE)}
        self._over = {(engine, other): 0 for engine in (OUT, IN) for other in (OUT, IN, COMPUTE)}

    def add(self, engine: int, begin_ns: Ns, end_ns: Ns) -> None:
        """A piece of this engine, which begins no sooner than its last one is over."""
        if engine != COMPUTE:
            self._add_copy(engine, begin_ns, end_ns)
        if engine == COMPUTE or self._both_ways:
            self._spans[engine].append(_Span(begin_ns, end_ns))

    def _add_copy(self, engine: int, begin_ns: Ns, end_ns: Ns) -> None:
        self.copying_ns = self.copying_ns + (end_ns - begin_ns)
        if not np.all(self.beside):
            for kernel in self._after(engine, COMPUTE, begin_ns):
                self.beside = self.beside | (_common_ns(kernel, begin_ns, end_ns) > 0)
        for copy in self._after(engine, IN if engine == OUT else OUT, begin_ns):
            self.copying_ns = self.copying_ns - _common_ns(copy, begin_ns, end_ns)

    def _after(self, engine: int, other: int, begin_ns: Ns) -> list[_Span]:
        """Pieces of the other engine but those over by then, which are for this engine's later copies, too."""
        spans = self._spans[other]
        over = self._over[engine, other]
        while over < len(spans) and np.all(spans[over].end_ns <= begin_ns):
            over += 1
        self._over[engine, other] = over
        return spans[over:]


def _common_ns(span: _Span, begin_ns: Ns, end_ns: Ns) -> Ns:
    common_ns: Ns = np.maximum(np.minimum(span.end_ns, end_ns) - np.maximum(span.begin_ns, begin_ns), 0)
    return common_ns
