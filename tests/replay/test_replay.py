"""A logged program in memory that is too small: by hand, against a slow reading of the rule, and what always holds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.programs import FORWARD_AND_BACK, program, programs
from support.examples import tries
from vdnnsim.errors import InvalidValue, UnknownName
from vdnnsim.replay import HEURISTICS, LoggedProgram, Outcome, compare_replays, replay
from vdnnsim.replay.heuristics import Heuristic, Neighbourhood, victim
from vdnnsim.replay.memory import CountedMemory
from vdnnsim.replay.runtime import ReplayEnded, Run
from vdnnsim.replay.tensors import WAYS, Storage


def test_in_endless_memory_a_program_takes_its_own_time() -> None:
    assert replay(FORWARD_AND_BACK) == (Outcome.DONE, 45, 0, 400, 0)
    assert FORWARD_AND_BACK.operators_ns == 45
    assert (FORWARD_AND_BACK.peak_bytes, FORWARD_AND_BACK.constant_bytes) == (400, 100)


@pytest.mark.parametrize("heuristic", HEURISTICS)
def test_what_is_short_goes_and_is_made_again(heuristic: str) -> None:
    """For t3 t1 goes, since t2 is read; b needs it, and f1 is run once more."""
    assert replay(FORWARD_AND_BACK, heuristic, 350) == (Outcome.DONE, 55, 10, 350, 1)


def test_without_room_for_what_is_read_at_once_it_ends() -> None:
    assert replay(FORWARD_AND_BACK, "lru", 349) == (Outcome.NO_ROOM, 50, 10, 300, 1)


def test_past_the_limit_it_ends() -> None:
    assert replay(FORWARD_AND_BACK, "lru", 350, limit=1.2).outcome is Outcome.OVER_LIMIT
    assert replay(FORWARD_AND_BACK, "lru", 350, limit=1.23).outcome is Outcome.DONE


@pytest.mark.parametrize(
    ("heuristic", "again_ns"), [("lru", 90), ("local", 201), ("size", 80), ("dtr", 80), ("dtr-classes", 80)]
)
def test_heuristics_differ_in_what_goes(heuristic: str, again_ns: int) -> None:
    """For `more` there is no room. `dear` was used longest ago; `cheap` has the least cost of its own for its bytes and
    age, but `base`, of which it is made, is gone; then comes `large`."""
    log = program(
        "x = 10B", "base = f(x) 200ns 5B", "dear = f(x) 90ns 10B", "cheap = f(base) 1ns 10B", "drop base",
        "large = f(x) 80ns 100B", "later = f(x) 100ns 0B", "more = f(x) 100ns 10B", "drop more",
        "pin cheap", "pin dear", "pin large",
    )  # fmt: skip
    assert replay(log, heuristic, 139)[:3] == (Outcome.DONE, log.operators_ns + again_ns, again_ns)


def test_holes_make_more_go_than_bytes_do() -> None:
    """A block of two units fits into what is free, but not into a hole of it."""
    log = program(
        "x = 8B", "a = f(x) 5ns 512B", "b = f(x) 7ns 512B", "c = f(x) 5ns 512B", "drop a", "drop c",
        "d = f(x) 5ns 1024B", "drop d", "pin b",
    )  # fmt: skip
    counted, placed = replay(log, "lru", 2048), replay(log, "lru", 2048, "best-fit")
    assert (counted.again_ns, counted.evictions) == (0, 0)
    assert (placed.again_ns, placed.evictions, placed.peak_bytes) == (7, 1, 2048)


def test_a_long_chain_is_made_again_without_a_stack_of_calls() -> None:
    """Two thousand links; each goes when the next is there, and the last two for lack of room."""
    links = [line for n in range(1, 2001) for line in (f"t{n} = f(t{n - 1}) 1ns 1B", f"drop t{n - 1}")][:-1]
    log = program("t0 = 1B", *links, "big = f(t0) 1ns 2000B", "drop big", "pin t2000")
    assert replay(log, "size", 2001) == (Outcome.DONE, 4001, 2000, 2001, 2)


def test_a_view_has_no_bytes_and_is_made_again_with_what_it_is_of() -> None:
    log = program(
        "x = 100B", "t1 = f1(x) 10ns 100B", "v = f2(t1) 3ns view", "drop t1", "big = f3(x) 10ns 200B", "drop big",
        "pin v",
    )  # fmt: skip
    assert log.peak_bytes == 400
    assert replay(log, "lru", 300) == (Outcome.DONE, 36, 13, 300, 1)


class Walking(Heuristic):
    """h_DTR as it is told: every time, walk to all that is gone on either side."""

    around = True

    def scores(self, pool: Sequence[Storage], clock_ns: int) -> list[float]:
        found = []
        for one in pool:
            cost_ns = one.cost_ns + sum(near.cost_ns for way in WAYS for near in self.all_gone(one, way))
            below = one.size_bytes * (clock_ns - one.used_ns)
            found.append(cost_ns / below if below > 0 else inf)
        return found

    def all_gone(self, one: Storage, way: int) -> set[Storage]:
        found: set[Storage] = set()
        todo = [one]
        while todo:
            for other in todo.pop().gone[way] - found:
                found.add(other)
                todo.append(other)
        return found


@given(programs(), st.integers(20, 60))
@settings(max_examples=tries(25))
def test_regions_that_are_kept_say_what_walking_says(log: LoggedProgram, budget_bytes: int) -> None:
    def ran(heuristic: Heuristic) -> tuple[int, int]:
        run = Run(CountedMemory(budget_bytes), heuristic, 10 * log.operators_ns)
        with suppress(ReplayEnded):
            run.through(log)
        return run.clock_ns, run.evictions

    assert ran(Neighbourhood()) == ran(Walking())


@given(programs(), st.sampled_from(sorted(HEURISTICS)), st.sampled_from(("bytes", "best-fit")), st.integers(20, 60))
@settings(max_examples=tries(25))
def test_what_holds_of_every_replay(log: LoggedProgram, heuristic: str, memory: str, budget: int) -> None:
    budget_bytes = budget if memory == "bytes" else 512 * budget // 5
    done = replay(log, heuristic, budget_bytes, memory, limit=20)
    assert done.peak_bytes <= budget_bytes
    if done.outcome is Outcome.DONE:
        assert done.operators_ns == log.operators_ns + done.again_ns
        assert done.again_ns == 0 or done.evictions


def test_the_first_without_worth_goes_else_the_last_of_equals() -> None:
    assert victim([3.0, 0, 2.0, 0]) == 1
    assert victim([2.0, 1.0, 1.0, 5.0]) == 2
    assert victim([inf, inf]) == 1


def test_replays_are_compared_by_shares_of_the_peak_or_by_bytes() -> None:
    replays = compare_replays(FORWARD_AND_BACK, ["lru"], budgets=[0.875, 349])
    assert replays.budgets_bytes == (350, 349)
    assert replays.overhead("lru", 350) == 55 / 45
    assert replays.overhead("lru", 349) is None
    with pytest.raises(InvalidValue, match="expected one that was asked for"):
        replays.overhead("dtr", 350)
    with pytest.raises(UnknownName, match="unknown heuristic 'lur'; did you mean 'lru'"):
        replay(FORWARD_AND_BACK, "lur")
