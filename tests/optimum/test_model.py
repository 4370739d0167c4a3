"""The solver's optimum is that of trying everything, and its relaxation is below."""

from __future__ import annotations

import ctypes
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from support.brute_force import least_ns
from support.examples import tries
from vdnnsim.optimum import Choice, Gap, Instance, Model, Step, Unsolvable
from vdnnsim.optimum.coarsening import at_marks, in_periods, weighty_begins
from vdnnsim.optimum.silence import silence

MB = 10**6
MS = 10**6
_TIMES = st.integers(0, 40).map(lambda number: number * MS)
_SIZES = st.integers(0, 60).map(lambda number: number * MB)


@st.composite
def instances(draw: DrawFn) -> Instance:
    """Chains of up to six layers, some of whose maps may leave or be made again."""
    layers = draw(st.integers(2, 6))
    steps = []
    for number in range(2 * layers):
        choices = [Choice("fast", draw(_TIMES), draw(_SIZES))]
        if number in (0, 1, 2 * layers - 2) and choices[0].workspace_bytes:
            choices.append(Choice("lean", choices[0].duration_ns + MS + draw(_TIMES), 0))
        steps.append(Step((f"l{number}", "pass"), number, tuple(choices), draw(_SIZES)))
    gaps: list[Gap] = []
    for number in sorted(draw(st.sets(st.integers(0, layers - 2), min_size=1, max_size=2 if layers > 4 else 3))):
        first, needed = number + 2, 2 * layers - 1 - number
        if first < needed:
            out_ns = draw(_TIMES) if number else 0
            remake_ns = draw(st.none() | _TIMES)
            sources = tuple(gap.tensor for gap in gaps[-1:]) if remake_ns is not None else ()
            size_bytes, in_ns = MB + draw(_SIZES), MS + draw(_TIMES)
            gap = Gap(f"m{number}", size_bytes, first, needed - 1, needed, number, out_ns, in_ns, remake_ns, sources)
            gaps.append(gap if remake_ns is None else gap._replace(makers=(max(number, draw(st.integers(0, 1))),)))
    return Instance(tuple(steps), tuple(gaps), 10 * MB, draw(st.integers(60, 220)) * MB)


def test_a_solver_out_of_time_proves_nothing() -> None:
    step = Step(("l", "pass"), 0, (Choice("fast", 10, 0),), 1)
    assert Model(Instance((step,), (), 0, 10)).solve(whole=False, seconds=60).bound_ns == pytest.approx(10)
    gaps = tuple(Gap(f"m{number}", 5, 1, 38, 39, 0, 50, 50, None, ()) for number in range(9))
    steps = tuple(Step((f"l{number}", "pass"), number, (Choice("fast", 10, 0),), 1) for number in range(40))
    assert Model(Instance(steps, gaps, 0, 20)).solve(whole=False, seconds=0).bound_ns == 0


@settings(max_examples=tries(30))
@given(instances(), st.booleans())
def test_the_solver_finds_what_trying_everything_finds(instance: Instance, bounding: bool) -> None:
    least = least_ns(instance, bounding)
    model = Model(instance, bounding=bounding)
    if least is None:
        with pytest.raises(Unsolvable):
            model.solve(whole=True, seconds=60)
        return
    found = model.solve(whole=True, seconds=60)
    assert found.time_ns == pytest.approx(least, abs=100)
    assert found.bound_ns == pytest.approx(least, abs=100)
    assert model.solve(whole=False, seconds=60).bound_ns <= least + 100


@settings(max_examples=15)
@given(instances(), st.data())
def test_coarser_ones_are_below_or_above(instance: Instance, data: st.DataObject) -> None:
    """Looking at some kernels alone only lessens what is needed; going and coming at some alone takes no less."""
    least = least_ns(instance)
    at_least = least_ns(instance, bounding=True)
    steps = len(instance.steps)
    some = data.draw(st.sets(st.integers(1, steps - 2)))
    seen = at_marks(instance, [*sorted(some), steps - 1])
    coarse = in_periods(instance, [0, *sorted(some)])
    assert seen.least_bytes <= instance.least_bytes
    if at_least is not None:
        assert Model(seen, bounding=True).solve(whole=True, seconds=60).bound_ns <= at_least + 100
        assert least is None or at_least <= least
    try:
        found = Model(coarse).solve(whole=True, seconds=60).time_ns
    except Unsolvable:
        return
    assert least is not None
    assert found is not None
    assert found >= least - 100


def test_what_is_made_again_is_so_as_before_and_behind_the_copies_in() -> None:
    """Of 20 bytes, m, which step 1 makes again of s in 10 ns with 6 bytes of workspace or in 30 without, is gone at
    step 4 at least, and s, back in 20 ns, as well; both are needed at step 6."""
    ways = {1: (Choice("fast", 10, 6), Choice("lean", 30, 0))}
    source = Gap("s", 3, 1, 5, 6, 0, 1, 20, None, ())
    made = Gap("m", 7, 3, 5, 6, 1, 10**6, 10**6, 0, ("s",), makers=(1,))

    def waits_ns(**used_bytes: int) -> float | None:
        steps = tuple(
            Step(
                (f"l{number}", "pass"),
                number,
                ways.get(number, (Choice("", 30, 0),)),
                used_bytes.get(f"at_{number}", 5),
            )
            for number in range(8)
        )
        time_ns = Model(Instance(steps, (source, made), 0, 20)).solve(whole=True, seconds=60).time_ns
        return time_ns and time_ns - 7 * 30 - 10

    assert waits_ns(at_4=14) == pytest.approx(10)  # m is made again
    assert waits_ns(at_4=18) == pytest.approx(10)  # s comes beside step 5
    assert waits_ns(at_4=18, at_5=18) == pytest.approx(20 + 10)  # and here in the wait before step 6, m behind it
    assert waits_ns(at_4=14, at_5=15, at_6=15) == pytest.approx(20 + 30)  # without workspace, both times


def test_a_coarser_one_keeps_what_cannot_go_for_a_whole_period() -> None:
    steps = tuple(Step((f"l{number}", "pass"), number, (Choice("fast", 10, 0),), 1) for number in range(8))
    gap = Gap("m", 5, 2, 6, 7, 1, 3, 3, None, ())
    coarse = in_periods(Instance(steps, (gap,), 0, 20), [0, 1, 3, 5])
    assert [step.used_bytes for step in coarse.steps] == [1, 1, 6, 1, 1, 6, 6, 1]
    assert [(gap.first, gap.last, gap.needed, gap.written) for gap in coarse.gaps] == [(2, 2, 3, 1)]
    assert coarse.fastest_ns == at_marks(coarse, [3, 7]).fastest_ns == 80


def test_rows_of_stages_in_which_as_much_happens() -> None:
    """The long kernel, and the one that writes what leaves, are rows of their own; steps of a stage stay together."""
    times = (1, 1, 1, 1, 40, 1, 1, 1, 1, 1)
    steps = tuple(
        Step((f"l{number}", "pass"), number // 2, (Choice("a", ns, 0),), 1) for number, ns in enumerate(times)
    )
    assert weighty_begins(Instance(steps, (), 0, 20), 4) == [0, 4, 6]
    gap = Gap("m", 5, 3, 6, 7, 2, 3, 3, None, ())
    assert weighty_begins(Instance(steps, (gap,), 0, 20), 4) == [0, 2, 4, 6, 8]


def test_fewer_actions_where_each_is_trouble() -> None:
    """Two small tensors are out and back in 56 ns, a large one in 60; what an action counts is no time."""
    steps = tuple(Step((f"l{number}", "pass"), number, (Choice("a", 1000, 0),), 1) for number in range(8))
    sizes_and_copies = ((4, 14), (4, 14), (8, 30))
    gaps = tuple(
        Gap(f"m{number}", size_bytes, 1, 6, 7, 0, copy_ns, copy_ns, None, ())
        for number, (size_bytes, copy_ns) in enumerate(sizes_and_copies)
    )
    instance = Instance(steps, gaps, 0, 9)
    assert Model(instance).solve(whole=True, seconds=60).time_ns == pytest.approx(8056)
    found = Model(instance, trouble=0.001).solve(whole=True, seconds=60)
    assert [max(gone) > 0.5 for gone in found.gone] == [False, False, True]
    assert found.time_ns == pytest.approx(8060)


def test_what_the_solver_prints_is_not_among_what_we_do(capfd: pytest.CaptureFixture[str]) -> None:
    c = ctypes.CDLL(None)
    print("ours")
    with silence():
        c.puts(b"theirs")
        os.write(1, b"theirs")
    print("ours")
    assert capfd.readouterr().out == "ours\nours\n"


def test_nothing_begins_before_the_host_gives_it() -> None:
    """The second waits until 50, and the third, which is done 10 later, until 65."""
    ready_ns = {"a": 0, "b": 50, "c": 65}
    steps = tuple(
        Step((name, ""), n, (Choice("", 10, 0),), 0, 0, ready) for n, (name, ready) in enumerate(ready_ns.items())
    )
    assert round(Model(Instance(steps, (), 0, 100)).solve(whole=False, seconds=10).bound_ns) == 75
    assert round(Model(Instance(steps, (), 0, 100, begins=(0, 1))).solve(whole=False, seconds=10).bound_ns) == 75
