"""What came of a schedule on the simulated machine."""

from __future__ import annotations

from typing import NamedTuple


class Life(NamedTuple):
    """When a block is taken and given back, by the number of the command; and its bytes."""

    taken: int
    back: int
    size_bytes: int


class Rehearsal(NamedTuple):
    """What came of a plan that was only rehearsed: its time, and how far up its pool was used, where it fits, else the
    stage in which something found no room, and by how much the largest hole is too small. Where a schedule may say at
    which addresses its blocks lie, there are the `lives` of all, in the order in which they are taken, and the time is
    as if all had found a place. `begins_ns` says when each kernel began."""

    time_ns: int
    no_room_in: str = ""
    missing_bytes: int = 0
    pool_high_water_bytes: int = 0
    lives: tuple[Life, ...] = ()
    begins_ns: tuple[int, ...] = ()

    @property
    def fits(self) -> bool:
        return not self.no_room_in
