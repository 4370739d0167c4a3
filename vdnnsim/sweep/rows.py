"""A run of points, and its entries in the table: its inputs, and its numbers or the reason that there are none."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from vdnnsim.gpu import LinkCurve
from vdnnsim.metrics.loss import BINDING, LOSS_BINDS, Loss
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
    bandwidths_bytes_per_s: np.ndarray
    latencies_ns: np.ndarray
    scales_ppm: np.ndarray

    def part(self, chosen: np.ndarray) -> Run:
        """The points that a mask or an array of places chooses."""
        return replace(
            self,
            points=self.points[chosen],
            bandwidths_bytes_per_s=self.bandwidths_bytes_per_s[chosen],
            latencies_ns=self.latencies_ns[chosen],
            scales_ppm=self.scales_ppm[chosen],
        )

    def study(self) -> Study:
        """Network, trace and GPU with the run's pool, weight gradients and capacity."""
        capacity_bytes = int(self.values["capacity"])
        return point_study(
            self.source.study,
            str(self.values["pool"]),
            str(self.values["weight_gradients"]),
            None if capacity_bytes == OWN else capacity_bytes,
        )

    @cached_property
    def links(self) -> tuple[LinkTable, np.ndarray]:
        """The distinct links, and which of them each point has."""
        stacked = np.stack([self.bandwidths_bytes_per_s, self.latencies_ns])
        pairs, link_of = np.unique(stacked, axis=1, return_inverse=True)
        return LinkTable(self.source.study.gpu, *pairs), link_of.reshape(-1)

    @cached_property
    def scales(self) -> tuple[np.ndarray, np.ndarray]:
        """The distinct compute scales, and which of them each point has."""
        scales_ppm, scale_of = np.unique(self.scales_ppm, return_inverse=True)
        return scales_ppm, scale_of


def input_entries(run: Run, version: str) -> dict[str, Entry]:
    """What the points are, and where it is from."""
    values = dict(run.values)
    capacity_bytes = values.pop("capacity")
    gpu = run.source.study.gpu
    bandwidths, latencies = run.bandwidths_bytes_per_s, run.latencies_ns
    error_ppm = run.source.interpolation_error_ppm

    def bandwidth(curve: LinkCurve) -> np.ndarray:
        return np.where(bandwidths == OWN, curve.bandwidth_bytes_per_s, bandwidths)

    def latency(curve: LinkCurve) -> np.ndarray:
        return np.where(latencies == OWN, curve.points[0].duration_ns, latencies)

    study = run.source.study
    return {
        **values,
        "batch": study.workload.batch,
        "math": study.trace.header.math,
        "point": run.points,
        "capacity_bytes": gpu.capacity_bytes if capacity_bytes == OWN else capacity_bytes,
        "link_bandwidth_bytes_per_s": None if (bandwidths == OWN).all() else bandwidths,
        "link_latency_ns": None if (latencies == OWN).all() else latencies,
        "compute_scale_ppm": run.scales_ppm,
        "link_out_bytes_per_s": bandwidth(gpu.link.copy_out),
        "link_in_bytes_per_s": bandwidth(gpu.link.copy_in),
        "link_out_latency_ns": latency(gpu.link.copy_out),
        "link_in_latency_ns": latency(gpu.link.copy_in),
        "trace_batch": run.source.trace_batch,
        "trace_checked": study.workload.captured is not None or bool(study.trace.header.layers),
        "interpolation_error_ppm": None if error_ppm < 0 else error_ppm,
        "vdnnsim_version": version,
        "point_hash": _hashes(run),
    }


def failed_entries(reason: str) -> dict[str, Entry]:
    """What a failed point has instead of numbers."""
    return {**dict.fromkeys(NUMBERS), "status": "failed", "reason": reason}


def number_entries(
    run: Run, prepared: Prepared, times: Times, oracle: Times, oracle_label: Provenance
) -> dict[str, Entry]:
    """All numbers of points that ran; `oracle` are the oracle's times at the same points, which performance rests on as
    well."""
    use, inner = prepared.use, prepared.inner_use
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
        "pinned_host_bytes": prepared.program.pinned_host_bytes,
        "deferred_prefetches": prepared.deferred_prefetches,
        "feature_extraction_time_ns": times.feature_extraction_time_ns,
        "feature_extraction_performance": _ratio(oracle.feature_extraction_time_ns, times.feature_extraction_time_ns),
        "feature_extraction_stall_ns": times.feature_extraction_stall_ns,
        "feature_extraction_peak_bytes": inner.peak_bytes,
        "feature_extraction_average_bytes": times.feature_extraction_average_bytes,
        "feature_extraction_average_bytes_per_step": inner.average_bytes_per_step,
        "provenance": _provenance(run, prepared, oracle_label),
    }


def _ratio(best_ns: np.ndarray, own_ns: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(own_ns > 0, best_ns / np.maximum(own_ns, 1), 1.0))


def _spent(times: Times) -> tuple[np.ndarray, ...]:
    """`metrics.Spent` of every point."""
    host_ns = times.iteration_time_ns - times.kernel_ns - times.stall_ns - times.synchronise_ns
    stalls_ns = (times.copies_out_ns, times.copies_in_ns, times.late_fetches_ns)
    return (times.kernel_ns, *stalls_ns, host_ns, times.synchronise_ns)


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


def _provenance(run: Run, prepared: Prepared, oracle_label: Provenance) -> Entry:
    """What the program used, and modelled where the point has kernels or copies that nobody timed."""
    hypothetical = run.scales_ppm != PPM
    if prepared.copies:
        hypothetical = hypothetical | (run.bandwidths_bytes_per_s != OWN) | (run.latencies_ns != OWN)
    own = weakest([prepared.provenance, oracle_label]).value
    if not hypothetical.any():
        return own
    return np.where(hypothetical, Provenance.MODELLED.value, own)


def _hashes(run: Run) -> np.ndarray:
    """A hash of each point's inputs by content: traces and GPUs by what they say, not by their names."""
    alone = (run.values["topology"], run.values["gpus"]) == (NO_TOPOLOGY, 1)
    values = sorted((name, value) for name, value in run.values.items() if not (alone and name in HOST_AXES))
    text = "\0".join([run.digest, *(f"{name}={value}" for name, value in values)])
    key = hashlib.sha256(text.encode()).digest()
    varying = np.stack([run.bandwidths_bytes_per_s, run.latencies_ns, run.scales_ppm], axis=1).astype("<i8").tobytes()
    width = len(varying) // len(run.points)
    hashes = [
        hashlib.blake2b(varying[start : start + width], digest_size=_HASH_BYTES, key=key).hexdigest()
        for start in range(0, len(varying), width)
    ]
    return np.array(hashes, dtype=object)
