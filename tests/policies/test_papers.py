"""What papers have proposed since vDNN, as literal schedules, and on all networks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from captured.steps import three_layers
from support.cases import conv, fc, gpu_of, layer, network_of, pool, trace_of
from vdnnsim.errors import InvalidInput
from vdnnsim.iteration import Leave, Remake
from vdnnsim.network import Kind
from vdnnsim.network.builtin import NETWORKS
from vdnnsim.policies import GROUPS, make_policy
from vdnnsim.policies.registry import PAPERS
from vdnnsim.policies.remaking import remakes_in_turn
from vdnnsim.report.table import comparison_notes
from vdnnsim.study import Study, compare, compare_policies, make_study

from .test_runtimes import SHIPPED

LOSS = layer(Kind.SOFTMAX, "loss")
CHAIN = network_of(conv("a"), conv("b"), conv("c"), fc("d"), LOSS)
"""Stages: a, b, c, d, loss forward are 0 to 4, backward 5 to 9. Every map is 100 bytes; a copy takes 100 ns."""
CHEAP = network_of(conv("a"), pool("p"), conv("b"), LOSS)
"""Stages: a, p, b, loss forward are 0 to 3, backward 4 to 7."""


def actions_of(name: str, capacity_bytes: int, network: object = CHAIN, kernel_ns: int = 10) -> dict[str, object]:
    trace = trace_of(network, default_ns=kernel_ns)  # type: ignore[arg-type]
    study = Study(network, trace, gpu_of(capacity_bytes), "first-fit", checked=True)  # type: ignore[arg-type]
    return dict(study.run(name).plan.schedule.actions)


@pytest.mark.parametrize("name", [name for name in PAPERS if name not in ("superneurons", "ssdtrain")])
def test_nothing_goes_where_there_is_room(name: str) -> None:
    assert actions_of(name, 1 << 30) == {}


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


@pytest.mark.parametrize("network", sorted(set(NETWORKS) - {"vgg216", "vgg316", "vgg416"}))
def test_all_run_on_all_networks(network: str) -> None:
    gpu, batch = SHIPPED[network]
    comparison = compare(network, batch=batch, gpu=gpu, capacity="3GB", policies=["papers"])
    assert [result.policy for result in comparison.results] == list(GROUPS["papers"])


@pytest.mark.parametrize("name", [*PAPERS, "dtr(heuristic=local)", "dtr(heuristic=lru)", "dtr(heuristic=size)"])
def test_they_are_right_whatever_the_times_are(name: str) -> None:
    """In the checking mode, short of memory on a network with forks, where they fit or not."""
    study = make_study("googlenet", batch=128, gpu="titan-x-maxwell", capacity="2GB")
    assert replace(study, checked=True).run(name).plan.schedule.actions
