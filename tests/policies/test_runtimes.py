"""What runtimes in use do, as literal schedules of small networks and steps."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from captured.steps import module_with_workspace, three_layers
from support.cases import conv, fc, gpu_of, join, layer, network_of, trace_of
from support.examples import mostly_thorough
from support.render import copy_lines, kernel_lines
from vdnnsim.captured import remake_modules
from vdnnsim.captured.choosing import layers_of
from vdnnsim.comparing import compare
from vdnnsim.errors import InvalidInput
from vdnnsim.iteration import Leave, OwnCopy, Remake
from vdnnsim.making import make_study
from vdnnsim.network import Kind, Network
from vdnnsim.network.builtin import NETWORKS
from vdnnsim.policies import GROUPS
from vdnnsim.results import PolicyRun
from vdnnsim.study import Study

LOSS = layer(Kind.SOFTMAX, "loss")
CHAIN = network_of(conv("a"), conv("b"), conv("c"), fc("d"), LOSS)
"""Stages: a, b, c, d, loss forward are 0 to 4, backward 5 to 9. Every map is 100 bytes; a copy takes 100 ns."""
BLOCKS = network_of(
    conv("a"),
    *(conv("b1"), conv("b2"), join(Kind.ADD, "b", "b2", "a")),
    *(conv("c1"), conv("c2"), join(Kind.ADD, "c", "c2", "b")),
    *(conv("d1"), conv("d2"), join(Kind.ADD, "d", "d2", "c")),
    LOSS,
)
"""Stages: a is 0, b1, b2, b 1 to 3, and so on to the loss, 10; backward 11 to 21: d is 12 to 14, c 15 to 17."""


SHIPPED = {
    **dict.fromkeys(("alexnet", "googlenet", "overfeat"), ("titan-x-maxwell", 128)),
    **dict.fromkeys(("vgg11", "vgg16", "vgg19"), ("titan-x-maxwell", 64)),
    **{f"vgg{depth}": ("titan-x-maxwell", 32) for depth in (116, 216, 316, 416)},
    "resnet50": ("h200", 64),
    "mobilenet": ("h200", 128),
    "squeezenet": ("h200", 128),
}
"""A shipped trace of every network: GPU and batch."""


def ran(name: str, network: Network = CHAIN) -> PolicyRun:
    return Study(network, trace_of(network), gpu_of(), checked=True).run(name)


@pytest.mark.parametrize(
    ("name", "actions"),
    [
        # c's map is saved by the head, d; b's is the last in the stash
        ("torchtune(stash=1, min_bytes=1)", {"map:a": Leave(1, 2, 8, 8)}),
        ("torchtune(stash=0, min_bytes=1)", {"map:a": Leave(1, 1, 8, 8), "map:b": Leave(2, 2, 7, 7)}),
        ("torchtune", {}),  # every map is below 1024 bytes
        (
            "save-on-cpu",
            {
                "map:a": Leave(1, 1, 8, 8),
                "map:b": Leave(2, 2, 7, 7),
                "map:c": Leave(3, 3, 6, 6),
                "map:loss": Leave(4, 4, 5, 5),
            },
        ),
        # gone one layer behind its last use, back one before it is needed; d and the loss are the last layer
        ("torchtitan(min_bytes=1)", {"map:a": Leave(1, 2, 7, 8), "map:b": Leave(2, 4, 5, 7)}),
        ("torchtitan(min_bytes=1, budget=150)", {"map:a": Leave(1, 2, 7, 8)}),
        # let go when forward is over: less is under way than may be; the first copy in begins at the first need
        ("offload(min_bytes=1)", {"map:a": Leave(1, 4, 7, 8), "map:b": Leave(2, 4, 7, 7)}),
        ("offload(which=everything, min_bytes=1)", {"map:a": Leave(1, 4, 7, 8), "map:b": Leave(2, 4, 7, 7)}),
        ("offload(min_bytes=1, in_flight=100B, ahead=0)", {"map:a": Leave(1, 2, 8, 8), "map:b": Leave(2, 4, 7, 7)}),
        ("offload(which=gemm, min_bytes=1, in_flight=0)", {"map:a": Leave(1, 1, 7, 8), "map:b": Leave(2, 2, 7, 7)}),
        ("offload(which=half, min_bytes=1)", {"map:a": Leave(1, 4, 8, 8)}),
        ("offload(keep_last=1, min_bytes=1, in_flight=none)", {"map:a": Leave(1, 4, 8, 8)}),
        ("checkpoint", {}),
        ("checkpoint(every=2)", {f"map:{n}": Remake(i, 9 - i, ((n, "forward"),)) for n, i in (("a", 1), ("c", 3))}),
    ],
)  # fmt: skip
def test_schedules_of_a_chain(name: str, actions: dict[str, object]) -> None:
    run = ran(name)
    assert run.result.reason == ""
    assert dict(run.plan.schedule.actions) == actions


def test_one_copy_stream_serves_both_ways_in_turn() -> None:
    """b's copy out, given with b, has to wait for a's; a's copy in waits for c's kernels and comes alone."""
    lines = copy_lines(ran("torchtune(stash=0, min_bytes=1)").timeline)
    assert [line[:2] for line in lines] == [
        *(("copy out", "map:a"), ("copy out", "map:b"), ("copy in", "map:b"), ("copy in", "map:a"))
    ]
    assert all(before[3] <= behind[2] for before, behind in pairwise(lines))


def test_copies_on_the_compute_stream_stand_in_line_with_kernels() -> None:
    timeline = ran("save-on-cpu").timeline
    spans = [(begin, end) for *_, begin, end in (*kernel_lines(timeline), *copy_lines(timeline))]
    spans.sort()
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))


@pytest.mark.parametrize(
    ("name", "freed", "back"),
    [
        ("te(layers=1)", 6, 15),  # before the third block's forward; before the second's backward
        ("te(layers=2)", 3, 18),
        ("te-v1(layers=1)", 9, 12),  # its window is all of forward
        ("te-v1(layers=2)", 6, 15),
    ],
)
def test_the_first_block_of_three_leaves(name: str, freed: int, back: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vdnnsim.policies.te.FEWEST_ELEMENTS", 1)
    monkeypatch.setattr("vdnnsim.policies.te_v1.FEWEST_ELEMENTS", 1)
    leaves = ran(name, BLOCKS).plan.schedule.leaves
    assert {one: (leave.freed, leave.back) for one, leave in leaves.items() if leave.out <= 3} == {
        "map:a": (freed, back),
        "map:b1": (freed, back),
    }


def test_groups_leave_with_their_modules_and_come_back_one_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vdnnsim.policies.megatron.FEWEST_ELEMENTS", 1)
    leaves = ran("megatron", BLOCKS).plan.schedule.leaves
    # of six groups, two names, the last two stay
    assert {name: (leave.out, leave.back, leave.needed) for name, leave in leaves.items()} == {
        "map:a": (1, 19, 20),
        "map:b1": (2, 17, 19),
        "map:b": (4, 16, 17),
        "map:c1": (5, 14, 16),
    }
    half = ran("megatron(fraction=0.5)", BLOCKS).plan.schedule.leaves
    assert set(half) == {"map:a", "map:b1"}
    assert len(ran("megatron(margin=0)", BLOCKS).plan.schedule.leaves) == 6


@pytest.mark.parametrize("name", ["te", "te-v1", "megatron"])
def test_networks_without_repeated_blocks_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"found {name} for .*, expected a model that repeats blocks"):
        ran(name)


@pytest.mark.parametrize("layers", [0, 3])
def test_one_block_has_to_stay(layers: int) -> None:
    with pytest.raises(InvalidInput, match=f"found layers={layers}, expected 1 to 2, one stays"):
        ran(f"te(layers={layers})", BLOCKS)


def test_what_is_gone_is_made_again_for_what_is_made_of_it() -> None:
    """c2's map, which the ADD alone reads, dies in forward; the sum behind it is made again of it."""
    actions = ran("checkpoint(every=4)", BLOCKS).plan.schedule.actions
    again = 13  # the backward of d2, the first that needs a map of the segment: d1's
    assert actions["map:c"] == Remake(9, again, (("c", "forward"),))
    assert actions["map:c2"] == Remake(6, again, (("c2", "forward"),))


@pytest.mark.parametrize(
    ("name", "leaves"),
    [
        ("te(layers=1)", {"b7": Leave(3, 4, 12, 12)}),
        ("te-v1(layers=1)", {"b7": Leave(3, 5, 10, 12)}),
        ("megatron(margin=1)", {"b7": Leave(3, 7, 10, 12)}),
        ("torchtitan", {"b7": Leave(3, 5, 10, 12)}),
    ],
)
def test_of_a_step_blocks_leave_at_hook_calls(name: str, leaves: dict[str, Leave]) -> None:
    study = replace(make_study(three_layers(), gpu=gpu_of()), checked=True)
    assert dict(study.run(name).plan.schedule.actions) == leaves


@pytest.mark.parametrize(
    ("name", "own"),
    [
        # of what is packed in the stages 1 to 7 every second is a weight, which stays; the loss saves y3, s6
        ("torchtune", {"s0": OwnCopy(10), "s2": OwnCopy(10), "s4": OwnCopy(10, back=False)}),
        ("torchtune(head=leaves)", {"s0": OwnCopy(7), **{f"s{n}": OwnCopy(8, back=n < 6) for n in (2, 4, 6)}}),
        (
            "torchtune(stash=2, head=leaves)",
            {"s0": OwnCopy(3), "s2": OwnCopy(5), "s4": OwnCopy(7), "s6": OwnCopy(8, False)},
        ),
        ("torchtune(stash=0, min_bytes=5MiB)", {"s2": OwnCopy(3), "s4": OwnCopy(5)}),
        ("save-on-cpu", {f"s{number}": OwnCopy(number + 1, waited=True) for number in range(7)}),
    ],
)
def test_of_a_step_each_saved_tensor_is_copied_by_itself(name: str, own: dict[str, OwnCopy]) -> None:
    study = replace(make_study(three_layers(), gpu=gpu_of()), checked=True)
    schedule = study.run(name).plan.schedule
    assert dict(schedule.own_copies) == own
    assert not schedule.actions


def test_up_to_pytorch_2_11_save_on_cpu_has_the_host_wait() -> None:
    step = three_layers()
    for torch, waited in (("2.11.0+cu130", True), ("2.12.0", False)):
        study = make_study(replace(step, header=replace(step.header, torch=torch)), gpu=gpu_of())
        assert all(own.waited is waited for own in study.run("save-on-cpu").plan.schedule.own_copies.values())


def test_what_is_a_view_of_a_weight_is_no_parameter() -> None:
    """As a linear layer saves it, transposed: torchtune copies it. What is not in a row is gathered on a GPU."""
    step = three_layers()
    weight = step.saved[1]._replace(shape=(512, 512), stride=(1, 512))
    step = replace(step, saved=(step.saved[0], weight, *step.saved[2:]))
    study = make_study(step, gpu=gpu_of())
    assert study.run("torchtune").plan.schedule.own_copies["s1"] == OwnCopy(10)
    assert study.run("save-on-cpu").plan.schedule.own_copies["s1"] == OwnCopy(2, gathered=True, waited=True)


def test_a_view_with_gaps_goes_through_unpinned_memory_where_its_dimensions_are_in_another_order() -> None:
    """As torch's copy has it on a GPU; in the bytes' order it is put in a row, and nobody waits."""
    step = three_layers()
    turned = step.saved[2]._replace(shape=(512, 4096), stride=(1, 1024))
    in_order = step.saved[4]._replace(shape=(4096, 512), stride=(1024, 1))
    step = replace(step, saved=(*step.saved[:2], turned, step.saved[3], in_order, *step.saved[5:]))
    own = make_study(step, gpu=gpu_of()).run("torchtune").plan.schedule.own_copies
    assert own["s2"][2:] == (True, True, True)
    assert own["s4"][2:] == (True, False, False)


def test_a_convolution_s_weight_with_its_channels_last_is_the_parameter_itself() -> None:
    step = three_layers()
    weight = step.saved[1]._replace(shape=(64, 64, 8, 8), stride=(4096, 1, 512, 64))
    step = replace(step, saved=(step.saved[0], weight, *step.saved[2:]))
    assert "s1" not in make_study(step, gpu=gpu_of()).run("torchtune").plan.schedule.own_copies


def test_of_a_step_one_copy_waits_for_the_other() -> None:
    lines = copy_lines(make_study(three_layers(), gpu=gpu_of()).run("torchtune(stash=0)").timeline)
    assert [line[:2] for line in lines][:2] == [("copy out", "s0"), ("copy out", "s2")]
    assert all(before[3] <= behind[2] for before, behind in pairwise(lines))


def test_of_modules_inside_of_others_the_outer_ones_are_checkpointed() -> None:
    """The layers of a step without numbers are its modules: a.fc within a runs again with it."""
    step = module_with_workspace()
    saved = (step.saved[0]._replace(module="a"), step.saved[1]._replace(module="a.fc"))
    step = replace(step, saved=saved)
    assert list(layers_of(step)) == ["a", "a.fc"]
    actions = make_study(step, gpu=gpu_of()).run("checkpoint").plan.schedule.actions
    assert actions == remake_modules(step, ["a"])


def test_a_step_whose_layers_make_nothing_alone_cannot_be_checkpointed() -> None:
    study = make_study(three_layers(), gpu=gpu_of())
    with pytest.raises(InvalidInput, match="expected layers that make and save tensors"):
        study.run("checkpoint")
    with pytest.raises(InvalidInput, match="expected every=1"):
        study.run("checkpoint(every=sqrt)")


@pytest.mark.parametrize(
    "network",
    mostly_thorough(sorted(set(NETWORKS) - {"vgg216", "vgg316", "vgg416"}), ("alexnet", "googlenet", "resnet50")),
)
def test_all_run_on_all_networks(network: str) -> None:
    """Those that need repeated blocks are left out where there are none, with why."""
    gpu, batch = SHIPPED[network]
    comparison = compare(network, batch=batch, gpu=gpu, capacity="12GB", policies=["runtimes"])
    names = [result.policy for result in comparison.results]
    assert len(names) + len(comparison.left_out) == len(GROUPS["runtimes"])
    assert all(text.startswith(("te", "megatron")) for text in comparison.left_out)


@pytest.mark.parametrize("name", GROUPS["runtimes"])
def test_they_are_right_whatever_the_times_are(name: str) -> None:
    """In the checking mode, on a network with forks and blocks that are given back out of the order of their copies."""
    study = replace(make_study("resnet50", batch=64, gpu="h200"), checked=True)
    assert study.run(name).result.peak_bytes < study.run("oracle").result.peak_bytes
