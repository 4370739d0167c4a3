"""What differs between two things, as data."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from vdnnsim.errors import InvalidValue, check_known
from vdnnsim.units import parse_bandwidth, parse_bytes, parse_duration

if TYPE_CHECKING:
    import pandas as pd

ONE_SIDED = "result"
"""The name of a change that is a whole policy or case of one side alone."""
_TIME = "iteration_time_ns"
Value = bool | int | float | str | None
Lanes = Mapping[str, list[tuple[int, int, str]]]
"""By engine, when it was busy and with what: begin and end in nanoseconds, and a name."""


class Change(NamedTuple):
    """A value that differs; None where one side has none. `of` is the policy, case or part that has it, "" of the
    whole.

    `share` says how much: (after - before) over `before`, or over what the number is a part of where that is larger,
    the iteration time of times and the peak of bytes; infinite for a number of one side alone and for a policy that
    trains on one side alone, None for what is no number.
    """

    of: str
    name: str
    before: Value
    after: Value
    share: float | None = None


class LayerChange(NamedTuple):
    """A layer (or module, or step of a calibration) whose numbers differ; sides that do not have it are None."""

    of: str
    layer: str
    before: Mapping[str, Value] | None
    after: Mapping[str, Value] | None

    @property
    def gained_ns(self) -> int:
        """How many nanoseconds less it takes than before; below 0 it takes longer."""
        return _time_ns(self.before) - _time_ns(self.after)


def _time_ns(layer: Mapping[str, Value] | None) -> int:
    times = (layer.get(name) for name in ("forward_ns", "backward_ns", "measured_ns")) if layer else ()
    return sum(time for time in times if isinstance(time, int))


class Side(NamedTuple):
    """One of the two: its kind, what a reader calls it, values that went into it, and by policy, case or part the
    numbers that came out, those of its layers, and when its engines were busy, where it says so."""

    kind: str
    name: str
    inputs: Mapping[str, Value]
    numbers: Mapping[str, Mapping[str, Value]]
    layers: Mapping[str, Mapping[str, Mapping[str, Value]]]
    lanes: Mapping[str, Lanes]


@dataclass(frozen=True)
class Difference:
    """Two things of one kind beside each other. Printed, it is what the command prints."""

    before: Side = field(repr=False)
    after: Side = field(repr=False)
    inputs: tuple[Change, ...]
    numbers: tuple[Change, ...]
    layers: tuple[LayerChange, ...]
    pairs: tuple[tuple[str, str], ...] = field(repr=False)
    """The policies, cases or parts that were set beside each other, by their names on both sides."""

    def over(self, limit: float) -> tuple[Change, ...]:
        """The numbers that differ by more than a share, such as 0.02, the most first. Raises `InvalidValue` for a limit
        below 0."""
        if not limit >= 0:
            raise InvalidValue("limit", str(limit), "a share of 0 or more, such as 0.02")
        found = [change for change in self.numbers if change.share is not None and abs(change.share) > limit]
        return tuple(sorted(found, key=lambda change: -abs(change.share or 0)))

    @property
    def lonely(self) -> tuple[Change, ...]:
        """The policies or cases that one side alone has."""
        return tuple(change for change in self.numbers if change.name == ONE_SIDED)

    def pair(self, policy: str | None = None) -> tuple[str, str]:
        """The pair of a policy, or the one whose iteration time differs most. Raises `UnknownName`."""
        names = {title(pair): pair for pair in self.pairs}
        if policy is not None:
            check_known("policy", policy, names)
            return names[policy]
        moved = {change.of: abs(change.share or 0) for change in self.numbers if change.name.endswith(_TIME)}
        return max(names.items(), key=lambda item: moved.get(item[0], -1))[1]

    def to_frame(self) -> pd.DataFrame:
        """One row for each value that differs."""
        import pandas as pd

        rows = [("input", *change) for change in self.inputs] + [("number", *change) for change in self.numbers]
        return pd.DataFrame(rows, columns=["what", *Change._fields])

    def __str__(self) -> str:
        """What the command prints."""
        from vdnnsim.report.difference import difference_text  # upwards, since a notebook asks it to show itself

        return difference_text(self)


def quantity_of(value: Value) -> float | None:
    """A number, also of a text with its unit as files have them; None for what is none."""
    if isinstance(value, bool) or value is None:
        return None
    if not isinstance(value, str):
        return value
    for parse in (parse_bytes, parse_bandwidth, parse_duration):
        with suppress(InvalidValue):
            return parse(value)
    return None


def title(pair: tuple[str, str]) -> str:
    """What two policies or cases beside each other are called."""
    before, after = pair
    return before if before == after else f"{before} → {after}"
