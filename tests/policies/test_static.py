"""The static policies' plans, and what a plan is checked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.cases import conv, fc, gpu_of, layer, network_of, plan_of, pool, row, trace_of
from vdnnsim.errors import InvalidInput
from vdnnsim.network import Kind
from vdnnsim.policies import POLICIES, Plan, check_plan, make_policy
from vdnnsim.policies.plan import Layout
from vdnnsim.study import Study

NETWORK = network_of(
    conv("a"),
    layer(Kind.ACTV, "relu"),
    pool("p"),
    layer(Kind.BN, "norm"),
    conv("b"),
    fc("fc"),
    layer(Kind.SOFTMAX, "loss"),
)
TRACE = trace_of(
    NETWORK,
    [
        row("b", "forward", 30, 0, "IMPLICIT_GEMM"),
        row("b", "forward", 10, 500, "FFT"),
        row("b", "backward_data", 30, 0, "GEMM"),  # as lean as implicit GEMM, and quicker
        row("b", "backward_data", 40, 0, "IMPLICIT_GEMM"),
        row("b", "backward_filter", 30, 700, "GEMM"),  # nothing goes without workspace
        row("b", "backward_filter", 20, 900, "FFT"),
        row("a", "forward", 10, 900, "FFT"),  # ties go to the smaller workspace, then to the name
        row("a", "forward", 10, 100, "PRECOMP"),
        row("a", "forward", 10, 100, "GEMM"),
    ],
)
STUDY = Study(NETWORK, TRACE, gpu_of())
PROBLEM = STUDY.problem()
FASTEST = {
    ("b", "forward"): ("FFT", 500),
    ("b", "backward_data"): ("GEMM", 0),
    ("b", "backward_filter"): ("FFT", 900),
    ("a", "forward"): ("GEMM", 100),
}
LEANEST = {
    ("b", "forward"): ("IMPLICIT_GEMM", 0),
    ("b", "backward_data"): ("IMPLICIT_GEMM", 0),
    ("b", "backward_filter"): ("GEMM", 700),
    ("a", "forward"): ("GEMM", 100),
}
ALL = {"a", "p", "norm", "b"}  # relu works in place and has no X of its own; fc and loss are the classifier


@pytest.mark.parametrize(
    ("name", "layout", "offload", "algorithms"),
    [
        ("baseline(m)", Layout.NETWORK_WIDE, set(), LEANEST),
        ("baseline(p)", Layout.NETWORK_WIDE, set(), FASTEST),
        ("vdnn-all(m)", Layout.LAYER_WISE, ALL, LEANEST),
        ("vdnn-all(p)", Layout.LAYER_WISE, ALL, FASTEST),
        ("vdnn-conv(m)", Layout.LAYER_WISE, {"a", "b"}, LEANEST),
        ("vdnn-conv(p)", Layout.LAYER_WISE, {"a", "b"}, FASTEST),
        ("oracle", Layout.NETWORK_WIDE, set(), FASTEST),
    ],
)
def test_plans(
    name: str, layout: Layout, offload: set[str], algorithms: dict[tuple[str, str], tuple[str, int]]
) -> None:
    policy = make_policy(name)
    policy.check(PROBLEM)
    plan = policy.plan(PROBLEM)
    assert policy.name == name
    assert plan.layout is layout
    assert plan.offload == offload
    assert plan.endless == (name == "oracle")
    chosen = {key: (plan.algorithms[key], plan.workspaces[key]) for key in algorithms}
    assert chosen == algorithms
    check_plan(plan, STUDY.workload, TRACE)


def test_every_policy_of_the_paper_is_there_in_its_order() -> None:
    assert list(POLICIES) == [
        "baseline(m)",
        "baseline(p)",
        "vdnn-all(m)",
        "vdnn-all(p)",
        "vdnn-conv(m)",
        "vdnn-conv(p)",
        "vdnn-dyn",
        "oracle",
    ]


def test_the_first_layers_data_gradient_is_left_out_even_where_the_trace_has_it() -> None:
    trace = trace_of(NETWORK, [*TRACE.rows, row("a", "backward_data", 999)])
    plan = make_policy("baseline(p)").plan(Study(NETWORK, trace, gpu_of()).problem())
    assert ("a", "backward_data") not in plan.algorithms


RIGHT = plan_of(NETWORK, TRACE, ["a"])


def scheduled(**fields: object) -> Plan:
    """The right plan with something else in its schedule."""
    return replace(RIGHT, schedule=replace(RIGHT.schedule, **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (scheduled(offload=frozenset({"a", "nowhere"})), "plan: offload: found 'nowhere'"),
        (scheduled(deferred=frozenset({"zzz"})), "plan: deferred: found 'zzz'"),
        (scheduled(offload=["a"]), "plan: offload: found a list, expected a frozenset"),
        (
            replace(RIGHT, algorithms={k: v for k, v in RIGHT.algorithms.items() if k != ("p", "backward")}),
            "plan: algorithms: found no algorithm for backward of 'p'",
        ),
        (
            replace(RIGHT, algorithms={**RIGHT.algorithms, ("a", "backward_data"): "default"}),
            "plan: algorithms: found an algorithm for backward_data of 'a'",
        ),
        (
            replace(RIGHT, algorithms={**RIGHT.algorithms, ("b", "forward"): "MAGIC"}),
            "no algorithm 'MAGIC' for forward of layer 'b'; it has: IMPLICIT_GEMM, FFT",
        ),
        (
            replace(RIGHT, workspaces={**RIGHT.workspaces, ("b", "forward"): 0}),
            "plan: workspaces: found 0 bytes for forward of 'b', expected the 500 bytes that 'FFT' needs",
        ),
        ({"offload": "everything"}, "plan: found dict, expected a Plan"),
    ],
)
def test_a_plan_that_is_not_one_for_the_problem(plan: Plan, message: str) -> None:
    """What a user's own policy may get wrong is told before anything runs."""
    STUDY.run_plan("right", RIGHT)  # what was run before does not vouch for what only looks like it
    with pytest.raises(InvalidInput) as caught:
        STUDY.run_plan("own", plan)
    assert message in str(caught.value)
