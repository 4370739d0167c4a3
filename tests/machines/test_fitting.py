"""Fitting plans into pools: prefetches put off, workspaces shrunk."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.cases import conv as conv_layer
from support.cases import gpu_of, layer, network_of, plan_of, row, trace_of
from support.checker import check_memory, check_run
from support.examples import tries
from support.render import step_lines
from support.staircase import FILTER, NETWORK, TRACE, UNIT_BYTES, study_with
from support.strategies import Case, cases
from vdnnsim.machines import DeviceMemory, OutOfMemory, replay_memory
from vdnnsim.machines.fitting import Candidate, Fitted, fit_plan, next_leaner
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.making import make_study
from vdnnsim.memory import POOLS, make_pool
from vdnnsim.network import Kind, LayerSpec, iteration_of
from vdnnsim.policies import Plan, feature_extraction_layers, make_plan, make_policy, performance_optimal
from vdnnsim.policies.plan import Layout
from vdnnsim.program import Builder, CopyIn, Program, WeightGradients, build_program
from vdnnsim.trace import Trace

ALL = ("a", "p", "q", "r", "b", "c")


def fit(plan: Plan, units: int, trace: Trace | None = None) -> Fitted:
    return fit_plan(
        Candidate(iteration_of(NETWORK, frozenset(plan.algorithms)), plan),
        lambda: DeviceMemory(make_pool("best-fit", units * UNIT_BYTES)),
        trace,
    )


def plan_for(algorithm: str, offload: tuple[str, ...] = ALL) -> Plan:
    return plan_of(NETWORK, TRACE, offload, {FILTER: algorithm}, weight_gradients=WeightGradients.NONE)


def copies_in(program: Program) -> list[tuple[str, str, str]]:
    commands = [command for command in program.commands if isinstance(command, CopyIn)]
    return [(command.buffer.name.removeprefix("map:"), command.layer, command.for_layer) for command in commands]


def test_a_plan_with_room_stays_as_it_is() -> None:
    plan = plan_for("IMPLICIT_GEMM")
    fitted = fit(plan, 14)
    assert fitted.failure is None
    assert fitted.plan == plan
    assert copies_in(fitted.program) == [
        ("b", "loss", "c"),
        ("r", "c", "b"),
        ("q", "b", "r"),
        ("p", "r", "q"),
        ("a", "q", "p"),
        ("data", "p", "a"),
    ]


def test_a_prefetch_without_room_waits_for_the_next_layer() -> None:
    """One unit less: c's backward has no room for r. b, which needs r, fetches it late, then prefetches as before."""
    fitted = fit(plan_for("IMPLICIT_GEMM"), 13)
    assert fitted.failure is None
    assert fitted.plan.deferred == {"c"}
    assert copies_in(fitted.program) == [
        ("b", "loss", "c"),
        ("r", "b", "b"),
        ("q", "b", "r"),
        ("p", "r", "q"),
        ("a", "q", "p"),
        ("data", "p", "a"),
    ]
    assert not [
        line for line in step_lines(fitted.program, "c", backward=True) if "map:" in line and "free" not in line
    ]


def test_what_finds_no_room_even_without_prefetches_is_told() -> None:
    fitted = fit(plan_for("IMPLICIT_GEMM"), 12)
    assert isinstance(fitted.failure, OutOfMemory)
    assert fitted.failure.where == "c backward"


def test_a_set_up_without_room_is_told() -> None:
    fitted = fit(plan_for("IMPLICIT_GEMM"), 7)
    assert isinstance(fitted.failure, OutOfMemory)
    assert fitted.failure.where == "set-up"
    assert fitted.plan.deferred == frozenset()


@pytest.mark.parametrize(("units", "algorithm"), [(22, "FFT"), (21, "GEMM"), (15, "GEMM"), (14, "IMPLICIT_GEMM")])
def test_a_workspace_without_room_moves_to_the_next_leaner_algorithm(units: int, algorithm: str) -> None:
    """Before a prefetch is put off: at 21 units the fastest would fit without the prefetch, but room is sought in the
    workspaces first."""
    fitted = fit(plan_for("FFT"), units, TRACE)
    assert fitted.failure is None
    assert fitted.plan.algorithms[FILTER] == algorithm
    assert fitted.plan.deferred == frozenset()
    others = {key: name for key, name in fitted.plan.algorithms.items() if key != FILTER}
    assert others == {key: name for key, name in plan_for("FFT").algorithms.items() if key != FILTER}
    replay_memory(fitted.program, DeviceMemory(make_pool("best-fit", units * UNIT_BYTES)))


def test_only_passes_without_room_are_shrunk() -> None:
    """b's filter gradient, too, is fastest with a workspace, and has room for it where c's has none for its own."""
    own = (row("b", "backward_filter", 100, 0, "IMPLICIT_GEMM"), row("b", "backward_filter", 20, 4 * 512, "FFT"))
    trace = Trace(TRACE.header, [entry for entry in TRACE.rows if entry[:2] != ("b", "backward_filter")] + list(own))
    plan = plan_of(NETWORK, trace, ALL)
    fitted = fit(plan, 21, trace)
    assert fitted.failure is None
    assert fitted.plan.algorithms[FILTER] == "GEMM"
    assert fitted.plan.algorithms["b", "backward_filter"] == "FFT"  # 7 + r, gradients b 2 and r 1, prefetch 1, and 4


def test_the_next_leaner_algorithm_is_the_fastest_with_less_workspace() -> None:
    def choices(*sizes: tuple[str, int, int]) -> Trace:
        network = network_of(conv_layer("x"), LayerSpec("loss", Kind.SOFTMAX, ("",)))
        return trace_of(network, [row("x", "forward", duration, size, name) for name, duration, size in sizes])

    trace = choices(
        ("FFT", 10, 800),
        ("SLOW_AND_LARGE", 90, 700),
        ("GEMM", 30, 300),
        ("AS_LARGE", 40, 300),
        ("IMPLICIT_GEMM", 60, 0),
        ("AS_LEAN", 90, 0),
    )
    names = ["FFT"]
    while leaner := next_leaner(trace.row("x", "forward", names[-1]), trace):
        names.append(leaner.algorithm)
    assert names == ["FFT", "GEMM", "IMPLICIT_GEMM"]


def test_room_for_all_prefetches_is_enough_for_the_study_too() -> None:
    run = study_with(13).run_plan("lean", plan_for("IMPLICIT_GEMM"))
    assert run.result.trainable
    assert run.plan.deferred == {"c"}
    assert run.timeline.pool_high_water_bytes == 13 * UNIT_BYTES


def test_a_plan_that_fits_nowhere_is_shown_with_its_prefetches_and_a_capacity_that_would_do() -> None:
    run = study_with(12).run_plan("lean", plan_for("IMPLICIT_GEMM"))
    assert not run.result.trainable
    assert run.plan.deferred == frozenset()
    assert run.result.needed_bytes == 13 * UNIT_BYTES
    assert study_with(13).run_plan("lean", plan_for("IMPLICIT_GEMM")).result.trainable


@settings(max_examples=tries(80))
@given(cases(layout=Layout.LAYER_WISE), st.sampled_from(tuple(POOLS)), st.integers(1, 100), st.booleans())
def test_whatever_is_fitted_runs_in_that_pool_and_computes_the_same(
    case: Case, pool: str, percent: int, shrinking: bool
) -> None:
    """Any pool from nothing to all that the plan wants: a failure is told, or the fitted program runs in it, reads
    only what is there, and moves the same maps."""
    program = build_program(case.network, case.plan)
    roomy = DeviceMemory(make_pool(pool, 2**40))
    replay_memory(program, roomy)
    capacity_bytes = max(1, roomy.pool.high_water_bytes * percent // 100)
    fitted = fit_plan(
        Candidate(iteration_of(case.network, frozenset(case.plan.algorithms)), case.plan),
        lambda: DeviceMemory(make_pool(pool, capacity_bytes)),
        case.trace if shrinking else None,
    )
    if fitted.failure is not None:
        assert str(fitted.failure).startswith("out of memory in ")
        return
    assert fitted.plan.deferred >= case.plan.deferred
    assert fitted.program == build_program(case.network, fitted.plan)
    timeline = SimulatedMachine(case.trace, gpu_of()).run(fitted.program, make_pool(pool, capacity_bytes))
    check_run(case.network, fitted.program, timeline)
    check_memory(timeline)
    assert fitted.program.offloaded == program.offloaded


def test_of_several_failures_the_first_is_told() -> None:
    """At 13 units gradient b finds no room beside the prefetch; once that waits, the workspace finds none."""
    fitted = fit(plan_for("FFT"), 13)
    assert isinstance(fitted.failure, OutOfMemory)
    assert fitted.failure.args[:2] == ("c backward", "gradient:b")


def test_a_plan_with_shrunk_workspaces_is_not_said_to_fit_where_it_does_not() -> None:
    """PyTorch's allocator gives its cache back when a request finds no room, so that what comes after a shrunk
    workspace lies elsewhere than if the leaner one had been asked for at once. In this capacity the first walk of
    GoogLeNet finds room for all, with leaner algorithms; asked for from the start, they find none."""
    study = make_study("googlenet", batch=128, gpu="titan-x-maxwell", pool="pytorch-caching", capacity=1_692_937_984)
    problem = study.problem()
    convs = feature_extraction_layers(study.network, (Kind.CONV,))
    fastest = make_plan(problem, Layout.LAYER_WISE, convs, performance_optimal(study.network, study.trace))
    trial = study.attempt("shrunk", study.shrink_workspaces(fastest))
    assert trial.plan.algorithms != fastest.algorithms
    fitted = fit_plan(
        Candidate(study.iteration, fastest),
        lambda: DeviceMemory(make_pool(study.pool, study.gpu.capacity_bytes)),
        study.trace,
    )
    with pytest.raises(OutOfMemory):
        replay_memory(fitted.program, DeviceMemory(make_pool(study.pool, study.gpu.capacity_bytes)))
    assert fitted.failure is not None
    assert not trial.fits


def test_of_two_prefetches_that_could_wait_the_youngest_does() -> None:
    """loss fetches b's X for b, d then a's for a, and c finds no room for its gradient: both are for layers to come."""
    network = network_of(
        conv_layer("a"), layer(Kind.LRN, "b"), layer(Kind.LRN, "c"), layer(Kind.LRN, "d"), layer(Kind.SOFTMAX, "loss")
    )
    plan = plan_of(network, trace_of(network), offload=("a", "b"), weight_gradients=WeightGradients.NONE)
    candidate = Candidate(iteration_of(network, frozenset(plan.algorithms)), plan)

    def fit_in(units: int) -> Fitted:
        return fit_plan(candidate, lambda: DeviceMemory(make_pool("best-fit", units * 512)))

    roomy = fit_in(100)
    assert copies_in(roomy.program) == [("a", "loss", "b"), ("data", "d", "a")]
    enough = next(units for units in range(1, 100) if not fit_in(units).plan.deferred and not fit_in(units).failure)
    tight = fit_in(enough - 1)
    assert tight.failure is None
    assert tight.plan.deferred == {"d"}


def test_what_a_prefetch_put_off_does_not_change_is_not_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """vgg16's vdnn-conv (p) puts off three prefetches late in backward. What one pool needed serves the next."""
    built = []
    build_stage = Builder._build_stage

    def counted(builder: Builder) -> None:
        built.append(builder.stage)
        build_stage(builder)

    monkeypatch.setattr(Builder, "_build_stage", counted)
    study = make_study("vgg16", batch=256, gpu="titan-x-maxwell")
    candidate = Candidate(study.iteration, make_policy("vdnn-conv(p)").plan(study.problem()))
    stages = len(study.iteration.stages)
    assert len(built) == stages
    fitted = fit_plan(candidate, lambda: DeviceMemory(make_pool("best-fit", 13_477_149_568)))
    assert len(fitted.plan.deferred) == 3
    assert len(built) < 2 * stages
    built.clear()
    assert fit_plan(candidate, lambda: DeviceMemory(make_pool("best-fit", 13_477_149_568))) == fitted
    assert not built
