"""From numbers of points to rows: the one place where spec, sources, prepared programs and engines meet.

A `Worker` works out any range of raw points by itself, so that the same code runs in this process, in others, or on a
cluster. It goes run by run: neighbouring points of one program, which differ in link and compute scale alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from vdnnsim.errors import InvalidInput
from vdnnsim.policies import make_policy
from vdnnsim.study import Study
from vdnnsim.sweep.axes import AXES, HOST_AXES, STUDY_AXES, TIME_AXES
from vdnnsim.sweep.engines import Engine, run_points
from vdnnsim.sweep.grid import POINT, Codes, Grid
from vdnnsim.sweep.hosts import Host, host_of
from vdnnsim.sweep.links import point_gpu
from vdnnsim.sweep.prepared import Prepared, prepare, sees_times
from vdnnsim.sweep.recurrence import Times
from vdnnsim.sweep.rows import Run, failed_entries, input_entries, number_entries
from vdnnsim.sweep.sources import Source, StudyCodes
from vdnnsim.sweep.spec import Spec
from vdnnsim.sweep.table import Arrow, Entry, TableBuilder, column_of_integers
from vdnnsim.topology import Topology
from vdnnsim.trace import scaled_trace

_MOST_PREPARED = 256
_PROGRAM_AXES = tuple(name for name in AXES if name not in TIME_AXES)
_ORACLE = "oracle"


@dataclass(frozen=True)
class Assignment:
    """All that a worker must know: it travels to other processes and machines. `version` is the package's; `policies`
    has a digest of the code of each policy, `pools` of each pool of a user's own."""

    spec: Spec
    sources: Mapping[StudyCodes, Source]
    policies: Mapping[str, str]
    engine: Engine
    version: str
    topologies: Mapping[str, Topology] = field(default_factory=dict)
    pools: Mapping[str, str] = field(default_factory=dict)


class Worker:
    """Works out points. Programs that were made for earlier points are kept, as far as neighbours may need them."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._grid = Grid(assignment.spec)
        self._numbers = {name: np.array(assignment.spec.axes[name], dtype=np.int64) for name in TIME_AXES}
        self._kept: dict[tuple[object, ...], Prepared | str] = {}
        self._own_plans = {name: self._plans_for_itself(str(name)) for name in assignment.spec.axes["policy"]}

    @staticmethod
    def _plans_for_itself(policy: str) -> bool:
        try:
            return sees_times(make_policy(policy))
        except Exception:
            return True  # its points fail one by one, with the reason

    def table(self, first: int, last: int) -> Arrow:
        """One row for each kept point among the raw points [first, last), in order."""
        builder = TableBuilder()
        for run in self._runs(self._grid.codes(first, last)):
            self._add(run, builder)
        table = builder.table()
        points = column_of_integers(table, "point")
        # Points that failed were added in one piece before others of their run.
        return table if (np.diff(points) > 0).all() else table.take(np.argsort(points))

    def _runs(self, codes: Codes) -> Iterator[Run]:
        points = codes[POINT]
        if not len(points):
            return
        spec = self._assignment.spec
        changes = np.logical_or.reduce([np.diff(codes[name]) != 0 for name in _PROGRAM_AXES])
        borders = [0, *(int(index) + 1 for index in np.flatnonzero(changes)), len(points)]
        for begin, end in pairwise(borders):
            study = tuple(int(codes[name][begin]) for name in STUDY_AXES)
            values = {name: spec.axes[name][int(codes[name][begin])] for name in _PROGRAM_AXES}
            times = (self._numbers[name][codes[name][begin:end]] for name in TIME_AXES)
            source = self._assignment.sources[study]
            if "pool" not in spec.named:
                values["pool"] = source.study.pool
            digest = f"{source.digest} {self._assignment.policies[str(values['policy'])]}"
            host = self._assignment.topologies.get(str(values["topology"]))
            digest += f" {host.sha256}" if host else ""
            pool = str(values["pool"])
            digest += f" {self._assignment.pools[pool]}" if pool in self._assignment.pools else ""
            yield Run(source, digest, values, points[begin:end], *times)

    def _add(self, run: Run, builder: TableBuilder) -> None:
        try:
            links, link_of = run.links
        except InvalidInput as error:  # a machine that there cannot be
            self._add_failed(run, str(error), builder)
            return
        reasons = links.impossible()
        for link, reason in reasons.items():
            self._add_failed(run.part(link_of == link), reason, builder)
        if reasons:
            run = run.part(~np.isin(link_of, list(reasons)))
        if not len(run.points):
            return
        study = run.study()
        try:
            host = host_of(self._assignment.topologies, run.values)
        except InvalidInput as error:
            self._add_failed(run, str(error), builder)
            return
        oracle = self._prepare(run, replace(study, gpu=run.base.gpu), _ORACLE)
        policy = str(run.values["policy"])
        if not self._own_plans[policy]:
            self._add_prepared(run, self._prepare(run, study, policy), oracle, builder, host)
            return
        for index in range(len(run.points)):
            point = run.part(np.array([index]))
            self._add_prepared(point, _prepared_for(point, study, policy), oracle, builder, host)

    def _add_prepared(
        self, run: Run, prepared: Prepared | str, oracle: Prepared | str, builder: TableBuilder, host: Host | None
    ) -> None:
        for outcome in (prepared, oracle):
            if isinstance(outcome, str):
                self._add_failed(run, outcome, builder)
                return
        assert isinstance(prepared, Prepared)
        assert isinstance(oracle, Prepared)
        try:
            times, engine = self._times(run, prepared, host)
        except InvalidInput as error:  # what several GPUs cannot do
            self._add_failed(run, str(error), builder)
            return
        best, _ = self._times(run, oracle, None)
        builder.add(
            len(run.points),
            {
                **self._inputs(run),
                **number_entries(run, prepared, times, best, oracle.provenance),
                "engine": engine.value,
            },
        )

    def _times(self, run: Run, prepared: Prepared, host: Host | None) -> tuple[Times, Engine]:
        (links, link_of), (scales_ppm, scale_of) = run.links, run.scales
        if prepared.copies:
            return run_points(prepared, links, link_of, scales_ppm, scale_of, self._assignment.engine, host)
        kept, key = prepared.times_at_scales, scales_ppm.tobytes()
        if key not in kept:  # the link is not used: once for all, and for every policy that is held against it
            kept.clear()
            each = np.arange(len(scales_ppm))
            kept[key] = run_points(prepared, links, np.zeros_like(each), scales_ppm, each, self._assignment.engine)
        times, engine = kept[key]
        return Times(*(values[scale_of] for values in times)), engine

    def _add_failed(self, run: Run, reason: str, builder: TableBuilder) -> None:
        builder.add(len(run.points), {**self._inputs(run), **failed_entries(reason)})

    def _inputs(self, run: Run) -> dict[str, Entry]:
        return input_entries(run, self._assignment.version)

    def _prepare(self, run: Run, study: Study, policy: str) -> Prepared | str:
        """The prepared program, or why there is none."""
        values = [run.values[name] for name in _PROGRAM_AXES if name not in ("policy", "capacity", *HOST_AXES)]
        key = (*values, study.gpu.capacity_bytes, policy)
        if key not in self._kept:
            for oldest in list(self._kept)[: -_MOST_PREPARED + 1]:
                self._kept.pop(oldest, None)
            self._kept[key] = prepared = _prepared_or_reason(study, policy)
            return prepared
        return self._kept[key]


def _prepared_or_reason(study: Study, policy: str) -> Prepared | str:
    try:
        return prepare(study, policy)
    except Exception as error:  # a user's policy may raise anything; its points fail, the sweep goes on
        return str(error) if str(error) else type(error).__name__


def _prepared_for(point: Run, study: Study, policy: str) -> Prepared | str:
    """For one point of a policy that may look at times: it sees the point's own link and durations."""
    outs, ins = point.bandwidths_bytes_per_s
    gpu = point_gpu(study.gpu, int(outs[0]), int(ins[0]), int(point.latencies_ns[0]))
    trace = scaled_trace(study.trace, int(point.scales_ppm[0]))
    prepared = _prepared_or_reason(replace(study, gpu=gpu, trace=trace), policy)
    return prepared.under(study) if isinstance(prepared, Prepared) else prepared
