"""Pareto fronts and knees, worked out by hand and against the definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vdnnsim.figures.sweep.pareto import knee, pareto_front

POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30)


def test_by_hand() -> None:
    assert pareto_front([(3, 1), (1, 5), (2, 2), (2, 4), (4, 1), (1, 5)]) == [1, 2, 0]
    assert pareto_front([]) == []


@given(POINTS)
def test_the_front_is_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    front = {points[index] for index in pareto_front(points)}
    beaten = {
        point
        for point in points
        if any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in points)
    }
    assert front == set(points) - beaten


def test_the_knee_lies_farthest_below_the_line_between_the_ends() -> None:
    assert knee([(0, 10), (1, 4), (5, 1), (10, 0)]) == 1
    assert knee([(0, 100), (100, 40), (500, 10), (1000, 0)]) == 1
    assert knee([(0, 10), (5, 5), (10, 0)]) is None
    assert knee([(0, 10), (9, 9), (10, 0)]) is None
    assert knee([(0, 10), (10, 0)]) is None
