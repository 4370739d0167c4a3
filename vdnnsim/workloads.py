"""What is trained, for studies: a network of layers, or a captured training step. Each says how its plans become
programs, and what the host's calls cost in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple, Protocol

from vdnnsim.captured.agenda import block_name
from vdnnsim.captured.checking import check_step_program
from vdnnsim.captured.choosing import kind_of, may_leave, numbers_of, read_by
from vdnnsim.captured.iteration import iteration_of_step, kernel_keys, places_of
from vdnnsim.captured.memory import addresses_of, pool_of, successors_of
from vdnnsim.captured.plan_file import PlanFile, why_not_trained
from vdnnsim.captured.program import build_step
from vdnnsim.captured.schedules import hook_schedule
from vdnnsim.captured.step import CapturedStep
from vdnnsim.captured.trace import host_of_step, trace_of_step
from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import GpuProfile
from vdnnsim.host_pace import Paces, paces_of
from vdnnsim.iteration import Iteration, Key, Layout, Schedule, WeightGradients
from vdnnsim.machines import DeviceMemory, OutOfMemory, check_program, replay_memory
from vdnnsim.machines.fitting import Candidate, Fitted, FixedCandidate, fit_plan
from vdnnsim.machines.steady import StepMemory, steady_memory
from vdnnsim.memory import BestFitPool, CachingPool, make_pool
from vdnnsim.network import Kind, Layer, Network, iteration_of, network_sha256
from vdnnsim.policies import Plan
from vdnnsim.policies.plan import feature_extraction_layers, kernels_of
from vdnnsim.policies.schedules import write_schedule
from vdnnsim.policies.workload import Workload
from vdnnsim.program import Program
from vdnnsim.results import NO_STEP, Captured, PolicyResult
from vdnnsim.trace import Trace, check_trace
from vdnnsim.units import format_bytes

NETWORK_POOL = BestFitPool.name
"""The pool of networks, where none is named: cnmem's, which vDNN uses."""
STEP_POOL = CachingPool.name
"""That of captured steps: PyTorch's allocator as the step finds it, and none on a CPU."""


class Runnable(Workload, Protocol):
    """A workload whose plans can be run."""

    def candidate(self, trace: Trace, plan: Plan, /) -> Candidate:
        """The plan with its program, as `fit_plan` takes it. Raises `BrokenSchedule`."""

    def memory(self, pool: str, capacity_bytes: int) -> DeviceMemory:
        """Fresh memory with such a pool, as an iteration finds it."""

    def fit(self, given: Candidate, empty_memory: Callable[[], DeviceMemory], trace: Trace | None = None, /) -> Fitted:
        """As `fit_plan`."""

    def replay(self, program: Program, memory: DeviceMemory) -> None:
        """Allocate and free as the program does, in as many iterations as make a difference. Raises `OutOfMemory`."""

    def at_rest(self, program: Program, memory: DeviceMemory, /) -> StepMemory | None:
        """What iterations in a row need of PyTorch's allocator, once that has come to rest; None of a network, whose
        iterations are all alike. Raises `OutOfMemory`."""

    def check(self, program: Program, memory: DeviceMemory) -> None:
        """The checking mode: raise `BrokenProgram` for a program that is right only by the luck of its times, or not at
        all; `OutOfMemory`."""

    def paces(self, trace: Trace, gpu: GpuProfile, /) -> Paces | None:
        """What says whether the host keeps up; None of a network, whose host waits for every layer or gives little."""

    def check_trace(self, trace: Trace) -> None:
        """Raise `InvalidInput` for a trace of something else."""

    def hosted(self, gpu: GpuProfile) -> GpuProfile:
        """The GPU with what the host's calls cost in this workload."""

    @property
    def described(self) -> dict[str, str]:
        """What it is, for people."""

    @property
    def captured(self) -> Captured | None:
        """What a captured step says of itself."""

    def plan_file(self, result: PolicyResult, plan: Plan, /) -> PlanFile | str:
        """What training takes of a plan with these numbers; where it takes none, what it cannot carry out."""


@dataclass(frozen=True)
class NetworkWorkload:
    """A network of layers."""

    network: Network

    one_way = False

    @property
    def name(self) -> str:
        return self.network.name

    @property
    def batch(self) -> int:
        return self.network.batch

    @cached_property
    def sha256(self) -> str:
        return network_sha256(self.network)

    @property
    def layers(self) -> Sequence[Layer]:
        return self.network.layers

    @property
    def step(self) -> CapturedStep:
        raise InvalidInput(f"policy: found {self.name}, a network of layers; expected a captured step")

    def kernels(self, trace: Trace) -> list[Key]:
        return kernels_of(self.network, trace)

    def iteration(self, trace: Trace) -> Iteration:
        return iteration_of(self.network, frozenset(self.kernels(trace)))

    def in_classifier(self, layer: str) -> bool:
        return self.network.in_classifier(layer)

    def movable(self, kinds: Collection[str] | None = None) -> frozenset[str]:
        wanted = tuple(Kind) if kinds is None else tuple(kind for kind in Kind if kind in kinds)
        return feature_extraction_layers(self.network, wanted)

    def unknown(self, names: Collection[str]) -> list[str]:
        return sorted(set(names) - self.network.by_name.keys())

    def schedule(
        self, trace: Trace, layout: Layout, offload: Collection[str], weight_gradients: WeightGradients
    ) -> Schedule:
        return write_schedule(self.iteration(trace), layout, offload, weight_gradients)

    def candidate(self, trace: Trace, plan: Plan) -> Candidate:
        return Candidate(self.iteration(trace), plan)

    def memory(self, pool: str, capacity_bytes: int) -> DeviceMemory:
        return DeviceMemory(make_pool(pool, capacity_bytes))

    def fit(self, given: Candidate, empty_memory: Callable[[], DeviceMemory], trace: Trace | None = None) -> Fitted:
        return fit_plan(given, empty_memory, trace)

    def replay(self, program: Program, memory: DeviceMemory) -> None:
        replay_memory(program, memory)

    def at_rest(self, _program: Program, _memory: DeviceMemory) -> None:
        return None

    def check(self, program: Program, memory: DeviceMemory) -> None:
        check_program(self.network, program, memory)

    def paces(self, _trace: Trace, _gpu: GpuProfile) -> None:
        return None

    def check_trace(self, trace: Trace) -> None:
        check_trace(trace, self.network)

    def hosted(self, gpu: GpuProfile) -> GpuProfile:
        return gpu

    @property
    def described(self) -> dict[str, str]:
        network = self.network
        maps_bytes = sum(feature_map.size_bytes for feature_map in network.maps.values())
        return {
            "network": f"{network.name}, batch {network.batch}, {len(network.layers)} layers",
            "weights": format_bytes(network.weights_bytes),
            "feature maps": format_bytes(maps_bytes),
        }

    @property
    def captured(self) -> None:
        return None

    def plan_file(self, _result: PolicyResult, _plan: Plan) -> str:
        return NO_STEP


class Module(NamedTuple):
    """A row of the table of a captured step: a module, with the kind of the nodes that it has most weight in."""

    name: str
    kind: str
    passes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepWorkload:
    """A captured training step."""

    step: CapturedStep

    one_way = True

    @property
    def name(self) -> str:
        return self.step.header.name

    @property
    def batch(self) -> int | None:
        batch = self.step.header.setting.get("batch")
        return batch if isinstance(batch, int) else None

    @cached_property
    def sha256(self) -> str:
        header = self.step.header
        return sha256(f"{header.model_sha256} {header.order_sha256} {self.step.deeds}".encode()).hexdigest()

    @cached_property
    def layers(self) -> tuple[Module, ...]:
        kinds = {saved.module: kind for saved in reversed(self.step.saved) if (kind := kind_of(saved))}
        return tuple(
            Module(name, kinds.get(name, "")) for name in dict.fromkeys(layer for layer, _ in places_of(self.step))
        )

    @property
    def network(self) -> Network:
        raise InvalidInput(f"policy: found {self.name}, a captured step; expected a network of layers")

    def kernels(self, _trace: Trace) -> tuple[Key, ...]:
        return self._keys

    @cached_property
    def _keys(self) -> tuple[Key, ...]:
        return kernel_keys(self.step)

    @cached_property
    def _successors(self) -> dict[str, str]:
        return successors_of(self.step)

    def iteration(self, _trace: Trace) -> Iteration:
        return iteration_of_step(self.step)

    def in_classifier(self, _layer: str) -> bool:
        return False

    def movable(self, kinds: Collection[str] | None = None) -> frozenset[str]:
        numbers = may_leave(self.step) if kinds is None else read_by(self.step, kinds)
        return frozenset(map(block_name, numbers))

    def unknown(self, names: Collection[str]) -> list[str]:
        return sorted(set(names) - self._blocks)

    @cached_property
    def _blocks(self) -> frozenset[str]:
        return frozenset(map(block_name, range(len(self.step.blocks))))

    def schedule(
        self, _trace: Trace, _layout: Layout, offload: Collection[str], _weight_gradients: WeightGradients
    ) -> Schedule:
        """As near to vDNN as hooks come: each copy out is waited for at the next hook call, one block is fetched ahead
        of its need."""
        schedule = hook_schedule(self.step, numbers_of(self.step, offload), ahead=1, in_flight_bytes=0)
        return replace(schedule, offload=frozenset(offload))

    def candidate(self, trace: Trace, plan: Plan) -> Candidate:
        return FixedCandidate(self.iteration(trace), plan, build_step(self.step, plan.schedule))

    def memory(self, pool: str, capacity_bytes: int) -> DeviceMemory:
        if pool == STEP_POOL:
            return DeviceMemory(pool_of(self.step, capacity_bytes), self._addresses)
        return DeviceMemory(make_pool(pool, capacity_bytes))

    @cached_property
    def _addresses(self) -> dict[str, int]:
        return addresses_of(self.step)

    def fit(self, given: Candidate, empty_memory: Callable[[], DeviceMemory], _trace: Trace | None = None) -> Fitted:
        """Nothing of it is put off or shrinks: it fits, step after step, or not."""
        memory = empty_memory()
        try:
            at_rest = self.at_rest(given.program, memory)
        except OutOfMemory as failure:
            return Fitted(given.plan, given.program, failure)
        return Fitted(given.plan, given.program, None, memory.pool.high_water_bytes, at_rest)

    def replay(self, program: Program, memory: DeviceMemory) -> None:
        self.at_rest(program, memory)

    def at_rest(self, program: Program, memory: DeviceMemory) -> StepMemory:
        return steady_memory(program, memory, self._successors).last

    def check(self, program: Program, memory: DeviceMemory) -> None:
        check_step_program(self.step, program, memory)

    def paces(self, trace: Trace, gpu: GpuProfile) -> Paces:
        return paces_of(trace, gpu)

    def check_trace(self, trace: Trace) -> None:
        if trace.header != trace_of_step(self.step).header:
            raise InvalidInput(f"trace of {trace.header.title}: found another one, expected that of {self.name}")

    def hosted(self, gpu: GpuProfile) -> GpuProfile:
        return replace(gpu, host=host_of_step(self.step, gpu.host))

    @property
    def described(self) -> dict[str, str]:
        step, header = self.step, self.step.header
        setting = ", ".join(f"{name} {value}" for name, value in header.setting.items())
        leaving = sum(step.blocks[number].size_bytes for number in may_leave(step))
        return {
            "captured step": f"{header.name} ({setting or 'no setting'}), PyTorch {header.torch}",
            "kernels": str(len(step.kernels)),
            "saved tensors": f"{len(step.saved)}, blocks of {format_bytes(leaving)} may leave",
        }

    @property
    def captured(self) -> Captured:
        return Captured(self.step.header, self.step.seen)

    def plan_file(self, result: PolicyResult, plan: Plan) -> PlanFile | str:
        return why_not_trained(plan.schedule) or PlanFile.of(
            self.step, result.policy, plan.schedule, result.iteration_time_ns, result.peak_bytes
        )


def workload_of(trained: Network | CapturedStep | Runnable) -> Runnable:
    """What is trained, as studies take it; a workload is one already."""
    if isinstance(trained, Network):
        return NetworkWorkload(trained)
    return StepWorkload(trained) if isinstance(trained, CapturedStep) else trained
