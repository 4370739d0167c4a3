"""`calibrate run`: a network trained for real under a policy, beside what the simulated machine says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from vdnnsim.calibration.bench import Bench
from vdnnsim.calibration.progress import Progress, silent
from vdnnsim.calibration.reference import reference_gradients, worst_error
from vdnnsim.calibration.samples import Sample, repetitions_within, steady_sample
from vdnnsim.calibration.to_the_byte import peak_bytes, placements
from vdnnsim.errors import InvalidInput
from vdnnsim.machines.real.machine import LoadedProgram, RealMachine
from vdnnsim.memory import ENDLESS_BYTES
from vdnnsim.metrics import step_times
from vdnnsim.policies import Plan, Policy, Problem, Trial, decide
from vdnnsim.program import Program
from vdnnsim.results import PolicyRun
from vdnnsim.study import Study
from vdnnsim.summary import Ran, step_names, summarise
from vdnnsim.timeline import Timeline

_BUDGET_NS = 1_500_000_000
_LONG_NS = 300_000_000
_FEWEST, _MOST = 3, 100


@dataclass(frozen=True)
class CaseRun:
    """One policy on both machines. `iterations` are plain ones, without marks; `timeline` is of a marked one."""

    predicted: PolicyRun
    measured_plan: Plan
    program: Program
    iterations: Sample
    timeline: Timeline
    trials: tuple[Trial, ...]

    @property
    def error(self) -> float:
        """(predicted - measured) / measured iteration time; positive where the simulation is slower."""
        measured_ns = self.iterations.median_ns
        return (self.predicted.result.iteration_time_ns - measured_ns) / measured_ns

    @property
    def measured_peak_bytes(self) -> int:
        return peak_bytes(self.timeline)

    @property
    def predicted_peak_bytes(self) -> int:
        return peak_bytes(self.predicted.timeline)

    @property
    def same_addresses(self) -> bool:
        """Whether every buffer lay at the same address, in the same order, on both machines."""
        return placements(self.timeline.memory) == placements(self.predicted.timeline.memory)

    @property
    def same_decisions(self) -> bool:
        """Whether the policy decided the same on both machines, its trials included."""
        ours, theirs = self.measured_plan, self.predicted.plan
        return decisions(ours) == decisions(theirs)


def decisions(plan: Plan) -> tuple[object, ...]:
    """What a plan decides, and which trials led to it, without their times."""
    trials = [(trial.title, trial.fits, trial.peak_bytes) for trial in plan.trials]
    return (plan.layout, plan.offload, dict(plan.algorithms), dict(plan.workspaces), plan.deferred, trials)


@dataclass(frozen=True)
class RealLaboratory:
    """vDNN-dyn's trials on the device itself; see `Laboratory`. What fits is decided by the same pool code."""

    study: Study
    bench: Bench
    machine: RealMachine

    def attempt(self, title: str, plan: Plan) -> Trial:
        """One real iteration of a plan after one to warm up, if it fits."""
        plan, program, failure = self.study.prepare(plan)
        if failure is not None:
            trial = self.study.attempt(title, plan)  # there is no real run of what does not fit
            return trial._replace(iteration_time_ns=0)
        loaded = load(self.study, self.bench, self.machine, program, plan)
        loaded.run()
        timeline = loaded.observe()
        return Trial(title, plan, True, timeline.iteration_time_ns, peak_bytes(timeline), "")

    def shrink_workspaces(self, plan: Plan) -> Plan:
        """As `Laboratory.shrink_workspaces`; addresses do not depend on the machine."""
        return self.study.shrink_workspaces(plan)


def load(study: Study, bench: Bench, machine: RealMachine, program: Program, plan: Plan) -> LoadedProgram:
    """A study's program on the device, in a pool of the study's kind and capacity."""
    capacity_bytes = ENDLESS_BYTES if plan.endless else study.gpu.capacity_bytes
    return bench.load(machine, program, study.pool, capacity_bytes)


def run_case(
    bench: Bench, machine: RealMachine, study: Study, policy: Policy, iterations: int | None = None
) -> CaseRun:
    """Run one policy on both machines. Raises `InvalidInput` for a policy that does not fit, with what it needs."""
    problem = Problem(study.network, study.trace, study.gpu, RealLaboratory(study, bench, machine))
    plan = decide(policy, problem)
    predicted = study.run(policy)
    prepared, program, failure = study.prepare(plan)
    if failure is not None:
        raise InvalidInput(f"{policy.name} does not fit: {predicted.result.reason}")
    loaded = load(study, bench, machine, program, prepared)
    warm_ns = loaded.run()
    if warm_ns < _LONG_NS:
        warm_ns = loaded.run()
    count = iterations or repetitions_within(_BUDGET_NS, warm_ns, _FEWEST, _MOST)
    found = steady_sample(bench.device.host, loaded.run, count, attempts=2 if iterations is None else 1)
    marked = [bench.device.host.undisturbed(loaded.observe)[0] for _ in range(1 if warm_ns > _LONG_NS else 3)]
    observed = sorted(marked, key=lambda timeline: timeline.iteration_time_ns)[len(marked) // 2]
    return CaseRun(predicted, prepared, program, found, observed, plan.trials)


def measured_run(study: Study, run: CaseRun) -> PolicyRun:
    """The marked iteration as a run like a simulated one, for timelines; its title says that it was measured."""
    steps = step_times(run.timeline, step_names(run.program))
    on = Ran(study.network, study.trace, study.gpu, run.program, run.timeline, steps)
    title = f"{run.predicted.result.policy}, measured"
    result = summarise(title, run.measured_plan, on, "", run.timeline.pool_high_water_bytes)
    return PolicyRun(result, run.measured_plan, run.program, run.timeline, steps)


class Check(NamedTuple):
    """Against autograd in fp64: the largest relative error over loss and each layer's weight gradients, `where` it is,
    and `plain_error`, that of plain autograd in fp32. `other_choices` is the share of ReLU's and max-pool's choices in
    which rounding decided otherwise; both autograds take over the run's."""

    error: float
    where: str
    plain_error: float
    other_choices: float


def check_case(bench: Bench, machine: RealMachine, study: Study, policy: Policy, progress: Progress = silent) -> Check:
    """One iteration in the checking mode, held against autograd."""
    problem = Problem(study.network, study.trace, study.gpu, study)
    plan, program, failure = study.prepare(decide(policy, problem))
    if failure is not None:
        raise InvalidInput(f"{policy.name} does not fit: {failure}")
    progress(0, 3, "one iteration with freed bytes overwritten")
    found = load(study, bench, machine, program, plan).check()
    progress(1, 3, "the same by autograd in fp64")
    reference = reference_gradients(study.network, machine.training, found.choices)
    progress(2, 3, "the same by autograd in fp32")
    plain = reference_gradients(study.network, machine.training, found.choices, torch.float32)
    plain_error, _ = worst_error(plain.results, reference.results)
    return Check(*worst_error(found.results, reference.results), plain_error, reference.other_choices)
