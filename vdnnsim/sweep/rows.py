"""A run of points, and its entries in the table: its inputs, and its numbers or the reason that there are none."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from vdnnsim.changes import LOCAL, Changes
from vdnnsim.gpu import LinkCurve
from vdnnsim.metrics.loss import BINDING, LOSS_BINDS, Loss
from vdnnsim.metrics.power import energy_of, peak_of
from vdnnsim.study import Study
from vdnnsim.sweep.axes import HOST_AXES, NO_TOPOLOGY, OWN, Value
from vdnnsim.sweep.columns import CLASSES, NUMBERS, class_column, loss_column
from vdnnsim.sweep.links import LinkTable
from vdnnsim.sweep.prepared import Prepared, point_study
from vdnnsim.sweep.recurrence import Times
from vdnnsim.sweep.sources import Source
from vdnnsim.sweep.table import Entry
from vdnnsim.trace import Provenance, weakest
from vdnnsim.units import PPM

_HASH_BYTES = 12


@dataclass(frozen=True)
class Run:
    """Points of one program. `values` are those of the axes that are the same for all of them, `digest` covers the
    content of what these name; the arrays have one element for each point."""

    source: Source
    digest: str
    values: Mapping[str, Value]
    points: np.ndarray
    both_bytes_per_s: np.ndarray
    outs_bytes_per_s: np.ndarray
    ins_bytes_per_s: np.ndarray
    latencies_ns: np.ndarray
    scales_ppm: np.ndarray

    def part(self, chosen: np.ndarray) -> Run:
        """The points that a mask or an array of places chooses."""
        return replace(
            self,
            points=self.points[chosen],
            both_bytes_per_s=self.both_bytes_per_s[chosen],
            outs_bytes_per_s=self.outs_bytes_per_s[chosen],
            ins_bytes_per_s=self.ins_bytes_per_s[chosen],
            latencies_ns=self.latencies_ns[chosen],
            scales_ppm=self.scales_ppm[chosen],
        )

    @cached_property
    def base(self) -> Study:
        """The source's, with the run's host, and its side of that memory. Raises `InvalidInput` where there is none."""
        budget_bytes = int(self.values["pinned_budget"])
        changes = Changes(
            host_scale=int(self.values["host_scale"]) / PPM,
            pinned_budget=None if budget_bytes == OWN else budget_bytes,
        )
        study = self.source.study
        return replace(study, gpu=study.gpu.on_numa(str(self.values["numa"]))).changed(changes)

    @property
    def bandwidths_bytes_per_s(self) -> tuple[np.ndarray, np.ndarray]:
        """Out and in: one way's own where it is asked for, else that of both ways."""
        ways = (self.outs_bytes_per_s, self.ins_bytes_per_s)
        outs, ins = (np.where(way == OWN, self.both_bytes_per_s, way) for way in ways)
        return outs, ins

    def study(self) -> Study:
        """Network, trace and GPU with the run's pool, weight gradients and capacity."""
        capacity_bytes = int(self.values["capacity"])
        return point_study(
            self.base,
            str(self.values["pool"]),
            str(self.values["weight_gradients"]),
            None if capacity_bytes == OWN else capacity_bytes,
        )

    @cached_property
    def links(self) -> tuple[LinkTable, np.ndarray]:
        """The distinct links, and which of them each point has."""
        stacked = np.stack([*self.bandwidths_bytes_per_s, self.latencies_ns])
        triples, link_of = np.unique(stacked, axis=1, return_inverse=True)
        return LinkTable(self.base.gpu, *triples), link_of.reshape(-1)

    @cached_property
    def scales(self) -> tuple[np.ndarray, np.ndarray]:
        """The distinct compute scales, and which of them each point has."""
        scales_ppm, scale_of = np.unique(self.scales_ppm, return_inverse=True)
        return scales_ppm, scale_of


def input_entries(run: Run, version: str) -> dict[str, Entry]:
    """What the points are, and where it is from."""
    values = dict(run.values)
    capacity_bytes, budget_bytes = values.pop("capacity"), values.pop("pinned_budget")
    gpu = run.source.study.gpu
    own = gpu if run.values["numa"] == LOCAL or gpu.remote is None else run.base.gpu  # of what failed, its own
    latencies = run.latencies_ns
    outs, ins = run.bandwidths_bytes_per_s
    error_ppm = run.source.interpolation_error_ppm

    def bandwidth(curve: LinkCurve, asked: np.ndarray) -> np.ndarray:
        return np.where(asked == OWN, curve.bandwidth_bytes_per_s, asked)

    def latency(curve: LinkCurve) -> np.ndarray:
        return np.where(latencies == OWN, curve.points[0].duration_ns, latencies)

    study = run.source.study
    host_scale_ppm = values.pop("host_scale")
    return {
        **values,
        "batch": study.workload.batch,
        "math": study.trace.header.math,
        "point": run.points,
        "capacity_bytes": gpu.capacity_bytes if capacity_bytes == OWN else capacity_bytes,
        "host_scale_ppm": host_scale_ppm,
        "pinned_budget_bytes": None if budget_bytes == OWN else budget_bytes,
        "link_bandwidth_bytes_per_s": _asked(run.both_bytes_per_s),
        "link_bandwidth_out_bytes_per_s": _asked(run.outs_bytes_per_s),
        "link_bandwidth_in_bytes_per_s": _asked(run.ins_bytes_per_s),
        "link_latency_ns": _asked(latencies),
        "compute_scale_ppm": run.scales_ppm,
        "link_out_bytes_per_s": bandwidth(own.link.copy_out, outs),
        "link_in_bytes_per_s": bandwidth(own.link.copy_in, ins),
        "link_out_latency_ns": latency(own.link.copy_out),
        "link_in_latency_ns": latency(own.link.copy_in),
        "trace_batch": run.source.trace_batch,
        "trace_checked": study.workload.captured is not None or bool(study.trace.header.layers),
        "interpolation_error_ppm": None if error_ppm < 0 else error_ppm,
        "vdnnsim_version": version,
        "point_hash": _hashes(run),
    }


def _asked(values: np.ndarray) -> np.ndarray | None:
    return None if (values == OWN).all() else values


def failed_entries(reason: str) -> dict[str, Entry]:
    """What a failed point has instead of numbers."""
    return {**dict.fromkeys(NUMBERS), "status": "failed", "reason": reason}


def number_entries(
    run: Run, prepared: Prepared, times: Times, oracle: Times, oracle_label: Provenance
) -> dict[str, Entry]:
    """All numbers of points that ran; `oracle` are the oracle's times at the same points, which performance rests on as
    well."""
    use, inner = prepared.use, prepared.inner_use
    hypothetical = _hypothetical(run, prepared)
    pinning = prepared.study.gpu.host.pinning
    both = zip(Loss._fields, _spent(times), _spent(oracle), strict=True)
    loss = {loss_column(part): own_ns - best_ns for part, own_ns, best_ns in both}
    at_peak: dict[str, Entry] = {**dict.fromkeys(CLASSES), **use.by_class_at_peak}
    return {
        "status": "ok",
        "trainable": not prepared.reason,
        "reason": prepared.reason,
        "needed_bytes": prepared.needed_bytes,
        "iteration_time_ns": times.iteration_time_ns,
        "oracle_time_ns": oracle.iteration_time_ns,
        "performance": _ratio(oracle.iteration_time_ns, times.iteration_time_ns),
        "stall_ns": times.stall_ns,
        "kernel_ns": times.kernel_ns,
        **_power(prepared, times, hypothetical),
        **loss,
        "bound": _bound(times, list(loss.values()), prepared),
        "peak_bytes": use.peak_bytes,
        "average_bytes": times.average_bytes,
        "average_bytes_per_step": use.average_bytes_per_step,
        "pool_high_water_bytes": prepared.pool_high_water_bytes,
        "largest_hole_bytes": prepared.largest_hole_bytes,
        **{class_column(name): size for name, size in at_peak.items()},
        "offloaded_bytes": prepared.offloaded_bytes,
        "prefetched_bytes": prepared.prefetched_bytes,
        "pinned_host_bytes": pinning.taken_bytes(prepared.program.pinned_sizes_bytes.values()),
        "nvme_bytes": prepared.program.nvme_bytes,
        "deferred_prefetches": prepared.deferred_prefetches,
        "feature_extraction_time_ns": times.feature_extraction_time_ns,
        "feature_extraction_performance": _ratio(oracle.feature_extraction_time_ns, times.feature_extraction_time_ns),
        "feature_extraction_stall_ns": times.feature_extraction_stall_ns,
        "feature_extraction_peak_bytes": inner.peak_bytes,
        "feature_extraction_average_bytes": times.feature_extraction_average_bytes,
        "feature_extraction_average_bytes_per_step": inner.average_bytes_per_step,
        "provenance": _label(weakest([prepared.provenance, oracle_label]), hypothetical),
    }


def _ratio(best_ns: np.ndarray, own_ns: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(own_ns > 0, best_ns / np.maximum(own_ns, 1), 1.0))


def _spent(times: Times) -> tuple[np.ndarray, ...]:
    """`metrics.Spent` of every point."""
    host_ns = times.iteration_time_ns - times.kernel_ns - times.stall_ns - times.synchronise_ns
    stalls_ns = (times.copies_out_ns, times.copies_in_ns, times.late_fetches_ns)
    return (times.kernel_ns - times.again_ns, *stalls_ns, host_ns, times.synchronise_ns, times.again_ns)


def _bound(times: Times, loss_ns: Sequence[np.ndarray], prepared: Prepared) -> Entry:
    """`metrics.verdict` in one word."""
    if prepared.reason:
        return "memory"
    total_ns = times.iteration_time_ns
    parts_ns = np.stack(loss_ns)
    words = np.array([LOSS_BINDS[name] for name in Loss._fields])[np.argmax(parts_ns, axis=0)]
    loses = parts_ns.max(axis=0) * BINDING >= total_ns
    waits_for_host = (total_ns - times.kernel_ns - times.stall_ns) * BINDING >= total_ns
    return np.where(total_ns > 0, np.select([loses, waits_for_host], [words, "host"], "compute"), "nothing")


def _power(prepared: Prepared, times: Times, hypothetical: np.ndarray) -> dict[str, Entry]:
    """What each point draws, as `metrics.power_use` has it, and its label."""
    gpu = prepared.study.gpu
    if gpu.power is None:
        return dict.fromkeys(("energy_j", "average_power_w", "peak_power_w", "power_provenance"))
    total_ns = times.iteration_time_ns
    energy_j = energy_of(gpu.power, total_ns, times.kernel_ns, times.copying_ns)
    apart_w, beside_w = (
        peak_of(gpu.power, bool(prepared.lowered.kernels), prepared.copies, beside) for beside in (False, True)
    )
    return {
        "energy_j": energy_j,
        "average_power_w": np.where(total_ns > 0, energy_j * 1e9 / np.maximum(total_ns, 1), gpu.power.idle_w),
        "peak_power_w": np.where(times.beside_kernels, beside_w, apart_w),
        "power_provenance": _label(weakest([prepared.provenance, gpu.provenance.get("power")]), hypothetical),
    }


def _hypothetical(run: Run, prepared: Prepared) -> np.ndarray:
    """Which points have kernels or copies that nobody timed."""
    hypothetical: np.ndarray = run.scales_ppm != PPM
    if prepared.copies:
        outs, ins = run.bandwidths_bytes_per_s
        hypothetical = hypothetical | (outs != OWN) | (ins != OWN) | (run.latencies_ns != OWN)
    return hypothetical


def _label(own: Provenance, hypothetical: np.ndarray) -> Entry:
    """What the program used, and modelled where the point is hypothetical."""
    return np.where(hypothetical, Provenance.MODELLED.value, own.value) if hypothetical.any() else own.value


def _hashes(run: Run) -> np.ndarray:
    """A hash of each point's inputs by content: traces and GPUs by what they say, not by their names."""
    alone = (run.values["topology"], run.values["gpus"]) == (NO_TOPOLOGY, 1)
    values = sorted((name, value) for name, value in run.values.items() if not (alone and name in HOST_AXES))
    text = "\0".join([run.digest, *(f"{name}={value}" for name, value in values)])
    key = hashlib.sha256(text.encode()).digest()
    times = (run.both_bytes_per_s, run.outs_bytes_per_s, run.ins_bytes_per_s, run.latencies_ns, run.scales_ppm)
    varying = np.stack(times, axis=1).astype("<i8").tobytes()
    width = len(varying) // len(run.points)
    hashes = [
        hashlib.blake2b(varying[start : start + width], digest_size=_HASH_BYTES, key=key).hexdigest()
        for start in range(0, len(varying), width)
    ]
    return np.array(hashes, dtype=object)
