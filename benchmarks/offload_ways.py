"""Offloading by our plans beside what PyTorch and torchtune have, on one model in one run: step time, peaks, gradients.

    python benchmarks/offload_ways.py examples/pytorch_gpt.py:make --gpu h100 --out ways.md
    python benchmarks/offload_ways.py examples/pytorch_gpt.py:make_tiny --gpu cpu.toml --device cpu

The ways are: nothing leaves; `vdnnsim.pytorch.offload` by each policy; `torch.autograd.graph.save_on_cpu` with pinned
memory; torchtune's `OffloadActivations` with streams, where it can be imported, or from its source file alone
(`--torchtune _activation_offloading.py`: it asks for torchao and more, which the class does not need here). Each runs
twice, in turns, so that a machine that drifts shows. Beside it stands what is simulated of our own plans and of the
policies that do what the others do, from the step that was captured first (`--trace` keeps it); what the allocator
gives and holds from the memory in which each way's steps began, which no two ways find alike. Behind the table stands
which of our plans are faster than each of the others at a peak that is no higher.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vdnnsim.errors import VdnnsimError, first_line
from vdnnsim.gpu import GpuProfile, load_profile
from vdnnsim.iteration import Schedule
from vdnnsim.making import study_of_step
from vdnnsim.pytorch import capture, offload
from vdnnsim.pytorch.as_found import needed_in
from vdnnsim.pytorch.devices import open_device
from vdnnsim.pytorch.hook_costs import measure_hook_costs
from vdnnsim.pytorch.measuring import predicted
from vdnnsim.pytorch.offloading import pinned_memory
from vdnnsim.pytorch.script import Script
from vdnnsim.pytorch.step_bench import Ran, StepBench, step_bench
from vdnnsim.results import PolicyRun

POLICIES = ";".join(
    (
        "offload",
        "offload(which=half)",
        "offload(which=everything, ahead=1, in_flight=64MiB, min_bytes=0)",  # less memory than torchtune's
        "offload(which=everything, ahead=0, in_flight=0, min_bytes=0)",  # as little as save_on_cpu's
    )
)
OTHERS = {
    "save_on_cpu(pin_memory=True)": "save-on-cpu",
    "torchtune OffloadActivations": "torchtune(head=leaves)",
}
Way = Callable[[], AbstractContextManager[Any]]
OURS = "vdnnsim "


class Simulated(NamedTuple):
    """How long a step takes, and what is done in it."""

    step_ns: int
    schedule: Schedule


def main(arguments: list[str] | None = None) -> None:
    asked = _parsed(arguments)
    script = Script(asked.script)
    training = script.make({}, asked.device)
    device = open_device(asked.device, training.model)
    profile = load_profile(asked.gpu)
    trace = capture(*training, name=script.name, device=asked.device, gpu=profile.name)
    if asked.trace is not None:
        trace.save(asked.trace)
    ways: dict[str, Way] = {"nothing leaves": nullcontext}
    study = study_of_step(trace, profile)
    simulated = {way: _simulated(study.run(policy)) for way, policy in OTHERS.items()}
    plans = predicted(trace, profile, asked.policies.split(";"))
    with (
        pinned_memory(device.torch_device, (plan for _, plan in plans)) as pinned,
        step_bench(training.step, training.model, trace, training.optimizer, device) as bench,
    ):
        for prediction, plan in plans:
            ways[f"{OURS}{prediction.policy}"] = partial(offload, training.model, plan, pinned=pinned)
            simulated[f"{OURS}{prediction.policy}"] = Simulated(prediction.step_ns, plan.schedule(trace))
        ways["save_on_cpu(pin_memory=True)"] = partial(torch.autograd.graph.save_on_cpu, pin_memory=True)
        ways |= _torchtune(asked.torchtune)
        found, failures = _measured(bench, ways)
    rows = [_row(name, found.get(name, ()), failures.get(name), simulated.get(name), profile) for name in ways]
    costs = measure_hook_costs(device.torch_device)
    lines = [
        f"{script.name}, {device.name}, PyTorch {torch.__version__}",
        "",
        "| way | step ms | again | spread % | peak asked for GB | allocated GB | reserved GB | simulated ms "
        "| asked for | allocated | reserved | gradients |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        *_verdicts(found),
        "",
        f"Host: a copy out {costs.copy_out_ns / 1e3:.1f} us, a copy in {costs.copy_in_ns / 1e3:.1f} us, a stream's "
        f"wait {costs.stream_wait_ns / 1e3:.1f} us, a call that does nothing {costs.call_ns / 1e3:.2f} us.",
    ]
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if asked.out is not None:
        asked.out.write_text(text, encoding="utf-8")


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", help="FILE.py:FUNCTION, as of vdnnsim capture")
    parser.add_argument("--gpu", required=True, help="the profile that plans are made with")
    parser.add_argument("--device", help="cuda or cpu")
    parser.add_argument("--policies", default=POLICIES, help="separated by semicolons")
    parser.add_argument(
        "--torchtune", type=Path, help="torchtune's _activation_offloading.py, where it is not installed"
    )
    parser.add_argument("--trace", type=Path, help="the folder to write the captured step to")
    parser.add_argument("--out", type=Path, help="a Markdown file to write as well")
    return parser.parse_args(arguments)


def _simulated(run: PolicyRun) -> Simulated:
    return Simulated(run.result.iteration_time_ns, run.plan.schedule)


def _gb(*sizes_bytes: int | None) -> str:
    return " | ".join("" if size is None else f"{size / 1e9:.3f}" for size in sizes_bytes)


def _measured(bench: StepBench, ways: Mapping[str, Way]) -> tuple[dict[str, list[Ran]], dict[str, str]]:
    """What each way took, twice, or why it could not."""
    found: dict[str, list[Ran]] = {name: [] for name in ways}
    failures: dict[str, str] = {}
    for _ in range(2):
        for name, way in ways.items():
            if name in failures:
                continue
            try:
                found[name].append(bench.run(way))
            except Exception as error:  # another way than ours may not work with this model
                failures[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            print(f"{name}: {failures.get(name) or found[name][-1].times}", file=sys.stderr)
    return {name: ran for name, ran in found.items() if name not in failures}, failures


def _row(name: str, ran: Sequence[Ran], failure: str | None, simulated: Simulated | None, profile: GpuProfile) -> str:
    """A way's row of the table."""
    if failure is not None:
        return f"| {name} | {failure} |" + " |" * 10
    first, second = ran
    told = " |  |  | "
    if simulated is not None:
        try:
            memory = needed_in(first.begun, simulated.schedule, profile.capacity_bytes)
            sizes = _gb(memory.requested_bytes, memory.allocated_bytes, memory.reserved_bytes)
        except VdnnsimError as error:  # what was measured is worth more than this
            sizes = f"{first_line(error)} |  | "
        told = f"{simulated.step_ns / 1e6:.2f} | {sizes}"
    return (
        f"| {name} | {first.times.median_ns / 1e6:.2f} | {second.times.median_ns / 1e6:.2f} | "
        f"{first.times.spread_ppm / 1e4:.1f} | {_gb(*first.peaks)} | {told} | {first.gradients} |"
    )


def _verdicts(found: Mapping[str, Sequence[Ran]]) -> Iterator[str]:
    """Beside each of the others the plans whose slower run is faster than its quicker one, at a peak that is no higher
    in either."""
    for other in OTHERS:
        if other not in found:
            yield f"* {other} did not run."
            continue
        least_ns = min(ran.times.median_ns for ran in found[other])
        peak_bytes = min(ran.peaks.requested_bytes for ran in found[other])
        faster = [
            name
            for name, runs in found.items()
            if name.startswith(OURS)
            and max(ran.times.median_ns for ran in runs) < least_ns
            and max(ran.peaks.requested_bytes for ran in runs) <= peak_bytes
        ]
        yield f"* Faster than {other} at a peak no higher: {', '.join(faster) or 'none'}."


def _not_there(why: str) -> AbstractContextManager[Any]:
    raise ImportError(why)


def _torchtune(source: Path | None) -> dict[str, Way]:
    """torchtune's class, if it can be had."""
    if source is None:
        try:
            from torchtune.training import OffloadActivations  # type: ignore[import-not-found, unused-ignore]
        except ImportError as error:
            return {"torchtune OffloadActivations": partial(_not_there, str(error))}
        return {"torchtune OffloadActivations": OffloadActivations}
    nothing = type("Nothing", (), {})
    for name, parts in {
        "torchao": {},
        "torchao.dtypes": {},
        "torchao.dtypes.nf4tensor": {"NF4Tensor": nothing},
        "torchtune": {},
        "torchtune.modules": {"TiedLinear": nothing},
        "torchtune.utils": {"get_logger": lambda _level: None},
    }.items():
        module = sys.modules.setdefault(name, types.ModuleType(name))
        module.__dict__.update(parts)
    sys.modules.setdefault("psutil", types.SimpleNamespace(virtual_memory=lambda: types.SimpleNamespace(percent=0.0)))  # type: ignore[arg-type]
    spec = importlib.util.spec_from_file_location("torchtune_offloading", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {"torchtune OffloadActivations": module.OffloadActivations}


if __name__ == "__main__":
    main()
