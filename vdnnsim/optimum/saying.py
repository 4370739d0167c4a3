"""What the model says of a schedule: its time with all that tensors do as it has it, in whatever memory that takes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from vdnnsim.iteration import Action, Remake
from vdnnsim.optimum.coarsening import in_periods, only, weighty_begins
from vdnnsim.optimum.instance import Instance
from vdnnsim.optimum.model import Model

_PERIODS = 120
_ENDLESS = 100
"""So many times the capacity are room for anything."""


def said_ns(instance: Instance, actions: Mapping[str, Action], seconds: float) -> int | None:
    """In nanoseconds; None where it is not found in so many seconds. Raises `Unsolvable`."""
    acting = only(instance.within(instance.capacity_bytes * _ENDLESS), lambda gap: gap.tensor in actions)
    begins = weighty_begins(acting, _PERIODS)
    coarse = in_periods(acting, begins)
    model = Model(coarse)
    for gap, gone, remake in zip(coarse.gaps, model.gone, model.remake, strict=True):
        action = actions[gap.tensor]
        if isinstance(action, Remake):
            period = min(max(bisect_right(begins, action.again) - 1, min(remake)), gap.needed)
            _is_one(model, remake[period])
            continue
        model.rows.add([(variable, 1.0) for variable in remake.values()], 0.0)
        away = bisect_right(begins, action.freed - 1), bisect_right(begins, action.back) - 1
        for period in range(max(away[0], gap.first), min(away[1], gap.last + 1)):
            _is_one(model, gone[period - gap.first])
    found = model.solve(whole=False, seconds=seconds)
    return None if found.time_ns is None else round(found.time_ns)


def _is_one(model: Model, variable: int) -> None:
    model.rows.add([(variable, -1.0)], -1.0)
