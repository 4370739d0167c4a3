"""A case's numbers as they are stored: one JSON object each, from which the tests simulate again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vdnnsim.calibration.samples import STEADY_PPM
from vdnnsim.calibration.stored_cases import read_cases
from vdnnsim.calibration.to_the_byte import offloaded_bytes, placements_digest
from vdnnsim.network import network_sha256
from vdnnsim.policies.stored import kept_plan
from vdnnsim.study import Study

if TYPE_CHECKING:
    from vdnnsim.calibration.running import CaseRun


LARGEST_ERROR = 0.01
"""What the simulation is held to: iteration time in every case that can be told."""


class Verdict(StrEnum):
    """What a case says."""

    AGREES = "agrees"
    DISAGREES = "DISAGREES"
    CANNOT_BE_TOLD = "cannot be told here"


MOST_UNTOLD = 0.1
"""Where more cases than this cannot be told, a report says so first."""


def too_disturbed(untold: int, cases: int) -> list[str]:
    """What a summary begins with: nothing, where most can be told."""
    if untold <= MOST_UNTOLD * cases:
        return []
    return [f"This machine is too disturbed to tell: {untold} of {cases} cases cannot be told here"]


@dataclass(frozen=True)
class CaseRecord:
    """One case on both machines. Byte counts are as asked for; `steps` holds the end of each step on both machines, in
    nanoseconds from the start of a marked iteration; `held_out` is false where the case's own measurements went into
    the trace (the baselines, whose order the kernels were timed in) or into the host's costs.
    `measured_placements` is `placements_digest` of the real machine's allocations. `network_sha256` is of the network
    that was run, so that another one of the same name is noticed. `machine` names the card and the start of the machine
    that all of this was measured on; `plain_iteration_time_ns` is the median as it came, where `taken_off_ppm` of an
    iteration was a link slower than it can be; `doubts` say what else was disturbed, and by how much; `state` is the
    GPU's. The range of the prediction stands where the trace has spreads. One that is not `repeated` was
    measured once, and a report measures it again. Older files lack what has a default."""

    network: str
    batch: int
    math: str
    policy: str
    capacity_bytes: int
    pool: str
    measured_iteration_time_ns: int
    predicted_iteration_time_ns: int
    measured_peak_bytes: int
    predicted_peak_bytes: int
    measured_offloaded_bytes: int
    predicted_offloaded_bytes: int
    measured_placements: str
    held_out: bool
    same_addresses: bool
    same_decisions: bool
    repetitions: int
    spread_ppm: int
    steady: bool
    plan: Mapping[str, Any]
    trials: tuple[Mapping[str, Any], ...]
    steps: tuple[tuple[str, int, int], ...]
    gpu: str = ""
    network_sha256: str = ""
    machine: str = ""
    plain_iteration_time_ns: int | None = None
    taken_off_ppm: int = 0
    doubts: tuple[str, ...] = ()
    state: str = ""
    predicted_iteration_time_low_ns: int | None = None
    predicted_iteration_time_high_ns: int | None = None
    repeated: bool = True

    @property
    def error(self) -> float:
        """(predicted - measured) / measured."""
        measured_ns = self.measured_iteration_time_ns
        return (self.predicted_iteration_time_ns - measured_ns) / measured_ns

    @property
    def inside(self) -> bool | None:
        """Whether the measured iteration time lies in the range of the prediction; None where there is none."""
        low_ns, high_ns = self.predicted_iteration_time_low_ns, self.predicted_iteration_time_high_ns
        return None if low_ns is None or high_ns is None else low_ns <= self.measured_iteration_time_ns <= high_ns

    @property
    def equal(self) -> bool:
        """Whether bytes, addresses and decisions are those of the simulation."""
        return (
            self.measured_peak_bytes == self.predicted_peak_bytes
            and self.measured_offloaded_bytes == self.predicted_offloaded_bytes
            and self.same_addresses
            and self.same_decisions
        )

    @property
    def verdict(self) -> Verdict:
        """Whether the prediction agrees. Whether that can be told at all is decided from the records of disturbance,
        whatever the error."""
        if self.doubts or not self.steady:
            return Verdict.CANNOT_BE_TOLD
        return Verdict.AGREES if abs(self.error) <= LARGEST_ERROR else Verdict.DISAGREES

    @property
    def group(self) -> str:
        """What the case is one of: a network in a math mode."""
        return f"{self.network} ({self.batch}), {self.math}"

    @property
    def title(self) -> str:
        return f"{self.network} ({self.batch}), {self.math}, {self.policy}"


def record_of(study: Study, policy: str, run: CaseRun, machine: str = "") -> CaseRecord:
    """The record of a case that was run."""
    plan = run.measured_plan
    found = run.iterations.corrected
    measured, predicted = run.timeline, run.predicted.timeline
    titles = [step.title for step in run.predicted.program.steps]
    low_ns, high_ns = run.predicted.result.band or (None, None)
    return CaseRecord(
        study.network.name,
        study.network.batch,
        study.trace.header.math,
        policy,
        study.gpu.capacity_bytes,
        study.pool,
        found.median_ns,
        run.predicted.result.iteration_time_ns,
        run.measured_peak_bytes,
        run.predicted_peak_bytes,
        offloaded_bytes(measured),
        offloaded_bytes(predicted),
        placements_digest(measured.memory),
        not policy.startswith("baseline"),
        run.same_addresses,
        run.same_decisions,
        found.repetitions,
        found.spread_ppm,
        found.spread_ppm <= STEADY_PPM,
        {
            "layout": plan.layout.value,
            "offload": sorted(plan.offload),
            "deferred": sorted(plan.deferred),
            **(kept_plan(run.predicted.plan) if run.predicted.plan.bound else {}),  # else it is decided again
        },
        tuple(
            {"title": trial.title, "fits": trial.fits, "measured_ns": trial.iteration_time_ns} for trial in run.trials
        ),
        tuple(zip(titles, measured.step_ends_ns, predicted.step_ends_ns, strict=True)),
        study.gpu.name,
        network_sha256(study.network),
        machine,
        run.iterations.plain_ns,
        run.iterations.taken_off_ppm,
        run.doubts,
        run.state,
        low_ns,
        high_ns,
        run.repeated,
    )


def records_json(records: Iterable[CaseRecord], conditions: Mapping[str, str]) -> str:
    """Records with the conditions under which they were measured, one a line."""
    document = {"schema": 1, "conditions": dict(conditions), "cases": [_known(record) for record in records]}
    return json.dumps(document, separators=(",", ":")).replace('{"network"', '\n{"network"') + "\n"


def _known(record: CaseRecord) -> dict[str, Any]:
    """The fields, without a range where there is none."""
    ends = ("predicted_iteration_time_low_ns", "predicted_iteration_time_high_ns")
    return {name: value for name, value in asdict(record).items() if value is not None or name not in ends}


def read_records(path: Path | str) -> tuple[CaseRecord, ...]:
    """The cases in the `results.json` of a calibration's report. Raises `InvalidFile` for one that is none."""
    return read_cases(Path(path), CaseRecord, "calibrate report")
