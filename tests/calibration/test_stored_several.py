"""The simulation of two GPUs of one host against what was measured on them: it holds on every change, without a GPU."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import pytest

from support.examples import THOROUGH
from support.legible import assert_legible, figure_of
from vdnnsim.calibration.cases import read_cases
from vdnnsim.calibration.several.host import host_text, measured_host, rule_of
from vdnnsim.calibration.several.messages import inputs_of
from vdnnsim.calibration.several.predictions import NEAR, Predicted, predictions
from vdnnsim.calibration.several.records import StartRecord, Stored, StreamsRecord, of_all_times, read_stored
from vdnnsim.calibration.several.report import tell
from vdnnsim.calibration.several.table import summary, table_text
from vdnnsim.calibration.to_the_byte import offloaded_bytes, peak_bytes, placements_digest
from vdnnsim.figures.together import together_figure
from vdnnsim.gpu import read_profile
from vdnnsim.network import load_network
from vdnnsim.study import Study
from vdnnsim.topology import Topology, load_topology, read_topology
from vdnnsim.trace import read_trace
from vdnnsim.workloads import workload_of

FOLDER = Path(__file__).parents[2] / "experiments" / "calibration" / "two-gpus"
SAMPLE = (("vgg16", 64, "tf32", "vdnn-conv(p)"), ("googlenet", 128, "fp32", "vdnn-all(p)"))
"""Those that copy and can be told in every start: what `make test` simulates again."""


@dataclass(frozen=True)
class Again:
    """What is stored, and its cases as simulated again now."""

    stored: Stored
    host: Topology
    found: Sequence[Predicted]

    @property
    def streams(self) -> list[StreamsRecord]:
        """What links carried, of all times at which that was measured."""
        return of_all_times(self.stored.streams)


@pytest.fixture(scope="module")
def again() -> Again:
    stored, host = read_stored(FOLDER / "results.json"), read_topology(FOLDER / "topology.toml")
    chosen = [one for one in stored.cases if THOROUGH or one.case in SAMPLE]
    return Again(stored, host, predictions(chosen, read_cases(FOLDER / "cases.toml"), FOLDER, host))


def test_every_case_of_the_list_is_there_on_both_gpus_in_every_start(again: Again) -> None:
    listed = [
        (load_network(group.network, group.batch).name, group.batch, math, policy)
        for group in read_cases(FOLDER / "cases.toml").case
        for math in group.math
        for policy in (*group.policies, *group.limited)
    ]
    starts = [("alone", 0), ("alone", 1), ("together", 0), ("together", 1), ("staggered", 0), ("staggered", 1)]
    expected = [(case, *start) for case in listed for start in starts]
    assert [(one.case, one.start, one.gpu) for one in again.stored.cases] == expected
    assert len(again.found) == len(expected if THOROUGH else SAMPLE * len(starts))


def test_what_can_be_told_is_near_and_a_wrong_model_would_be_noticed(again: Again) -> None:
    told = [one for one in again.found if one.record.told]
    assert {one.record.start for one in told} == {"alone", "together", "staggered"}
    assert {one.verdict for one in told} == {"agrees"}
    assert any(abs(1.02 * (1 + one.error) - 1) > NEAR for one in told)


def test_of_the_whole_list_no_fewer_can_be_told_and_none_is_further_off() -> None:
    first, found = _told_by_the_table()
    errors = [abs(one.error) for one in found if one.record.told]
    assert (len(found), len(errors)) == (144, 124)
    assert max(errors) <= NEAR
    assert median(errors) <= 0.003
    assert summary(found) == first


def test_bytes_and_addresses_are_the_measured_ones(again: Again) -> None:
    """As stored of all; of one case as simulated now."""
    assert all(one.equal for one in again.stored.cases)
    first = next(one for one in again.stored.cases if one.case == SAMPLE[0])
    timeline = _study(first).run(first.policy).timeline
    assert peak_bytes(timeline) == first.measured_peak_bytes
    assert offloaded_bytes(timeline) == first.offloaded_bytes
    assert placements_digest(timeline.memory) == first.placements


def test_the_table_is_what_is_stored_and_what_the_simulation_says(again: Again) -> None:
    conditions = json.loads((FOLDER / "results.json").read_text(encoding="utf-8"))["conditions"]
    stored = (FOLDER / "table.md").read_text(encoding="utf-8")
    now = table_text(rule_of(again.streams, again.host), again.found, conditions)
    if THOROUGH:
        assert now == stored
    _, *rows = now.splitlines()
    assert set(rows) <= set(stored.splitlines())
    alone = [one for one in again.found if one.record.start == "alone"]
    assert [one.simulated_ns for one in alone] == [one.record.simulated_alone_ns for one in alone]


def test_the_host_is_what_its_links_carried_and_came_with_the_package(again: Again) -> None:
    memory = again.host.links["memory0"]
    measured = measured_host(again.streams, 2, again.host.name, again.host.title, memory.source)
    assert host_text(measured) == (FOLDER / "topology.toml").read_text(encoding="utf-8")
    shipped = load_topology("two-h200-third").links["memory0"]
    assert (shipped.limits, shipped.in_beside_out) == (memory.limits, memory.in_beside_out)


def test_host_and_copies_are_told_anew_of_all_times_at_which_links_were_measured(again: Again, tmp_path: Path) -> None:
    tell(tmp_path, read_cases(FOLDER / "cases.toml"), again.stored._replace(cases=()))
    assert (tmp_path / "topology.toml").read_text() == (FOLDER / "topology.toml").read_text()
    told, stored = ((folder / "table.md").read_text(encoding="utf-8").split("\n\n") for folder in (tmp_path, FOLDER))
    assert told[1] == stored[1]


def test_what_copies_out_leave_of_those_in_is_nearer_than_limits_alone(again: Again) -> None:
    """Copies in where several GPUs copy: 19.6 % off in the mean by limits, 5.2 % with it."""
    off: list[tuple[float, float]] = []
    for one in rule_of(again.streams, again.host):
        if len({gpu for gpu, _ in one.measured.streams}) > 1:
            both = zip(one.measured.streams, one.fair_errors, one.errors, strict=True)
            off += [(abs(fair), abs(rule)) for (_, way), fair, rule in both if way == "in"]
    fair, rule = (round(100 * fmean(column), 1) for column in zip(*off, strict=True))
    assert (fair, rule) == (19.6, 5.2)


def test_the_figure_has_a_mark_for_each_and_can_be_read() -> None:
    _, found = _told_by_the_table()
    figure = figure_of(lambda: together_figure(found, Path("together.png")))
    assert_legible(figure)
    lines = figure.axes[0].get_lines()
    marks = Counter(line.get_marker() for line in lines)
    assert (marks["x"], marks["o"]) == (18, 2 * 96 - 18)  # 2 of the 20 that cannot be told ran alone
    rows = [row for row in _rows() if row[3] != "alone"]
    for longer, look in ((6, "filled"), (8, "hollow")):
        those = [line for line in lines if line.get_marker() in ("o", "x")]
        those = [line for line in those if (line.get_markerfacecolor() == "white") == (look == "hollow")]
        drawn = sorted(float(line.get_xdata()[0]) for line in those)  # type: ignore[index,arg-type]
        assert drawn == pytest.approx(sorted(float(row[longer]) for row in rows), abs=0.01)
        places = [float(line.get_ydata()[0]) for line in those]  # type: ignore[index,arg-type]
        assert all(first < second for first, second in zip(places[::2], places[1::2], strict=True))  # downwards


def _told_by_the_table() -> tuple[str, list[Predicted]]:
    """The stored table's summary, and all cases by its simulated times; its rows are held to the simulation above."""
    first, *_ = (FOLDER / "table.md").read_text(encoding="utf-8").splitlines()
    simulated_ms = [float(row[7]) for row in _rows()]
    records = read_stored(FOLDER / "results.json").cases
    return first, [Predicted(one, round(time * 1e6)) for one, time in zip(records, simulated_ms, strict=True)]


def _rows() -> list[list[str]]:
    """The stored table's rows of cases."""
    lines = (FOLDER / "table.md").read_text(encoding="utf-8").splitlines()
    return [line.split(" | ") for line in lines if line.endswith("| equal |")]


def _study(record: StartRecord) -> Study:
    network = load_network(record.network, record.batch)
    inputs = inputs_of(FOLDER, "h200", record.gpu, record.network, record.batch, record.math)
    study = Study(workload_of(network), read_trace(inputs.trace, network), read_profile(inputs.profile))
    return study.within(record.capacity_bytes)
