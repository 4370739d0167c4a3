"""The columns of a sweep's results: name, kind, unit and meaning. Units stand in the names as well, integers inside."""

from __future__ import annotations

from typing import NamedTuple

from vdnnsim.captured.step import BlockClass
from vdnnsim.metrics.loss import LOSS_WORDS
from vdnnsim.program import MemoryClass

CLASSES = tuple(dict.fromkeys(kind.value for classes in (MemoryClass, BlockClass) for kind in classes))
"""Of networks and of captured steps; the columns of those that a point has not are null."""


class Column(NamedTuple):
    """`kind` is text, int, float or bool. Every column may hold nulls: numbers of points that failed, for one."""

    name: str
    kind: str
    unit: str
    meaning: str


def class_column(memory_class: str) -> str:
    """The column of the bytes of a memory class at the peak."""
    return f"{memory_class.replace(' ', '_')}_at_peak_bytes"


def loss_column(part: str) -> str:
    """The column of a part of the loss against the oracle."""
    return f"loss_{part}"


_INPUTS = (
    Column("point", "int", "", "number of the point in the product of all axes; filters leave gaps"),
    Column("network", "text", "", "as the spec names it"),
    Column("batch", "int", "images", "images of an iteration"),
    Column("gpu", "text", "", "as the spec names it"),
    Column("math", "text", "", "math mode of the trace"),
    Column("weight_gradients", "text", "", "where weight gradients live"),
    Column("pool", "text", "", "kind of memory pool"),
    Column("policy", "text", "", "as the spec names it"),
    Column("topology", "text", "", "the host whose links GPUs share, as the spec names it; none: one by itself"),
    Column("gpus", "int", "", "GPUs that run at once; numbers are those of the one whose iteration takes longest"),
    Column("start", "text", "", "together, or staggered: every second GPU begins half an iteration later"),
    Column("numa", "text", "", "whether the host's memory is on the GPU's own socket, local, or on another, remote"),
    Column("host_scale_ppm", "int", "ppm", "how long the host's calls take; 1000000 as in the profile"),
    Column("pinned_budget_bytes", "int", "B", "what the host can pin, as asked; null for the profile's own"),
    Column("capacity_bytes", "int", "B", "device memory"),
    Column("link_bandwidth_bytes_per_s", "int", "B/s", "of large copies both ways, as asked; null for the GPU's own"),
    Column("link_bandwidth_out_bytes_per_s", "int", "B/s", "of large copies out, as asked; null for both ways'"),
    Column("link_bandwidth_in_bytes_per_s", "int", "B/s", "of large copies in, as asked; null for both ways'"),
    Column("link_latency_ns", "int", "ns", "of the smallest copy both ways, as asked; null for the GPU's own"),
    Column("compute_scale_ppm", "int", "ppm", "how fast kernels are; 1000000 as in the trace"),
    Column("link_out_bytes_per_s", "int", "B/s", "of large copies out"),
    Column("link_in_bytes_per_s", "int", "B/s", "of large copies in"),
    Column("link_out_latency_ns", "int", "ns", "of the smallest copy out"),
    Column("link_in_latency_ns", "int", "ns", "of the smallest copy in"),
    Column("trace_batch", "text", "", "the batch that was timed, or the two between which kernels were interpolated"),
    Column(
        "interpolation_error_ppm",
        "int",
        "ppm",
        "leave-one-out error of interpolated kernel times; 0 where none is, null where it is unknown",
    ),
    Column("trace_checked", "bool", "", "whether the trace says of which layers it is"),
)
_NUMBERS = (
    Column("status", "text", "", "ok, or failed: then reason says why and numbers are null"),
    Column("trainable", "bool", "", "whether the policy fits; if not, numbers are those of a pool that had room"),
    Column("reason", "text", "", "why the point failed or the policy does not fit; else empty"),
    Column("needed_bytes", "int", "B", "a capacity in which the program was seen to fit"),
    Column("iteration_time_ns", "int", "ns", "one training iteration"),
    Column("oracle_time_ns", "int", "ns", "the oracle's iteration on the same GPU"),
    Column("performance", "float", "", "the oracle's iteration time over this one's"),
    Column("stall_ns", "int", "ns", "the compute engine stood still, its next kernel waiting for a copy"),
    Column("kernel_ns", "int", "ns", "kernels were running"),
    Column("energy_j", "float", "J", "of the iteration; null, as watts, where the profile has no power figures"),
    Column("average_power_w", "float", "W", "over the iteration"),
    Column("peak_power_w", "float", "W", "at most"),
    Column("power_provenance", "text", "", "the weakest label of what power rests on; null without it"),
    *(
        Column(loss_column(part), "int", "ns", f"more than the oracle's iteration: {words}")
        for part, words in LOSS_WORDS.items()
    ),
    Column("bound", "text", "", "what binds: compute, algorithm, recompute, link, fetch, host or memory"),
    Column("peak_bytes", "int", "B", "most bytes in use, as asked for"),
    Column("average_bytes", "int", "B", "average over time of bytes in use"),
    Column("average_bytes_per_step", "int", "B", "average over layer steps of the most in use during each"),
    Column("pool_high_water_bytes", "int", "B", "the most that the pool needed, with its rounding and holes"),
    Column("largest_hole_bytes", "int", "B", "largest request that would have succeeded when most was in use"),
    *(Column(class_column(memory_class), "int", "B", f"{memory_class} in use at the peak") for memory_class in CLASSES),
    Column("offloaded_bytes", "int", "B", "copied out"),
    Column("prefetched_bytes", "int", "B", "copied in"),
    Column("pinned_host_bytes", "int", "B", "pinned host memory that the copies need"),
    Column("nvme_bytes", "int", "B", "written from there to NVMe"),
    Column("deferred_prefetches", "int", "", "layers whose prefetch found no room and waited"),
    Column("feature_extraction_time_ns", "int", "ns", "the layers before the classifier: their share of the iteration"),
    Column("feature_extraction_performance", "float", "", "the oracle's share over this one's"),
    Column("feature_extraction_stall_ns", "int", "ns", "stalls of the layers before the classifier"),
    Column("feature_extraction_peak_bytes", "int", "B", "most bytes in use of these layers"),
    Column("feature_extraction_average_bytes", "int", "B", "average over time of bytes in use of these layers"),
    Column("feature_extraction_average_bytes_per_step", "int", "B", "average over layer steps, of these layers"),
    Column("provenance", "text", "", "the weakest label of what the point used: measured, published or modelled"),
    Column("engine", "text", "", "which engine worked it out: vectorised or reference; both give the same numbers"),
)
_ORIGIN = (
    Column("vdnnsim_version", "text", "", "of the package that worked it out"),
    Column("point_hash", "text", "", "hash of the content of all inputs of the point"),
)
NUMBERS = tuple(column.name for column in _NUMBERS)
"""The columns that are null for points that failed, but for status and reason."""
COLUMNS = (*_INPUTS, *_NUMBERS, *_ORIGIN)
"""Every column, in order."""
