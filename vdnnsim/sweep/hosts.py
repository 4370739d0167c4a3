"""Several GPUs on one host as axes of a sweep: which topologies there are, and what a point asks of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vdnnsim.errors import InvalidInput, InvalidValue
from vdnnsim.sweep.axes import NO_TOPOLOGY, Value
from vdnnsim.sweep.spec import Spec, beside
from vdnnsim.together import Start
from vdnnsim.topology import Topology, load_topology


class Host(NamedTuple):
    """The GPUs that run at once, as many as the topology has, and when they begin."""

    topology: Topology
    start: Start


def load_topologies(spec: Spec) -> dict[str, Topology]:
    """The topologies that a spec names. Raises `InvalidFile` with its line for one that there is not or that is faulty,
    and for numbers of GPUs that none of them has, or that no topology stands beside."""
    found = {}
    for name in map(str, spec.axes["topology"]):
        if name == NO_TOPOLOGY:
            continue
        try:
            found[name] = load_topology(beside(spec.file, name))
        except InvalidInput as error:
            raise spec.fault(("axes", "topology"), "", str(error)) from None
    most = max((len(one.gpus) for one in found.values()), default=1)
    for gpus in map(int, spec.axes["gpus"]):
        if gpus > most:
            there = f"at most the {most} of the largest topology" if found else "a topology beside it"
            raise spec.fault(("axes", "gpus"), str(gpus), there)
    return found


def host_of(topologies: Mapping[str, Topology], values: Mapping[str, Value]) -> Host | None:
    """The host of a point; None for one GPU by itself. Raises `InvalidValue` for more GPUs than it has."""
    name, gpus = str(values["topology"]), int(values["gpus"])
    if name in topologies:
        return Host(topologies[name].first(gpus), Start(str(values["start"])))
    if gpus > 1:
        raise InvalidValue("gpus", str(gpus), "1 without a topology")
    return None
