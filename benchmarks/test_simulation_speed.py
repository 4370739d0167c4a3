"""How fast comparing and simulating are, each beside its limit and beside the bare cost of as many SimPy events.

Run with `make bench`. Timings on shared machines are noisy: medians are asserted, and ratios within one run say more.
"""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import simpy

from support.cases import ROOMY_BYTES, gpu_of
from support.chains import chain_of, plan_of_chain, trace_of_chain
from vdnnsim import compare, compare_policies, load_topology, make_policy, make_study
from vdnnsim.machines import DeviceMemory
from vdnnsim.machines.script import Durations, Script, script_of
from vdnnsim.machines.simulated import SimulatedMachine, simulate
from vdnnsim.machines.simulated_host import SimulatedHost
from vdnnsim.machines.steady import steady_memory
from vdnnsim.memory import ENDLESS_BYTES, CachingPool, make_pool
from vdnnsim.policies import POLICIES
from vdnnsim.program import Allocate, Buffer, Command, Free, MemoryClass, Program, Step, build_iteration
from vdnnsim.study import Study

CPU_TIME = pytest.mark.benchmark(timer=time.process_time)
"""Other work on the machine does not count."""
VDNNSIM = Path(sys.executable).with_name("vdnnsim")


def bare_simpy_s(events: int) -> float:
    """Seconds that SimPy takes for so many timeouts of one process and nothing else."""

    def process(environment: simpy.Environment) -> Any:
        for _ in range(events):
            yield environment.timeout(1)

    environment = simpy.Environment()
    environment.process(process(environment))
    return cpu_s(environment.run)


def cpu_s(act: Callable[[], object]) -> float:
    """Seconds of processor time."""
    begin = time.process_time()
    act()
    return time.process_time() - begin


def counted_events(act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many events SimPy schedules while this runs."""
    count = 0
    schedule = simpy.Environment.schedule

    def counting(self: simpy.Environment, *arguments: Any, **named: Any) -> None:
        nonlocal count
        count += 1
        schedule(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(simpy.Environment, "schedule", counting)
        act()
    return count


def study_of(network: str, batch: int) -> Study:
    return make_study(network, batch=batch, gpu="titan-x-maxwell")


def report(benchmark: Any, what: str, limit_s: float, events: int = 0) -> float:
    median_s = float(benchmark.stats.stats.median)
    bare = f", bare SimPy for its {events} events {bare_simpy_s(events) * 1e3:.1f} ms" if events else ""
    print(f"\n{what}: median {median_s * 1e3:.1f} ms, limit {limit_s * 1e3:.0f} ms{bare}")
    return median_s


@CPU_TIME
def test_all_policies_on_vgg16(benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of("vgg16", 256)

    def act() -> object:
        return compare_policies(replace(study), list(POLICIES))  # a study of its own: one remembers what it ran

    events = counted_events(act, monkeypatch)
    benchmark(act)
    assert report(benchmark, "all eight policies on vgg16 (256)", 0.060, events) < 0.060


@CPU_TIME
def test_every_policy_on_vgg16(benchmark: Any) -> None:
    """Those of runtimes and papers too, all but `optimal`, in memory that is short."""
    benchmark.pedantic(
        lambda: compare("vgg16", batch=64, gpu="titan-x-maxwell", capacity="4GB", policies=["all"]), rounds=3
    )
    assert report(benchmark, "every policy on vgg16 (64)", 1.0) < 1.0


@pytest.mark.parametrize(
    ("arguments", "limit_s"),
    [(["--help"], 0.3), (["compare", "vgg16", "--batch", "256", "--gpu", "titan-x-maxwell"], 2.0)],
    ids=["help", "compare"],
)
def test_whole_process(benchmark: Any, arguments: list[str], limit_s: float) -> None:
    benchmark.pedantic(
        lambda: subprocess.run([str(VDNNSIM), *arguments], stdout=subprocess.DEVNULL, check=True),
        rounds=7,
        warmup_rounds=1,
    )
    assert report(benchmark, f"vdnnsim {' '.join(arguments)}", limit_s) < limit_s


@CPU_TIME
def test_a_run_of_the_machine(benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """vgg16 on the clock alone, its script made once, as sweeps run it: the mean over the eight policies. Two processes
    are to make 2,000 such runs a second, and a run no more than 2.5 times what SimPy takes for its events alone: the
    best of both, by turns."""
    study = study_of("vgg16", 64)
    scripts = [script_of(study.run(policy).program, study.trace, study.gpu.host) for policy in POLICIES]
    prepared = [(script, durations_of(script, study)) for script in scripts]

    def act() -> None:
        for script, durations in prepared:
            simulate(script, durations, study.gpu)

    events = counted_events(act, monkeypatch)
    benchmark(act)
    runs = len(scripts)
    median_ms = benchmark.stats.stats.median / runs * 1e3
    turns = [(cpu_s(act), bare_simpy_s(events)) for _ in range(200)]
    run_s, bare_s = map(min, zip(*turns, strict=True))
    bare = f"{run_s / bare_s:.2f} times bare SimPy for its {events / runs:.0f} events, limit 2.5"
    print(f"\na run of vgg16: {median_ms:.3f} ms, limit 1 ms; {run_s / runs * 1e3:.3f} ms at best, {bare}")
    assert median_ms < 1
    assert run_s < 2.5 * bare_s


def durations_of(script: Script, study: Study) -> Durations:
    return Durations(*script.copies_ns(study.gpu.link), [row.duration_ns for row in script.kernels])


@CPU_TIME
def test_commands_through_the_simulated_machine(benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of("vgg416", 32)
    run = study.run(make_policy("vdnn-all(p)"))
    machine = SimulatedMachine(study.trace, study.gpu)

    def act() -> object:
        return machine.run(run.program, make_pool("best-fit", study.gpu.capacity_bytes))

    events = counted_events(act, monkeypatch)
    benchmark(act)
    commands = len(run.program.commands)
    limit_s = commands / 200_000
    median_s = report(benchmark, f"{commands} commands, pool included", limit_s, events)
    print(f"that is {commands / median_s:,.0f} commands/s, limit 200,000")
    assert median_s < limit_s


@CPU_TIME
def test_a_step_of_pytorchs_memory(benchmark: Any) -> None:
    """10,000 calls of PyTorch's allocator as a step of many blocks makes them, replayed with its peaks counted."""
    blocks = random.Random(1)
    kinds = (512, 4096, 100_000, 2_000_000, 5_000_000, 12_000_000, 60_000_000)
    live: list[Buffer] = []
    commands: list[Command] = []
    for number in range(5000):
        size_bytes = blocks.choice(kinds) + blocks.randrange(5000)
        live.append(Buffer(f"b{number}", size_bytes, MemoryClass.FEATURE_MAPS, "a", False))
        commands.append(Allocate(live[-1]))
        while len(live) > 150 or (live and blocks.random() < 0.45):
            commands.append(Free(live.pop(blocks.randrange(len(live)))))
    commands += map(Free, live)
    program = Program((), tuple(commands), (Step("a", False, False, 0, len(commands)),), {}, ())

    def act() -> object:
        return steady_memory(program, DeviceMemory(CachingPool(ENDLESS_BYTES)), most_steps=1)

    benchmark(act)
    assert report(benchmark, f"a step of {len(commands)} calls of PyTorch's allocator", 0.015) < 0.015


def test_cost_is_linear_in_layers(benchmark: Any) -> None:
    """From vgg16 to vgg416, the cost of a layer grows by less than half."""
    batches = {"vgg16": 64, "vgg116": 32, "vgg216": 32, "vgg416": 32}
    studies = {name: study_of(name, batch) for name, batch in batches.items()}
    per_layer_us = dict.fromkeys(studies, float("inf"))
    for _ in range(7):  # by turns, and the best of each: a core may run at half its speed for seconds
        for name, study in studies.items():
            begin = time.perf_counter()
            replace(study).run(make_policy("vdnn-all(p)"))
            spent_us = 1e6 * (time.perf_counter() - begin)
            per_layer_us[name] = min(per_layer_us[name], spent_us / len(study.network.layers))
    study = study_of("vgg416", 32)
    benchmark(lambda: replace(study).run(make_policy("vdnn-all(p)")))
    print("\nmicroseconds a layer:", {name: round(cost, 1) for name, cost in per_layer_us.items()})
    assert per_layer_us["vgg416"] < 1.5 * per_layer_us["vgg16"]


def chain_s(operators: int) -> float:
    """Seconds for plan, program and simulation of a chain three tenths of whose operators have a map that leaves."""
    iteration = chain_of(operators // 2)
    trace, gpu = trace_of_chain(iteration), gpu_of()

    def act() -> None:
        program = build_iteration(iteration, plan_of_chain(iteration, operators * 3 // 10))
        SimulatedMachine(trace, gpu).run(program, make_pool("best-fit", ROOMY_BYTES))

    gc.collect()
    return cpu_s(act)


def test_a_long_chain() -> None:
    """10,000 operators in less than a second, and 100,000 in less than fifteen times as long: ten times the work, and
    what Python's collector of garbage takes for looking through ten times as much."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:  # a process starts as large as its parent
        turns = list(apart.map(chain_s, [10_000, 100_000] * 3))
    short_s, long_s = min(turns[::2]), min(turns[1::2])
    print(f"\na chain of 10,000 operators: {short_s:.2f} s, limit 1 s; 100,000: {long_s / short_s:.1f} times, limit 15")
    assert short_s < 1
    assert long_s < 15 * short_s


def test_resident_memory() -> None:
    """Comparing all policies on the deepest network stays below 250 MB."""
    code = "from vdnnsim import compare; compare('vgg416', batch=32, gpu='titan-x-maxwell')"
    process = subprocess.Popen([sys.executable, "-c", code])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    peak_mb = used.ru_maxrss / 1000
    print(f"\nresident: {peak_mb:.0f} MB, limit 250 MB")
    assert peak_mb < 250


@pytest.mark.parametrize(
    ("words", "limit_s"),
    [
        ("advise vgg416 --gpu titan-x-maxwell --capacity 6GB", 3),
        ("page gpt_350M_b8 --gpu h100 --advise --out page.html", 5),
    ],
)
def test_an_answer_comes_at_once(words: str, limit_s: int, tmp_path: Path) -> None:
    """Of the processor, with the interpreter's start: the deepest network in little memory, the largest GPT."""
    command = [sys.executable, "-m", "vdnnsim", *words.split()]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    spent_s = used.ru_utime + used.ru_stime
    print(f"\n{words}: {spent_s:.2f} s, limit {limit_s} s")
    assert spent_s < limit_s


def test_eight_gpus_take_less_than_ten_times_one() -> None:
    """VGG-16 (64), vdnn-all, on the clock alone, each by itself and beside others: started together, and every second
    one half an iteration later; behind links that bind (pairs behind a switch) and that do not."""
    study = make_study("vgg16", batch=64, gpu="h100")
    run = study.run("vdnn-all(p)")
    one = SimulatedMachine(study.trace, study.gpu)
    alone_s = median(cpu_s(lambda: one.iteration_time_ns(run.program)) for _ in range(15))
    half_ns = run.result.iteration_time_ns // 2
    for name in ("dgx-h100", "a100-dual-socket"):
        host = SimulatedHost(study.trace, study.gpu, load_topology(name))
        eighths_ns = tuple(half_ns * gpu // 4 for gpu in range(8))
        for start, starts_ns in (
            ("together", (0,) * 8),
            ("staggered", (0, half_ns) * 4),
            ("each an eighth of an iteration later", eighths_ns),
        ):
            eight_s = median(cpu_s(partial(host.iteration_times_ns, run.program, starts_ns)) for _ in range(5))
            print(f"\n8 GPUs of {name}, {start}: {eight_s / alone_s:.1f} times one ({alone_s * 1e3:.1f} ms), limit 10")
            assert eight_s < 10 * alone_s
