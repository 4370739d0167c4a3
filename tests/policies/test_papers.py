"""What papers have proposed since vDNN, as literal schedules, and on all networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captured.steps import three_layers
from support.cases import conv, fc, gpu_of, join, layer, network_of, pool, row, trace_of
from support.examples import mostly_thorough
from support.strategies import networks
from vdnnsim.comparing import compare, compare_policies
from vdnnsim.errors import InvalidInput
from vdnnsim.iteration import Leave, Remake
from vdnnsim.making import make_study
from vdnnsim.network import Kind, Network
from vdnnsim.network.builtin import NETWORKS
from vdnnsim.policies import GROUPS, make_policy
from vdnnsim.policies.dtr import Evictions
from vdnnsim.policies.registry import PAPERS
from vdnnsim.policies.remaking import remakes_in_turn
from vdnnsim.policies.saves import Saves
from vdnnsim.report.table import comparison_notes
from vdnnsim.study import Study

from .test_runtimes import SHIPPED

LOSS = layer(Kind.SOFTMAX, "loss")
CHAIN = network_of(conv("a"), conv("b"), conv("c"), fc("d"), LOSS)
"""Stages: a, b, c, d, loss forward are 0 to 4, backward 5 to 9. Every map is 100 bytes; a copy takes 100 ns."""
CHEAP = network_of(conv("a"), pool("p"), conv("b"), LOSS)
"""Stages: a, p, b, loss forward are 0 to 3, backward 4 to 7."""

LONG = network_of(conv("a"), conv("b"), conv("c"), conv("d"), LOSS, side=64)
"""Stages: a to d and loss forward are 0 to 4, backward 5 to 9. Every map is 16,384 bytes, and copied in as many ns; in
use are 2, 3, 4, 5, 6, then 6, 6, 5, 4, 2 maps. Saved are those of a, b, c and the loss."""
MAP_BYTES = 16_384


def actions_of(name: str, capacity_bytes: int, network: object = CHAIN, kernel_ns: int = 10) -> dict[str, object]:
    trace = trace_of(network, default_ns=kernel_ns)  # type: ignore[arg-type]
    study = Study(network, trace, gpu_of(capacity_bytes), "first-fit", checked=True)  # type: ignore[arg-type]
    return dict(study.run(name).plan.schedule.actions)


@pytest.mark.parametrize("name", [name for name in PAPERS if name not in ("superneurons", "ssdtrain")])
def test_nothing_goes_where_there_is_room(name: str) -> None:
    assert actions_of(name, 1 << 30) == {}


def schedules_of_long(name: str, maps: int, kernel_ns: int = 20_000, a_ns: int = 20_000) -> dict[str, object]:
    """In memory for so many of its maps, which fits."""
    trace = trace_of(LONG, [row("a", "forward", a_ns)], kernel_ns)
    run = Study(LONG, trace, gpu_of(maps * MAP_BYTES + 4096), "first-fit", checked=True).run(name)
    assert run.result.reason == ""
    return dict(run.plan.schedule.actions)


A_AGAIN = (("a", "forward"),)


@pytest.mark.parametrize(
    ("name", "kernel_ns", "action"),
    [
        # of 4 saved maps beside a working set of 2, so that 3 may stay; there is room again when c's backward is on
        ("flashneuron", 20_000, Leave(1, 1, 7, 8)),
        # a relieves the most, its copies find time within c's forward and c's backward
        ("g10", 20_000, Leave(1, 2, 7, 8)),
        # the copies take 32,768 ns of 160,000 in which nobody needs it, that in begins 17,203 ns before the need
        ("capuchin", 20_000, Leave(1, 1, 7, 8)),
        # they take longer than that, and far longer than a's 10 ns once more
        ("capuchin", 10, Remake(1, 8, A_AGAIN)),
        # short at the loss: a was used longest ago, and costs as much as others
        ("dtr", 20_000, Remake(3, 8, A_AGAIN)),
        # the oldest in the cache goes at the loss, and is back while the layer behind it, whose X is b's, is on
        ("superneurons", 20_000, Leave(1, 3, 7, 8)),
    ],
)
def test_without_room_for_one_map_the_first_goes(name: str, kernel_ns: int, action: object) -> None:
    assert schedules_of_long(name, 5, kernel_ns, kernel_ns) == {"map:a": action}


def test_flashneuron_has_two_go_in_the_order_of_first_use() -> None:
    assert schedules_of_long("flashneuron", 4) == {"map:b": Leave(2, 2, 7, 7), "map:a": Leave(1, 1, 8, 8)}


@pytest.mark.parametrize(
    ("heuristic", "gone"),
    [
        ("dtr", {"map:b": 2, "map:a": 3}),
        ("local", {"map:b": 2, "map:c": 3}),
        ("lru", {"map:a": 2, "map:b": 3}),
        ("size", {"map:a": 2, "map:b": 3}),
    ],
)
def test_dtr_has_go_by_its_heuristic(heuristic: str, gone: dict[str, int]) -> None:
    """In room for 4 maps, a's kernel 90 us, others 20. At d's forward b has the least cost over age, 20 / 20 to a's
    90 / 40; a is the oldest, and the first of equals. At the loss a has 90 / 60 and c 20 / 20; with b, which is gone
    beside both, 110 / 60 and 40 / 20."""
    study = Study(LONG, trace_of(LONG, [row("a", "forward", 90_000)], 20_000), gpu_of())
    evictions = Evictions(Saves(study.problem()), 4 * MAP_BYTES + 4096, heuristic)
    evictions.plan()
    assert dict(list(evictions.gone.items())[:2]) == gone


def test_superneurons_makes_cheap_maps_again_whatever_room_there_is() -> None:
    assert actions_of("superneurons", 1 << 30, CHEAP) == {"map:p": Remake(2, 5, (("p", "forward"),))}


def test_ssdtrain_keeps_from_the_layer_on_at_which_the_link_falls_behind() -> None:
    """Kernels of 100 ns: (0 + 200) / 1500 is within 1 byte a nanosecond. Of 10 ns: (0 + 200) / 150 is above it at b."""
    slow = actions_of("ssdtrain(min_elements=1)", 1 << 30, kernel_ns=1000)
    assert list(slow) == ["map:a", "map:b", "map:c", "map:loss"]
    assert actions_of("ssdtrain(min_elements=1)", 1 << 30, kernel_ns=10) == {}
    assert actions_of("ssdtrain", 1 << 30, kernel_ns=1000) == {}  # below 8 M elements


def test_what_is_made_of_something_brings_it_back_first() -> None:
    """c is made of b's map, which is gone too: both are made again for d's backward."""
    iteration = Study(CHAIN, trace_of(CHAIN), gpu_of()).iteration  # type: ignore[arg-type]
    found = remakes_in_turn(iteration, {"map:b": 2, "map:c": 3}, {"map:b": 7, "map:c": 6})
    assert found == {"map:b": Remake(2, 6, (("b", "forward"),)), "map:c": Remake(3, 6, (("c", "forward"),))}


def test_nothing_is_made_of_data_that_is_gone() -> None:
    """Stages: p, b, c, add, loss forward are 0 to 4, their backward 8, 7, 6, 5. c, read of the data, is done first."""
    network = network_of(layer(Kind.ACTV, "p"), conv("b"), conv("c", "data"), join(Kind.ADD, "add", "b", "c"), LOSS)
    iteration = Study(network, trace_of(network), gpu_of()).iteration
    needed = iteration.first_read_in_backward["map:p"]
    assert iteration.last_stage["map:data"] < needed
    assert remakes_in_turn(iteration, {"map:p": 1}, {"map:p": needed}) == {}


def test_nothing_is_made_of_what_backward_needs_before_it_could_be_back() -> None:
    """r is made of a, which c's backward needs before b's needs r: a cannot come back with r, so that r stays."""
    network = network_of(
        conv("a"), layer(Kind.ACTV, "r"), conv("b"), conv("c", "a"), join(Kind.ADD, "add", "b", "c"), LOSS
    )
    iteration = Study(network, trace_of(network), gpu_of()).iteration
    needed = iteration.first_read_in_backward["map:r"]
    assert iteration.first_read_in_backward["map:a"] < needed
    assert remakes_in_turn(iteration, {"map:r": 2}, {"map:r": needed}) == {}


SHORT = (
    "vdnn-conv+recompute",
    "superneurons",
    "dtr",
    "dtr(heuristic=lru)",
    "capuchin",
    "flashneuron",
    "checkpoint",
    "checkpoint(every=2)",
)


@given(networks(5), st.floats(0.3, 1), st.sampled_from((10, 3000)))
@settings(max_examples=10)
def test_what_they_plan_can_be_carried_out(network: Network, share: float, kernel_ns: int) -> None:
    """In the checking mode, on any network, however short of memory."""
    study = Study(network, trace_of(network, (), kernel_ns), gpu_of(), checked=True)
    capacity_bytes = int(share * study.run("baseline(p)").result.peak_bytes)
    for name in SHORT:
        replace(study, gpu=gpu_of(max(capacity_bytes, 512))).run(name)


@pytest.mark.parametrize("name", ["dtr", "superneurons"])
def test_steps_do_not_say_what_kernels_read(name: str) -> None:
    with pytest.raises(InvalidInput, match="found three, a captured step; expected a network"):
        make_study(three_layers(), gpu=gpu_of()).run(name)


@pytest.mark.parametrize("name", ["flashneuron", "capuchin"])  # copies take longer than G10 lets them
def test_of_a_step_what_leaves_comes_back(name: str) -> None:
    study = replace(make_study(three_layers(), gpu=gpu_of(80 << 20)), checked=True)
    actions = study.run(name).plan.schedule.actions
    assert actions
    assert all(isinstance(action, Leave) for action in actions.values())


def test_results_of_recalled_rules_say_so() -> None:
    study = Study(CHAIN, trace_of(CHAIN), gpu_of())  # type: ignore[arg-type]
    notes = comparison_notes(compare_policies(study, ["capuchin", "g10", "superneurons"]))
    assert "Rules recalled, not checked: capuchin, superneurons (its cache)." in notes
    assert not any("recalled" in note for note in comparison_notes(compare_policies(study, ["g10"])))


def test_an_unknown_heuristic_is_told() -> None:
    with pytest.raises(InvalidInput, match="heuristic: found 'mru', expected one of: dtr, local, lru, size"):
        make_policy("dtr(heuristic=mru)")


@pytest.mark.parametrize(
    "network",
    mostly_thorough(
        sorted(set(NETWORKS) - {"vgg116", "vgg216", "vgg316", "vgg416"}), ("alexnet", "googlenet", "resnet50")
    ),
)
def test_all_run_on_all_networks(network: str) -> None:
    gpu, batch = SHIPPED[network]
    comparison = compare(network, batch=batch, gpu=gpu, capacity="3GB", policies=["papers"])
    assert [result.policy for result in comparison.results] == list(GROUPS["papers"])


@pytest.mark.parametrize("name", [*PAPERS, "dtr(heuristic=local)", "dtr(heuristic=lru)", "dtr(heuristic=size)"])
def test_they_are_right_whatever_the_times_are(name: str) -> None:
    """In the checking mode, short of memory on a network with forks, where they fit or not."""
    study = make_study("googlenet", batch=128, gpu="titan-x-maxwell", capacity="2GB")
    assert replace(study, checked=True).run(name).plan.schedule.actions
