"""The axes a sweep may have, and how a spec's lists and ranges become values.

Inside, names are text and all else whole numbers in the unit that the axis's column names. The value of a point that
leaves an axis to the GPU's own is `OWN`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from vdnnsim.changes import FASTER, LOCAL, LONGER, REMOTE
from vdnnsim.errors import InvalidValue
from vdnnsim.gpu.pinning import parse_budget
from vdnnsim.memory import POOLS
from vdnnsim.policies import POLICIES
from vdnnsim.program import WeightGradients
from vdnnsim.together import Start
from vdnnsim.trace import MATH_MODES
from vdnnsim.units import PPM, parse_bandwidth, parse_bytes, parse_duration, parse_factor

NO_TOPOLOGY = "none"
"""One GPU by itself."""
OWN = -1
"""The value of capacity, pinned budget, link bandwidth or link latency where a point takes the GPU's own; of the batch
where it takes the captured step's own."""
MOST_VALUES = 10_000_000
_RANGE_KEYS = ("from", "to", "count", "step", "spacing")

Value = str | int


class Axis(NamedTuple):
    """`name` stands in specs and filters, `column` in results. `default` holds for specs that do not name the axis;
    None where they must. Values are whole numbers where `numeric`, names elsewhere. `example` is a value as specs write
    it, of axes whose values are text with a unit."""

    name: str
    column: str
    parse: Callable[[object, str], Value]
    default: tuple[Value, ...] | None
    numeric: bool
    example: str = ""


def _name(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidValue(what, repr(value), "a name in quotes")
    return value


def _one_of(known: Sequence[str]) -> Callable[[object, str], str]:
    def parse(value: object, what: str) -> str:
        name = _name(value, what)
        if name not in known:
            raise InvalidValue(what, f"'{name}'", f"one of: {', '.join(known)}")
        return name

    return parse


def _pool(value: object, what: str) -> str:
    name = _name(value, what)
    return name if ":" in name else _one_of(tuple(POOLS))(name, what)  # a user's own is imported where it is read


def _count(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidValue(what, repr(value), "a whole number, 1 or more")
    return value


def _with_unit(parse: Callable[[str, str], int], example: str) -> Callable[[object, str], int]:
    def checked(value: object, what: str) -> int:
        if not isinstance(value, str):
            raise InvalidValue(what, repr(value), f'text with its unit, such as "{example}"')
        return parse(value, what)

    return checked


def _factor(meaning: str) -> Callable[[object, str], int]:
    return lambda value, what: parse_factor(value, what, meaning)


def _budget(text: str, _what: str) -> int:
    return parse_budget(text)


def _united(name: str, column: str, parse: Callable[[str, str], int], example: str) -> Axis:
    return Axis(name, column, _with_unit(parse, example), (OWN,), True, example)


_PER_LAYER = WeightGradients.PER_LAYER.value
AXES: Mapping[str, Axis] = MappingProxyType(
    {
        axis.name: axis
        for axis in (
            Axis("network", "network", _name, None, False),
            Axis("batch", "batch", _count, (OWN,), True),
            Axis("gpu", "gpu", _name, None, False),
            Axis("math", "math", _one_of(MATH_MODES), ("fp32",), False),
            Axis(
                "weight_gradients",
                "weight_gradients",
                _one_of(tuple(choice.value for choice in WeightGradients)),
                (_PER_LAYER,),
                False,
            ),
            Axis("pool", "pool", _pool, ("best-fit",), False),
            Axis("policy", "policy", _name, tuple(POLICIES), False),
            Axis("topology", "topology", _name, (NO_TOPOLOGY,), False),
            Axis("gpus", "gpus", _count, (1,), True),
            Axis("start", "start", _one_of(tuple(choice.value for choice in Start)), (Start.TOGETHER.value,), False),
            Axis("numa", "numa", _one_of((LOCAL, REMOTE)), (LOCAL,), False),
            Axis("host_scale", "host_scale_ppm", _factor(LONGER), (PPM,), True),
            _united("pinned_budget", "pinned_budget_bytes", _budget, "64 GB"),
            _united("capacity", "capacity_bytes", parse_bytes, "12 GB"),
            _united("link_bandwidth", "link_bandwidth_bytes_per_s", parse_bandwidth, "16 GB/s"),
            _united("link_bandwidth_out", "link_bandwidth_out_bytes_per_s", parse_bandwidth, "16 GB/s"),
            _united("link_bandwidth_in", "link_bandwidth_in_bytes_per_s", parse_bandwidth, "16 GB/s"),
            _united("link_latency", "link_latency_ns", parse_duration, "10 us"),
            Axis("compute_scale", "compute_scale_ppm", _factor(FASTER), (PPM,), True),
        )
    }
)
"""Every axis, in the order in which points vary: the last changes fastest, so that points of one program stand
together."""
HOST_AXES = ("topology", "gpus", "start")
"""What says which GPUs run at once: the program is the same."""
STUDY_AXES = ("network", "batch", "gpu", "math")
"""What chooses a trace."""
TIME_AXES = ("link_bandwidth", "link_bandwidth_out", "link_bandwidth_in", "link_latency", "compute_scale")
"""What changes times and not the program."""
SCALES = ("compute_scale", "host_scale")
"""Axes of factors, which are parts per million inside."""


def expand(axis: Axis, entry: object, what: str) -> tuple[Value, ...]:
    """The values that a spec gives an axis: one, a list, or a range. Raises `InvalidValue` of `what` or a
    part of it."""
    if isinstance(entry, Mapping):
        if not axis.numeric:
            raise InvalidValue(what, "a range", "a name or a list of names")
        values: tuple[Value, ...] = _range(axis, entry, what)
    elif isinstance(entry, list):
        values = tuple(axis.parse(value, f"{what}[{index}]") for index, value in enumerate(entry))
    else:
        values = (axis.parse(entry, what),)
    if not values:
        raise InvalidValue(what, "an empty list", "one value or more")
    return values


def _range(axis: Axis, entry: Mapping[str, object], what: str) -> tuple[int, ...]:
    unknown = sorted(set(entry) - set(_RANGE_KEYS))
    if unknown:
        raise InvalidValue(what, f"'{unknown[0]}'", f"only {', '.join(_RANGE_KEYS)}")
    if "from" not in entry or "to" not in entry or ("count" in entry) == ("step" in entry):
        raise InvalidValue(what, str(sorted(entry)), "from, to, and either count or step")
    spacing = entry.get("spacing", "linear")
    if spacing not in ("linear", "log"):
        raise InvalidValue(f"{what}.spacing", repr(spacing), "linear or log")
    low = int(axis.parse(entry["from"], f"{what}.from"))
    high = int(axis.parse(entry["to"], f"{what}.to"))
    if low > high:
        found = f"from {entry['from']} to {entry['to']}"
        raise InvalidValue(what, found, "a range that rises: swap the two")
    if "step" in entry:
        if spacing == "log":
            raise InvalidValue(f"{what}.step", "a step with log spacing", "a count")
        step = int(axis.parse(entry["step"], f"{what}.step"))
        _bounded((high - low) // step + 1, what)
        return tuple(range(low, high + 1, step))
    count = _bounded(_count(entry["count"], f"{what}.count"), what)
    if count == 1 and low != high:
        raise InvalidValue(f"{what}.count", f"1 for a range from {low} to {high}", "2 or more")
    values = _spread(low, high, count, spacing == "log")
    if len(set(values)) < count:
        expected = f"at most one for each of the {high - low + 1} whole numbers between"
        raise InvalidValue(f"{what}.count", f"{count} for a range from {low} to {high}", expected)
    return values


def _bounded(count: int, what: str) -> int:
    if count > MOST_VALUES:
        raise InvalidValue(what, f"{count} values", f"at most {MOST_VALUES}")
    return count


def _spread(low: int, high: int, count: int, logarithmic: bool) -> tuple[int, ...]:
    if count == 1:
        return (low,)
    last = count - 1
    if logarithmic:
        ratio = math.log(high / low)
        inner = [round(low * math.exp(ratio * index / last)) for index in range(1, last)]
    else:
        inner = [low + ((high - low) * index + last // 2) // last for index in range(1, last)]
    return (low, *inner, high)
