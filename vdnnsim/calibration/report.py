"""`calibrate report`: every case of a list on both machines, as table, JSON and figure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from vdnnsim.calibration.cases import CaseGroup, CasesFile, limited_study
from vdnnsim.calibration.profile_text import profile_text, with_host_costs
from vdnnsim.calibration.progress import Progress, silent
from vdnnsim.calibration.records import CaseRecord, record_of, records_json
from vdnnsim.calibration.resimulation import with_pool_cost
from vdnnsim.calibration.stored import RESULTS, stored_group, stored_records, stored_trace
from vdnnsim.errors import VdnnsimError
from vdnnsim.files import read_text, write_text
from vdnnsim.folder_lock import only_writer
from vdnnsim.gpu import GpuProfile, read_profile
from vdnnsim.network import Network, load_network
from vdnnsim.policies import make_policy
from vdnnsim.study import Study
from vdnnsim.trace import Trace, read_trace, trace_path, write_trace

if TYPE_CHECKING:
    from vdnnsim.calibration.bench import Bench
    from vdnnsim.machines.real.machine import RealMachine

CREATED_BY = "vdnnsim calibrate report"
TABLE, FIGURE = "table.md", "errors.png"
LARGEST_ERROR, MEDIAN_ERROR = 0.01, 0.005
"""What the simulation is held to: iteration time in every case, and in the median."""


class Report(NamedTuple):
    """All records, in the order of the list; and of each group that failed, why."""

    records: tuple[CaseRecord, ...]
    failures: Mapping[str, str]


def make_report(bench: Bench, cases: CasesFile, out: Path, progress: Progress = silent) -> Report:
    """Run all cases. `out` receives the profile, the traces, and after every group of cases the table, JSON and figure
    of all so far. What is there already is used, so that an interruption loses one group at most: groups of which the
    folder has all cases are not run again.

    Raises `InvalidInput` where the folder is of another GPU or of other networks of the same names, and where another
    process writes into it.
    """
    with only_writer(out):
        return _make_report(bench, cases, out, progress)


def _make_report(bench: Bench, cases: CasesFile, out: Path, progress: Progress) -> Report:
    networks = {(group.network, group.batch): load_network(group.network, group.batch) for group in cases.case}
    groups = [(group, networks[group.network, group.batch], math) for group in cases.case for math in group.math]
    stored = stored_records(out, cases.gpu, networks.values())
    records = [stored_group(stored, group, network, math) for group, network, math in groups]
    for _, network, math in groups:
        stored_trace(trace_path(out / "traces", cases.gpu, network.name, network.batch, math), network)
    conditions = {"date": time.strftime("%Y-%m-%d %H:%M:%S %Z"), **bench.device.describe()}
    failures: dict[str, str] = {}
    profile = _profile(bench, cases.gpu, out, progress)
    for number, (group, network, math) in enumerate(groups):
        if records[number]:
            continue
        tell = _part_of(progress, number, len(groups), group.network)
        try:
            trace = _trace(bench, network, math, profile.name, out, tell)
            records[number] = _run_group(bench, group, Study(network, trace, profile), tell)
        except VdnnsimError as error:
            tell(0, 1, f"batch {group.batch}, {math} failed: {error}")
            failures[f"{group.network} batch {group.batch}, {math}"] = str(error)
        conditions["host"] = bench.device.host.describe()
        write_report(out, list(chain(*records)), conditions | {f"failed: {key}": why for key, why in failures.items()})
    measuring = frozenset(
        (network.name, group.batch, math) for group, network, math in groups if group.measures_host_in(math)
    )
    found = tuple(chain(*records))
    if measuring and found:
        refined, found = with_pool_cost(found, measuring, studies_in(out, networks.values()), profile)
        path = out / f"{cases.gpu}.toml"
        write_text(path, with_host_costs(read_text(path), refined, measuring))
        write_report(out, found, conditions | {f"failed: {key}": why for key, why in failures.items()})
    return Report(found, failures)


def _part_of(progress: Progress, number: int, groups: int, network: str) -> Progress:
    """The progress of one group as a part of the whole."""

    def tell(done: int, total: int, now: str) -> None:
        progress(number * 100 + 100 * done // max(1, total), 100 * groups, f"{network}: {now}")

    return tell


def studies_in(out: Path, networks: Iterable[Network]) -> Callable[[CaseRecord, GpuProfile], Study]:
    """The study of each record of these networks, with the traces in a report's folder; each is read once."""
    known = {(network.name, network.batch): network for network in networks}
    kept: dict[tuple[str, int, str], tuple[Network, Trace]] = {}

    def study_of(record: CaseRecord, profile: GpuProfile) -> Study:
        key = (record.network, record.batch, record.math)
        if key not in kept:
            network = known[record.network, record.batch]
            kept[key] = (network, read_trace(trace_path(out / "traces", profile.name, *key), network))
        return Study(*kept[key], profile.with_capacity(record.capacity_bytes), record.pool)

    return study_of


def write_report(out: Path, records: Sequence[CaseRecord], conditions: Mapping[str, str]) -> None:
    """Table, JSON and figure of records."""
    from vdnnsim.calibration.figure import draw_errors

    write_text(out / RESULTS, records_json(records, conditions))
    write_text(out / TABLE, table_text(records, conditions))
    if records:
        draw_errors(records, out / FIGURE)


def table_text(records: Iterable[CaseRecord], conditions: Mapping[str, str]) -> str:
    """All cases as a Markdown table, with the sign of each error, a summary, and how they were measured."""
    rows = list(records)
    lines = [
        "| network (batch) | math | policy | capacity GB | measured ms | predicted ms | error % | spread % | "
        "bytes, addresses, decisions | used for |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.network} ({row.batch}) | {row.math} | {row.policy} | {_gigabytes(row.capacity_bytes)} | "
            f"{row.measured_iteration_time_ns / 1e6:.3f} | {row.predicted_iteration_time_ns / 1e6:.3f} | "
            f"{100 * row.error:+.2f} | {row.spread_ppm / 1e4:.2f}{'' if row.steady else ' (unsteady)'} | "
            f"{'equal' if row.equal else 'DIFFER'} | {'held out' if row.held_out else 'measuring'} |"
        )
    counts = [row.repetitions for row in rows]
    if counts:
        lines += ["", summary(rows), "", f"* medians of {min(counts)} to {max(counts)} iterations"]
    return "\n".join([*lines, *(f"* {key}: {text}" for key, text in conditions.items())]) + "\n"


def _gigabytes(size_bytes: int) -> str:
    """One decimal, or two digits below a gigabyte."""
    return f"{size_bytes / 1e9:.1f}" if size_bytes >= 10**9 else f"{size_bytes / 1e9:.2g}"


def summary(records: Sequence[CaseRecord]) -> str:
    """How near the predictions came, in a sentence, for held-out cases and for all."""
    parts = []
    for title, chosen in (("all", records), ("held out", [record for record in records if record.held_out])):
        if chosen:
            errors = sorted(abs(record.error) for record in chosen)
            within = sum(error <= LARGEST_ERROR for error in errors)
            parts.append(
                f"{title}: {len(chosen)} cases, median error {100 * median(errors):.2f} %, largest "
                f"{100 * errors[-1]:.2f} %, {within} within {100 * LARGEST_ERROR:g} %"
            )
    differing = sum(not record.equal for record in records)
    if differing:
        parts.append(f"bytes, addresses or decisions DIFFER in {differing}")
    return "; ".join(parts) or "no cases"


def _profile(bench: Bench, gpu: str, out: Path, progress: Progress) -> GpuProfile:
    from vdnnsim.calibration.link import measure_link

    path = out / f"{gpu}.toml"
    if not path.is_file():
        progress(0, 1, "link")
        measured = measure_link(bench)
        write_text(path, profile_text(measured, gpu))
    return read_profile(path)


def _trace(bench: Bench, network: Network, math: str, gpu: str, out: Path, progress: Progress) -> Trace:
    from vdnnsim.calibration.tracing import measure_trace

    table = trace_path(out / "traces", gpu, network.name, network.batch, math)
    found = stored_trace(table, network)
    if found is not None:
        return found
    table.parent.mkdir(parents=True, exist_ok=True)
    trace = measure_trace(bench, network, math, gpu, CREATED_BY, progress)
    write_trace(trace, table)
    return trace


def _run_group(bench: Bench, group: CaseGroup, study: Study, progress: Progress) -> list[CaseRecord]:
    machine = bench.machine(study.network, study.trace.header.math)
    records = []
    total = len(group.policies) + len(group.limited)
    for number, policy in enumerate(group.policies):
        progress(number, total, policy)
        records.append(_run(bench, machine, study, policy))
    for number, (policy, capacity) in enumerate(group.limited.items(), start=len(group.policies)):
        progress(number, total, f"{policy} in a pool of limited size")
        records.append(_run(bench, machine, limited_study(study, capacity), policy))
    return records


def _run(bench: Bench, machine: RealMachine, study: Study, policy: str) -> CaseRecord:
    from vdnnsim.calibration.running import run_case

    return record_of(study, policy, run_case(bench, machine, study, make_policy(policy)))
