"""Captured steps as they are asked for by batch: one, or several of one model, with those between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vdnnsim.captured.files import read_step
from vdnnsim.captured.interpolation import Errors, interpolate_step, leave_one_out_errors
from vdnnsim.captured.several import is_steps, read_steps
from vdnnsim.captured.step import CapturedStep
from vdnnsim.errors import InvalidInput

BATCH = "batch"


class Found(NamedTuple):
    """A step, and the captured batch that it is of, as text, or the two that it lies between. `errors` are those of an
    interpolated one."""

    step: CapturedStep
    batches: str
    errors: Errors | None = None


@dataclass(frozen=True)
class Captures:
    """Captured steps of one model by their batch; one that does not say its batch has None. `where` is what they go by
    in messages."""

    where: str
    steps: Mapping[int | None, CapturedStep]

    @property
    def batches(self) -> list[int]:
        """Those that were captured, ascending."""
        return sorted(batch for batch in self.steps if batch is not None)

    @property
    def errors(self) -> Errors:
        """Of what is interpolated between them."""
        return leave_one_out_errors(self._by_batch())

    def _by_batch(self) -> dict[int, CapturedStep]:
        return {batch: step for batch, step in self.steps.items() if batch is not None}

    def at(self, batch: int | None) -> Found:
        """The step of this batch; without one the only step there is. Raises `InvalidInput` where there is none."""
        if batch is None and len(self.steps) == 1:
            batch = next(iter(self.steps))
        if batch in self.steps:
            return Found(self.steps[batch], "" if batch is None else str(batch))
        timed = self.batches
        if batch is None:
            raise InvalidInput(f"{self.where}: found no batch, expected one of {_listed(timed)}, or between: --batch")
        self.check_several(f"batch {batch}")
        if not timed[0] < batch < timed[-1]:
            raise InvalidInput(
                f"{self.where}: found batch {batch}, expected one from {timed[0]} to {timed[-1]}, the captured ones; "
                "beyond them nothing is extrapolated"
            )
        below = max(one for one in timed if one < batch)
        above = min(one for one in timed if one > batch)
        step = interpolate_step(BATCH, self._by_batch(), batch)
        return Found(step, f"{below}..{above}", self.errors)

    def check_several(self, wanted: str) -> None:
        """Raise `InvalidInput`, which says what is missing for what is `wanted`, where there are not two batches."""
        if len(self.batches) > 1:
            return
        own = f"of batch {self.batches[0]}" if self.batches else "which does not say its batch"
        raise InvalidInput(
            f"{self.where}: found one captured step, {own}; expected captures of several batches for {wanted}: "
            "vdnnsim capture SCRIPT --vary batch=8,16,32 --out DIR"
        )


def captures_of(named: str | Path | CapturedStep) -> Captures:
    """The captured steps in a folder, or the one given. Raises `InvalidFile` for a folder with faults, `InvalidInput`
    for captures that vary something else than the batch."""
    if isinstance(named, CapturedStep):
        return Captures(named.header.name, {_batch(named): named})
    folder = Path(named)
    if not is_steps(folder):
        step = read_step(folder)
        return Captures(str(named), {_batch(step): step})
    varied, steps = read_steps(folder)
    by_batch: dict[int | None, CapturedStep] = {value: step for value, step in steps.items() if isinstance(value, int)}
    if varied != BATCH or len(by_batch) < len(steps):
        raise InvalidInput(f"{named}: found captures that vary {varied}, expected {BATCH}; name the folder of one")
    return Captures(str(named), by_batch)


def _batch(step: CapturedStep) -> int | None:
    batch = step.header.setting.get(BATCH)
    return batch if isinstance(batch, int) else None


def _listed(batches: list[int]) -> str:
    return ", ".join(map(str, batches))
