"""A plan in a file, as a policy: what a solver found once, or any policy decided, run again as it is.

Of a network the file has the whole schedule, and says of what it is: a plan of another network, batch, GPU or math is
refused. Another link, capacity or pool is not: there it may not fit, and its bound says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from vdnnsim.captured.plan_file import PlanFile
from vdnnsim.errors import InvalidInput
from vdnnsim.file_kinds import FileKind, kind_of
from vdnnsim.files import invalid_file, read_text, write_text
from vdnnsim.iteration import MemoryClass, Schedule
from vdnnsim.policies.plan import Bound, Plan, Policy, Problem, workspaces_of
from vdnnsim.trace import Trace


def _with_classes(written: Any) -> Any:
    """A schedule whose shared blocks are of CNNs' classes: of which kind classes are, a buffer leaves open."""
    if not isinstance(written, Mapping) or not isinstance(written.get("before"), list):
        return written
    return {**written, "before": [_shared(one) if isinstance(one, list) else one for one in written["before"]]}


def _shared(written: list[Any]) -> list[Any]:
    match written:
        case [[name, size_bytes, str(memory_class), *rest], tensors] if memory_class in set(MemoryClass):
            return [[name, size_bytes, MemoryClass(memory_class), *rest], tensors]
    return written


class KeptPlan(BaseModel):
    """Everything that a plan decides."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schedule: Annotated[Schedule, BeforeValidator(_with_classes)]
    algorithms: tuple[tuple[str, str, str], ...]
    bound: Bound | None = None
    endless: bool = False

    def plan(self, trace: Trace) -> Plan:
        """It, with the workspaces that the trace says it needs."""
        algorithms = {(layer, pass_): algorithm for layer, pass_, algorithm in self.algorithms}
        return Plan(self.schedule, algorithms, workspaces_of(algorithms, trace), self.endless, bound=self.bound)


_SCHEDULE = TypeAdapter(Schedule)


def kept_plan(plan: Plan) -> dict[str, Any]:
    """A plan in JSON's terms, as `KeptPlan` reads it."""
    return {
        "schedule": _SCHEDULE.dump_python(plan.schedule, mode="json", exclude_defaults=True),
        "algorithms": [[*key, algorithm] for key, algorithm in plan.algorithms.items()],
        **({"bound": list(plan.bound)} if plan.bound else {}),
        **({"endless": True} if plan.endless else {}),
    }


class PlannedFor(NamedTuple):
    """What a plan was made for; a digest each of all that network, trace and GPU hold."""

    network: str
    batch: int
    gpu: str
    math: str
    network_sha256: str
    trace_sha256: str
    gpu_sha256: str

    @classmethod
    def of(cls, problem: Problem) -> PlannedFor:
        """What a problem is about. Raises `InvalidInput` where it is a captured step."""
        network, trace, gpu = problem.network, problem.trace, problem.gpu
        digests = problem.workload.sha256, trace.sha256, gpu.sha256
        return cls(network.name, network.batch, gpu.name, trace.header.math, *digests)


class PlanDocument(KeptPlan):
    """The file of a network's plan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = Field(alias="schema")
    policy: str
    planned_for: PlannedFor


def write_plan(path: Path, policy: str, plan: Plan, planned_for: PlannedFor) -> None:
    """Write a network's plan, whole or not at all. Raises `CannotWrite`."""
    document = {"schema": 1, "policy": policy, "planned_for": planned_for._asdict(), **kept_plan(plan)}
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in document.items())
    write_text(path, f"{{\n{rows}\n}}\n")


def read_plan(path: Path) -> PlanDocument:
    """Read it. Raises `InvalidFile`."""
    text = read_text(path)
    try:
        return PlanDocument.model_validate_json(text)
    except ValidationError as error:
        raise invalid_file(error, _document(text), {}, str(path), PlanDocument) from None


def policy_in(name: str) -> Policy:
    """The policy of this name, a file with the plan of a network or of a captured step. Raises `InvalidFile`."""
    document = _document(read_text(Path(name)))
    if isinstance(document, dict) and kind_of(document) is FileKind.PLAN:
        return _PlanOfStep(name, PlanFile.load(name))
    return _PlanOfNetwork(name, read_plan(Path(name)))


@dataclass(frozen=True)
class _PlanOfNetwork:
    name: str
    document: PlanDocument

    def check(self, problem: Problem) -> None:
        """Raise `InvalidInput`, with the first difference, where it was made for something else."""
        if problem.workload.one_way:
            found = f"{problem.workload.name}, a captured step"
            raise InvalidInput(f"{self.name}: found {found}; expected the plan's {self.document.planned_for.network}")
        planned_for, here = self.document.planned_for, PlannedFor.of(problem)
        for field in ("network", "batch", "network_sha256", "gpu", "math"):
            found, expected = getattr(here, field), getattr(planned_for, field)
            if found != expected:
                advice = f"plan again with {self.document.policy}"
                raise InvalidInput(f"{self.name}: {field}: found {found}, expected the plan's {expected}; {advice}")
        found, expected = problem.weight_gradients, self.document.schedule.weight_gradients
        if found != expected:
            raise InvalidInput(f"{self.name}: weight gradients: found {found}, expected the plan's {expected}")

    def plan(self, problem: Problem) -> Plan:
        here = PlannedFor.of(problem)
        same = here == self.document.planned_for
        document = self.document if same else self.document.model_copy(update={"bound": None})
        return document.plan(problem.trace)


@dataclass(frozen=True)
class _PlanOfStep:
    name: str
    file: PlanFile

    def check(self, problem: Problem) -> None:
        """Raise `InvalidInput`, with the first difference, where it is of another step."""
        if not problem.workload.one_way:
            found = f"{problem.workload.name}, a network of layers"
            raise InvalidInput(f"{self.name}: found {found}; expected the plan's captured step, {self.file.step}")
        self.file.check(problem.step)

    def plan(self, problem: Problem) -> Plan:
        algorithms = problem.performance_optimal
        schedule = self.file.schedule(problem.step)
        return Plan(schedule, algorithms, workspaces_of(algorithms, problem.trace))


def _document(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
