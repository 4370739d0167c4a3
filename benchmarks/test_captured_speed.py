"""How fast captured steps are: a step as large as that of a gpt of 24 layers, each number beside its limit. Run with
`make bench`.

The step has 1000 kernels, 4700 blocks of which 4000 come and go between kernels, 700 hook calls; 300 blocks leave.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from captured.steps import HEADER, HOOKS, MIB
from vdnnsim import compare, load_profile, make_study
from vdnnsim.captured import (
    BEFORE_STEP,
    Block,
    BlockClass,
    CapturedStep,
    Deed,
    Doing,
    ModelKernel,
    ModelOperator,
    Phase,
    SavedTensor,
    Seen,
    build_step,
    hook_schedule,
    host_of_step,
    read_step,
    trace_of_step,
    write_step,
)
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.memory import make_pool

GPU = load_profile("h100")
SAVED = 350
KERNELS = 1000
PARAMETERS = 150


def large_step() -> CapturedStep:
    """Each operator saves what it makes; backward needs that in reverse. Equal every time."""
    rng = random.Random(0)
    operators: list[ModelOperator] = []
    kernels: list[ModelKernel] = []
    blocks = [Block(4 * MIB, BlockClass.PARAMETER, BEFORE_STEP, None, None) for _ in range(PARAMETERS)]
    saved: list[SavedTensor] = []
    deeds: list[Deed] = []

    def take(size_bytes: int, holds: BlockClass, lives: int) -> None:
        deeds.append(Deed(Doing.TAKE, len(blocks)))
        given = len(deeds) - 1 + lives
        blocks.append(Block(size_bytes, holds, len(deeds) - 1, given, given, operator=len(operators) - 1))

    def work(launches: int) -> None:
        for _ in range(6):
            take(rng.choice([512, 4096, MIB, 8 * MIB]), BlockClass.OTHER, rng.randint(1, 6))
        for _ in range(launches):
            deeds.append(Deed(Doing.LAUNCH, len(kernels)))
            kernels.append(ModelKernel("gemm", "gemm", len(operators) - 1, 60_000, 20_000, 20_000, 1_000))

    for number in range(SAVED):
        module = f"h.{number // 15}.{number % 15}"
        operators.append(ModelOperator("aten::mm", module, Phase.FORWARD))
        take(rng.choice([8, 32, 64]) * MIB, BlockClass.SAVED, 0)
        block = len(blocks) - 1
        work(1 + (number % 3 == 0))
        deeds.append(Deed(Doing.SAVE, number))
        saved.append(SavedTensor(block, "MmBackward0", "self", module, "float32", (1,), (1,), 0))
        blocks[block] = blocks[block]._replace(released=len(deeds) + 8)
    for number in reversed(range(SAVED)):
        operators.append(ModelOperator("MmBackward0", saved[number].module, Phase.BACKWARD))
        deeds.append(Deed(Doing.NEED, number))
        work(1)
        last = len(deeds) - 1
        block = saved[number].block
        blocks[block] = blocks[block]._replace(given=last + 1, given_hooked=last, fetched_given=last)
    operators.append(ModelOperator("Optimizer.step", "", Phase.OPTIMISER))
    for _ in range(KERNELS - len(kernels)):
        deeds.append(Deed(Doing.LAUNCH, len(kernels)))
        kernels.append(ModelKernel("adam", "elementwise", len(operators) - 1, 60_000, 20_000, 20_000, 1_000))
    parts = (operators, kernels, blocks, saved, deeds)
    header = replace(HEADER, name="large", gpu=GPU.name)
    return CapturedStep(header, Seen(10**8, 0, 0, 0, 0), HOOKS, *map(tuple, parts))  # type: ignore[arg-type]


STEP = large_step()
CPU_TIME = pytest.mark.benchmark(timer=time.process_time)
"""Other work on the machine does not count."""
LEAVING = tuple(sorted(random.Random(1).sample([one.block for one in STEP.saved], 300)))


def report(benchmark: Any, what: str, limit_s: float) -> None:
    median_s = benchmark.stats.stats.median
    print(f"\n{what}: median {median_s * 1e3:.1f} ms, limit {limit_s * 1e3:.0f} ms")
    assert median_s < limit_s


@CPU_TIME
def test_reading(benchmark: Any, tmp_path: Path) -> None:
    write_step(STEP, tmp_path / "large")
    benchmark.pedantic(read_step, (tmp_path / "large",), rounds=5)
    report(benchmark, "reading a captured step", 0.3)


@CPU_TIME
def test_a_plan(benchmark: Any) -> None:
    """From the blocks that leave to the time: what a point of a sweep costs, whose memory is that of others."""
    machine = SimulatedMachine(trace_of_step(STEP), replace(GPU, host=host_of_step(STEP, GPU.host)))

    def point() -> int:
        return machine.iteration_time_ns(build_step(STEP, hook_schedule(STEP, LEAVING, 2, 2**30)))

    assert benchmark.pedantic(point, rounds=9, warmup_rounds=2) > 0
    report(benchmark, "a plan of a captured step", 0.05)


@CPU_TIME
@pytest.mark.parametrize("pool", ["best-fit", "pytorch-caching"])
def test_a_plan_with_its_memory(benchmark: Any, pool: str) -> None:
    """The same to the timeline, with the address of every block."""
    machine = SimulatedMachine(trace_of_step(STEP), replace(GPU, host=host_of_step(STEP, GPU.host)))

    def run() -> int:
        program = build_step(STEP, hook_schedule(STEP, LEAVING, 2, 2**30))
        return machine.run(program, make_pool(pool, 2**38)).iteration_time_ns

    assert benchmark.pedantic(run, rounds=9, warmup_rounds=2) > 0
    report(benchmark, f"a plan of a captured step with its memory, {pool}", 0.075)


@CPU_TIME
def test_every_policy(benchmark: Any) -> None:
    """All but `optimal`, those that cannot work on a step left out."""
    benchmark.pedantic(lambda: compare(STEP, gpu=GPU, capacity="1.5GB", policies=["all"]), rounds=1)
    report(benchmark, "every policy on a captured step", 10)


@CPU_TIME
def test_eight_policies(benchmark: Any) -> None:
    policies = [f"offload(which={which}, ahead={ahead})" for which in ("all", "half") for ahead in (1, 2, 4, 8)]

    def run() -> None:
        study = make_study(STEP, gpu=GPU)
        for policy in policies:
            study.run(policy)

    benchmark.pedantic(run, rounds=1)
    report(benchmark, "eight policies on a captured step", 3)
