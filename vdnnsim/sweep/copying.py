"""When a copy ends beside kernels that slow it: the simulated machine's arithmetic, for many points at once.

A copy's rate changes when a kernel that slows it begins or ends. What remains is kept as whole nanoseconds of the
copy alone and a rest in 10^-12 of them, as the machine does in one large integer; both halves stay inside 63 bits for
slowdowns up to `LARGEST_SLOWDOWN_PPM` and times up to `LONGEST_NS`, which callers check.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vdnnsim.units import PPM

Ns = int | np.ndarray
"""Nanoseconds: one for all points, or an array with one for each."""
LARGEST_SLOWDOWN_PPM = 8 * PPM
LONGEST_NS = 1 << 40
_FINE = PPM * PPM
_FINE_PPM = _FINE * PPM


class Busy(NamedTuple):
    """A kernel under way, and how much it slows copies of one direction."""

    begin_ns: Ns
    end_ns: Ns
    slowdown_ppm: int


def copy_end_ns(begin_ns: Ns, alone_ns: Ns, kernels: Sequence[Busy]) -> Ns:
    """The end of a copy that begins at `begin_ns` and alone takes `alone_ns`, beside these kernels, in their order."""
    kernels = [kernel for kernel in kernels if kernel.slowdown_ppm != PPM]
    if not kernels:
        return begin_ns + alone_ns
    shape = np.broadcast_shapes(*(np.shape(part) for part in (begin_ns, alone_ns, *_times(kernels))))
    copy = _Copies(np.broadcast_to(begin_ns, shape), np.broadcast_to(alone_ns, shape))
    for kernel in kernels:
        copy.alone_until(kernel.begin_ns)
        copy.slowed_until(kernel.end_ns, kernel.slowdown_ppm)
        if not copy.under_way.any():
            break
    return copy.ends_alone()


def _times(kernels: Sequence[Busy]) -> list[Ns]:
    return [time_ns for kernel in kernels for time_ns in (kernel.begin_ns, kernel.end_ns)]


class _Copies:
    def __init__(self, begin_ns: np.ndarray, alone_ns: np.ndarray) -> None:
        self.now_ns = begin_ns
        self.left_ns = alone_ns
        self.left_fine = np.zeros_like(alone_ns)
        self.end_ns = begin_ns
        self.under_way = alone_ns > 0

    def alone_until(self, time_ns: Ns) -> None:
        """Nothing slows the copy: what is left shrinks by what passes."""
        passed_ns = np.maximum(time_ns - self.now_ns, 0)
        self._ended(self.left_ns + (self.left_fine > 0), passed_ns)
        self.left_ns = self.left_ns - passed_ns
        self.now_ns = self.now_ns + passed_ns

    def slowed_until(self, time_ns: Ns, slowdown_ppm: int) -> None:
        """A kernel slows the copy until then. Where a rate changes, progress is rounded up, as the machine does."""
        passed_ns = np.maximum(time_ns - self.now_ns, 0)
        whole_ns, rest_ppm = np.divmod(self.left_ns * slowdown_ppm, PPM)
        rest_ns = -(-(rest_ppm * _FINE + self.left_fine * slowdown_ppm) // _FINE_PPM)
        self._ended(whole_ns + rest_ns, passed_ns)
        done_ns, rest = np.divmod(passed_ns * PPM, slowdown_ppm)
        left_fine = self.left_fine + rest * _FINE // -slowdown_ppm
        borrowed = left_fine < 0
        self.left_fine = left_fine + borrowed * _FINE
        self.left_ns = self.left_ns - done_ns - borrowed
        self.now_ns = self.now_ns + passed_ns
        over = self.under_way & ((self.left_ns < 0) | ((self.left_ns == 0) & (self.left_fine == 0)))
        self.end_ns = np.where(over, self.now_ns, self.end_ns)
        self.under_way = self.under_way & ~over

    def _ended(self, needed_ns: np.ndarray, passed_ns: np.ndarray) -> None:
        ended = self.under_way & (needed_ns <= passed_ns)
        self.end_ns = np.where(ended, self.now_ns + needed_ns, self.end_ns)
        self.under_way = self.under_way & ~ended

    def ends_alone(self) -> np.ndarray:
        return np.where(self.under_way, self.now_ns + self.left_ns + (self.left_fine > 0), self.end_ns)
