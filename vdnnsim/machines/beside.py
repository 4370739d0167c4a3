"""What is under way on one GPU, and what that slows at this moment."""

from __future__ import annotations

from typing import Protocol

from vdnnsim.gpu import Link
from vdnnsim.machines.script import ALONE, IN, OUT
from vdnnsim.units import PPM


class Rated(Protocol):
    """Work that is under way at some rate."""

    def slowed_by(self, slowdown_ppm: int) -> None:
        """The rate is another from now on."""


class Beside:
    """A kernel that slows copies or is slowed by them, and a copy each way."""

    def __init__(self, link: Link) -> None:
        self._both_ways_ppm = (link.both_ways_out_slowdown_ppm, link.both_ways_in_slowdown_ppm)
        self._kernel_ppm = ALONE
        self._copies: list[Rated | None] = [None, None]
        self._kernel: tuple[Rated, tuple[int, int]] | None = None

    def slowing(self, slowdowns_ppm: tuple[int, int]) -> None:
        """A kernel that slows copies so much begins to run; `ALONE` when it ends."""
        if slowdowns_ppm != self._kernel_ppm:
            self._kernel_ppm = slowdowns_ppm
            for direction in (OUT, IN):
                self._changed(direction)

    def run(self, kernels: Rated | None, slowed_ppm: tuple[int, int] = ALONE) -> None:
        """A kernel begins that copies slow so much; None when it ends."""
        self._kernel = None if kernels is None else (kernels, slowed_ppm)

    def begin(self, direction: int, copies: Rated) -> None:
        """The next copy in this direction begins."""
        self._copies[direction] = copies
        self._copies_changed(direction)

    def end(self, direction: int) -> None:
        """The copy in this direction has ended."""
        self._copies[direction] = None
        self._copies_changed(direction)

    def copy_slowdown_ppm(self, direction: int) -> int:
        """What slows a copy in this direction now."""
        slowdown = self._kernel_ppm[direction]
        if self._copies[1 - direction]:
            slowdown = slowdown * self._both_ways_ppm[direction] // PPM
        return slowdown

    def kernel_slowdown_ppm(self, slowed_ppm: tuple[int, int]) -> int:
        """What slows a kernel of this class now."""
        slowdown = PPM
        for copies, slowed in zip(self._copies, slowed_ppm, strict=True):
            if copies:
                slowdown = slowdown * slowed // PPM
        return slowdown

    def _copies_changed(self, direction: int) -> None:
        self._changed(1 - direction)
        if self._kernel:
            kernels, slowed_ppm = self._kernel
            kernels.slowed_by(self.kernel_slowdown_ppm(slowed_ppm))

    def _changed(self, direction: int) -> None:
        """What slows the copy under way in this direction, if there is one, may have changed."""
        copies = self._copies[direction]
        if copies:
            copies.slowed_by(self.copy_slowdown_ppm(direction))
