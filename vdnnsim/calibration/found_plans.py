"""A plan that a solver found, as a record keeps it: what it finds in its time it may not find again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from vdnnsim.iteration import MemoryClass, Schedule
from vdnnsim.policies.plan import Bound, Plan, workspaces_of
from vdnnsim.trace import Trace

_SCHEDULE = TypeAdapter(Schedule)


def kept_plan(plan: Plan) -> dict[str, Any]:
    """Everything that it decides, in JSON's terms; empty for a policy's, which decides the same every time."""
    if plan.bound is None:
        return {}
    return {
        "schedule": _SCHEDULE.dump_python(plan.schedule, mode="json", exclude_defaults=True),
        "algorithms": [[*key, algorithm] for key, algorithm in plan.algorithms.items()],
        "bound": list(plan.bound),
    }


def plan_again(kept: Mapping[str, Any], trace: Trace) -> Plan | None:
    """The plan that was kept, with the workspaces that the trace says it needs; None where none was."""
    if "schedule" not in kept:
        return None
    written = kept["schedule"]
    before = [name if isinstance(name, str) else _shared(name) for name in written["before"]]
    algorithms = {(layer, pass_): algorithm for layer, pass_, algorithm in kept["algorithms"]}
    schedule = _SCHEDULE.validate_python({**written, "before": before})
    return Plan(schedule, algorithms, workspaces_of(algorithms, trace), bound=Bound(*kept["bound"]))


def _shared(written: list[Any]) -> list[Any]:
    """A block for several tensors, its class as what it is: of which kind classes are, a buffer leaves open."""
    (name, size_bytes, memory_class, *rest), tensors = written
    return [[name, size_bytes, MemoryClass(memory_class), *rest], tensors]
