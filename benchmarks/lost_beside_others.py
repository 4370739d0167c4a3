"""What iterations of two GPUs at once lost to each other, beside what chains of copies on the same links lost.

python benchmarks/lost_beside_others.py [FOLDER]

Of every network and math mode of a report of two GPUs (experiments/calibration/two-gpus): how much longer than alone
its offloading iterations took, together both GPUs, staggered each; and how much longer they are in a simulation on
links that carry what the chains did, with every limit that these showed, however little it is below what each reaches
alone. A table in Markdown.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vdnnsim.calibration.cases import CasesFile, read_cases
from vdnnsim.calibration.several.predictions import predictions
from vdnnsim.calibration.several.records import Start, StartRecord, Stored, of_all_times, read_stored
from vdnnsim.topology import Topology, read_topology

FOLDER = Path(__file__).parents[1] / "experiments" / "calibration" / "two-gpus"
TWO = (0, 1)
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


def main(folder: Path = FOLDER) -> None:
    """Print the table."""
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
        who = f"{one.start}, GPU {one.gpu}" if one.start == Start.STAGGERED else one.start
        sums = lost.setdefault((f"{one.network} ({one.batch}), {one.math}", who), [0.0, 0.0])
        key = (one.case, one.start, one.gpu)
        sums[0] += (one.measured_ns - alone[one.case, one.gpu]) / 1e6
        sums[1] += (chains[key] - free[key]) / 1e6
    print("| | start | measured ms | by the chains ms |\n|---|---|---|---|")
    for (name, who), (measured, expected) in lost.items():
        print(f"| {name} | {who} | {measured:.1f} | {expected:.1f} |")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
