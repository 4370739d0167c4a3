"""What measured copies say of a host: the limits of what its GPUs share, and how near the rule of shares comes.

One link for all of them, the host's memory: a limit stands where all GPUs at once reach less than the sum of what each
does alone, out, in, or each way while both are used. What copies out leave of copies in stands for that limit of copies
in, where combinations of both were measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

import tomli_w

from vdnnsim.calibration.several.records import StreamsRecord
from vdnnsim.calibration.several.streams import IN, OUT
from vdnnsim.machines.fair_shares import Sharing
from vdnnsim.topology import SharedLink, Topology
from vdnnsim.units import PPM

_FULL = 0.97
"""All at once below this share of the sum of each alone have met a limit."""
_FEWEST_POINTS = 2
"""Fewer say no more than a limit does."""
_MEMORY = "memory0"
Stream = tuple[int, str]


class Rule(NamedTuple):
    """What streams reach at once, what they would by max-min fairness on limits alone, and what the rule has that is
    simulated; bytes per second of each."""

    measured: StreamsRecord
    fair_bytes_per_s: tuple[int, ...]
    rule_bytes_per_s: tuple[int, ...]

    @property
    def errors(self) -> tuple[float, ...]:
        """(rule - measured) / measured."""
        return self._against_measured(self.rule_bytes_per_s)

    @property
    def fair_errors(self) -> tuple[float, ...]:
        """The same of max-min fairness alone."""
        return self._against_measured(self.fair_bytes_per_s)

    def _against_measured(self, rates: Sequence[int]) -> tuple[float, ...]:
        pairs = zip(rates, self.measured.rates_bytes_per_s, strict=True)
        return tuple(rate / max(1, measured) - 1 for rate, measured in pairs)


class _Rates:
    """What was measured, by what copied at once."""

    def __init__(self, records: Iterable[StreamsRecord]) -> None:
        self._by = {
            frozenset(one.streams): dict(zip(one.streams, one.rates_bytes_per_s, strict=True)) for one in records
        }

    def of(self, streams: Iterable[Stream]) -> dict[Stream, int]:
        """The rates of streams at once; empty where that was not measured."""
        return self._by.get(frozenset(streams), {})

    def demand(self, stream: Stream, streams: Iterable[Stream]) -> int:
        """What a stream reaches beside those of its own GPU alone, as far as that was measured."""
        own = [other for other in streams if other[0] == stream[0]]
        return self.of(own).get(stream, self.of([stream]).get(stream, 0))


def measured_host(
    records: Sequence[StreamsRecord], gpus: int, name: str, title: str, source: str, *, plain: bool = False
) -> Topology:
    """The host by what was measured of its GPUs at once; where it is `plain`, by limits alone."""
    rates = _Rates(records)
    left = () if plain else _in_beside_out(records, rates)
    every = {way: [(gpu, way) for gpu in range(gpus)] for way in (OUT, IN)}
    both = [*every[OUT], *every[IN]]

    def limit(way: str, at_once: Sequence[Stream]) -> int | None:
        found = rates.of(at_once)
        if not found:
            return None
        total = sum(found[stream] for stream in every[way])
        alone = [rates.demand(stream, at_once) for stream in every[way]]
        return max(total, *alone) if total < _FULL * sum(alone) else None

    link = SharedLink(
        _MEMORY,
        "memory",
        None,
        limit(OUT, every[OUT]),
        limit(IN, every[IN]),
        limit(OUT, both),
        None if left else limit(IN, both),
        None,
        "measured",
        source,
        left,
    )
    return Topology(name, title, {_MEMORY: link}, (_MEMORY,) * gpus)


def _in_beside_out(records: Iterable[StreamsRecord], rates: _Rates) -> tuple[tuple[int, int], ...]:
    """As `SharedLink.in_beside_out`: a point for each number of copies out, the mean of the combinations in which they
    ran beside copies in of several GPUs that were measured without them as well; of those in which each GPU copies one
    way, where there are any, since what it does to itself is in its profile. Empty where copies in lose nothing."""
    measured: dict[int, list[tuple[bool, float, float]]] = {}
    for one in records:
        outs, ins = ([stream for stream in one.streams if stream[1] == way] for way in (OUT, IN))
        gpus = {gpu for gpu, _ in one.streams}
        without = rates.of(ins)
        if outs and without and len(gpus) > 1:
            now = rates.of(one.streams)
            left = sum(now[stream] for stream in ins) / sum(without.values())
            one_way = len(gpus) == len(one.streams)
            measured.setdefault(len(outs), []).append((one_way, sum(now[stream] for stream in outs), left))
    points = [(0, PPM)]
    for _, every in sorted(measured.items()):
        found = [one for one in every if one[0]] or every
        _, out, left = (fmean(column) for column in zip(*found, strict=True))
        if out > points[-1][0]:
            points.append((round(out), min(points[-1][1], round(left * PPM))))
    return tuple(points[1:]) if len(points) > _FEWEST_POINTS and points[-1][1] < _FULL * PPM else ()


def rule_of(records: Iterable[StreamsRecord], host: Topology) -> list[Rule]:
    """What the rule of shares has on this host for each of the measured combinations, where each GPU asks for what it
    reaches by itself."""
    known = list(records)
    plain = measured_host(known, len(host.gpus), host.name, host.title, "", plain=True)
    return [Rule(*each) for each in zip(known, _shares(known, plain), _shares(known, host), strict=True)]


def _shares(records: Iterable[StreamsRecord], host: Topology) -> list[tuple[int, ...]]:
    rates, sharing = _Rates(records), Sharing(host)
    found = []
    for one in records:
        demands = [rates.demand(stream, one.streams) for stream in one.streams]
        asked = [
            ((gpu, (OUT, IN).index(way)), demand, 1) for (gpu, way), demand in zip(one.streams, demands, strict=True)
        ]
        slowdowns_ppm = sharing.slowdowns_ppm(asked)
        found.append(tuple(demand * PPM // slow for demand, slow in zip(demands, slowdowns_ppm, strict=True)))
    return found


def host_text(host: Topology) -> str:
    """A measured host as the text of a topology's file."""
    link = host.links[_MEMORY]

    def told(**limits: int | None) -> dict[str, str]:
        return {name.rstrip("_"): f"{limit} B/s" for name, limit in limits.items() if limit is not None}

    left = [{"out": f"{out} B/s", "share": share_ppm / PPM} for out, share_ppm in link.in_beside_out]
    both = told(out=link.both_out_bytes_per_s, in_=link.both_in_bytes_per_s)
    entry = {
        "name": link.name,
        "kind": link.kind,
        **told(out=link.out_bytes_per_s, in_=link.in_bytes_per_s),
        **({"both_ways": both} if both else {}),
        **({"in_beside_out": left} if left else {}),
        "provenance": link.provenance,
        "source": link.source,
    }
    return tomli_w.dumps(
        {"schema": 1, "name": host.name, "title": host.title, "gpus": list(host.gpus), "link": [entry]}
    )
