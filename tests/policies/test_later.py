"""The policies that came after the paper: which schedules they write, and what becomes of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from support.cases import conv, fc, gpu_of, join, layer, network_of, pool, row, trace_of
from support.render import step_lines
from vdnnsim.iteration import Leave, Remake
from vdnnsim.making import make_study
from vdnnsim.network import Kind, Network
from vdnnsim.policies import Plan, make_policy
from vdnnsim.policies.registry import LATER_POLICIES
from vdnnsim.study import Study
from vdnnsim.trace import Trace

LOSS = layer(Kind.SOFTMAX, "loss")
CHAIN = network_of(conv("a"), conv("b"), conv("c"), fc("d"), LOSS)
"""Stages: a, b, c, d, loss forward are 0 to 4, backward 5 to 9. Every map is 100 bytes; a copy takes 100 ns."""


def planned(name: str, network: Network, trace: Trace | None = None) -> Plan:
    study = Study(network, trace or trace_of(network), gpu_of())
    policy = make_policy(name)
    policy.check(study.problem())
    return policy.plan(study.problem())


# vDNN++


def test_x_of_every_layer_but_the_last_one_leaves_and_the_input_is_not_copied() -> None:
    """d is the last one that is no ACTV or SOFTMAX."""
    plan = planned("vdnn++", CHAIN)
    assert plan.offload == {"a", "b", "c"}
    leaves = plan.schedule.leaves
    assert {name: (leave.out, leave.freed_early) for name, leave in leaves.items()} == {
        "map:data": (None, False),
        "map:a": (1, True),
        "map:b": (2, True),
    }


@pytest.mark.parametrize(
    ("b_ns", "c_ns", "freed"),
    [
        (100, 100, (1, 2)),  # each copy is done with its layer
        (99, 200, (2, 2)),  # a's by a nanosecond not
        (10, 10, (3, 3)),  # none is, before the loss
        (150, 100, (1, 2)),  # b's copy begins with its layer
    ],
)
def test_a_block_goes_with_the_layer_by_whose_end_its_copy_should_be_done(
    b_ns: int, c_ns: int, freed: tuple[int, int]
) -> None:
    trace = trace_of(CHAIN, [row("b", "forward", b_ns), row("c", "forward", c_ns)])
    leaves = planned("vdnn++", CHAIN, trace).schedule.leaves
    assert (leaves["map:a"].freed, leaves["map:b"].freed) == freed


def test_kernels_that_slow_copies_let_blocks_go_later() -> None:
    rows = [row("b", "forward", 100, slow_out=2), row("c", "forward", 150)]
    assert planned("vdnn++", CHAIN, trace_of(CHAIN, rows)).schedule.leaves["map:a"].freed == 2


def test_no_layer_waits_for_a_copy_but_blocks_and_readers_do() -> None:
    trace = trace_of(CHAIN, [row("b", "forward", 99), row("c", "forward", 200)])
    study = Study(CHAIN, trace, gpu_of(), checked=True)
    program = study.run("vdnn++").program
    assert step_lines(program, "b") == ["allocate map:b", "run b forward", "copy out map:a", "wait for compute"]
    assert step_lines(program, "c")[-4:] == ["wait for copy out 1", "free map:a", "wait for copy out 2", "free map:b"]


def test_where_the_pool_has_no_room_the_oldest_block_goes_first() -> None:
    """In less and less memory blocks go sooner, and in the order of their copies."""
    study = make_study("resnet50", batch=64, gpu="h200")
    ample = study.run("vdnn++").result.peak_bytes
    seen = []
    for share in (1.1, 0.9, 0.7, 0.5):
        tight = replace(study, gpu=study.gpu.with_capacity(int(ample * share)), checked=True)
        run = tight.run("vdnn++")
        assert run.result.reason == ""
        seen.append([leave.freed for leave in run.plan.schedule.leaves.values()])
    assert seen[0] != seen[1]
    for roomy, tighter in pairwise(seen):
        assert all(after <= before for before, after in zip(roomy, tighter, strict=True))


# vDNN-conv with recomputation

CHEAP = network_of(conv("a"), pool("p"), conv("b"), LOSS)
"""Stages: a, p, b, loss forward are 0 to 3, backward 4 to 7; b's X is p's map, made of a's, which stays."""


@pytest.mark.parametrize(
    ("pool_ns", "action"),
    [
        (179, Remake(2, 5, (("p", "forward"),))),
        (180, Leave(2, 2, 4, 5)),  # 90 ns of waiting for each copy beside a kernel of 10
        (500, Leave(2, 2, 4, 5)),
    ],
)
def test_a_cheap_map_is_made_again_where_that_takes_less_time(pool_ns: int, action: object) -> None:
    plan = planned("vdnn-conv+recompute", CHEAP, trace_of(CHEAP, [row("p", "forward", pool_ns)]))
    assert plan.schedule.actions["map:p"] == action


def test_what_a_conv_writes_is_copied_however_long_that_takes() -> None:
    plan = planned("vdnn-conv+recompute", network_of(conv("a"), layer(Kind.ACTV, "r"), conv("b"), LOSS))
    assert {type(action) for action in plan.schedule.actions.values()} == {Leave}


def test_what_several_read_is_made_again_once() -> None:
    """Two CONVs read what an LRN makes: it is made again once, for the first of them in backward."""
    network = network_of(
        conv("a"), layer(Kind.LRN, "n"), conv("b"), conv("c", "n"), join(Kind.ADD, "add", "b", "c"), LOSS
    )
    plan = planned("vdnn-conv+recompute", network)
    assert plan.schedule.actions["map:n"] == Remake(3, 8, (("n", "forward"),))  # a's map stays, as the LRN's X
    study = Study(network, trace_of(network), gpu_of(), checked=True)
    program = study.run_plan("own", plan).program
    assert [line for line in step_lines(program, "c", backward=True) if "again" in line] == ["run n forward again"]


@pytest.mark.parametrize("name", sorted(LATER_POLICIES))
@pytest.mark.parametrize(("network", "batch", "gpu"), [("resnet50", 64, "h200"), ("googlenet", 128, "titan-x-maxwell")])
def test_they_run_in_the_checking_mode_and_lose_less_than_vdnn(name: str, network: str, batch: int, gpu: str) -> None:
    study = replace(make_study(network, batch=batch, gpu=gpu), checked=True)
    vdnn = {"vdnn++": "vdnn-all(p)", "vdnn-conv+recompute": "vdnn-conv(p)"}[name]
    assert study.run(name).result.iteration_time_ns < study.run(vdnn).result.iteration_time_ns
