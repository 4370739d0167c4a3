"""What a user gets back: frozen records, and a tidy table of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vdnnsim.errors import InvalidInput
from vdnnsim.memory import CachingPool
from vdnnsim.metrics import Loss, PowerUse, Spent, StepTime
from vdnnsim.policies import Plan, Trial
from vdnnsim.program import Program
from vdnnsim.timeline import Timeline
from vdnnsim.trace import Provenance
from vdnnsim.units import format_bytes, format_ms

if TYPE_CHECKING:
    import pandas as pd

    from vdnnsim.bands import Band
    from vdnnsim.captured.plan_file import PlanFile
    from vdnnsim.captured.step import Seen, StepHeader
    from vdnnsim.host_pace import HostPace
    from vdnnsim.machines import OutOfMemory
    from vdnnsim.machines.steady import StepMemory


NO_STEP = "found a network of layers; expected a captured step, whose blocks leave in its training"
"""Why there is no plan to train with of a network."""


@dataclass(frozen=True, slots=True)
class FeatureExtraction:
    """The layers before the classifier alone: their share of the time, their buffers' bytes."""

    iteration_time_ns: int
    performance: float
    stall_ns: int
    peak_bytes: int
    average_bytes: int
    average_bytes_per_step: int
    bytes_by_class_at_peak: Mapping[str, int]
    peak_bytes_by_class: Mapping[str, int]
    average_bytes_by_class: Mapping[str, int]
    average_bytes_per_step_by_class: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LayerResult:
    """One layer of one run. Times are sums over forward and backward unless named, those two with their stalls, which
    `stalls_by_copy_ns` has by the copy waited for: "out", "in" or, of a late fetch, "late", and the feature map.
    `reuse_distance_ns` is how long the layer's X is not needed between them; `algorithms` are those of its passes."""

    layer: str
    kind: str
    in_classifier: bool
    forward_ns: int
    backward_ns: int
    kernel_ns: int
    stall_ns: int
    offloaded_bytes: int
    prefetched_bytes: int
    reuse_distance_ns: int
    algorithms: Mapping[str, str]
    stalls_by_copy_ns: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """One policy's numbers.

    For a policy that is not `trainable`, `reason` says why, `failure` what found no room, `needed_bytes` is a capacity
    that would do, and all numbers are those of a pool that had room. `performance` is the oracle's iteration time over
    this one's. `spent` says by cause where the iteration went, `loss` what the oracle's did not take of it; the parts
    of each add up. Bytes are as asked for; the pool's rounding and holes show in `pool_high_water_bytes` and
    `largest_hole_bytes`; `nvme_bytes`, compressed where copies are, were written to NVMe, and `nvme_stall_ns` of the
    stalls are for its copies. By class bytes are those at the peak of all together, or each class's own peak and
    averages.
    Of a captured step `memory` is what steps in a row need of PyTorch's allocator, once that has come to rest, `pace`
    whether its host keeps up, and `plan_file` what training takes, or why it takes none. `power` is what the iteration
    draws where the GPU's profile has power figures, whose label counts in `power_provenance` alone.
    """

    policy: str
    trainable: bool
    reason: str
    needed_bytes: int
    iteration_time_ns: int
    performance: float
    stall_ns: int
    spent: Spent
    loss: Loss
    peak_bytes: int
    average_bytes: int
    average_bytes_per_step: int
    pool_high_water_bytes: int
    largest_hole_bytes: int
    bytes_by_class_at_peak: Mapping[str, int]
    peak_bytes_by_class: Mapping[str, int]
    average_bytes_by_class: Mapping[str, int]
    average_bytes_per_step_by_class: Mapping[str, int]
    offloaded_bytes: int
    prefetched_bytes: int
    pinned_host_bytes: int
    pinning_time_ns: int
    feature_extraction: FeatureExtraction
    verdict: str
    provenance: Provenance
    kernel_time_ns_by_provenance: Mapping[str, int]
    deferred_prefetches: int
    layers: tuple[LayerResult, ...]
    trials: tuple[Trial, ...]
    nvme_bytes: int = 0
    nvme_stall_ns: int = 0
    band: Band | None = None
    failure: OutOfMemory | None = None
    memory: StepMemory | None = None
    plan_file: PlanFile | str = NO_STEP
    pace: HostPace | None = None
    power: PowerUse | None = None
    power_provenance: Provenance | None = None

    @property
    def plan(self) -> PlanFile:
        """Of a captured step, what training takes: `.save("plan.json")`. Raises `InvalidInput` for a network, and for
        what training cannot carry out."""
        if isinstance(self.plan_file, str):
            raise InvalidInput(f"plan of {self.policy}: {self.plan_file}")
        return self.plan_file

    def __repr__(self) -> str:
        return f"<PolicyResult {self.summary}>"

    @property
    def needs(self) -> str:
        """Of a policy that does not train, what would do, in short."""
        needed = f"needs {format_bytes(self.needed_bytes)}"
        return self.failure.needs(self.needed_bytes) if self.failure else needed

    @property
    def summary(self) -> str:
        """The policy and its main numbers in a line."""
        trains = "" if self.trainable else f", does not train: {self.needs}"
        return (
            f"{self.policy}: {format_ms(self.iteration_time_ns)}, performance {self.performance:.3f}, "
            f"peak {format_bytes(self.peak_bytes)}, offloads {format_bytes(self.offloaded_bytes)}{trains}"
        )


@dataclass(frozen=True, slots=True)
class PolicyRun:
    """One policy's result with what it was made from, for timelines and figures. A notebook shows it layer by layer."""

    result: PolicyResult
    plan: Plan
    program: Program
    timeline: Timeline
    steps: tuple[StepTime, ...]

    def __repr__(self) -> str:
        return f"<PolicyRun {self.result.summary}>"

    def _repr_html_(self) -> str:
        from vdnnsim.report.html import run_html  # upwards, since a notebook asks the result to show itself

        return run_html(self)


@dataclass(frozen=True, slots=True)
class Origin:
    """What a comparison was made from, so that two that differ differ in their files: the version of vdnnsim, which
    trace, whether it says of which layers it is (`trace_checked`), and a SHA-256 of all that network, trace and GPU
    hold."""

    version: str
    trace: str
    trace_checked: bool
    network_sha256: str
    trace_sha256: str
    gpu_sha256: str


class Captured(NamedTuple):
    """What a captured step says of itself: what it is of, and what was measured of it without hooks."""

    header: StepHeader
    seen: Seen


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several policies on one network, batch and GPU, or on one captured step; the link's bandwidths are what large
    copies reach. Printed, or shown in a notebook, it is the table that the command prints."""

    network: str
    batch: int | None
    gpu: str
    math: str
    pool: str
    capacity_bytes: int
    copy_out_bytes_per_s: int
    copy_in_bytes_per_s: int
    weight_gradients: str
    runs: tuple[PolicyRun, ...]
    provenance: Provenance
    sources: Mapping[str, str]
    origin: Origin
    captured: Captured | None = None
    left_out: tuple[str, ...] = ()
    """Policies of a group that cannot work here, and why."""

    def __repr__(self) -> str:
        return (
            f"<Comparison of {', '.join(result.policy for result in self.results)} on {self.network}, batch "
            f"{self.batch}, {self.gpu} ({format_bytes(self.capacity_bytes)})>"
        )

    def units_per_s(self, result: PolicyResult) -> float | None:
        """How many of the batch a policy trains in a second; None where there is no batch, or no time."""
        if self.batch is None or not result.iteration_time_ns:
            return None
        return self.batch * 1e9 / result.iteration_time_ns

    @property
    def in_segments(self) -> bool:
        """Whether blocks lie in segments that PyTorch's allocator takes from a GPU; on a CPU it has none."""
        return self.pool == CachingPool.name and not (self.captured and self.captured.header.device == "cpu")

    def __str__(self) -> str:
        """What the command prints."""
        from vdnnsim.report.table import comparison_text  # as below

        return comparison_text(self)

    def _repr_html_(self) -> str:
        from vdnnsim.report.html import comparison_html  # as above

        return comparison_html(self)

    @property
    def results(self) -> tuple[PolicyResult, ...]:
        return tuple(run.result for run in self.runs)

    def __iter__(self) -> Iterator[PolicyResult]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.runs)

    def __contains__(self, policy: object) -> bool:
        """Whether there is a result of the policy of this name."""
        return any(result.policy == policy for result in self.results)

    def __getitem__(self, policy: str) -> PolicyResult:
        """The result of the policy of this name. Raises `KeyError`, which names those there are."""
        for result in self.results:
            if result.policy == policy:
                return result
        raise KeyError(f"no result of '{policy}'; there are: {', '.join(result.policy for result in self.results)}")

    def save_plan(self, policy: str, path: str | Path) -> None:
        """Write the plan of the policy of this name, which is a policy by itself, `policies="plan.json"`; of a captured
        step also what training takes. Raises `KeyError`, `CannotWrite`, and `InvalidInput` as `PolicyResult.plan`."""
        if self.captured:
            self[policy].plan.save(path)
            return
        from vdnnsim.policies.stored import PlannedFor, write_plan

        run = next(run for run in self.runs if run.result is self[policy])
        origin, batch = self.origin, self.batch or 0
        digests = origin.network_sha256, origin.trace_sha256, origin.gpu_sha256
        write_plan(Path(path), policy, run.plan, PlannedFor(self.network, batch, self.gpu, self.math, *digests))

    def to_frame(self) -> pd.DataFrame:
        """One row per policy, one column per number; nested numbers have dotted names."""
        import pandas as pd

        from vdnnsim.result_rows import flat_row

        return pd.DataFrame([flat_row(self, result) for result in self.results])

    def layers_to_frame(self) -> pd.DataFrame:
        """One row per policy and layer, one column per number."""
        import pandas as pd

        from vdnnsim.result_rows import layer_rows

        return pd.DataFrame(layer_rows(self))
