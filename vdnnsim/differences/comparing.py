"""Two sides beside each other: every value that differs, and by how much."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from vdnnsim.differences.records import ONE_SIDED, Change, Difference, LayerChange, Side, Value, quantity_of, title
from vdnnsim.differences.sides import read_side
from vdnnsim.errors import InvalidInput
from vdnnsim.results import Comparison
from vdnnsim.units import PPM

_WHOLES = {
    "_ns": ("iteration_time_ns", "measured_iteration_time_ns", "step_ns"),
    "_bytes": ("peak_bytes", "measured_peak_bytes", "requested_bytes"),
}
"""What times, and bytes, of a result or a case are parts of."""
_UNJUDGED = (
    "deferred_prefetches", "allocator_retries", "repetitions", "capacity_bytes", "predicted.capacity_bytes", "steady",
    "repeated",
)  # fmt: skip
"""What says how, and not how well."""
_SHARES = {"error": 1, "spread_ppm": PPM, "taken_off_ppm": PPM}
"""Numbers that are shares themselves, with what is all of it."""


def diff(before: str | Path | Comparison, after: str | Path | Comparison) -> Difference:
    """Set two things of one kind beside each other.

    Each is a `Comparison`, the JSON that `compare` or `run` wrote, a calibration's report (its folder or
    `results.json`), the profile of a GPU, or another TOML file. Policies and cases go by their names; where each side
    has but one, these are set beside each other. Raises `InvalidInput` (and its kinds) for what is none of these, and
    for two of different kinds or without anything in common.
    """
    first, second = read_side(before), read_side(after)
    if first.kind != second.kind:
        found = f"{first.name} is a {first.kind}, {second.name} a {second.kind}"
        raise InvalidInput(f"diff: found {found}, expected two of a kind")
    pairs = _pairs(first, second)
    return Difference(
        first,
        second,
        tuple(_changes("", first.inputs, second.inputs, whole={})),
        (*_only_in_one(first, second, pairs), *(change for pair in pairs for change in _numbers(first, second, pair))),
        tuple(change for pair in pairs for change in _layers(first, second, pair)),
        pairs,
    )


def _pairs(first: Side, second: Side) -> tuple[tuple[str, str], ...]:
    common = [(name, name) for name in first.numbers if name in second.numbers]
    if not common and len(first.numbers) == len(second.numbers) == 1:
        common = list(zip(first.numbers, second.numbers, strict=True))
    if not common:
        names = " and ".join(f"{', '.join(side.numbers) or 'nothing'} of {side.name}" for side in (first, second))
        raise InvalidInput(f"diff: found {names}, expected something that both have")
    return tuple(common)


def _only_in_one(first: Side, second: Side, pairs: tuple[tuple[str, str], ...]) -> Iterator[Change]:
    paired = {name for pair in pairs for name in pair}
    yield from (Change(name, ONE_SIDED, "there", None, math.inf) for name in first.numbers if name not in paired)
    yield from (Change(name, ONE_SIDED, None, "there", math.inf) for name in second.numbers if name not in paired)


def _numbers(first: Side, second: Side, pair: tuple[str, str]) -> Iterator[Change]:
    before, after = first.numbers[pair[0]], second.numbers[pair[1]]
    return _changes(title(pair), before, after, whole=before)


def _changes(
    of: str, before: Mapping[str, Value], after: Mapping[str, Value], whole: Mapping[str, Value]
) -> Iterator[Change]:
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if old != new:
            yield Change(of, name, old, new, _share(name, old, new, whole))


def _share(name: str, before: Value, after: Value, whole: Mapping[str, Value]) -> float | None:
    """See `Change`."""
    if name in _UNJUDGED:
        return None
    if isinstance(before, bool) or isinstance(after, bool):
        return math.inf
    old, new = quantity_of(before), quantity_of(after)
    if old is None or new is None:
        of_one_side = None in (before, after) and (old, new) != (None, None)
        return math.inf if of_one_side else None
    if name in _SHARES:
        return (new - old) / _SHARES[name]
    wholes = (whole.get(part) for end, parts in _WHOLES.items() if _counts(name, end) for part in parts)
    of = max(abs(old), *(quantity_of(value) or 0 for value in wholes), 0)
    return (new - old) / of if of else math.inf


def _counts(name: str, end: str) -> bool:
    """Whether a number, itself or one of a group such as `peak_bytes_by_class`, is one of times, or of bytes."""
    return any(part.endswith(end) or f"{end}_" in part for part in name.split("."))


def _layers(first: Side, second: Side, pair: tuple[str, str]) -> Iterator[LayerChange]:
    before, after = first.layers.get(pair[0], {}), second.layers.get(pair[1], {})
    for layer in dict.fromkeys((*before, *after)):
        if before.get(layer) != after.get(layer):
            yield LayerChange(title(pair), layer, before.get(layer), after.get(layer))
