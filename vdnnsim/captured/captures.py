"""Captured steps as they are asked for by batch: one, or several of one model, with those between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vdnnsim.captured.files import read_step
from vdnnsim.captured.interpolation import Errors, interpolate_step, leave_one_out_errors
from vdnnsim.captured.several import is_steps, read_steps
from vdnnsim.captured.shipped import folder_of
from vdnnsim.captured.step import CapturedStep
from vdnnsim.errors import InvalidInput

BATCH = "batch"
LENGTHS = ("tokens", "sequence", "sequence_length", "seq_length", "seq_len", "seq", "context_length", "context")
"""What scripts call the length of a sequence."""


class Found(NamedTuple):
    """A step, and the captured batch (or whatever is varied) that it is of, as text, or the two that it lies between.
    `errors` are those of an interpolated one."""

    step: CapturedStep
    batches: str
    errors: Errors | None = None


@dataclass(frozen=True)
class Captures:
    """Captured steps of one model by their batch, or by whatever else is `varied`; one that does not say its batch has
    None. `where` is what they go by in messages."""

    where: str
    steps: Mapping[int | None, CapturedStep]
    varied: str = BATCH

    @property
    def values(self) -> list[int]:
        """Those that were captured, ascending."""
        return sorted(value for value in self.steps if value is not None)

    @property
    def errors(self) -> Errors:
        """Of what is interpolated between them."""
        return leave_one_out_errors(self._by_value())

    def _by_value(self) -> dict[int, CapturedStep]:
        return {value: step for value, step in self.steps.items() if value is not None}

    def at(self, value: int | None) -> Found:
        """The step of this value; without one the only step there is. Raises `InvalidInput` where there is none."""
        if value is None and len(self.steps) == 1:
            value = next(iter(self.steps))
        if value in self.steps:
            return Found(self.steps[value], "" if value is None else str(value))
        timed, varied = self.values, self.varied
        if value is None:
            raise InvalidInput(
                f"{self.where}: found no {varied}, expected one of {_listed(timed)}, or between: --{_option(varied)}"
            )
        self.check_several(f"{varied} {value}")
        if not timed[0] < value < timed[-1]:
            raise InvalidInput(
                f"{self.where}: found {varied} {value}, expected one from {timed[0]} to {timed[-1]}, the captured "
                "ones; beyond them nothing is extrapolated"
            )
        below = max(one for one in timed if one < value)
        above = min(one for one in timed if one > value)
        step = interpolate_step(varied, self._by_value(), value)
        return Found(step, f"{below}..{above}", self.errors)

    def check_several(self, wanted: str) -> None:
        """Raise `InvalidInput`, which says what is missing for what is `wanted`, where there are not two batches."""
        if len(self.values) > 1:
            return
        own = f"of batch {self.values[0]}" if self.values else "which does not say its batch"
        raise InvalidInput(
            f"{self.where}: found one captured step, {own}; expected captures of several batches for {wanted}: "
            "vdnnsim capture SCRIPT --vary batch=8,16,32 --out DIR"
        )


def captures_of(named: str | Path | CapturedStep, may_vary: Collection[str] = (BATCH,)) -> Captures:
    """The captured steps in a folder, of a name that came along, or the one given. Raises `InvalidFile` for a folder
    with faults, `InvalidInput` for captures that vary something else."""
    if isinstance(named, CapturedStep):
        return Captures(named.header.name, {_batch(named): named})
    folder = folder_of(named) or Path(named)
    if not is_steps(folder):
        step = read_step(folder)
        return Captures(str(named), {_batch(step): step})
    varied, steps = read_steps(folder)
    by_value: dict[int | None, CapturedStep] = {value: step for value, step in steps.items() if isinstance(value, int)}
    if varied not in may_vary or len(by_value) < len(steps):
        expected = " or ".join(list(may_vary)[:2])
        raise InvalidInput(f"{named}: found captures that vary {varied}, expected {expected}; name the folder of one")
    return Captures(str(named), by_value, varied)


def tokens_of(step: CapturedStep) -> int | None:
    """The tokens of one sample: what the setting calls so, else what an embedding of words read; None where neither
    says."""
    told = (step.header.setting.get(name) for name in LENGTHS)
    if found := next((value for value in told if isinstance(value, int) and value > 0), None):
        return found
    batch = _batch(step)
    read = (one.shape for one in step.saved if (one.node, one.attribute) == ("EmbeddingBackward0", "indices"))
    return next((shape[1] for shape in read if len(shape) == 2 and shape[0] == batch), None)


def _option(varied: str) -> str:
    return BATCH if varied == BATCH else LENGTHS[0]


def _batch(step: CapturedStep) -> int | None:
    batch = step.header.setting.get(BATCH)
    return batch if isinstance(batch, int) else None


def _listed(batches: list[int]) -> str:
    return ", ".join(map(str, batches))
