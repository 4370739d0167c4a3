"""Oldest first: who leaves, who waits for it, and what is made again in place of waiting."""

from __future__ import annotations

from hypothesis import given, settings

from optimum.test_model import instances
from support.examples import tries
from vdnnsim.optimum import Choice, Gap, Instance, Step
from vdnnsim.optimum.greedy import oldest_first

OLD = Gap("old", 4, 1, 6, 7, 0, 20, 20, None, ())
NEW = Gap("new", 4, 2, 5, 6, 1, 20, 20, 0, ("old",), makers=(1,))


def walked(
    capacity_bytes: int, *gaps: Gap, at_3: int = 2
) -> tuple[list[str], tuple[float, ...], tuple[int | None, ...]]:
    """Of eight kernels of 30 ns, which use 2 bytes, but for that at 3: which periods each gap's tensor is gone for, the
    waits, and before which period it is made again."""
    steps = tuple(Step((f"l{n}", ""), n, (Choice("", 30, 0),), at_3 if n == 3 else 2) for n in range(8))
    found = oldest_first(Instance(steps, gaps, 0, capacity_bytes))
    assert found is not None
    gone = ["".join(str(int(share)) for share in shares) for shares in found.gone]
    return gone, found.waits_ns, found.remade


NO_WAIT = (0.0,) * 8


def test_nothing_leaves_where_there_is_room() -> None:
    assert walked(10, OLD, NEW) == (["000000", "0000"], NO_WAIT, (None, None))


def test_the_oldest_leaves_when_room_is_short_its_copy_before_that() -> None:
    """It is gone from step 3 on, and its copy, behind step 0, is done by then."""
    assert walked(10, NEW, OLD, at_3=6) == (["0000", "001111"], NO_WAIT, (None, None))


def test_a_kernel_waits_for_a_slow_copy() -> None:
    slow = OLD._replace(out_ns=100)
    assert walked(10, slow, at_3=8) == (["001111"], (0, 0, 0, 40, 0, 0, 0, 0), (None,))


def test_what_is_made_again_in_less_is_dropped_in_its_place_and_what_it_is_made_of_is_there() -> None:
    slow = OLD._replace(out_ns=100)
    assert walked(10, slow, NEW, at_3=6) == (["000000", "0111"], NO_WAIT, (None, 6))
    both = walked(10, slow._replace(out_ns=180), NEW, at_3=10)
    assert both == (["001110", "0111"], (0, 0, 0, 120, 0, 0, 0, 0), (None, 6))
    makable = slow._replace(out_ns=180, remake_ns=5, makers=(0,))
    assert walked(10, makable, NEW, at_3=10) == both


def test_nothing_left_to_go() -> None:
    steps = (Step(("l", ""), 0, (Choice("", 30, 0),), 4),)
    assert oldest_first(Instance(steps, (), 0, 3)) is None


@settings(max_examples=tries(100))
@given(instances())
def test_each_kernel_has_room_and_what_is_made_again_its_sources(instance: Instance) -> None:
    found = oldest_first(instance)
    if found is None:
        return
    held = [instance.fixed_bytes + step.used_bytes for step in instance.steps]
    gone = {}
    for gap, shares in zip(instance.gaps, found.gone, strict=True):
        for period, share in enumerate(shares, gap.first):
            gone[gap.tensor, period] = bool(share)
            held[period] += 0 if share else gap.size_bytes
    for step, size_bytes, name in zip(instance.steps, held, found.algorithms, strict=True):
        choice = next(choice for choice in step.choices if choice.algorithm == name)
        assert size_bytes + choice.workspace_bytes <= instance.capacity_bytes
    for gap, again in zip(instance.gaps, found.remade, strict=True):
        if again is not None:
            assert not any(gone.get((source, again - 1)) for source in gap.sources)
