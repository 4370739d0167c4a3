"""What each figure measures on one case: functions from a bench to bars. Nothing here draws, or knows the paper's
numbers. Bytes are shown in GB (10^9), times in ms, ratios in %."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from vdnnsim import InvalidInput, Kind, Layer, layer_traffic
from vdnnsim_paper.bars import LEFT, RIGHT, TABLE, Bar
from vdnnsim_paper.bench import BASELINE, ORACLE, Bench
from vdnnsim_paper.config import FigureFile
from vdnnsim_paper.overlap import overlap

Measure = Callable[[Bench, FigureFile], Iterator[Bar]]
GB = 10**9
WITH_WEIGHTS = frozenset({Kind.CONV, Kind.FC})


def allocation(bench: Bench, _: FigureFile) -> Iterator[Bar]:
    """Figure 1: what the baseline allocates for the whole network, and the largest part of it that one layer uses."""
    result = bench.run(BASELINE).result
    group = bench.case.label
    used = max(step.touched_bytes for step in layer_traffic(bench.study, bench.run(BASELINE)))
    yield Bar(group, "baseline", "allocated", LEFT, result.peak_bytes / GB, "GB", result.trainable)
    yield Bar(group, "baseline", "largest part in use by one layer", RIGHT, 100 * used / result.peak_bytes, "%")


def breakdown(bench: Bench, _: FigureFile) -> Iterator[Bar]:
    """Figure 4: the baseline's bytes by class, and the part that feature extraction takes of them."""
    result = bench.run(BASELINE).result
    group = bench.case.label
    for name, size_bytes in result.bytes_by_class_at_peak.items():
        if size_bytes or name != "weight gradients":
            yield Bar(group, "baseline", name, LEFT, size_bytes / GB, "GB", result.trainable)
    share = 100 * result.feature_extraction.peak_bytes / result.peak_bytes
    yield Bar(group, "baseline", "feature extraction", RIGHT, share, "%")


def layer_memory(bench: Bench, _: FigureFile) -> Iterator[Bar]:
    """Figure 5: X and Y of each layer with weights in forward, its workspace, and its weights."""
    plan = bench.run(BASELINE).plan
    for layer in _with_weights(bench):
        inputs = sum(found.size_bytes for found in bench.study.network.input_maps(layer))
        maps = inputs + bench.study.network.output_map(layer).size_bytes
        workspace = plan.workspaces.get((layer.name, "forward"), 0)
        yield Bar(layer.name, "forward", "feature maps", LEFT, maps / GB, "GB")
        yield Bar(layer.name, "forward", "workspace", LEFT, workspace / GB, "GB")
        yield Bar(layer.name, "forward", "weights", RIGHT, layer.weights_bytes / 1e6, "MB")


def latency(bench: Bench, _: FigureFile) -> Iterator[Bar]:
    """Figure 6: time of each layer with weights, and how long its X lies unused in between."""
    run = bench.run(BASELINE)
    kernels = {(step.layer, step.backward): step.kernel_ns for step in run.steps}
    distances = {layer.layer: layer.reuse_distance_ns for layer in run.result.layers}
    for layer in _with_weights(bench):
        yield Bar(layer.name, "forward", "", LEFT, kernels[layer.name, False] / 1e6, "ms")
        yield Bar(layer.name, "backward", "", LEFT, kernels[layer.name, True] / 1e6, "ms")
        yield Bar(layer.name, "reuse distance of X", "", RIGHT, distances[layer.name] / 1e6, "ms")


def memory(bench: Bench, file: FigureFile) -> Iterator[Bar]:
    """Figure 11: maximum and average memory of each policy, and the average saved against the baseline."""
    for policy in file.policies:
        result = bench.run(policy).result
        sizes = {"maximum": bench.maximum_bytes(result), "average": bench.average_bytes(result)}
        for part, size_bytes in sizes.items():
            yield Bar(bench.case.label, policy, part, LEFT, size_bytes / GB, "GB", result.trainable)
        if not policy.startswith("baseline"):
            yield Bar(bench.case.label, policy, "average saved", RIGHT, 100 * bench.saved(policy), "%")


def offloaded(bench: Bench, file: FigureFile) -> Iterator[Bar]:
    """Figure 12: bytes that an iteration copies out."""
    for policy in file.policies:
        result = bench.run(policy).result
        yield Bar(bench.case.label, policy, "", LEFT, result.offloaded_bytes / GB, "GB", result.trainable)


def bandwidth(bench: Bench, _: FigureFile) -> Iterator[Bar]:
    """Figure 13: device-memory bandwidth that each layer needs at least."""
    wanted = {layer.name for layer in bench.study.network.layers if layer.kind in (Kind.CONV, Kind.POOL)}
    steps = [step for step in layer_traffic(bench.study, bench.run(ORACLE)) if step.layer in wanted]
    backward = {step.layer: step for step in steps if step.backward}
    for step in steps:
        if not step.backward:
            for series, own in (("forward", step), ("backward", backward[step.layer])):
                yield Bar(step.layer, series, "", LEFT, own.bandwidth_bytes_per_s / GB, "GB/s")


def performance(bench: Bench, file: FigureFile) -> Iterator[Bar]:
    """Figure 14: performance of each policy relative to the oracle."""
    for policy in file.policies:
        trains = bench.run(policy).result.trainable
        yield Bar(bench.case.label, policy, "", LEFT, bench.performance(policy), "", trains)


def very_deep(bench: Bench, _: FigureFile) -> Iterator[Bar]:
    """Figure 15: the baseline's memory, and vDNN-dyn's on the GPU and on the host."""
    group = bench.case.label
    baseline, dynamic = bench.run(BASELINE).result, bench.run("vdnn-dyn").result
    yield Bar(group, BASELINE, "on the GPU", LEFT, baseline.peak_bytes / GB, "GB", baseline.trainable)
    yield Bar(group, "vdnn-dyn", "on the GPU", LEFT, dynamic.peak_bytes / GB, "GB", dynamic.trainable)
    yield Bar(group, "vdnn-dyn", "on the host", LEFT, dynamic.pinned_host_bytes / GB, "GB", dynamic.trainable)
    yield Bar(group, "vdnn-dyn", "average saved", RIGHT, 100 * bench.saved("vdnn-dyn"), "%")
    yield Bar(group, "vdnn-dyn", "performance", TABLE, bench.performance("vdnn-dyn"), "", dynamic.trainable)


def power(bench: Bench, file: FigureFile) -> Iterator[Bar]:
    """The power estimate: maximum and average over an iteration, against an iteration without copies."""
    before = bench.run(ORACLE).result.power
    for policy in file.policies:
        run = bench.run(policy)
        after = run.result.power
        if before is None or after is None:
            expected = "idle_w, compute_w, copy_w"
            raise InvalidInput(f"GPU {bench.study.gpu.name}: found no [power] in its profile, expected {expected}")
        trains = run.result.trainable
        maximum = 100 * (after.peak_w / before.peak_w - 1)
        average = 100 * (after.average_w / before.average_w - 1)
        energy = 100 * (after.energy_j / before.energy_j - 1)
        yield Bar(bench.case.label, f"{policy} maximum", "", LEFT, maximum, "%", trains)
        yield Bar(bench.case.label, f"{policy} average", "", LEFT, average, "%", trains)
        yield Bar(bench.case.label, f"{policy} energy", "", TABLE, energy, "%", trains)


def _with_weights(bench: Bench) -> list[Layer]:
    return [layer for layer in bench.study.network.layers if layer.kind in WITH_WEIGHTS]


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "allocation": allocation,
        "breakdown": breakdown,
        "layer memory": layer_memory,
        "latency": latency,
        "overlap": overlap,
        "memory": memory,
        "offloaded": offloaded,
        "bandwidth": bandwidth,
        "performance": performance,
        "very deep": very_deep,
        "power": power,
    }
)
"""By the name that a figure's file gives."""
