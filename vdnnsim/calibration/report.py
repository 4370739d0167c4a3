"""`calibrate report`: every case of a list on both machines, as table, JSON and figure."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from vdnnsim.calibration.cases import CaseGroup, CasesFile, limited_study
from vdnnsim.calibration.profile_text import profile_text, with_host_costs
from vdnnsim.calibration.progress import OnProgress, silent
from vdnnsim.calibration.records import (
    LARGEST_ERROR,
    CaseRecord,
    Verdict,
    record_of,
    records_json,
    too_disturbed,
)
from vdnnsim.calibration.resimulation import with_pool_cost
from vdnnsim.calibration.stored import RESULTS, machine_id, profile_path, stored_group, stored_records, stored_trace
from vdnnsim.errors import CannotWrite, VdnnsimError
from vdnnsim.files import read_text, write_text
from vdnnsim.folder_lock import only_writer
from vdnnsim.gpu import GpuProfile, read_profile
from vdnnsim.network import Network, load_network
from vdnnsim.policies import make_policy
from vdnnsim.study import Study
from vdnnsim.trace import Trace, read_trace, trace_path, write_trace
from vdnnsim.workloads import Runnable, workload_of

if TYPE_CHECKING:
    from vdnnsim.calibration.bench import Bench
    from vdnnsim.calibration.running import CaseRun

CREATED_BY = "vdnnsim calibrate report"
TABLE, FIGURE = "table.md", "errors.png"


class Report(NamedTuple):
    """All records, in the order of the list; and of each group that failed, why."""

    records: tuple[CaseRecord, ...]
    failures: Mapping[str, str]


def make_report(bench: Bench, cases: CasesFile, out: Path, progress: OnProgress = silent) -> Report:
    """Run all cases. `out` receives the profile of this machine, the traces, and after every group of cases the table,
    JSON and figure of all so far. What is there already is used, so that an interruption loses one case at most: cases
    that the folder has are not run again. A group that was begun on another machine is measured anew, trace and cases,
    since link, host and kernels of one group belong together.

    Raises `InvalidInput` where the folder is of another GPU or of other networks of the same names, and where another
    process writes into it.
    """
    with only_writer(out):
        return _Making(bench, cases, out, progress).report()


class _Group(NamedTuple):
    """One network in one math mode."""

    cases: CaseGroup
    network: Network
    math: str

    @property
    def title(self) -> str:
        return f"{self.network.name} batch {self.cases.batch}, {self.math}"


class _Making:
    """A report while it is made."""

    def __init__(self, bench: Bench, cases: CasesFile, out: Path, progress: OnProgress) -> None:
        self.bench = bench
        self.gpu = cases.gpu
        self.out = out
        self.progress = progress
        self.machine = machine_id(bench.device)
        networks = {(group.network, group.batch): load_network(group.network, group.batch) for group in cases.case}
        self.networks = networks.values()
        self.groups = [
            _Group(group, networks[group.network, group.batch], math) for group in cases.case for math in group.math
        ]
        stored = stored_records(out, self.gpu, self.networks)
        self.records = [stored_group(stored, group.cases, group.network, group.math) for group in self.groups]
        self.others = [record for record in stored if not any(record is one for one in chain(*self.records))]
        for group in self.groups:
            stored_trace(self._table(group), group.network)
        self.conditions = {"date": time.strftime("%Y-%m-%d %H:%M:%S %Z"), **bench.device.describe()}
        self.failures: dict[str, str] = {}

    def report(self) -> Report:
        """Measure what is missing."""
        missing = [number for number, group in enumerate(self.groups) if not self._complete(number, group)]
        profile = self._profile() if missing else None
        for number in missing:
            assert profile is not None
            tell = _part_of(self.progress, number, len(self.groups), self.groups[number].network.name)
            self._measure(number, profile, tell)
            self._write()
        self._refine_hosts()
        self._write()
        self._draw()  # once: the GPU is not to wait for pictures
        self._publish()
        return Report(tuple(chain(*self.records)), self.failures)

    def _complete(self, number: int, group: _Group) -> bool:
        finished = sum(record.repeated for record in self.records[number])
        return finished == len(group.cases.policies) + len(group.cases.limited)

    def _measure(self, number: int, profile: GpuProfile, progress: OnProgress) -> None:
        group = self.groups[number]
        if any(record.machine != self.machine for record in self.records[number]):
            self.records[number] = []
            key = (group.network.name, group.network.batch, group.math)  # of which the trace is measured anew
            self.others = [one for one in self.others if (one.network, one.batch, one.math) != key]
        try:
            study = Study(workload_of(group.network), self._trace(number, profile, progress), profile)
            self._run_group(number, study, progress)
        except CannotWrite:
            raise
        except VdnnsimError as error:
            progress(0, 1, f"batch {group.cases.batch}, {group.math} failed: {error}")
            self.failures[group.title] = str(error)

    def _run_group(self, number: int, study: Study, progress: OnProgress) -> None:
        """Every case that is missing, then all of these once more: what drifts is seen some time later."""
        from vdnnsim.calibration.running import DoesNotFit, repeat_case, run_case

        cases, title = self.groups[number].cases, self.groups[number].title
        wanted: dict[str, str | None] = {**dict.fromkeys(cases.policies), **cases.limited}
        found = {record.policy: record for record in self.records[number]}
        chosen = [policy for policy in wanted if policy not in found or not found[policy].repeated]
        machine = self.bench.machine(study.network, study.trace.header.math)
        studies = {
            policy: study if (capacity := wanted[policy]) is None else limited_study(study, capacity)
            for policy in chosen
        }

        def keep(policy: str, run: CaseRun) -> None:
            found[policy] = record_of(studies[policy], policy, run, self.machine)
            self.records[number] = [found[policy] for policy in wanted if policy in found]
            self._keep()

        runs = {}
        for index, policy in enumerate(chosen):
            progress(index, 2 * len(chosen), policy)
            try:
                runs[policy] = run_case(self.bench, machine, studies[policy], make_policy(policy))
            except DoesNotFit as error:  # others may, on a smaller GPU than the list was written for
                self.failures[f"{title}, {policy}"] = str(error)
            else:
                keep(policy, runs[policy])
        for index, policy in enumerate(runs):
            progress(len(chosen) + index, 2 * len(chosen), f"{policy} again")
            keep(policy, repeat_case(self.bench, machine, studies[policy], runs[policy]))

    def _keep(self) -> None:
        write_text(self.out / RESULTS, records_json(self._all(), self.conditions))

    def _all(self) -> Iterable[CaseRecord]:
        """In the order of the list, then what the folder has of other lists."""
        return chain(*self.records, self.others)

    def _trace(self, number: int, profile: GpuProfile, progress: OnProgress) -> Trace:
        """The group's trace, measured unless the folder has one of this machine; or of whichever its cases are of."""
        from vdnnsim.calibration.tracing import measure_trace

        group = self.groups[number]
        table = self._table(group)
        found = stored_trace(table, group.network)
        if found is not None:
            measured_on = found.header.conditions.get("machine", self.machine)
            if self.records[number] or measured_on == self.machine:
                return found
        table.parent.mkdir(parents=True, exist_ok=True)
        trace = measure_trace(
            self.bench, group.network, group.math, self.gpu, CREATED_BY, progress, profile.host.after_wait
        )
        write_trace(trace, table)
        return trace

    def _table(self, group: _Group) -> Path:
        return trace_path(self.out / "traces", self.gpu, group.network.name, group.network.batch, group.math)

    def _profile(self) -> GpuProfile:
        from vdnnsim.calibration.link import measure_link

        path = profile_path(self.out, self.machine)
        if not path.is_file():
            self.progress(0, 1, "link")
            measured = measure_link(self.bench)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, profile_text(measured, self.gpu))
        profile = read_profile(path)
        self.bench.watch.link.expect(profile.link)
        return profile

    def _refine_hosts(self) -> None:
        """What an allocation costs the host of each machine, where cases are named that say it."""
        measuring = frozenset(
            (group.network.name, group.network.batch, group.math)
            for group in self.groups
            if group.cases.measures_host_in(group.math)
        )
        if not measuring:
            return
        for machine in {record.machine for record in chain(*self.records)}:
            path = profile_path(self.out, machine)
            if not path.is_file():
                continue
            own = [record for record in chain(*self.records) if record.machine == machine]
            study_of = studies_in(self.out, self.networks)
            before = read_profile(path)
            refined, again = with_pool_cost(own, measuring, study_of, before)
            if refined != before:
                write_text(path, with_host_costs(read_text(path), refined, measuring))
            named = {(record.network, record.batch, record.math, record.policy): record for record in again}
            for records in self.records:
                records[:] = [
                    named.get((one.network, one.batch, one.math, one.policy), one) if one.machine == machine else one
                    for one in records
                ]

    def _write(self) -> None:
        self.conditions |= self.bench.watch.describe()
        failed = {f"failed: {key}": why for key, why in self.failures.items()}
        records, conditions = list(self._all()), self.conditions | failed
        write_text(self.out / RESULTS, records_json(records, conditions))
        write_text(self.out / TABLE, table_text(records, conditions))

    def _draw(self) -> None:
        from vdnnsim.figures.calibration import calibration_figure

        if records := list(self._all()):
            calibration_figure(records, self.out / FIGURE)

    def _publish(self) -> None:
        """The profile by the GPU's name is that of the machine with most cases."""
        counts = Counter(record.machine for record in chain(*self.records))
        for machine, _ in counts.most_common(1):
            path = profile_path(self.out, machine)
            if path.is_file():
                write_text(self.out / f"{self.gpu}.toml", read_text(path))


def _part_of(progress: OnProgress, number: int, groups: int, network: str) -> OnProgress:
    """The progress of one group as a part of the whole."""

    def tell(done: int, total: int, now: str) -> None:
        progress(number * 100 + 100 * done // max(1, total), 100 * groups, f"{network}: {now}")

    return tell


def studies_in(out: Path, networks: Iterable[Network]) -> Callable[[CaseRecord, GpuProfile], Study]:
    """The study of each record of these networks, with the traces in a report's folder; each is read once."""
    known = {(network.name, network.batch): network for network in networks}
    kept: dict[tuple[str, int, str], tuple[Runnable, Trace]] = {}

    def study_of(record: CaseRecord, profile: GpuProfile) -> Study:
        key = (record.network, record.batch, record.math)
        if key not in kept:
            network = known[record.network, record.batch]
            kept[key] = (workload_of(network), read_trace(trace_path(out / "traces", profile.name, *key), network))
        return Study(*kept[key], profile.with_capacity(record.capacity_bytes), record.pool)

    return study_of


def table_text(records: Iterable[CaseRecord], conditions: Mapping[str, str]) -> str:
    """All cases as a Markdown table, with the sign of each error, a summary, and how they were measured."""
    rows = list(records)
    headings, cells = case_table(rows)
    lines = [f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
    lines += [f"| {' | '.join(row)} |" for row in cells]
    counts = [row.repetitions for row in rows]
    if counts:
        lines = [summary(rows), "", *lines, "", f"* medians of {min(counts)} to {max(counts)} iterations"]
        if any(row.plain_iteration_time_ns is not None for row in rows):
            lines.append("* slow link: how much of an iteration was a link slower than it can be; measured is without")
    return "\n".join([*lines, *(f"* {key}: {text}" for key, text in conditions.items())]) + "\n"


def case_table(records: Sequence[CaseRecord]) -> tuple[list[str], list[list[str]]]:
    """The headings, and a row of cells for each case, with the sign of its error."""
    ranges = ["range ms"] if any(row.inside is not None for row in records) else []
    headings = ["network (batch)", "math", "policy", "capacity GB", "measured ms", "predicted ms", *ranges, "error %"]
    headings += ["spread %", "slow link %", "verdict", "bytes, addresses, decisions", "used for"]
    rows = [
        [
            f"{row.network} ({row.batch})",
            row.math,
            row.policy,
            _gigabytes(row.capacity_bytes),
            f"{row.measured_iteration_time_ns / 1e6:.3f}",
            f"{row.predicted_iteration_time_ns / 1e6:.3f}",
            *([_range(row)] if ranges else []),
            f"{100 * row.error:+.2f}",
            f"{row.spread_ppm / 1e4:.2f}",
            _slow_link(row),
            "; ".join((row.verdict, *row.doubts)),
            "equal" if row.equal else "DIFFER",
            "held out" if row.held_out else "measuring",
        ]
        for row in records
    ]
    return headings, rows


def _slow_link(row: CaseRecord) -> str:
    """Nothing where the link was not watched yet."""
    return "" if row.plain_iteration_time_ns is None else f"{row.taken_off_ppm / 1e4:.1f}"


def _range(row: CaseRecord) -> str:
    low_ns, high_ns = row.predicted_iteration_time_low_ns, row.predicted_iteration_time_high_ns
    return "" if low_ns is None or high_ns is None else f"{low_ns / 1e6:.3f} to {high_ns / 1e6:.3f}"


def _gigabytes(size_bytes: int) -> str:
    """One decimal, or two digits below a gigabyte."""
    return f"{size_bytes / 1e9:.1f}" if size_bytes >= 10**9 else f"{size_bytes / 1e9:.2g}"


def summary(records: Sequence[CaseRecord]) -> str:
    """How many predictions agree, and how near those came that can be told, for held-out cases and for all."""
    counts = Counter(record.verdict for record in records)
    parts = too_disturbed(counts[Verdict.CANNOT_BE_TOLD], len(records))
    for title, chosen in (("all", records), ("held out", [record for record in records if record.held_out])):
        told = sorted(abs(record.error) for record in chosen if record.verdict is not Verdict.CANNOT_BE_TOLD)
        if chosen:
            found = Counter(record.verdict for record in chosen)
            text = (
                f"{title}: {len(chosen)} cases, {found[Verdict.AGREES]} agree within {100 * LARGEST_ERROR:g} %, "
                f"{found[Verdict.DISAGREES]} disagree, {found[Verdict.CANNOT_BE_TOLD]} cannot be told here"
            )
            near = f"; median error {100 * median(told):.2f} %, largest {100 * told[-1]:.2f} %" if told else ""
            parts.append(text + near)
    inside = [one.inside for one in records if one.verdict is not Verdict.CANNOT_BE_TOLD and one.inside is not None]
    if inside:
        share = f"{100 * sum(inside) / len(inside):.0f} %"
        parts.append(f"{sum(inside)} of {len(inside)} measurements that can be told lie inside their ranges ({share})")
    differing = sum(not record.equal for record in records)
    if differing:
        parts.append(f"bytes, addresses or decisions DIFFER in {differing}")
    return ". ".join(parts) or "no cases"
