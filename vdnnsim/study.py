"""A workload on a GPU, and the one path from a policy to plan, program, simulated machine and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import NamedTuple

from vdnnsim.bands import Band, Sources, band_of, band_of_step, sources_of
from vdnnsim.changes import Changes
from vdnnsim.gpu import GpuProfile
from vdnnsim.host_pace import HostPace, Paces
from vdnnsim.iteration import Iteration
from vdnnsim.machines import DeviceMemory, OutOfMemory
from vdnnsim.machines.fitting import Candidate, Fitted, lives_of
from vdnnsim.machines.host_room import no_host_room
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.machines.steady import StepMemory
from vdnnsim.memory import ENDLESS_BYTES, CachingPool, pool_kind
from vdnnsim.metrics import memory_use, step_times
from vdnnsim.network import Network
from vdnnsim.policies import (
    Laboratory,
    Layout,
    Plan,
    Policy,
    Problem,
    Rehearsal,
    Trial,
    check_plan,
    decide,
    make_policy,
)
from vdnnsim.program import Program, WeightGradients
from vdnnsim.results import PolicyRun
from vdnnsim.summary import Ran, step_names, summarise
from vdnnsim.timeline import Timeline
from vdnnsim.trace import Trace, check_gpu
from vdnnsim.units import format_bytes
from vdnnsim.workloads import Runnable, workload_of

_SPARE_ROOM = (1.0, 1.01, 1.02, 1.05, 1.1, 1.2, 1.5, 2.0)
_NARROWINGS = 4


class _Outcome(NamedTuple):
    """A plan as fitted, its program, why it does not fit if so, and one iteration of it; of a captured step's that fits
    what steps in a row need of the allocator."""

    plan: Plan
    program: Program
    failure: OutOfMemory | None
    timeline: Timeline
    at_rest: StepMemory | None


class _Beside(NamedTuple):
    """What is told of an iteration beside what ran: the range of its time, where the trace has spreads; of a captured
    step what steps in a row need of the allocator, and how its host keeps up."""

    band: Band | None
    memory: StepMemory | None
    pace: HostPace | None


def _key(plan: Plan) -> object:
    """Equal for plans that run the same and say that they offload the same; workspaces follow from the algorithms in a
    plan that was checked."""
    return plan.schedule.key, plan.offload, plan.endless, frozenset(plan.algorithms.items())


def _size_key(plan: Plan) -> object:
    """Equal for plans that take the same memory, under whatever trace."""
    return _key(plan), frozenset(plan.workspaces.items())


def _with_spare_room(size_bytes: int) -> Iterator[int]:
    return (round(size_bytes * factor) for factor in _SPARE_ROOM)


@dataclass(frozen=True)
class Study:
    """What is trained on a GPU, ready to run policies; also the `Laboratory` in which vDNN-dyn tries its plans. Made of
    a network, it has that as a workload. `checked` runs every program in the machine's checking mode."""

    workload: Runnable
    trace: Trace
    gpu: GpuProfile
    pool: str = "best-fit"
    weight_gradients: WeightGradients = WeightGradients.PER_LAYER
    checked: bool = False

    _ran: dict[object, _Outcome] = field(default_factory=dict, init=False, repr=False, compare=False)
    _fitted: dict[object, Fitted] = field(default_factory=dict, init=False, repr=False, compare=False)
    _candidates: dict[object, Candidate] = field(default_factory=dict, init=False, repr=False, compare=False)
    _told: dict[object, _Beside] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "workload", workload_of(self.workload))

    @property
    def network(self) -> Network:
        """The network that is trained. Raises `InvalidInput` where it is a captured step."""
        return self.workload.network

    def __repr__(self) -> str:
        capacity = format_bytes(self.gpu.capacity_bytes)
        return (
            f"<Study of {self.workload.name}, batch {self.workload.batch}, {self.trace.header.math}, on "
            f"{self.gpu.name} ({capacity}), {self.pool} pool>"
        )

    def _repr_html_(self) -> str:
        from vdnnsim.report.html import study_html  # upwards, since a notebook asks the study to show itself

        return study_html(self)

    def __getstate__(self) -> dict[str, object]:
        """Without what it remembers, which is large and quickly made again."""
        kept = {name: value for name, value in self.__dict__.items() if name not in ("_sources", "_paces", "iteration")}
        return {**kept, "_ran": {}, "_fitted": {}, "_candidates": {}, "_told": {}}

    def behind(self, link_bandwidth: int | str) -> Study:
        """The same behind another link, as `GpuProfile.with_link_bandwidth` has it; shares the plans that were fitted,
        whose addresses depend on no link."""
        return self._sharing_fits(replace(self, gpu=self.gpu.with_link_bandwidth(link_bandwidth)))

    def within(self, capacity_bytes: int) -> Study:
        """The same with another device memory; shares the iteration, the programs and the machines with other hosts,
        or slower in what spreads, which hang on none."""
        other = replace(self, gpu=self.gpu.with_capacity(capacity_bytes))
        shared = {"_candidates": self._candidates, "_paces": self._paces, "_sources": self._sources}
        other.__dict__.update(shared, iteration=self.iteration)
        return other

    def changed(self, changes: Changes) -> Study:
        """The same with what is asked of the machine in place of its own, but for `numa`. Raises `InvalidValue`."""
        gpu, trace = changes.of_gpu(self.gpu), changes.of_trace(self.trace)
        return self if (gpu, trace) == (self.gpu, self.trace) else replace(self, gpu=gpu, trace=trace)

    def timed_by(self, trace: Trace) -> Study:
        """The same with a trace of other times, or of fewer algorithms; shares fitted plans as above. Raises
        `InvalidInput` for one of another network, GPU or math."""
        self.workload.check_trace(trace)
        check_gpu(trace, self.gpu.name, self.trace.header.math)
        return self._sharing_fits(replace(self, trace=trace))

    def _sharing_fits(self, other: Study) -> Study:
        other.__dict__.update(_fitted=self._fitted, _candidates=self._candidates)
        return other

    def run(self, policy: Policy | str) -> PolicyRun:
        """Plan and run one iteration. A policy that does not fit is run in a pool that has room, and says so."""
        policy = make_policy(policy)
        problem = self.problem()
        return self.run_plan(policy.name, decide(policy, problem))

    def run_plan(self, name: str, plan: Plan) -> PolicyRun:
        """Run one iteration of a plan."""
        ran = self._outcome(plan)
        steps = step_times(ran.timeline, step_names(ran.program))
        needed_bytes = ran.timeline.pool_high_water_bytes
        reason = ""
        if ran.failure is not None:
            needed_bytes = self.needed_bytes(ran.plan, ran.program, needed_bytes, ran.failure)
            reason = self.explain(ran.failure, needed_bytes)
        fitted = replace(ran.plan, trials=plan.trials, bound=plan.bound)
        on = Ran(self.workload, self.trace, self.gpu, ran.program, ran.timeline, steps)
        result = summarise(name, fitted, on, reason, needed_bytes, ran.failure)
        plan_file = self.workload.plan_file(result, fitted)
        result = replace(result, plan_file=plan_file, **self._beside(ran)._asdict())
        return PolicyRun(result, fitted, ran.program, ran.timeline, steps)

    def problem(self, laboratory: Laboratory | None = None) -> Problem:
        """What a policy decides about, here; it tries plans in this study unless in another laboratory."""
        return Problem(self.workload, self.trace, self.gpu, laboratory or self, self.weight_gradients)

    @cached_property
    def iteration(self) -> Iteration:
        """What is trained as operators and tensors."""
        return self.workload.iteration(self.trace)

    def _beside(self, ran: _Outcome) -> _Beside:
        key = _key(ran.plan)
        if key not in self._told:
            memory = ran.at_rest
            if memory is None:  # of what was fitted into no memory, or is a network
                memory = self.workload.at_rest(ran.program, self._memory(self._room_bytes(ran.plan, ran.failure)))
            pace = self._paces.of(ran.program) if self._paces else None
            self._told[key] = _Beside(self._band(ran, pace), memory, pace)
        return self._told[key]

    def _band(self, ran: _Outcome, pace: HostPace | None) -> Band | None:
        if self._sources is None:
            return None
        of = (ran.program, ran.timeline, self.trace, self.gpu, self._sources)
        return band_of(*of) if pace is None else band_of_step(*of, pace)

    @cached_property
    def _paces(self) -> Paces | None:
        return self.workload.paces(self.trace, self.gpu)

    @cached_property
    def _sources(self) -> Sources | None:
        return sources_of(self.trace, self.gpu) if self.trace.has_spreads else None

    def attempt(self, title: str, plan: Plan) -> Trial:
        """Run one iteration of a plan in a pool of the GPU's capacity; see `Laboratory`."""
        ran = self._outcome(plan)
        end_ns = ran.timeline.iteration_time_ns
        use = memory_use(ran.timeline.memory, len(ran.program.steps), end_ns, ran.program.memory_classes)
        reason = "" if ran.failure is None else str(ran.failure)
        on_device = ran.failure is None or ran.failure.on_device
        return Trial(title, ran.plan, ran.failure is None, end_ns, use.peak_bytes, reason, on_device)

    def _outcome(self, plan: Plan) -> _Outcome:
        """What became of a plan; vDNN-dyn tries what other policies run, so that each is run once."""
        check_plan(plan, self.workload, self.trace)
        key = _key(plan)
        if key not in self._ran:
            plan, program, failure, _, at_rest = self._prepare(plan)
            timeline = self._simulate(program, self._room_bytes(plan, failure))
            self._ran[key] = self._ran[_key(plan)] = _Outcome(plan, program, failure, timeline, at_rest)
        return self._ran[key]

    def rehearse(self, plan: Plan) -> Rehearsal:
        """As `Laboratory.rehearse`."""
        capacity_bytes = ENDLESS_BYTES if plan.endless else self.gpu.capacity_bytes
        memories: list[DeviceMemory] = []

        def empty_memory() -> DeviceMemory:
            memories.append(self._memory(capacity_bytes))
            return memories[-1]

        _, program, failure, *_ = self.workload.fit(self._candidate(plan), empty_memory)
        if failure is not None:
            missing_bytes = failure.requested_bytes - failure.largest_hole_bytes
            pool = memories[-1].pool
            if isinstance(pool, CachingPool):  # also where small blocks are in the holes of large segments
                missing_bytes = failure.requested_bytes - (capacity_bytes - pool.reserved_bytes)
            if not pool_kind(self.pool).places or self.workload.captured:
                return Rehearsal(0, failure.where, missing_bytes)
            time_ns = SimulatedMachine(self.trace, self.gpu).iteration_time_ns(program)
            return Rehearsal(time_ns, failure.where, missing_bytes, lives=lives_of(program))
        timeline = self._simulate(program, capacity_bytes)
        begins_ns = tuple([kernel.begin_ns for kernel in timeline.kernels])
        return Rehearsal(timeline.iteration_time_ns, "", 0, timeline.pool_high_water_bytes, begins_ns=begins_ns)

    def time_ns(self, plan: Plan) -> int | None:
        """The time of one iteration of a plan, and nothing else of it; None where it does not fit."""
        found = self.prepare(plan)
        if found.failure is not None:
            return None
        return SimulatedMachine(self.trace, self.gpu).iteration_time_ns(found.program)

    def shrink_workspaces(self, plan: Plan) -> Plan:
        """The greedy step of vDNN-dyn; see `Laboratory`."""
        return self._fit(plan, self.trace).plan

    def prepare(self, plan: Plan) -> Fitted:
        """The plan's program, with prefetches put off where they find no room, and why it still does not fit, if so."""
        check_plan(plan, self.workload, self.trace)
        fitted = self._prepare(plan)  # which may have been fitted for another that decided the same
        return fitted._replace(plan=replace(fitted.plan, trials=plan.trials, bound=plan.bound))

    def _prepare(self, plan: Plan) -> Fitted:
        """The same of a plan that was checked, once."""
        sizes = _size_key(plan)
        if sizes not in self._fitted:
            fitted = Fitted(plan, self._candidate(plan).program, None) if plan.endless else self._fit(plan)
            self._fitted[sizes] = fitted
            if fitted.failure is None:
                self._fitted[_size_key(fitted.plan)] = fitted
        return self._fitted[sizes]

    def _fit(self, plan: Plan, trace: Trace | None = None) -> Fitted:
        fitted = self.workload.fit(self._kept_candidate(plan), self._memory, trace)
        if fitted.failure is None:
            return fitted._replace(failure=no_host_room(fitted.program, self.gpu))
        return fitted

    def _kept_candidate(self, plan: Plan) -> Candidate:
        """Kept, with all that it became in some memory, for what is asked of others."""
        key = _size_key(plan)
        if key not in self._candidates:
            self._candidates[key] = self._candidate(plan)
        return self._candidates[key]

    def _candidate(self, plan: Plan) -> Candidate:
        return self.workload.candidate(self.trace, plan)

    def _memory(self, capacity_bytes: int | None = None) -> DeviceMemory:
        return self.workload.memory(self.pool, capacity_bytes or self.gpu.capacity_bytes)

    def _room_bytes(self, plan: Plan, failure: OutOfMemory | None) -> int:
        """What a plan runs in: the GPU's capacity, or room for all that finds none there."""
        return ENDLESS_BYTES if plan.endless or (failure and failure.on_device) else self.gpu.capacity_bytes

    def _simulate(self, program: Program, capacity_bytes: int) -> Timeline:
        if self.checked:
            self.workload.check(program, self._memory(capacity_bytes))
        return SimulatedMachine(self.trace, self.gpu).run(program, self._memory(capacity_bytes))

    def needed_bytes(self, plan: Plan, program: Program, high_water_bytes: int, failure: OutOfMemory) -> int:
        """A capacity in which the plan was seen to fit, where it does not fit in the GPU's; what it used where it did.

        What an endless pool used, or little more, since a pool with an end may place blocks elsewhere; for a layer-wise
        plan then narrowed down, since one whose prefetches wait needs less.
        """
        if not failure.on_device:
            return high_water_bytes
        enough = next((size for size in _with_spare_room(high_water_bytes) if self.holds(program, size)), ENDLESS_BYTES)
        too_little = self.gpu.capacity_bytes
        if plan.layout is Layout.LAYER_WISE:
            candidate = self._kept_candidate(plan)
            for _ in range(_NARROWINGS):
                middle = (too_little + enough) // 2
                if self.workload.fit(candidate, partial(self._memory, middle)).failure is None:
                    enough = middle
                else:
                    too_little = middle
        return enough

    def holds(self, program: Program, capacity_bytes: int) -> bool:
        """Whether a plan's program fits into so much memory just as it is, with nothing put off."""
        try:
            self.workload.replay(program, self._memory(capacity_bytes))
        except OutOfMemory:
            return False
        return True

    def explain(self, failure: OutOfMemory, needed_bytes: int) -> str:
        """Why a plan does not fit, and what to do."""
        if not failure.on_device:
            return f"{failure}; {failure.remedy}, or use a smaller batch or a policy that offloads less"
        advice = (
            f"fits in {format_bytes(needed_bytes)} ({needed_bytes} bytes); or use a smaller batch or a leaner policy"
        )
        if failure.fragmented:
            advice += f", or another pool than {self.pool}: free bytes are enough, but in pieces"
        return f"{failure}; {advice}"
