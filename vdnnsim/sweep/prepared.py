"""What a sweep's points share: the plan, the program and the memory of one policy in one pool of one capacity.

None of it depends on the link or on how fast kernels are, for the policies of this package: they choose by the order
of durations and by what fits. So it is worked out once and used by every point that differs in times only. A user's
policy may look at times: it plans anew for each point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from vdnnsim.machines import DeviceMemory
from vdnnsim.machines.script import Script, script_of
from vdnnsim.memory import ENDLESS_BYTES
from vdnnsim.metrics import MemoryUse, memory_use
from vdnnsim.policies import Plan, Policy, Rehearsal, Trial, decide, make_policy
from vdnnsim.policies.baseline import Baseline
from vdnnsim.policies.offload import Offload
from vdnnsim.policies.oracle import Oracle
from vdnnsim.policies.vdnn_all import VdnnAll
from vdnnsim.policies.vdnn_conv import VdnnConv
from vdnnsim.policies.vdnn_dyn import VdnnDyn
from vdnnsim.program import Allocate, Buffer, CopyIn, CopyOut, Free, Kernel, Program, WeightGradients
from vdnnsim.study import Study
from vdnnsim.summary import profile_labels
from vdnnsim.sweep.segments import Lowered, lower
from vdnnsim.timeline import SETUP, MemoryRecord
from vdnnsim.trace import Provenance, weakest

if TYPE_CHECKING:
    from vdnnsim.sweep.engines import Engine
    from vdnnsim.sweep.recurrence import Times

_BLIND_TO_TIME = (Baseline, Offload, Oracle, VdnnAll, VdnnConv, VdnnDyn)


@dataclass(frozen=True)
class Prepared:
    """One policy's program and all its numbers that do not depend on time. `reason` says why it does not train, if it
    does not: then its numbers are those of a pool that had room, as in `PolicyResult`."""

    study: Study
    script: Script
    lowered: Lowered
    reason: str
    needed_bytes: int
    use: MemoryUse
    inner_use: MemoryUse
    pool_high_water_bytes: int
    largest_hole_bytes: int
    offloaded_bytes: int
    prefetched_bytes: int
    deferred_prefetches: int
    provenance: Provenance

    @property
    def program(self) -> Program:
        """The program that all points run."""
        return self.script.program

    @cached_property
    def scaled_kernels_ns(self) -> dict[int, list[int]]:
        """Kept by the reference engine: the durations of the script's kernels by compute scale."""
        return {}

    @cached_property
    def times_at_scales(self) -> dict[bytes, tuple[Times, Engine]]:
        """Kept for a program without copies: its times at the compute scales last asked for."""
        return {}

    @property
    def copies(self) -> bool:
        return bool(self.offloaded_bytes or self.prefetched_bytes)

    def under(self, study: Study) -> Prepared:
        """The same program where its own study had a point's link and durations and `study` has the source's."""
        script = script_of(self.program, study.trace, study.gpu.host)
        return replace(self, study=study, script=script, lowered=lower(script))


def sees_times(policy: Policy) -> bool:
    """Whether the policy may decide by durations other than by their order, or by the link."""
    return type(policy) not in _BLIND_TO_TIME


def prepare(study: Study, policy_name: str) -> Prepared:
    """Plan, fit and lower. Raises `InvalidInput` for a policy that cannot be used or cannot work on this problem."""
    policy = make_policy(policy_name)
    laboratory = study if sees_times(policy) else TimelessLaboratory(study)
    return prepare_plan(study, decide(policy, study.problem(laboratory)))


def prepare_plan(study: Study, plan: Plan) -> Prepared:
    """Fit a plan and lower its program. Raises `InvalidInput` where the trace lacks a kernel."""
    plan, program, failure, *_ = study.prepare(plan)
    endless = plan.endless or (failure is not None and failure.on_device)
    memory = study.workload.memory(study.pool, ENDLESS_BYTES if endless else study.gpu.capacity_bytes)
    records = _memory_records(program, memory)
    high_water_bytes = memory.pool.high_water_bytes
    needed_bytes = high_water_bytes if failure is None else study.needed_bytes(plan, program, high_water_bytes, failure)
    script = script_of(program, study.trace, study.gpu.host)
    steps = len(program.steps)
    copies = [command for command in program.commands if isinstance(command, CopyOut | CopyIn)]
    return Prepared(
        study=study,
        script=script,
        lowered=lower(script),
        reason="" if failure is None else study.explain(failure, needed_bytes),
        needed_bytes=needed_bytes,
        use=memory_use(records, steps, 0, program.memory_classes),
        inner_use=memory_use(
            [record for record in records if not record.in_classifier], steps, 0, program.memory_classes
        ),
        pool_high_water_bytes=high_water_bytes,
        largest_hole_bytes=0 if endless else memory.largest_hole_at_peak(),
        offloaded_bytes=sum(command.buffer.size_bytes for command in copies if isinstance(command, CopyOut)),
        prefetched_bytes=sum(command.buffer.size_bytes for command in copies if isinstance(command, CopyIn)),
        deferred_prefetches=len(plan.deferred),
        provenance=_provenance(program, study),
    )


def _memory_records(program: Program, memory: DeviceMemory) -> list[MemoryRecord]:
    """What the program takes and gives back, in order; times are left at 0, since only orders and sizes are asked."""
    records: list[MemoryRecord] = []

    def remember(index: int, taken: bool, buffer: Buffer, address: int) -> None:
        name, size_bytes, memory_class, _, in_classifier, *_ = buffer
        records.append(MemoryRecord(index, 0, taken, name, memory_class, in_classifier, address, size_bytes))

    for buffer, address in zip(program.setup, memory.begin(program.setup), strict=True):
        remember(SETUP, True, buffer, address)
    for index, step in enumerate(program.steps):
        for command in program.commands[step.first : step.last]:
            if isinstance(command, Allocate):
                remember(index, True, command.buffer, memory.allocate(command.buffer, step.title))
            elif isinstance(command, Free):
                remember(index, False, command.buffer, memory.free(command.buffer))
    return records


def _provenance(program: Program, study: Study) -> Provenance:
    kernels = [command for command in program.commands if isinstance(command, Kernel)]
    rows = [study.trace.row(kernel.layer, kernel.pass_, kernel.algorithm) for kernel in kernels]
    return weakest([*(row.provenance for row in rows), *profile_labels(study.gpu, program, study.trace)])


class TimelessLaboratory:
    """Tries plans for policies that ask only whether they fit: nothing is simulated, and trials have no times."""

    def __init__(self, study: Study) -> None:
        self._study = study

    def attempt(self, title: str, plan: Plan) -> Trial:
        plan, _, failure, *_ = self._study.prepare(plan)
        on_device = failure is None or failure.on_device
        return Trial(title, plan, failure is None, 0, 0, "" if failure is None else str(failure), on_device)

    def rehearse(self, plan: Plan) -> Rehearsal:
        return self._study.rehearse(plan)

    def shrink_workspaces(self, plan: Plan) -> Plan:
        return self._study.shrink_workspaces(plan)


def point_study(study: Study, pool: str, weight_gradients: str, capacity_bytes: int | None) -> Study:
    """A source's study with a point's pool, layout of weight gradients and capacity (None for the GPU's own)."""
    gpu = study.gpu if capacity_bytes is None else study.gpu.with_capacity(capacity_bytes)
    return replace(study, gpu=gpu, pool=pool, weight_gradients=WeightGradients(weight_gradients))
