"""`calibrate report --gpus`: the same programs on several GPUs of one host at once, and what their links carry.

The process that calls has no GPU: it gives the time, and keeps what the others measured. What cannot be told while
several are at work (profiles and traces) is measured on one GPU after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from vdnnsim.calibration.cases import CaseGroup, CasesFile
from vdnnsim.calibration.progress import OnProgress, silent
from vdnnsim.calibration.samples import quiet_ones, repetitions_within, sample
from vdnnsim.calibration.several.host import host_text, measured_host, rule_of
from vdnnsim.calibration.several.links import at_rest, combinations_of, disturbances, measure_links
from vdnnsim.calibration.several.messages import Card, Case, Expected, Inputs, Observed, Ran, inputs_of, profile_of
from vdnnsim.calibration.several.placing import names_of, own_cores, visible_gpus
from vdnnsim.calibration.several.predictions import Predicted, predictions
from vdnnsim.calibration.several.records import (
    Start,
    StartRecord,
    Stored,
    StreamsRecord,
    of_all_times,
    of_case,
    read_stored,
    stored_text,
)
from vdnnsim.calibration.several.seat import Seat, open_seat
from vdnnsim.calibration.several.table import table_text
from vdnnsim.calibration.watch import Seen
from vdnnsim.crew import Crew, MemberFailed
from vdnnsim.errors import InvalidInput
from vdnnsim.files import write_text
from vdnnsim.folder_lock import only_writer
from vdnnsim.network import load_network

RESULTS, TABLE, HOST, FIGURE = "results.json", "table.md", "topology.toml", "together.png"
_LEAST_FREE = 0.9
_MOST_BUSY_PERCENT = 10
_FEWEST, _MOST = 5, 30
_ATTEMPTS = 3
_LEAD_NS = 10_000_000
"""From when it is said until an iteration begins."""
_PATIENCE_S = 120.0


class SeveralReport(NamedTuple):
    """All measurements in the order of the list; and of each network that failed, why."""

    streams: tuple[StreamsRecord, ...]
    cases: tuple[StartRecord, ...]
    failures: Mapping[str, str]
    predicted: tuple[Predicted, ...]


def open_crew(device: str, gpus: int) -> Crew:
    """A process for each of so many GPUs of this host, or so many times the CPU. Raises `InvalidInput` where there are
    fewer."""
    visible: Sequence[str | None] = visible_gpus(gpus) if device == "cuda" else [None] * gpus
    shares = own_cores(visible)
    makes: dict[str, Callable[[], Seat]] = {
        name: partial(open_seat, device, number, visible[number], shares[number])
        for number, name in enumerate(names_of(visible))
    }
    return Crew(makes)


def make_several_report(crew: Crew, cases: CasesFile, out: Path, progress: OnProgress = silent) -> SeveralReport:
    """Measure all that is missing. `out` receives a profile and traces for each GPU, and after every measurement the
    JSON of all so far; what is there already is used, so that an interruption loses one case at most. After each
    network the host's topology and the table are written, at the end the figure.

    Raises `InvalidInput` where a GPU is busy or another one than the first, where the folder is of other cards, and
    where a process ended: the others are stopped then.
    """
    cards: list[Card] = crew.ask_all("card")
    _check_cards(crew.names, cards)
    with only_writer(out):
        return _Making(crew, cards, cases, out, progress).report()


def tell(out: Path, cases: CasesFile, measured: Stored) -> list[Predicted]:
    """Write host and table of what was measured, beside what is simulated now of the folder's profiles and traces."""
    gpu, count = cases.gpu, len(measured.machines)
    date = measured.conditions["date"]
    source = f"Chains of copies of all {count} GPUs at once, {date}, 'vdnnsim calibrate report'."
    streams = of_all_times(measured.streams)
    host = measured_host(streams, count, f"{gpu}-x{count}", f"{count} GPUs {gpu} of one host", source)
    write_text(out / HOST, host_text(host))
    found = predictions(measured.cases, cases, out, host)
    write_text(out / TABLE, table_text(rule_of(streams, host), found, measured.conditions))
    return found


def draw(out: Path, found: Sequence[Predicted]) -> None:
    """Write the figure of these, where there are any."""
    if found:
        from vdnnsim.figures.together import together_figure

        together_figure(found, out / FIGURE)


class _Making:
    """A report while it is made."""

    def __init__(self, crew: Crew, cards: Sequence[Card], cases: CasesFile, out: Path, progress: OnProgress) -> None:
        self.crew = crew
        self.cases = cases
        self.out = out
        self.progress = progress
        self.gpus = range(len(crew.names))
        self.budget_ns = cards[0].budget_ns
        self.machines = tuple(card.machine for card in cards)
        stored = self._stored()
        self.streams = list(stored.streams)
        self.records = list(stored.cases)
        self.conditions = {"date": time.strftime("%Y-%m-%d %H:%M:%S %Z"), **_told(crew.names, cards)}
        self.failures: dict[str, str] = {}

    def report(self) -> SeveralReport:
        """Measure what is missing."""
        try:
            self._measure()
        finally:
            self._keep()
        found = tell(self.out, self.cases, self._measured())
        draw(self.out, found)  # once: the GPUs are not to wait for pictures
        return SeveralReport(tuple(self.streams), tuple(self.records), self.failures, tuple(found))

    def _measure(self) -> None:
        for gpu in self.gpus:
            path = self._profile(gpu)
            if not path.is_file():
                self.progress(0, 1, f"{self.crew.names[gpu]}: link and host, alone")
                self.crew.ask(gpu, "measure_profile", self.cases.gpu, path)
            self.crew.ask(gpu, "expect", path)
        groups = [(group, math) for group in self.cases.case for math in group.math]
        for number, (group, math) in enumerate(groups):
            title = f"{load_network(group.network, group.batch).name} batch {group.batch}, {math}"
            try:
                self._measure_group(group, math, partial(self._tell, number, len(groups), title))
            except MemberFailed as error:
                self._tell(number, len(groups), title, f"failed: {error}")
                self.failures[title] = str(error)
            tell(self.out, self.cases, self._measured())

    def _tell(self, number: int, groups: int, title: str, now: str) -> None:
        self.progress(number, groups, f"{title}: {now}")

    def _measure_links(self, tell: Callable[[str], None]) -> None:
        """What the links carry now. Again for every network: it is not the same in all minutes."""
        piece_bytes, *_ = self.crew.ask_all("prepare_streams")
        every = combinations_of(len(self.gpus))
        self.streams += measure_links(self.crew, every, piece_bytes, tell)
        self._keep()

    def _measure_group(self, group: CaseGroup, math: str, tell: Callable[[str], None]) -> None:
        name = load_network(group.network, group.batch).name
        inputs = [self._inputs(gpu, name, group.batch, math) for gpu in self.gpus]
        wanted: dict[str, str | None] = {**dict.fromkeys(group.policies), **group.limited}
        missing = [policy for policy in wanted if not self._complete((name, group.batch, math, policy))]
        if not missing:
            return
        for gpu in self.gpus:
            if not inputs[gpu].trace.is_file():
                tell(f"trace on {self.crew.names[gpu]}, alone")
                asked = (group.network, group.batch, math, self.cases.gpu, inputs[gpu])
                self.crew.ask(gpu, "measure_trace", *asked)
        self._measure_links(tell)
        for policy in missing:
            tell(policy)
            case = Case(group.network, group.batch, math, policy, wanted[policy])
            self._measure_case(name, case, inputs)

    def _complete(self, case: tuple[str, int, str, str]) -> bool:
        return len(of_case(self.records, case)) == len(self.gpus) * len(Start)

    def _measure_case(self, name: str, case: Case, inputs: Sequence[Inputs]) -> None:
        """Every start of a case; they are kept together, since they are compared."""
        asked = {gpu: (case, inputs[gpu], inputs[0]) for gpu in self.gpus}
        expected: dict[int, Expected] = self.crew.ask_each(asked, "load")
        observed: list[Observed] = self.crew.ask_all("observe")
        half_ns = expected[0].iteration_time_ns // 2
        starts = [
            *((Start.ALONE, {gpu: 0}) for gpu in self.gpus),
            (Start.TOGETHER, dict.fromkeys(self.gpus, 0)),
            (Start.STAGGERED, {gpu: gpu % 2 * half_ns for gpu in self.gpus}),
        ]
        found = []
        for start, delays_ns in starts:
            ran = self._repeated(delays_ns, expected[0].iteration_time_ns)
            for gpu in delays_ns:
                times = sample(one[gpu].end_ns - one[gpu].begin_ns for one in ran.value)
                begins = sample(one[gpu].begin_ns - one[min(one)].begin_ns for one in ran.value)
                found.append(
                    StartRecord(
                        name,
                        case.batch,
                        case.math,
                        case.policy,
                        start.value,
                        gpu,
                        expected[gpu].capacity_bytes,
                        expected[gpu].pool,
                        times.median_ns,
                        times.spread_ppm,
                        times.repetitions,
                        begins.median_ns,
                        expected[gpu].iteration_time_ns,
                        observed[gpu].peak_bytes,
                        expected[gpu].peak_bytes,
                        observed[gpu].offloaded_bytes,
                        observed[gpu].placements,
                        observed[gpu].same_addresses,
                        ran.disturbed_by,
                    )
                )
        key = (name, case.batch, case.math, case.policy)
        self.records = [record for record in self.records if record.case != key] + found
        self._keep()

    def _repeated(self, delays_ns: Mapping[int, int], one_ns: int) -> Seen[list[dict[int, Ran]]]:
        """Iterations of these GPUs, each so much later than the first, again and again; as many more while too few of
        them were undisturbed."""
        count = repetitions_within(self.budget_ns, one_ns, _FEWEST, _MOST)
        outcomes: list[Seen[dict[int, Ran]]] = []
        for _ in range(_ATTEMPTS):
            outcomes += [run_once(self.crew, delays_ns) for _ in range(count)]
            found = quiet_ones(outcomes)
            if found.quiet:
                break
        return found

    def _profile(self, gpu: int) -> Path:
        return profile_of(self.out, gpu)

    def _inputs(self, gpu: int, network: str, batch: int, math: str) -> Inputs:
        return inputs_of(self.out, self.cases.gpu, gpu, network, batch, math)

    def _stored(self) -> Stored:
        path = self.out / RESULTS
        if not path.is_file():
            return Stored(self.machines, {}, (), ())
        stored = read_stored(path)
        if stored.machines != self.machines:
            found, ours = ", ".join(stored.machines), ", ".join(self.machines)
            raise InvalidInput(f"{path}: found measurements of {found}, expected {ours}; give an empty folder")
        return stored

    def _keep(self) -> None:
        write_text(self.out / RESULTS, stored_text(self._measured()))

    def _measured(self) -> Stored:
        failed = {f"failed: {title}": why for title, why in self.failures.items()}
        return Stored(self.machines, self.conditions | failed, tuple(self.streams), tuple(self.records))


def run_once(crew: Crew, delays_ns: Mapping[int, int]) -> Seen[dict[int, Ran]]:
    """One iteration on each of these GPUs, each so much later than the first, and what disturbed any of them."""
    at_rest(crew, delays_ns)
    crew.ask_each(dict.fromkeys(delays_ns, ()), "ready", _PATIENCE_S)
    begin_ns = time.perf_counter_ns() + _LEAD_NS
    moments = {gpu: (begin_ns + delay_ns,) for gpu, delay_ns in delays_ns.items()}
    ran: dict[int, Ran] = crew.ask_each(moments, "run", _PATIENCE_S)
    own = (name for one in ran.values() for name in one.disturbed_by)
    return Seen(ran, tuple(sorted({*own, *disturbances(crew, delays_ns)})))


def _check_cards(names: Sequence[str], cards: Sequence[Card]) -> None:
    """Raise `InvalidInput` where a GPU is busy, or another one than the first."""
    for name, card in zip(names, cards, strict=True):
        full = card.free_bytes < _LEAST_FREE * card.total_bytes
        if card.is_gpu and (full or card.busy_percent > _MOST_BUSY_PERCENT):
            free = f"{card.free_bytes / 1e9:.1f} of {card.total_bytes / 1e9:.1f} GB free"
            free += "" if full else f" but kernels in {card.busy_percent} % of the time"
            beside = f" beside {card.others} other process{'es' * (card.others > 1)}" if card.others else ""
            raise InvalidInput(
                f"{name}: found {free}{beside}, expected a GPU that nothing else uses; end what runs on it "
                "(nvidia-smi), or choose others by CUDA_VISIBLE_DEVICES"
            )
        if _kind(card) != _kind(cards[0]):
            raise InvalidInput(
                f"{name}: found {_kind(card)}, expected {_kind(cards[0])} as {names[0]} is; choose GPUs of one kind by "
                "CUDA_VISIBLE_DEVICES"
            )


def _kind(card: Card) -> str:
    return card.conditions["gpu"]


def _told(names: Iterable[str], cards: Sequence[Card]) -> dict[str, str]:
    """The cards' conditions: what is the same on all once, and the state of each."""
    common = {key: text for key, text in cards[0].conditions.items() if key != "clocks"}
    return common | {
        name: f"{card.machine}; {card.conditions['clocks']}" for name, card in zip(names, cards, strict=True)
    }
