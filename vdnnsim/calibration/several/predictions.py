"""What the simulation says of the cases of several GPUs at once, from a report's own profiles, traces and host."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from vdnnsim.calibration.cases import CasesFile
from vdnnsim.calibration.several.messages import Inputs, inputs_of
from vdnnsim.calibration.several.records import StartRecord
from vdnnsim.gpu import read_profile
from vdnnsim.machines.script import script_of
from vdnnsim.machines.simulated_host import Seat, simulate_together
from vdnnsim.machines.simulated_timeline import ends_by_step_ns
from vdnnsim.network import Network, load_network
from vdnnsim.policies import decide, make_policy
from vdnnsim.study import Study
from vdnnsim.topology import Topology
from vdnnsim.trace import read_trace
from vdnnsim.workloads import workload_of

NEAR = 0.02
"""What the simulation of several GPUs is held to: the iteration time of each, in every case that can be told."""


class Predicted(NamedTuple):
    """A measured iteration beside the simulated one."""

    record: StartRecord
    simulated_ns: int

    @property
    def error(self) -> float:
        """(simulated - measured) / measured."""
        return self.simulated_ns / max(1, self.record.measured_ns) - 1

    @property
    def verdict(self) -> str:
        """Whether they agree, where that can be told."""
        if not self.record.told:
            return "cannot be told here"
        return "agrees" if abs(self.error) <= NEAR else "DISAGREES"


def predictions(records: Sequence[StartRecord], cases: CasesFile, out: Path, host: Topology) -> list[Predicted]:
    """Every case of the list simulated as it began: each GPU by its own profile and trace, its copies on the links of
    the host. The program is the one that is planned with the first GPU's numbers."""
    networks = {(network.name, network.batch): network for network in _networks(cases)}
    found = []
    known: dict[tuple[object, ...], list[Study]] = {}
    for group in _begun_together(records):
        first = group[0]
        key = (first.network, first.batch, first.math)
        if key[:2] not in networks:  # of another list
            continue
        if key not in known:
            own = [inputs_of(out, cases.gpu, gpu, *key) for gpu in range(len(host.gpus))]
            known[key] = [_study(networks[key[:2]], inputs) for inputs in own]
        studies = [study.within(first.capacity_bytes) for study in known[key]]
        found += _simulated(group, studies, host)
    return found


def _networks(cases: CasesFile) -> list[Network]:
    return [load_network(group.network, group.batch) for group in cases.case]


def _study(network: Network, inputs: Inputs) -> Study:
    return Study(workload_of(network), read_trace(inputs.trace, network), read_profile(inputs.profile))


def _begun_together(records: Iterable[StartRecord]) -> list[list[StartRecord]]:
    """Records by what ran at once: one GPU alone, or all of a case and start."""
    groups: dict[tuple[object, ...], list[StartRecord]] = {}
    for one in records:
        groups.setdefault((one.case, one.start, one.gpu if one.start == "alone" else None), []).append(one)
    return list(groups.values())


def _simulated(group: Sequence[StartRecord], studies: Sequence[Study], host: Topology) -> list[Predicted]:
    policy = make_policy(group[0].policy)
    program = studies[0].prepare(decide(policy, studies[0].problem())).program
    earliest_ns = min(record.delay_ns for record in group)
    seats = []
    for record in group:
        study = studies[record.gpu]
        script = script_of(program, study.trace, study.gpu.host)
        durations = script.durations(study.gpu)
        seats.append(Seat(script, durations, study.gpu, record.delay_ns - earliest_ns))
    there = Topology(host.name, host.title, host.links, tuple(host.gpus[record.gpu] for record in group))
    moments = simulate_together(seats, there)
    times_ns = (ends_by_step_ns(seat.script, own)[-1] for seat, own in zip(seats, moments, strict=True))
    return [Predicted(record, time_ns) for record, time_ns in zip(group, times_ns, strict=True)]
