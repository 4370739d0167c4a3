"""The links of several GPUs, each alone and all at once: which copies run together, and what each of them reaches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations

from vdnnsim.calibration.samples import quiet_ones, sample
from vdnnsim.calibration.several.records import StreamsRecord
from vdnnsim.calibration.several.streams import IN, OUT
from vdnnsim.calibration.watch import Seen
from vdnnsim.crew import Crew
from vdnnsim.errors import InvalidInput

_COPIES, _MOST_COPIES = 100, 1600
"""In a chain; more of them where some had ended before others began."""
_TIMES, _MOST_TIMES = 5, 12
_LEAD_NS = 100_000_000
"""From when it is said until copies begin: all of them have to be prepared by then."""
_PATIENCE_S = 60.0
_WAYS = (OUT, IN)
_MOST_IN_FULL = 2
Streams = tuple[tuple[int, str], ...]
Spans = Sequence[tuple[int, int]]


def combinations_of(gpus: int) -> list[Streams]:
    """Copies that are measured together. Of two GPUs every combination of directions; of more, each alone, each pair,
    and all of them: in one direction, and in both."""
    every: list[Streams] = [
        tuple(streams)
        for count in range(1, 2 * min(gpus, _MOST_IN_FULL) + 1)
        for streams in combinations([(gpu, way) for gpu in range(min(gpus, _MOST_IN_FULL)) for way in _WAYS], count)
    ]
    if gpus <= _MOST_IN_FULL:
        return every
    some = [*((gpu,) for gpu in range(gpus)), *combinations(range(gpus), 2), tuple(range(gpus))]
    alike: list[Streams] = [
        tuple((gpu, way) for gpu in chosen for way in ways) for chosen in some for ways in ((OUT,), (IN,), _WAYS)
    ]
    return every + [streams for streams in alike if streams not in every]


class _Turns:
    """The turns of one combination so far."""

    def __init__(self, crew: Crew, streams: Streams, piece_bytes: int) -> None:
        self.streams = streams
        self.found: list[Seen[list[int]]] = []
        self._crew, self._piece_bytes = crew, piece_bytes
        self._copies = _COPIES
        self._ways: dict[int, tuple[str, ...]] = {}
        for gpu, way in streams:
            self._ways[gpu] = (*self._ways.get(gpu, ()), way)

    def take(self) -> None:
        """One more, from links at rest on; the next one has more copies where these were never all under way."""
        at_rest(self._crew, self._ways)
        at_ns = time.perf_counter_ns() + _LEAD_NS
        asked = {gpu: (directions, self._copies, at_ns) for gpu, directions in self._ways.items()}
        spans = self._crew.ask_each(asked, "stream", _PATIENCE_S)
        disturbed_by = disturbances(self._crew, self._ways)
        found = rates(spans, self.streams, self._piece_bytes)
        if found:
            self.found.append(Seen(found, disturbed_by))
        else:
            self._copies = min(2 * self._copies, _MOST_COPIES)

    def record(self) -> StreamsRecord:
        """The median. Raises `InvalidInput` where they were never all under way."""
        if not self.found:
            raise InvalidInput(
                f"copies of {title_of(self.streams)}: found none under way at once; end what else uses the cores"
            )
        turns = quiet_ones(self.found)
        samples = [sample(values) for values in zip(*turns.value, strict=True)]
        return StreamsRecord(
            self.streams,
            tuple(one.median_ns for one in samples),
            tuple(one.spread_ppm for one in samples),
            turns.disturbed_by,
        )


def measure_links(
    crew: Crew, every: Sequence[Streams], piece_bytes: int, tell: Callable[[str], None]
) -> list[StreamsRecord]:
    """What the streams of each combination reach beside each other: the median of some turns that nothing disturbed.
    The combinations take turns, since what others leave of a host's links changes from one minute to the next. Raises
    as `Crew.ask_each`, and `InvalidInput` where those of one were never all under way."""
    combinations = [_Turns(crew, streams, piece_bytes) for streams in every]
    for turn in range(_MOST_TIMES):
        lacking = [one for one in combinations if len(one.found) < _TIMES]
        if lacking:
            tell(f"links, turn {turn + 1}")
        for one in lacking:
            one.take()
    return [one.record() for one in combinations]


def at_rest(crew: Crew, gpus: Iterable[int]) -> None:
    """Wait a little until each link is at rest; one GPU after the other, since each looks by copies."""
    for gpu in gpus:
        crew.ask(gpu, "settle")


def disturbances(crew: Crew, gpus: Iterable[int]) -> tuple[str, ...]:
    """What of their links and cards was slow since; one GPU after the other, when all are through."""
    return tuple(sorted({name for gpu in gpus for name in crew.ask(gpu, "after")}))


def rates(spans: Mapping[int, Mapping[str, Spans]], streams: Streams, piece_bytes: int) -> list[int]:
    """Bytes per second of each stream while all of them were under way. A copy that was under way only for a part of
    that time counts as so much of its bytes. Empty where they never were."""
    chains = [spans[gpu][way] for gpu, way in streams]
    begin_ns = max(chain[0][0] for chain in chains)
    end_ns = min(chain[-1][1] for chain in chains)
    if end_ns <= begin_ns:
        return []
    return [
        round(piece_bytes * _copies_within(chain, begin_ns, end_ns) * 1e9 / (end_ns - begin_ns)) for chain in chains
    ]


def title_of(streams: Streams) -> str:
    """In words."""
    return StreamsRecord(streams, (), ()).title


def _copies_within(chain: Spans, begin_ns: int, end_ns: int) -> float:
    within = ((min(end, end_ns) - max(begin, begin_ns), end - begin) for begin, end in chain)
    return sum(part / max(1, whole) for part, whole in within if part > 0)
