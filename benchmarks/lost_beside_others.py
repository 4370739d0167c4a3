"""What iterations of two GPUs at once lost to each other, beside what chains of copies on the same links lost.

python benchmarks/lost_beside_others.py [FOLDER]

Of every network and math mode of a report of two GPUs (experiments/calibration/two-gpus): how much longer than alone
its offloading iterations took, together both GPUs, staggered each; and how much longer they are in a simulation on
links that carry what the chains did, with every limit that these showed, however little it is below what each reaches
alone. And how near the cases that can be told are on the host as measured, with its limits alone, with nothing shared,
and on the other hosts that came with the package. Two tables in Markdown.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from vdnnsim.calibration.cases import CasesFile, read_cases
from vdnnsim.calibration.several.host import measured_host
from vdnnsim.calibration.several.predictions import NEAR, predictions
from vdnnsim.calibration.several.records import Start, StartRecord, Stored, of_all_times, read_stored
from vdnnsim.topology import Topology, load_topology, read_topology

FOLDER = Path(__file__).parents[1] / "experiments" / "calibration" / "two-gpus"
TWO = (0, 1)
OTHERS = ("two-h200", "two-h200-second", "two-h200-third")
Times = Mapping[tuple[object, ...], int]


def as_chains_had_it(host: Topology, stored: Stored) -> Topology:
    """The host with the sums of both GPUs one way as its limits, whatever they are."""
    rates = {one.streams: sum(one.rates_bytes_per_s) for one in of_all_times(stored.streams)}
    out, back = (rates[tuple((gpu, way) for gpu in TWO)] for way in ("out", "in"))
    links = {name: replace(link, out_bytes_per_s=out, in_bytes_per_s=back) for name, link in host.links.items()}
    return Topology(host.name, host.title, links, host.gpus)


def without_links(host: Topology) -> Topology:
    """GPUs that share nothing."""
    links = {name: link.unlimited() for name, link in host.links.items()}
    return Topology(host.name, host.title, links, host.gpus)


def simulated(records: list[StartRecord], cases: CasesFile, folder: Path, host: Topology) -> Times:
    """Iteration times on these links."""
    found = predictions(records, cases, folder, host)
    return {(one.record.case, one.record.start, one.record.gpu): one.simulated_ns for one in found}


def who(record: StartRecord) -> str:
    """Which GPUs of which start: of staggered ones the first loses to other copies than the second."""
    return f"{record.start}, GPU {record.gpu}" if record.start == Start.STAGGERED else record.start


def print_hosts(stored: Stored, cases: CasesFile, folder: Path, host: Topology) -> None:
    """How near iterations are that can be told, by the host that they are simulated on: all, and those that copy."""
    limits = measured_host(of_all_times(stored.streams), len(host.gpus), host.name, host.title, "", plain=True)
    hosts = {"as measured": host, "limits alone": limits, "nothing shared": without_links(host)}
    told = [one for one in stored.cases if one.told]
    kinds = sorted({who(one) for one in told})
    print(
        f"\n| host | of {len(told)} within {NEAR:.0%} | largest | {' | '.join(kinds)} |\n|{'---|' * (3 + len(kinds))}"
    )
    for name, there in (hosts | {name: load_topology(name) for name in OTHERS}).items():
        found = [one for one in predictions(stored.cases, cases, folder, there) if one.record.told]
        near = sum(abs(one.error) <= NEAR for one in found)
        largest = max((one.error for one in found), key=abs)
        copying = [one for one in found if one.record.offloaded_bytes]
        means = [fmean(one.error for one in copying if who(one.record) == kind) for kind in kinds]
        print(f"| {name} | {near} | {largest:+.2%} | {' | '.join(f'{mean:+.2%}' for mean in means)} |")


def main(folder: Path = FOLDER) -> None:
    """Print both tables."""
    stored, host, cases = (
        read_stored(folder / "results.json"),
        read_topology(folder / "topology.toml"),
        read_cases(folder / "cases.toml"),
    )
    copying = [one for one in stored.cases if one.offloaded_bytes]
    alone = {(one.case, one.gpu): one.measured_ns for one in copying if one.start == Start.ALONE}
    beside = [one for one in copying if one.start != Start.ALONE]
    chains = simulated(beside, cases, folder, as_chains_had_it(host, stored))
    free = simulated(beside, cases, folder, without_links(host))
    lost: dict[tuple[str, str], list[float]] = {}
    for one in beside:
        sums = lost.setdefault((f"{one.network} ({one.batch}), {one.math}", who(one)), [0.0, 0.0])
        key = (one.case, one.start, one.gpu)
        sums[0] += (one.measured_ns - alone[one.case, one.gpu]) / 1e6
        sums[1] += (chains[key] - free[key]) / 1e6
    print("| | start | measured ms | by the chains ms |\n|---|---|---|---|")
    for (name, start), (measured, expected) in lost.items():
        print(f"| {name} | {start} | {measured:.1f} | {expected:.1f} |")
    print_hosts(stored, cases, folder, host)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
