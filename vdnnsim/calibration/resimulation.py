"""Stored measurements against the simulation as it is now: no device needed, so that every change is held to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from vdnnsim.calibration.records import CaseRecord, Verdict
from vdnnsim.calibration.to_the_byte import offloaded_bytes, peak_bytes, placements_digest
from vdnnsim.gpu import GpuProfile
from vdnnsim.policies import make_policy
from vdnnsim.policies.stored import KeptPlan
from vdnnsim.program import Allocate, Free
from vdnnsim.results import PolicyRun
from vdnnsim.study import Study

StudyOf = Callable[[CaseRecord, GpuProfile], Study]
"""The study of a case: its network and trace, on a GPU of this profile and the case's capacity."""


def simulate_again(record: CaseRecord, study: Study) -> tuple[CaseRecord, PolicyRun]:
    """The record with what the simulation says now, and the run itself. `study` has the record's capacity."""
    if "schedule" in record.plan:  # which a solver found, and may not find again
        run = study.run_plan(record.policy, KeptPlan.model_validate(record.plan).plan(study.trace))
    else:
        run = study.run(make_policy(record.policy))
    timeline = run.timeline
    ends = timeline.step_ends_ns
    low_ns, high_ns = run.result.band or (None, None)
    again = replace(
        record,
        predicted_iteration_time_ns=run.result.iteration_time_ns,
        predicted_peak_bytes=peak_bytes(timeline),
        predicted_offloaded_bytes=offloaded_bytes(timeline),
        same_addresses=placements_digest(timeline.memory) == record.measured_placements,
        predicted_iteration_time_low_ns=low_ns,
        predicted_iteration_time_high_ns=high_ns,
        steps=tuple((title, ours, theirs) for (title, ours, _), theirs in zip(record.steps, ends, strict=True)),
    )
    return again, run


def pool_cost_ns(records: Iterable[CaseRecord], study_of: StudyOf, profile: GpuProfile) -> int:
    """What one allocation or free costs the host between other commands, from cases that are named as measuring: the
    time that the simulation misses when these cost nothing, over their number, all cases together."""
    free_of_cost = replace(profile, host=replace(profile.host, allocate_ns=0, free_ns=0))
    missing_ns = calls = 0
    for record in records:
        _, run = simulate_again(record, study_of(record, free_of_cost))
        missing_ns += record.measured_iteration_time_ns - run.result.iteration_time_ns
        calls += sum(isinstance(command, Allocate | Free) for command in run.program.commands)
    return max(0, round(missing_ns / calls)) if calls else 0


def with_pool_cost(
    records: Sequence[CaseRecord], measuring: frozenset[tuple[str, int, str]], study_of: StudyOf, profile: GpuProfile
) -> tuple[GpuProfile, tuple[CaseRecord, ...]]:
    """The profile with the pool's cost from the `measuring` groups (network, batch, math), and all records simulated
    again with it; those of these groups are not held out any more."""
    chosen = [one for one in records if _group(one) in measuring and not one.policy.startswith("baseline")]
    told = [one for one in chosen if one.verdict is not Verdict.CANNOT_BE_TOLD]
    refined = profile
    if told:
        cost_ns = pool_cost_ns(told, study_of, profile)
        refined = replace(profile, host=replace(profile.host, allocate_ns=cost_ns, free_ns=cost_ns))
    again = tuple(
        replace(
            simulate_again(one, study_of(one, refined))[0],
            held_out=one.held_out and _group(one) not in measuring,
        )
        for one in records
    )
    return refined, again


def _group(record: CaseRecord) -> tuple[str, int, str]:
    return (record.network, record.batch, record.math)
