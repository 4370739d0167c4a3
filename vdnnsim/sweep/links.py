"""Links of design points: a GPU's own, with another bandwidth, another start-up time, or both.

`LinkTable.durations` is `LinkCurve.scaled_to` and `LinkCurve.duration_ns` for many links at once, to the same
nanosecond; `LinkTable.gpu` makes one point's GPU with the package's own methods, for the reference engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import WAYS, GpuProfile, LinkCurve
from vdnnsim.program import Stream
from vdnnsim.sweep.axes import OWN

_SAFE = 1 << 62


def point_gpu(gpu: GpuProfile, out_bytes_per_s: int, in_bytes_per_s: int, latency_ns: int) -> GpuProfile:
    """The GPU behind a point's link. Raises `InvalidInput` for one that there cannot be."""
    for way, bandwidth_bytes_per_s in zip(WAYS, (out_bytes_per_s, in_bytes_per_s), strict=True):
        if bandwidth_bytes_per_s != OWN:
            gpu = gpu.with_link_bandwidth(bandwidth_bytes_per_s, (way,))
    return gpu if latency_ns == OWN else gpu.with_link_latency(latency_ns)


class LinkTable:
    """Links of one GPU by number: arrays of bandwidths out and in and of latencies of equal length, `OWN` for the
    GPU's own."""

    def __init__(
        self, gpu: GpuProfile, outs_bytes_per_s: np.ndarray, ins_bytes_per_s: np.ndarray, latencies_ns: np.ndarray
    ) -> None:
        self._gpu = gpu
        self.outs_bytes_per_s = outs_bytes_per_s
        self.ins_bytes_per_s = ins_bytes_per_s
        self.latencies_ns = latencies_ns
        self._times_ns = {
            Stream.COPY_OUT: self._times(gpu.link.copy_out, outs_bytes_per_s),
            Stream.COPY_IN: self._times(gpu.link.copy_in, ins_bytes_per_s),
        }

    def __len__(self) -> int:
        return len(self.latencies_ns)

    def gpu(self, index: int) -> GpuProfile:
        """Raises `InvalidInput` where `possible` says no."""
        outs, ins, latencies = self.outs_bytes_per_s, self.ins_bytes_per_s, self.latencies_ns
        return point_gpu(self._gpu, int(outs[index]), int(ins[index]), int(latencies[index]))

    def possible(self) -> np.ndarray:
        """Which links there can be: none faster than the memory behind it, larger copies taking longer."""
        fastest = np.maximum(self.outs_bytes_per_s, self.ins_bytes_per_s)
        possible = fastest <= self._gpu.memory_bandwidth_bytes_per_s
        for times_ns in self._times_ns.values():
            possible &= (np.diff(times_ns, axis=0) > 0).all(axis=0)
        return np.asarray(possible)

    def impossible(self) -> dict[int, str]:
        """Why there cannot be a link of this number."""
        reasons: dict[int, str] = {}
        for index in np.flatnonzero(~self.possible()):
            try:
                self.gpu(int(index))
            except InvalidInput as error:
                reasons[int(index)] = str(error)
        return reasons

    def _times(self, curve: LinkCurve, bandwidths: np.ndarray) -> np.ndarray:
        """The curve's durations on each link: shape (points, links)."""
        own_ns = np.array([point.duration_ns for point in curve.points], dtype=np.int64)[:, None]
        start_ns = own_ns[0]
        factor = curve.bandwidth_bytes_per_s / np.where(bandwidths == OWN, 1, bandwidths)
        rises_ns = np.maximum(np.rint(np.diff(own_ns, axis=0) * factor).astype(np.int64), 1)
        scaled_ns = start_ns + np.vstack([np.zeros_like(rises_ns[:1]), np.cumsum(rises_ns, axis=0)])
        times_ns = np.where(bandwidths == OWN, own_ns, scaled_ns)
        later_ns = np.where(self.latencies_ns == OWN, 0, self.latencies_ns - start_ns)
        return np.asarray(times_ns + later_ns, dtype=np.int64)

    def durations(self, stream: Stream, sizes_bytes: Sequence[int]) -> np.ndarray:
        """How long copies of these sizes take alone: shape (sizes, links)."""
        link = self._gpu.link
        points = (link.copy_out if stream is Stream.COPY_OUT else link.copy_in).points
        times_ns = self._times_ns[stream]
        rows = np.empty((len(sizes_bytes), len(self)), dtype=np.int64)
        for row, size in enumerate(sizes_bytes):
            if size <= points[0].size_bytes:
                rows[row] = times_ns[0]
                continue
            index = min(sum(point.size_bytes < size for point in points), len(points) - 1)
            left, right = points[index - 1].size_bytes, points[index].size_bytes
            rise_ns = times_ns[index] - times_ns[index - 1]
            if int(rise_ns.max(initial=0)) * (size - left) >= _SAFE:
                rise_ns = rise_ns.astype(object)  # integers without end, slower
            rows[row] = times_ns[index - 1] + (rise_ns * (size - left) // (right - left)).astype(np.int64)
        return rows
