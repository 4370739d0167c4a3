"""One short hash for each shipped trace and policy: every time, copy, byte and address of its iteration, to the bit.

What a stall is called may change; when anything happened may not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from vdnnsim.catalog import data_directory
from vdnnsim.policies import POLICIES
from vdnnsim.results import PolicyRun
from vdnnsim.study import compare

FILE = Path(__file__).parents[1] / "golden" / "digests.json"
DEEP = ("vgg216", "vgg316", "vgg416")
"""Networks so large that the tests run them under one policy; `update.py` runs them under all."""
DEEP_POLICY = "vdnn-all(p)"
_DIGITS = 16

Digests = dict[str, dict[str, str]]


def shipped() -> list[str]:
    """Every trace of the package, as "gpu/network_bN_math"."""
    return [f"{path.parent.name}/{path.stem}" for path in sorted(data_directory("traces").glob("*/*_b*.csv"))]


def tested_policies(trace: str) -> list[str]:
    return [DEEP_POLICY] if trace.partition("/")[2].startswith(DEEP) else list(POLICIES)


def digests_of(trace: str, policies: Iterable[str] = POLICIES) -> dict[str, str]:
    """By policy the hash of its run."""
    gpu, _, name = trace.partition("/")
    network, batch, math = name.rsplit("_", 2)
    comparison = compare(network, batch=int(batch[1:]), gpu=gpu, math=math, policies=list(policies))
    return {run.result.policy: digest(run) for run in comparison.runs}


def digest(run: PolicyRun) -> str:
    """A hash of all that an iteration is but its stalls."""
    result, timeline = run.result, run.timeline
    whole = (
        [tuple(kernel) for kernel in timeline.kernels],
        [tuple(copy)[:7] for copy in timeline.copies],
        [(wait.step, wait.begin_ns, wait.end_ns) for wait in timeline.waits],
        [tuple(record) for record in timeline.memory],
        timeline.step_ends_ns,
        (timeline.iteration_time_ns, timeline.pool_high_water_bytes, timeline.largest_hole_bytes),
        (result.trainable, result.needed_bytes, result.deferred_prefetches),
        (result.peak_bytes, result.average_bytes, result.average_bytes_per_step),
        (result.offloaded_bytes, result.prefetched_bytes, result.pinned_host_bytes),
        [(trial.title, trial.fits, trial.iteration_time_ns, trial.peak_bytes) for trial in result.trials],
    )
    return hashlib.sha256(repr(whole).encode()).hexdigest()[:_DIGITS]


def all_digests() -> Digests:
    return {trace: digests_of(trace) for trace in shipped()}


def recorded() -> Digests:
    digests: Digests = json.loads(FILE.read_text(encoding="utf-8"))
    return digests
