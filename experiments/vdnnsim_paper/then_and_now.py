"""The same policies in the same 12 GB on the paper's GPU and on one of ten years later: what changed, case by case."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from vdnnsim import COPY_OUT, Layout, make_plan, make_policy, performance_optimal
from vdnnsim_paper.bench import BASELINE, ORACLE, Bench, load_gpu, make_bench
from vdnnsim_paper.config import Case, figure_config, rules

THEN, NOW = "titan-x-maxwell", "h200"
_FIGURES = ("14", "15")
POLICIES = ("vdnn-conv(p)", "vdnn-all(p)", "vdnn-dyn")


class Side(NamedTuple):
    """One case on one GPU: the oracle's time, what each of `POLICIES` loses and saves, and how long vdnn-all's copies
    out are of the oracle's forward kernels."""

    oracle_ms: float
    losses: tuple[float, ...]
    savings: tuple[float, ...]
    copies: float
    baseline_gb: float
    baseline_trains: bool


class Pair(NamedTuple):
    """One case on both."""

    case: Case
    then: Side
    now: Side

    @property
    def speed_up(self) -> float:
        return self.then.oracle_ms / self.now.oracle_ms


def bench_of(case: Case, gpu: str) -> Bench:
    """A case on the traces of a GPU as they are, under the rules in use."""
    return make_bench(case, load_gpu(gpu, rules()), rules().gpus[gpu].math, rules())


def compare_gpus(benches: Callable[[Case, str], Bench] = bench_of) -> list[Pair]:
    """Every case of performance and of very deep networks."""
    cases = dict.fromkeys(case for name in _FIGURES for case in figure_config(name).cases)
    return [Pair(case, _side(benches(case, THEN)), _side(benches(case, NOW))) for case in cases]


def link_rates() -> tuple[float, float]:
    """GB/s of large copies out, then and now."""
    then, now = (load_gpu(gpu, rules()).link.copy_out.bandwidth_bytes_per_s / 1e9 for gpu in (THEN, NOW))
    return then, now


def _side(bench: Bench) -> Side:
    baseline = bench.run(BASELINE).result
    return Side(
        bench.run(ORACLE).result.feature_extraction.iteration_time_ns / 1e6,
        tuple(100 * (1 - bench.performance(policy)) for policy in POLICIES),
        tuple(100 * bench.saved(policy) for policy in POLICIES),
        _copies(bench),
        baseline.peak_bytes / 1e9,
        baseline.trainable,
    )


def layer_wise_cost(case: Case, gpu: str) -> float:
    """What handing memory out layer by layer costs by itself: the share of an iteration, with nothing offloaded and the
    fastest algorithms, that the oracle's does not take."""
    study = bench_of(case, gpu).study
    problem = study.problem()
    plan = make_plan(problem, Layout.LAYER_WISE, (), performance_optimal(study.network, study.trace))
    own_ns, best_ns = (
        run.result.iteration_time_ns for run in (study.run_plan("layer-wise", plan), study.run(make_policy(ORACLE)))
    )
    return 1 - best_ns / own_ns


def _copies(bench: Bench) -> float:
    """Time that vdnn-all's copies out take, over the time of the oracle's forward kernels."""
    copies_ns = sum(copy.alone_ns for copy in bench.run("vdnn-all(p)").timeline.copies if copy.direction == COPY_OUT)
    oracle = bench.run(ORACLE)
    forward_ns = sum(step.kernel_ns for step in oracle.steps if not step.backward and not step.in_classifier)
    return copies_ns / forward_ns


def then_and_now_markdown(pairs: list[Pair]) -> str:
    """One row per case; a pair of numbers is then, now."""
    rows = [
        "| network | oracle, ms | faster | copies out / forward | vdnn-conv (p) loses | vdnn-all (p) loses "
        "| vdnn-dyn loses | vdnn-all (p) saves | vdnn-dyn saves | baseline (p), GB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for pair in pairs:
        then, now = pair.then, pair.now
        losses, savings = _pairs(then.losses, now.losses), _pairs(then.savings[1:], now.savings[1:])
        rows.append(
            f"| {pair.case.label} | {then.oracle_ms:.1f}, {now.oracle_ms:.1f} | {pair.speed_up:.1f} x "
            f"| {then.copies:.2f}, {now.copies:.2f} | {losses} | {savings} | {_size(then)}, {_size(now)} |"
        )
    return "\n".join(rows) + "\n"


def _pairs(then: tuple[float, ...], now: tuple[float, ...]) -> str:
    return " | ".join(f"{a:.1f}, {b:.1f} %" for a, b in zip(then, now, strict=True))


def _size(side: Side) -> str:
    return f"{side.baseline_gb:.2f}" + ("" if side.baseline_trains else " ★")
