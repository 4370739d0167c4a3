"""`calibrate run`: a network trained for real under a policy, beside what the simulated machine says of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from vdnnsim.calibration.bench import Bench
from vdnnsim.calibration.iterations import Iterations, measure_iterations, together
from vdnnsim.calibration.pairs import FORBIDDEN, FORBIDDEN_PPM
from vdnnsim.calibration.progress import OnProgress, silent
from vdnnsim.calibration.reference import reference_gradients, worst_error
from vdnnsim.calibration.samples import repetitions_within
from vdnnsim.calibration.to_the_byte import peak_bytes, placements
from vdnnsim.calibration.watch import HOST
from vdnnsim.errors import InvalidInput
from vdnnsim.machines.real.checked import LAGS
from vdnnsim.machines.real.machine import LoadedProgram, RealMachine
from vdnnsim.machines.script import script_of
from vdnnsim.memory import ENDLESS_BYTES
from vdnnsim.metrics import step_times
from vdnnsim.policies import Plan, Policy, Rehearsal, Trial, decide
from vdnnsim.program import CopyIn, CopyOut, Kernel, Program
from vdnnsim.results import PolicyRun
from vdnnsim.study import Study
from vdnnsim.summary import Ran, step_names, summarise
from vdnnsim.timeline import Timeline
from vdnnsim.trace import Trace, TraceRow
from vdnnsim.units import PPM

_LONG_NS = 300_000_000
_FEWEST, _MOST = 5, 100
_DISTURBED_ROWS = 0.005
_DISTURBED_LAUNCHES = 0.01


@dataclass(frozen=True)
class CaseRun:
    """One policy on both machines. `iterations` are plain ones, without marks; `timeline` is of a marked one."""

    predicted: PolicyRun
    measured_plan: Plan
    program: Program
    iterations: Iterations
    timeline: Timeline
    trials: tuple[Trial, ...]
    host_share: float
    """The share of an iteration in the host's calls."""
    state: str = ""
    """The GPU after the iterations, as far as it is told."""
    state_doubts: tuple[str, ...] = ()
    """What the GPU's state says against the iterations."""
    trace_doubts: tuple[str, ...] = ()
    """See `trace_doubts`."""
    repeated: bool = False
    """Whether it is of two measurements, some time apart."""

    @property
    def doubts(self) -> tuple[str, ...]:
        """What was disturbed so far that the measurement is none, and by how much; known before the prediction is
        looked at."""
        return (*self.measured_doubts, *self.trace_doubts)

    @property
    def measured_doubts(self) -> tuple[str, ...]:
        """Those that another measurement of the same program may not have."""
        return (*self.iterations.doubts(self.host_share), *self.state_doubts)

    @property
    def error(self) -> float:
        """(predicted - measured) / measured iteration time; positive where the simulation is slower."""
        measured_ns = self.iterations.corrected.median_ns
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
        plan, program, failure, *_ = self.study.prepare(plan)
        if failure is not None:
            trial = self.study.attempt(title, plan)  # there is no real run of what does not fit
            return trial._replace(iteration_time_ns=0)
        loaded = load(self.study, self.bench, self.machine, program, plan)
        loaded.run()
        timeline = loaded.observe()
        return Trial(title, plan, True, timeline.iteration_time_ns, peak_bytes(timeline), "")

    def rehearse(self, plan: Plan) -> Rehearsal:
        """As `Laboratory.rehearse`."""
        return self.study.rehearse(plan)

    def shrink_workspaces(self, plan: Plan) -> Plan:
        """As `Laboratory.shrink_workspaces`; addresses do not depend on the machine."""
        return self.study.shrink_workspaces(plan)


class DoesNotFit(InvalidInput):
    """A policy that does not train in the device's memory; ``args`` is (message,)."""


def load(study: Study, bench: Bench, machine: RealMachine, program: Program, plan: Plan) -> LoadedProgram:
    """A study's program on the device, in a pool of the study's kind and capacity."""
    capacity_bytes = ENDLESS_BYTES if plan.endless else study.gpu.capacity_bytes
    return bench.load(machine, program, study.pool, capacity_bytes)


def run_case(
    bench: Bench, machine: RealMachine, study: Study, policy: Policy, iterations: int | None = None
) -> CaseRun:
    """Run one policy on both machines. Raises `DoesNotFit` for a policy that does not, with what it needs."""
    problem = study.problem(RealLaboratory(study, bench, machine))
    plan = decide(policy, problem)
    # What a solver found in its time it may not find again; nor did it ask the device.
    predicted = study.run(policy) if plan.bound is None else study.run_plan(policy.name, plan)
    prepared, program, failure, *_ = study.prepare(plan)
    if failure is not None:
        raise DoesNotFit(f"{policy.name} does not fit: {predicted.result.reason}")
    loaded = load(study, bench, machine, program, prepared)
    found = _measure(bench, loaded, study, iterations)
    long = found.iterations.plain_ns > _LONG_NS
    marked = [bench.watch.undisturbed(loaded.observe).value for _ in range(1 if long else 3)]
    observed = sorted(marked, key=lambda timeline: timeline.iteration_time_ns)[len(marked) // 2]
    doubts = tuple(trace_doubts(study.trace, program))
    return CaseRun(predicted, prepared, program, found.iterations, observed, plan.trials, *found[1:], doubts)


def repeat_case(bench: Bench, machine: RealMachine, study: Study, run: CaseRun) -> CaseRun:
    """The same program measured once more, some time later: the mean counts, and how far both differ is a spread. A
    machine that others share drifts, which no repetition within a second shows. Where one of the two has doubts, it is
    measured a third time, and those two with the fewest count; where both have, that would not help."""
    again = _measured_again(bench, machine, study, run)
    found = [run, again]
    if sum(bool(one.measured_doubts) for one in found) == 1:
        found.append(_measured_again(bench, machine, study, run))
    first, second = sorted(found, key=lambda one: len(one.measured_doubts))[:2]
    state_doubts = tuple(dict.fromkeys((*first.state_doubts, *second.state_doubts)))
    both = together(first.iterations, second.iterations)
    return replace(second, iterations=both, state_doubts=state_doubts, repeated=True)


def _measured_again(bench: Bench, machine: RealMachine, study: Study, run: CaseRun) -> CaseRun:
    loaded = load(study, bench, machine, run.program, run.measured_plan)
    found = _measure(bench, loaded, study)
    return replace(run, **found._asdict())


class _Measured(NamedTuple):
    iterations: Iterations
    host_share: float
    state: str
    state_doubts: tuple[str, ...]


def _measure(bench: Bench, loaded: LoadedProgram, study: Study, iterations: int | None = None) -> _Measured:
    """Repeated iterations, with the GPU's state before and after them."""
    warm_ns = loaded.run()
    if warm_ns < _LONG_NS:
        warm_ns = loaded.run()
    host_share = _host_share(study, loaded.program, warm_ns)
    clocks = bench.watch.clocks
    clocks.settle()
    if iterations is None:
        count = repetitions_within(bench.device.budget_ns, warm_ns, _FEWEST, _MOST)
        found = measure_iterations(bench.watch, loaded, count, host_share)
    else:
        found = measure_iterations(bench.watch, loaded, iterations, host_share, attempts=1)
    doubts, state = tuple(clocks.doubts()), clocks.state
    return _Measured(found, host_share, "" if state is None else str(state), doubts)


def _host_share(study: Study, program: Program, iteration_ns: int) -> float:
    """The share of an iteration in the host's calls."""
    return sum(script_of(program, study.trace, study.gpu.host).calls_ns) / max(1, iteration_ns)


def trace_doubts(trace: Trace, program: Program) -> list[str]:
    """What of the program's kernels was never measured undisturbed, by the share of the kernels' time: how they slow
    copies, as far as that spread, where there are copies; and their launches, which a slow host takes about twice the
    time for."""
    copies = any(isinstance(command, CopyOut | CopyIn) for command in program.commands)
    rows = [
        trace.row(command.layer, command.pass_, command.algorithm)
        for command in program.commands
        if isinstance(command, Kernel)
    ]
    total_ns = max(1, sum(row.duration_ns for row in rows))
    slowed_ns = sum(row.duration_ns * _uncertainty(row) for row in rows if copies and row.disturbed not in ("", HOST))
    launch_ns = sum(row.launch_ns or 0 for row in rows if HOST in row.disturbed)
    found = []
    if slowed_ns > _DISTURBED_ROWS * total_ns:
        found.append(f"disturbed slowdowns spread over {100 * slowed_ns / total_ns:.1f} % of the kernels' time")
    if launch_ns > _DISTURBED_LAUNCHES * total_ns:
        found.append(f"launches disturbed that take {100 * launch_ns / total_ns:.1f} % of the kernels' time")
    return found


def _uncertainty(row: TraceRow) -> float:
    """How far a row's slowdowns may be off, as a share of a copy's time."""
    if row.spread is None or FORBIDDEN in row.disturbed:
        return FORBIDDEN_PPM / PPM
    return max(row.spread.copy_out_ppm, row.spread.copy_in_ppm) / PPM


def measured_run(study: Study, run: CaseRun) -> PolicyRun:
    """The marked iteration as a run like a simulated one, for timelines; its title says that it was measured."""
    steps = step_times(run.timeline, step_names(run.program))
    on = Ran(study.workload, study.trace, study.gpu, run.program, run.timeline, steps)
    title = f"{run.predicted.result.policy}, measured"
    result = summarise(title, run.measured_plan, on, "", run.timeline.pool_high_water_bytes)
    return PolicyRun(result, run.measured_plan, run.program, run.timeline, steps)


class GradientCheck(NamedTuple):
    """Against autograd in fp64: the largest relative error over loss and each layer's weight gradients, `where` it is,
    and `plain_error`, that of plain autograd in fp32. `other_choices` is the share of ReLU's and max-pool's choices in
    which rounding decided otherwise; both autograds take over the run's."""

    error: float
    where: str
    plain_error: float
    other_choices: float


def check_case(
    bench: Bench, machine: RealMachine, study: Study, policy: Policy, progress: OnProgress = silent
) -> GradientCheck:
    """Iterations in the checking mode, with one part of the device after the other lagging, held against autograd."""
    problem = study.problem()
    plan, program, failure, *_ = study.prepare(decide(policy, problem))
    if failure is not None:
        raise InvalidInput(f"{policy.name} does not fit: {failure}")
    progress(0, 3, "iterations with freed bytes overwritten")
    loaded = load(study, bench, machine, program, plan)
    found = loaded.check()
    others = [loaded.poisoned(lagging) for lagging in LAGS if lagging]
    progress(1, 3, "the same by autograd in fp64")
    reference = reference_gradients(study.network, machine.training, found.choices)
    progress(2, 3, "the same by autograd in fp32")
    plain = reference_gradients(study.network, machine.training, found.choices, torch.float32)
    plain_error, _ = worst_error(plain.results, reference.results)
    error, where = max(worst_error(one.results, reference.results) for one in (found, *others))
    return GradientCheck(error, where, plain_error, reference.other_choices)
