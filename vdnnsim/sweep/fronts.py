"""Pareto fronts of two numbers of which less is better, and their knee."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which points no other beats in both numbers, by rising first number; of equal ones the first."""
    order = sorted(range(len(points)), key=lambda index: (*points[index], index))
    front: list[int] = []
    least = float("inf")
    for index in order:
        if points[index][1] < least:
            least = points[index][1]
            front.append(index)
    return front


def knee(front: Sequence[tuple[float, float]]) -> int | None:
    """The point of a front that lies farthest below the line between its ends, both numbers scaled to the front's
    range: beyond it, less of one costs much of the other. None where no point lies below it."""
    if len(front) < 3:
        return None
    (left, top), (right, bottom) = front[0], front[-1]
    depths = [1 - (x - left) / (right - left) - (y - bottom) / (top - bottom) for x, y in front]
    deepest = max(range(len(front)), key=depths.__getitem__)
    return deepest if depths[deepest] > 0 else None
