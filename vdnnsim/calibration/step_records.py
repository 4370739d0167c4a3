"""Steps trained by plans beside what was predicted of them: one record a case, as stored, and the table of all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from vdnnsim.calibration.records import LARGEST_ERROR, Verdict, too_disturbed
from vdnnsim.calibration.samples import STEADY_PPM
from vdnnsim.calibration.stored_cases import read_cases

EQUAL, DIFFER = "equal", "DIFFER"
QUIET = 3
"""Beside so few of a case's steps the link has to have run at full speed, or its time cannot be told."""


@dataclass(frozen=True)
class Prediction:
    """What is known of a case before it is measured. `fits` says whether it trains in the capacity; the peaks are what
    a step in a row of steps asks for, what the allocator gives, and what it holds. Whether the host binds is decided
    here, from the capture alone, and so is the range in which the step's time is taken to lie, where there is one."""

    model: str
    gpu: str
    policy: str
    order_sha256: str
    capacity_bytes: int
    step_ns: int
    low_ns: int | None
    high_ns: int | None
    host_bound: bool
    fits: bool
    requested_bytes: int
    allocated_bytes: int
    reserved_bytes: int
    offloaded_bytes: int


@dataclass(frozen=True)
class StepRecord:
    """A case in the user's own loop beside its prediction.

    Times are of steps with the device idle before each, the median and the range of the middle half over it in
    millionths: of the `repetitions` that nothing slowed, or of all where the host binds (`step_bench`); `every_ns` is
    the median of all `steps`. None, as the peaks, where it ran out of memory. What the allocator gives and holds is
    predicted of the memory in which the steps began. Before and behind `quiet` of the steps the link ran at full speed,
    None where nobody looked. `allocated_bytes` and `reserved_bytes` are None where
    nobody counts them, on the CPU. `gradients` are "equal" or "DIFFER" to the bit from those of the step without
    offload, or why that cannot be told. `as_planned` is the share of steps that went by the plan. `machine` names card
    and start of the machine.
    """

    predicted: Prediction
    step_ns: int | None
    spread_ppm: int
    repetitions: int
    requested_bytes: int | None
    allocated_bytes: int | None
    reserved_bytes: int | None
    gradients: str
    as_planned: float
    machine: str = ""
    every_ns: int | None = None
    steps: int = 0
    quiet: int | None = None

    @property
    def group(self) -> str:
        """What the case is one of."""
        return self.predicted.model

    @property
    def policy(self) -> str:
        return self.predicted.policy

    @property
    def gpu(self) -> str:
        return self.predicted.gpu

    @property
    def held_out(self) -> bool:
        """No case's own measurement goes into its prediction, but that of the step in which nothing leaves."""
        return self.predicted.offloaded_bytes > 0

    @property
    def error(self) -> float:
        """(predicted - measured) / measured; 0 where nothing was measured."""
        return (self.predicted.step_ns - self.step_ns) / self.step_ns if self.step_ns else 0.0

    @property
    def inside(self) -> bool | None:
        """Whether the measured time lies in the range of the prediction; None where one of them is missing."""
        low_ns, high_ns = self.predicted.low_ns, self.predicted.high_ns
        if self.step_ns is None or low_ns is None or high_ns is None:
            return None
        return low_ns <= self.step_ns <= high_ns

    @property
    def requested_off_bytes(self) -> int | None:
        """How far the prediction of the peak is off, in bytes as asked for."""
        return None if self.requested_bytes is None else self.predicted.requested_bytes - self.requested_bytes

    @property
    def verdict(self) -> Verdict:
        """A case whose host binds agrees where it lies in its range, any other within the largest error. One that runs
        out of memory agrees where that was predicted; one with steps that were not the plan's never does."""
        if self.step_ns is None or not self.predicted.fits:
            return Verdict.AGREES if (self.step_ns is not None) == self.predicted.fits else Verdict.DISAGREES
        if self.as_planned < 1:
            return Verdict.DISAGREES
        if self.predicted.host_bound and self.inside is not None:
            return Verdict.AGREES if self.inside else Verdict.DISAGREES
        slow_link = self.quiet is not None and self.quiet < QUIET and self.held_out
        if slow_link or self.spread_ppm > STEADY_PPM:
            return Verdict.CANNOT_BE_TOLD
        return Verdict.AGREES if abs(self.error) <= LARGEST_ERROR else Verdict.DISAGREES


def records_text(records: Iterable[StepRecord], conditions: Mapping[str, str]) -> str:
    """Records as JSON, one a line."""
    rows = ",\n  ".join(json.dumps(asdict(record)) for record in records)
    head = json.dumps({"schema": 1, "conditions": dict(conditions)}, indent=1).removesuffix("\n}")
    return f'{head},\n "cases": [\n  {rows}\n ]\n}}\n'


def read_step_records(path: Path) -> tuple[StepRecord, ...]:
    """Those of a report's file, none where there is no file. Raises `InvalidFile` for a file that holds others."""
    return read_cases(path, StepRecord, "calibrate pytorch") if path.is_file() else ()


_COLUMNS = (
    "model | policy | within GB | out GB | host binds | measured ms | predicted ms | range ms | error % | spread % | "
    "steps | all ms | verdict | peak GB | off B | allocated off % | reserved GB | predicted GB | by plan % | gradients"
)

NOTES = (
    ("measured", "of the steps that nothing slowed, so many of so many, or of all where the host binds; all: of all"),
    (
        "off",
        "predicted less measured peak, in bytes as asked for; allocated, reserved: by the allocator; by plan: share of "
        "the steps that went by it to their end",
    ),
)
"""What the columns are, beside what they are called."""


def table_of(records: Sequence[StepRecord], conditions: Mapping[str, str]) -> str:
    """All cases as a Markdown table with the sign of each error, a summary before and the conditions behind it."""
    headings, rows = step_table(records)
    lines = [summary_of(records), "", f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    notes = (f"* {key}: {text}" for key, text in (*NOTES, *conditions.items()))
    return "\n".join([*lines, "", *notes]) + "\n"


def step_table(records: Sequence[StepRecord]) -> tuple[list[str], list[list[str]]]:
    """The headings, and a row of cells for each case."""
    return _COLUMNS.split(" | "), [_cells(record) for record in records]


def _cells(one: StepRecord) -> list[str]:
    predicted = one.predicted
    low_ns, high_ns = predicted.low_ns, predicted.high_ns
    measured = "out of memory" if one.step_ns is None else f"{one.step_ns / 1e6:.3f}"
    return [
        one.group,
        one.policy,
        _gigabytes(predicted.capacity_bytes),
        _gigabytes(predicted.offloaded_bytes),
        "yes" if predicted.host_bound else "no",
        measured,
        f"{predicted.step_ns / 1e6:.3f}" + ("" if predicted.fits else ", does not fit"),
        "" if low_ns is None or high_ns is None else f"{low_ns / 1e6:.3f} to {high_ns / 1e6:.3f}",
        "" if one.step_ns is None else f"{100 * one.error:+.2f}",
        "" if one.step_ns is None else f"{one.spread_ppm / 1e4:.2f}",
        "" if one.step_ns is None else f"{one.repetitions} of {one.steps or one.repetitions}",
        "" if one.every_ns is None else f"{one.every_ns / 1e6:.3f}",
        one.verdict.value,
        _gigabytes(one.requested_bytes),
        "" if one.requested_off_bytes is None else f"{one.requested_off_bytes:+d}",
        _off_percent(predicted.allocated_bytes, one.allocated_bytes),
        _gigabytes(one.reserved_bytes),
        "" if one.reserved_bytes is None else _gigabytes(predicted.reserved_bytes),
        "" if one.step_ns is None else f"{100 * one.as_planned:.0f}",
        one.gradients,
    ]


def _gigabytes(size_bytes: int | None) -> str:
    return "" if size_bytes is None else f"{size_bytes / 1e9:.3f}" if size_bytes >= 10**7 else f"{size_bytes / 1e9:.2g}"


def _off_percent(predicted_bytes: int, measured_bytes: int | None) -> str:
    return "" if measured_bytes is None else f"{100 * (predicted_bytes - measured_bytes) / measured_bytes:+.3f}"


def summary_of(records: Sequence[StepRecord]) -> str:
    """How near the predictions came, in words."""
    ran = [record for record in records if record.step_ns is not None]
    bound = [record for record in ran if record.predicted.host_bound]
    other = [record for record in ran if not record.predicted.host_bound]
    untold = sum(record.verdict is Verdict.CANNOT_BE_TOLD for record in records)
    parts = too_disturbed(untold, len(records))
    parts.append(f"{len(records)} case{'s' * (len(records) > 1)}" if records else "no cases")
    if other:
        errors = sorted(abs(record.error) for record in other)
        told = sum(record.verdict is Verdict.AGREES for record in other)
        near = f"median error {100 * median(errors):.2f} %, largest {100 * errors[-1]:.2f} %"
        limit = f"{100 * LARGEST_ERROR:g} %"
        parts.append(f"{len(other)} by GPU or link: {told} steady and within {limit}, {near}")
    if bound:
        inside = sum(record.inside is True for record in bound)
        parts.append(f"{len(bound)} by the host: {inside} inside their ranges")
    counted = [record for record in ran if record.requested_off_bytes is not None]
    if counted:
        parts.append(
            f"peaks equal to the byte in {sum(not one.requested_off_bytes for one in counted)} of {len(counted)}"
        )
    held = [record for record in ran if record.reserved_bytes is not None]
    if held:
        equal = sum(record.reserved_bytes == record.predicted.reserved_bytes for record in held)
        parts.append(f"reserved equal in {equal} of {len(held)}")
    if failed := [record for record in records if record.step_ns is None]:
        parts.append(f"{len(failed)} out of memory, predicted in {sum(not one.predicted.fits for one in failed)}")
    fitting = sum((record.step_ns is not None) == record.predicted.fits for record in records)
    if fitting < len(records):
        parts.append(f"fits or not: right in {fitting} of {len(records)}")
    if ran:
        parts.append(f"gradients equal to the bit in {sum(one.gradients == EQUAL for one in ran)} of {len(ran)}")
    return ". ".join(parts)


def stored_for(records: Iterable[StepRecord], predicted: Prediction, machine: str) -> StepRecord | None:
    """The record of a case that was measured on this machine already, beside what is predicted of it now."""
    for record in records:
        same = (record.predicted.model, record.predicted.policy, record.predicted.capacity_bytes)
        wanted = (predicted.model, predicted.policy, predicted.capacity_bytes)
        if record.machine == machine and same == wanted and record.predicted.order_sha256 == predicted.order_sha256:
            return record
    return None
