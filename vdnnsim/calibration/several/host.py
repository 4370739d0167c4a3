"""What measured copies say of a host: the limits of what its GPUs share, and how near the rule of shares comes.

One link for all of them, the host's memory: a limit stands where all GPUs at once reach less than the sum of what each
does alone, out, in, or each way while both are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import tomli_w

from vdnnsim.calibration.several.records import StreamsRecord
from vdnnsim.calibration.several.streams import IN, OUT
from vdnnsim.machines.fair_shares import Sharing
from vdnnsim.topology import SharedLink, Topology
from vdnnsim.units import PPM

_FULL = 0.97
"""All at once below this share of the sum of each alone have met a limit."""
_MEMORY = "memory0"
Stream = tuple[int, str]


class Rule(NamedTuple):
    """What streams reach at once, and what the rule has for them; bytes per second of each."""

    measured: StreamsRecord
    rule_bytes_per_s: tuple[int, ...]

    @property
    def errors(self) -> tuple[float, ...]:
        """(rule - measured) / measured."""
        pairs = zip(self.rule_bytes_per_s, self.measured.rates_bytes_per_s, strict=True)
        return tuple(rule / max(1, measured) - 1 for rule, measured in pairs)


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


def measured_host(records: Sequence[StreamsRecord], gpus: int, name: str, title: str, source: str) -> Topology:
    """The host by what was measured of all its GPUs at once."""
    rates = _Rates(records)
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
        limit(IN, both),
        None,
        "measured",
        source,
    )
    return Topology(name, title, {_MEMORY: link}, (_MEMORY,) * gpus)


def rule_of(records: Iterable[StreamsRecord], host: Topology) -> list[Rule]:
    """What max-min fairness on this host has for each of the measured combinations, where each GPU asks for what it
    reaches by itself."""
    known = list(records)
    rates, sharing = _Rates(known), Sharing(host)
    found = []
    for one in known:
        demands = [rates.demand(stream, one.streams) for stream in one.streams]
        asked = [
            ((gpu, (OUT, IN).index(way)), demand, 1) for (gpu, way), demand in zip(one.streams, demands, strict=True)
        ]
        slowdowns_ppm = sharing.slowdowns_ppm(asked)
        rule = (demand * PPM // slow for demand, slow in zip(demands, slowdowns_ppm, strict=True))
        found.append(Rule(one, tuple(rule)))
    return found


def host_text(host: Topology) -> str:
    """A measured host as the text of a topology's file."""
    link = host.links[_MEMORY]

    def told(**limits: int | None) -> dict[str, str]:
        return {name.rstrip("_"): f"{limit} B/s" for name, limit in limits.items() if limit is not None}

    both = told(out=link.both_out_bytes_per_s, in_=link.both_in_bytes_per_s)
    entry = {
        "name": link.name,
        "kind": link.kind,
        **told(out=link.out_bytes_per_s, in_=link.in_bytes_per_s),
        **({"both_ways": both} if both else {}),
        "provenance": link.provenance,
        "source": link.source,
    }
    return tomli_w.dumps(
        {"schema": 1, "name": host.name, "title": host.title, "gpus": list(host.gpus), "link": [entry]}
    )
