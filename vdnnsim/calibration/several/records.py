"""What was measured of several GPUs of one host, as it is stored: one JSON object for each measurement."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from vdnnsim.calibration.samples import STEADY_PPM
from vdnnsim.errors import Fault, InvalidFile
from vdnnsim.files import read_text
from vdnnsim.units import PPM


class Start(StrEnum):
    """Which GPUs run, and when they begin: one by itself; all at once; or every second one half an iteration later."""

    ALONE = "alone"
    TOGETHER = "together"
    STAGGERED = "staggered"


@dataclass(frozen=True)
class StreamsRecord:
    """Copies in these directions of these GPUs at once: (GPU, "out" or "in") of each, what each reached in bytes per
    second while all were under way, how widely that spread (`samples.Sample`), and what disturbed most turns."""

    streams: tuple[tuple[int, str], ...]
    rates_bytes_per_s: tuple[int, ...]
    spreads_ppm: tuple[int, ...]
    disturbed_by: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return " + ".join(f"GPU {gpu} {way}" for gpu, way in self.streams)


@dataclass(frozen=True)
class StartRecord:
    """One case on one GPU, begun with the others or not: its iteration in nanoseconds, how much later than the first
    GPU it began, what is simulated of it by itself, and what it took of the pool on both machines."""

    network: str
    batch: int
    math: str
    policy: str
    start: str
    gpu: int
    capacity_bytes: int
    pool: str
    measured_ns: int
    spread_ppm: int
    repetitions: int
    delay_ns: int
    simulated_alone_ns: int
    measured_peak_bytes: int
    simulated_peak_bytes: int
    offloaded_bytes: int
    placements: str
    same_addresses: bool
    disturbed_by: tuple[str, ...] = ()

    @property
    def case(self) -> tuple[str, int, str, str]:
        return self.network, self.batch, self.math, self.policy

    @property
    def equal(self) -> bool:
        """Whether bytes and addresses are those of the simulation."""
        return self.measured_peak_bytes == self.simulated_peak_bytes and self.same_addresses

    @property
    def told(self) -> bool:
        """Whether the measurement says anything: nothing disturbed it, and it is steady."""
        return not self.disturbed_by and self.spread_ppm <= STEADY_PPM


class Stored(NamedTuple):
    """What the folder of such a report holds: which cards, and all measurements."""

    machines: tuple[str, ...]
    conditions: Mapping[str, str]
    streams: tuple[StreamsRecord, ...]
    cases: tuple[StartRecord, ...]


def stored_text(stored: Stored) -> str:
    """As JSON, a measurement a line."""
    document = {
        "schema": 1,
        "machines": stored.machines,
        "conditions": dict(stored.conditions),
        "streams": [asdict(one) for one in stored.streams],
        "cases": [asdict(one) for one in stored.cases],
    }
    text = json.dumps(document, separators=(",", ":"))
    return text.replace('{"streams"', '\n{"streams"').replace('{"network"', '\n{"network"') + "\n"


def read_stored(path: Path) -> Stored:
    """The `results.json` of such a report. Raises `InvalidFile` for a file that is none."""
    try:
        document = json.loads(read_text(path))
        streams = tuple(_streams(one) for one in document["streams"])
        cases = tuple(StartRecord(**{**one, "disturbed_by": tuple(one["disturbed_by"])}) for one in document["cases"])
        return Stored(tuple(document["machines"]), document["conditions"], streams, cases)
    except (ValueError, TypeError, KeyError) as error:
        expected = "a file that 'calibrate report --gpus' wrote"
        raise InvalidFile([Fault(str(path), None, "measurements", str(error), expected)]) from None


def of_all_times(records: Iterable[StreamsRecord]) -> list[StreamsRecord]:
    """Each combination of copies once, by the median of those times at which it was measured; it spreads as far as the
    widest of them, or as they lie apart. Disturbed ones count where there are no others."""
    times: dict[tuple[tuple[int, str], ...], list[StreamsRecord]] = {}
    for one in records:
        times.setdefault(one.streams, []).append(one)
    return [_median_of([one for one in every if not one.disturbed_by] or every) for every in times.values()]


def _median_of(every: Sequence[StreamsRecord]) -> StreamsRecord:
    rates, spreads = [], []
    for found, own_ppm in zip(
        zip(*(one.rates_bytes_per_s for one in every), strict=True),
        zip(*(one.spreads_ppm for one in every), strict=True),
        strict=True,
    ):
        middle = round(median(found))
        rates.append(middle)
        spreads.append(max(*own_ppm, round((max(found) - min(found)) * PPM / max(1, middle))))
    return StreamsRecord(every[0].streams, tuple(rates), tuple(spreads), every[0].disturbed_by)


def of_case(records: Iterable[StartRecord], case: tuple[str, int, str, str]) -> list[StartRecord]:
    """All of one case."""
    return [record for record in records if record.case == case]


def _streams(one: Mapping[str, Any]) -> StreamsRecord:
    return StreamsRecord(
        tuple((int(gpu), str(way)) for gpu, way in one["streams"]),
        tuple(one["rates_bytes_per_s"]),
        tuple(one["spreads_ppm"]),
        tuple(one.get("disturbed_by", ())),
    )
