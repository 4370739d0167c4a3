"""What an offloading loop did: counted while it runs, and what the user must know told once."""

from __future__ import annotations

import inspect
import os
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from vdnnsim.pytorch.course import Course
from vdnnsim.units import format_bytes


class OffloadWarning(UserWarning):
    """Something runs otherwise than the plan has it; gradients are right all the same."""


@dataclass(frozen=True)
class OffloadReport:
    """What was done so far. Of the `steps` begun (a step is what the plan is of) `as_planned` went by the plan to their
    end. `late` of the copies in are none of the plan's, but given at the moment of need. `stayed` counts, by reason,
    tensors that were kept on the device although the plan does not know them or has them leave."""

    steps: int
    as_planned: int
    copies_out: int
    copies_in: int
    late: int
    bytes_out: int
    bytes_in: int
    pinned_bytes: int
    stayed: Mapping[str, int]

    def __str__(self) -> str:
        lines = [
            f"{self.as_planned} of {self.steps} steps as planned; {self.copies_out} copies out "
            f"({format_bytes(self.bytes_out)}), {self.copies_in} in ({format_bytes(self.bytes_in)}), {self.late} of "
            f"them late; {format_bytes(self.pinned_bytes)} pinned"
        ]
        if not self.steps:
            lines.append("no step was seen in which anything was to leave")
        lines += [f"stayed: {number} tensors {reason}" for reason, number in self.stayed.items()]
        return "\n".join(lines)


_NOT_THE_USERS = tuple(f"{folder}{os.sep}" for folder in (Path(__file__).parents[1], Path(str(torch.__file__)).parent))


def _users_frame() -> int:
    """The `stacklevel` of the line in which a step left the plan: the first that is neither ours nor PyTorch's. 2, the
    caller's, where there is none, as in autograd's own threads."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        frame, level = frame.f_back, level + 1
    return 2 if frame is None else level


@dataclass
class Counts:
    """The same while it grows."""

    steps: int = 0
    as_planned: int = 0
    copies_out: int = 0
    copies_in: int = 0
    late: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    stayed: Counter[str] = field(default_factory=Counter)
    _told: set[str] = field(default_factory=set)

    def count(self, course: Course) -> None:
        """A step has ended."""
        self.steps += course.call > 0
        self.as_planned += course.call > 0 and course.complete

    def tell(self, reason: str, detail: str) -> None:
        """A warning, the first time for this reason."""
        if reason not in self._told:
            self._told.add(reason)
            warnings.warn(OffloadWarning(f"offload: {detail} (told once)"), stacklevel=_users_frame())

    def report(self, course: Course, pinned_bytes: int) -> OffloadReport:
        """With the step under way."""
        under_way = course.call > 0
        return OffloadReport(
            self.steps + under_way,
            self.as_planned + (under_way and course.complete),
            self.copies_out,
            self.copies_in,
            self.late,
            self.bytes_out,
            self.bytes_in,
            pinned_bytes,
            dict(self.stayed),
        )
