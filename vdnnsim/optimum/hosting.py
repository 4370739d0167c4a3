"""The host in the model: kernels begin no sooner than it gives them; what leaves or is made again costs it calls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vdnnsim.optimum.model import Model

Terms = list[tuple[int, float]]


class _Moments(NamedTuple):
    """When a period may begin at the earliest, so that all of its steps do: whatever the host does besides, by the host
    alone, and when the host comes to its first stage."""

    ready_ns: int
    given_ns: int
    called_ns: int


def keep_to_host(model: Model) -> None:
    """Adds to a model that kernels begin no sooner than the host gives them.

    The host never waits before the end, so that it comes to a stage later by just what it does besides in those before:
    the calls of copies, and the launches of what is made again. What is made again before a stage begins to run when
    the host has come to it, at the earliest.
    """
    moments = [_moments(model, period) for period in model.periods]
    besides = _besides(model)
    made: defaultdict[int, Terms] = defaultdict(list)
    for gap, remake in zip(model.instance.gaps, model.remake, strict=True):
        for period, variable in remake.items():
            made[period].append((variable, (gap.remake_ns or 0) / model.unit_ns))
    since: Terms = []
    known_ns = 0
    done: Terms = []
    for number, (ready_ns, given_ns, called_ns) in enumerate(moments):
        since.append((model.wait[number], 1.0))
        known_ns += model.before_ns[number]
        before = done
        if number in besides:
            later = model.variable(upper=float("inf"))
            model.equal([*done, *besides[number], (later, -1.0)])
            done = [(later, 1.0)]
        if given_ns > 0 or ready_ns > 0:
            begin = model.variable(upper=float("inf"))
            model.equal([*since, (begin, -1.0)])
            since = [(begin, 1.0)]
            rules: tuple[tuple[int, Terms], ...] = (
                (ready_ns, []),
                (given_ns, done),
                (called_ns, [*before, *made[number]] if made[number] else []),
            )
            for least_ns, terms in rules:
                if least_ns > 0:
                    model.rows.add([*terms, (begin, -1.0)], -(least_ns - known_ns) / model.unit_ns)
        since += model.kernels[number]


def _moments(model: Model, period: range) -> _Moments:
    ready_ns = given_ns = inside_ns = 0
    for step in map(model.instance.steps.__getitem__, period):
        ready_ns = max(ready_ns, step.ready_ns - inside_ns)
        given_ns = max(given_ns, step.given_ns - inside_ns)
        inside_ns += model.instance.fastest_of_ns(step)
    return _Moments(ready_ns, given_ns, model.instance.steps[period[0]].called_ns)


def _besides(model: Model) -> Mapping[int, Terms]:
    """What the host does besides for each period, behind the one before."""
    found: defaultdict[int, Terms] = defaultdict(list)
    for number, gap in enumerate(model.instance.gaps):
        out_ns, in_ns, again_ns = gap.calls
        if not any(gap.calls):
            continue
        for cell, variable in model.out[number].items():
            found[cell // 2].append((variable, out_ns / model.unit_ns))
        for period, variable in model.remake[number].items():
            found[period].append((variable, again_ns / model.unit_ns))
        found[gap.needed].append((model.acting[number], in_ns / model.unit_ns))
        made = model.made[number]
        if made is not None:
            found[gap.needed].append((made, -in_ns / model.unit_ns))
    return found
