"""Two short hashes for each shipped trace, policy and setting (pool, capacity, link, host): of its run, which is every
time, copy, byte and address of the iteration and what was decided, and of the numbers made from it, stalls among them.

Buffers count as the how-manieth they are, so that what they are called may change; when anything happened may not.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from support.examples import THOROUGH
from vdnnsim.catalog import data_directory
from vdnnsim.comparing import compare_policies
from vdnnsim.gpu import GpuProfile, HostCosts
from vdnnsim.making import make_study
from vdnnsim.metrics import Loss, Spent
from vdnnsim.network import load_network
from vdnnsim.policies import POLICIES, Layout
from vdnnsim.policies.vdnn_dyn import VdnnDyn
from vdnnsim.results import PolicyRun
from vdnnsim.study import Study
from vdnnsim.timeline import Timeline
from vdnnsim.trace import Trace, read_trace
from vdnnsim.units import PPM

FILE = Path(__file__).parents[1] / "golden" / "digests.csv"
VARIED = (
    "",
    "pool=first-fit",
    "pool=pytorch-caching",
    "weight_gradients=none no_offload=network-wide",  # as for the paper's figures
    "weight_gradients=none no_offload=network-wide capacity=12000000000",
    "weight_gradients=resident",
    "link_bandwidth=4000000000",
    "link_bandwidth=1000000000",
    "both_ways=1",
    "both_ways=1.7",
    "host=free",
)
"""Options of a study, and of its GPU; "" is all as shipped."""
OF_THE_DEEP = (VARIED[0], *VARIED[3:5])
DEEP = ("vgg116", "vgg216", "vgg316", "vgg416")
"""Networks that take long: fewer settings, and of each the tests run one policy."""
DEEP_POLICY = "vdnn-all(p)"
SMALL = ("alexnet", "overfeat", "vgg11_", "vgg16_", "vgg19_")

Digests = dict[str, str]


class Row(NamedTuple):
    """A trace ("gpu/network_bN_math") under one setting."""

    trace: str
    setting: str


def shipped() -> list[str]:
    """Every trace of the package."""
    return [f"{path.parent.name}/{path.stem}" for path in sorted(data_directory("traces").glob("*/*_b*.csv"))]


def settings_of(trace: str) -> list[str]:
    """Those that are recorded: with the ones for all, capacities between what the policies need, so that they stop
    fitting one after the other and vdnn-dyn changes its mind, in every pool."""
    runs = compare_policies(_study(Row(trace, "")), list(POLICIES)).runs
    needed = sorted({run.result.needed_bytes for run in runs if run.result.policy != "oracle"})
    capacities = [needed[0] * 9 // 10, *((left + right) // 2 for left, right in pairwise(needed))]
    if is_deep(trace):
        return [*OF_THE_DEEP, *(f"capacity={size}" for size in capacities[1:3])]
    tight = [f"capacity={size}" for size in capacities]
    pools = [f"{pool} {size}" for pool in VARIED[1:3] for size in tight[1:4]]
    return [*VARIED, *tight, *pools]


def is_deep(trace: str) -> bool:
    return trace.partition("/")[2].startswith(DEEP)


def sampled() -> Iterator[tuple[Row, list[str]]]:
    """What the tests run of all that is recorded, with its policies: the small networks as shipped, and of the other
    settings one for each trace, by turns, so that each setting is met with several traces; the deep ones in fp32. By
    `make test` every other trace of these."""
    turn = 0
    for number, trace in enumerate(shipped()):
        settings = [row.setting for row in recorded() if row.trace == trace]
        if is_deep(trace):
            if trace.endswith("fp32"):
                yield Row(trace, settings[0]), [DEEP_POLICY]
            continue
        if number % 2 and not THOROUGH:
            continue
        turn += 1
        small = trace.partition("/")[2].startswith(SMALL)
        chosen = [*(settings[:1] if small else []), settings[turn % len(settings)]]
        yield from ((Row(trace, setting), list(POLICIES)) for setting in dict.fromkeys(chosen))


def digests_of(row: Row, policies: Iterable[str] = POLICIES) -> Digests:
    """By policy the hashes of its run, as "run/numbers"."""
    _, own = _options(row.setting)
    layout = Layout(own.get("no_offload", "layer-wise"))
    chosen = [VdnnDyn(no_offload=layout) if policy == "vdnn-dyn" else policy for policy in policies]
    runs = compare_policies(_study(row), chosen).runs
    return {run.result.policy: f"{_hash(_happened(run), 12)}/{_hash(_counted(run), 4)}" for run in runs}


def _study(row: Row) -> Study:
    gpu, _, name = row.trace.partition("/")
    network, batch, math = name.rsplit("_", 2)
    options, own = _options(row.setting)
    study = make_study(network, batch=int(batch[1:]), gpu=gpu, math=math, trace=_trace(row.trace), **options)
    return replace(study, gpu=_changed(study.gpu, own))


@lru_cache(maxsize=1)
def _trace(name: str) -> Trace:
    """A shipped trace, read once for its settings, which come one after the other."""
    gpu, _, stem = name.partition("/")
    network, batch, _ = stem.rsplit("_", 2)
    return read_trace(data_directory("traces") / gpu / f"{stem}.csv", load_network(network, int(batch[1:])))


def _options(setting: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Those of a study, and the rest."""
    given = dict(word.split("=") for word in setting.split())
    numbers = {name: int(given.pop(name)) for name in ("capacity", "link_bandwidth") if name in given}
    names = {name: given.pop(name) for name in ("pool", "weight_gradients") if name in given}
    return numbers | names, given


def _changed(gpu: GpuProfile, own: Mapping[str, str]) -> GpuProfile:
    if "both_ways" in own:
        slowdown_ppm = round(float(own["both_ways"]) * PPM)
        slowed = {f"both_ways_{way}_slowdown_ppm": slowdown_ppm for way in ("out", "in")}
        gpu = replace(gpu, link=replace(gpu.link, **slowed))
    return replace(gpu, host=HostCosts()) if own.get("host") == "free" else gpu


def _happened(run: PolicyRun) -> object:
    result, timeline = run.result, run.timeline
    number = {name: index for index, name in enumerate(dict.fromkeys(_buffers(timeline)))}
    return (
        [kernel[:6] for kernel in timeline.kernels],
        [
            (copy.step, copy.direction, number[copy.buffer], copy.size_bytes, copy.begin_ns, copy.end_ns, copy.alone_ns)
            for copy in timeline.copies
        ],
        [(wait.step, wait.begin_ns, wait.end_ns) for wait in timeline.waits],
        [
            (record.step, record.time_ns, record.taken, number[record.buffer], record.address, record.size_bytes)
            for record in timeline.memory
        ],
        timeline.step_ends_ns,
        (timeline.iteration_time_ns, timeline.pool_high_water_bytes, timeline.largest_hole_bytes),
        (result.trainable, result.needed_bytes, result.deferred_prefetches),
        [(trial.title, trial.fits, trial.iteration_time_ns, trial.peak_bytes) for trial in result.trials],
    )


def _recorded_as(parts: Spent | Loss) -> tuple[int, ...]:
    """As recorded before kernels that run again were told apart from the others."""
    return (parts[0] + parts.again_ns, *parts[1:6])


def _buffers(timeline: Timeline) -> Iterator[str]:
    yield from (record.buffer for record in timeline.memory)
    yield from (copy.buffer for copy in timeline.copies)


def _counted(run: PolicyRun) -> object:
    result, part = run.result, run.result.feature_extraction
    return (
        [(stall.step, stall.begin_ns, stall.end_ns) for stall in run.timeline.stalls],
        (result.stall_ns, _recorded_as(result.spent), _recorded_as(result.loss)),
        (result.peak_bytes, result.average_bytes, result.average_bytes_per_step),
        (result.offloaded_bytes, result.prefetched_bytes, result.pinned_host_bytes),
        [sorted(by_class.items()) for by_class in (result.bytes_by_class_at_peak, result.peak_bytes_by_class)],
        (part.iteration_time_ns, part.stall_ns, part.peak_bytes, part.average_bytes, part.average_bytes_per_step),
        [(layer.layer, layer.forward_ns, layer.backward_ns, layer.stall_ns) for layer in result.layers],
        [(layer.layer, layer.offloaded_bytes, layer.reuse_distance_ns) for layer in result.layers],
    )


def _hash(of: object, digits: int) -> str:
    return hashlib.sha256(repr(of).encode()).hexdigest()[:digits]


@cache
def recorded() -> dict[Row, Digests]:
    if not FILE.exists():
        return {}
    with FILE.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {Row(row.pop("trace"), row.pop("setting")): row for row in rows}


def record(digests: Mapping[Row, Digests]) -> None:
    with FILE.open("w", encoding="utf-8", newline="") as lines:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow([*Row._fields, *POLICIES])
        table.writerows([*row, *by_policy.values()] for row, by_policy in digests.items())
