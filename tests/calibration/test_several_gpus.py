"""`calibrate report --gpus`: the CPU stands for two GPUs of one host."""

from __future__ import annotations

import os
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from typer.testing import CliRunner  # noqa: E402

from support.cpu_profile import PROFILE  # noqa: E402
from support.crews import thread_crew  # noqa: E402
from vdnnsim.calibration.cases import CasesFile, read_cases  # noqa: E402
from vdnnsim.calibration.several import links, placing, report  # noqa: E402
from vdnnsim.calibration.several.host import host_text, measured_host, rule_of  # noqa: E402
from vdnnsim.calibration.several.links import combinations_of, rates  # noqa: E402
from vdnnsim.calibration.several.messages import Card, Ran  # noqa: E402
from vdnnsim.calibration.several.placing import divided, names_of, visible_gpus  # noqa: E402
from vdnnsim.calibration.several.predictions import predictions  # noqa: E402
from vdnnsim.calibration.several.records import StreamsRecord, of_all_times, read_stored  # noqa: E402
from vdnnsim.calibration.several.report import make_several_report  # noqa: E402
from vdnnsim.calibration.several.seat import Seat, open_seat  # noqa: E402
from vdnnsim.cli.calibrate import app  # noqa: E402
from vdnnsim.crew import Crew  # noqa: E402
from vdnnsim.errors import InvalidInput  # noqa: E402
from vdnnsim.figures.together import compose  # noqa: E402
from vdnnsim.machines.real.cpu import CpuDevice  # noqa: E402
from vdnnsim.machines.real.nvml import near_cores  # noqa: E402
from vdnnsim.network import Kind, load_network  # noqa: E402
from vdnnsim.processes import WorkerEnded  # noqa: E402
from vdnnsim.topology import read_topology  # noqa: E402
from vdnnsim.trace import Trace, TraceHeader, TraceRow, required_passes, write_trace  # noqa: E402

NETWORK = """schema = 1
name = "one"
input = [3, 8, 8]
layer = [
  { name = "conv1", kind = "CONV", channels = 4, kernel = 3, padding = 1 },
  { name = "relu1", kind = "ACTV" },
  { name = "fc2", kind = "FC", channels = 10 },
  { name = "softmax", kind = "SOFTMAX" },
]
"""
CASES = """schema = 1
gpu = "cpu"
[[case]]
network = "one.toml"
batch = 2
policies = ["baseline(p)", "vdnn-all(m)"]
limited = {}
"""
BOTH = ("GPU 0", "GPU 1")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Few copies, few iterations: on a CPU nobody believes their times anyway."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(links, "_COPIES", 4)
        patch.setattr(links, "_TIMES", 1)
        patch.setattr(links, "_LEAD_NS", 2_000_000)
        patch.setattr(report, "_FEWEST", 1)
        patch.setattr(report, "_MOST", 1)
        patch.setattr(report, "_ATTEMPTS", 1)
        patch.setattr("vdnnsim.figures.together.together_figure", lambda *_: None)
        yield


def two(seat: Callable[[str, int], Seat] = Seat) -> Crew:
    return thread_crew({name: partial(seat, "cpu", number) for number, name in enumerate(BOTH)})


def reported(cases: Path, out: Path, crew: Callable[[], Crew], monkeypatch: pytest.MonkeyPatch) -> BaseException | None:
    """What `calibrate report --gpus 2` ends in where these are the GPUs."""
    monkeypatch.setattr(report, "open_crew", lambda _device, _gpus: crew())
    words = ["report", str(cases), "--out", str(out), "--gpus", "2"]
    return CliRunner().invoke(app, words).exception


def write_inputs(folder: Path) -> CasesFile:
    """A list, with profile and trace of both GPUs as if they had been measured before."""
    (folder / "one.toml").write_text(NETWORK)
    (folder / "cases.toml").write_text(CASES)
    network = load_network(folder / "one.toml", 2)
    rows = [
        TraceRow(layer, pass_, "IMPLICIT_GEMM" if kind is Kind.CONV else "default", 1000 * number, 0, source="test")
        for number, (layer, pass_, kind) in enumerate(
            ((layer, pass_, network.by_name[layer].kind) for layer, pass_ in required_passes(network)), start=1
        )
    ]
    trace = Trace(TraceHeader("cpu", "one", 2, "fp32", sources={"test": "made up"}), rows)
    for gpu in range(2):
        inputs = report.inputs_of(folder / "out", "cpu", gpu, "one", 2, "fp32")
        inputs.trace.parent.mkdir(parents=True)
        inputs.profile.write_text(PROFILE)
        write_trace(trace, inputs.trace)
    return read_cases(folder / "cases.toml")


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report that Ctrl-C reached in its second case."""
    folder = tmp_path_factory.mktemp("several")
    cases = write_inputs(folder)

    def stop(_done: int, _total: int, now: str) -> None:
        if now.endswith("vdnn-all(m)"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), two() as crew:
        make_several_report(crew, cases, folder / "out", stop)
    return folder


def test_an_interrupted_report_keeps_what_it_has_and_goes_on(interrupted: Path) -> None:
    out = interrupted / "out"
    before = read_stored(out / "results.json")
    assert [one.policy for one in before.cases] == 4 * ["baseline(p)"] + 2 * ["baseline(p)"]
    assert len(before.streams) == 15
    moments: list[tuple[int, int]] = []

    class Noting(Seat):
        def run(self, at_ns: int) -> Ran:
            moments.append((self.number, at_ns))
            return super().run(at_ns)

    with two(Noting) as crew:
        found = make_several_report(crew, read_cases(interrupted / "cases.toml"), out)
    assert found.failures == {}
    assert found.cases[:6] == before.cases
    assert found.streams[:15] == before.streams
    assert [one.streams for one in found.streams[15:]] == [one.streams for one in before.streams]
    for case in (found.cases[:6], found.cases[6:]):
        assert [(one.start, one.gpu) for one in case] == [
            *(("alone", 0), ("alone", 1), ("together", 0), ("together", 1), ("staggered", 0), ("staggered", 1))
        ]
    assert all(one.equal and one.measured_ns > 0 for one in found.cases)
    [at_ns, beside_ns], [first_ns, later_ns] = (
        [at_ns for _, at_ns in sorted(moments[begin : begin + 2])] for begin in (2, 4)
    )
    assert beside_ns == at_ns
    assert later_ns - first_ns == found.cases[6].simulated_alone_ns // 2
    baselines = [one for one in found.predicted if one.record.policy == "baseline(p)"]
    assert all(one.simulated_ns == one.record.simulated_alone_ns for one in baselines)
    assert len(found.predicted) == len(found.cases)
    assert read_topology(out / "topology.toml").gpus == ("memory0", "memory0")
    (axes,) = compose(found.predicted, "title").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["baseline(p)", "vdnn-all(m)"]
    assert [text.get_text() for text in axes.texts] == ["one (2), fp32"]
    table = (out / "table.md").read_text()
    assert "GPU 0 out + GPU 0 in + GPU 1 out + GPU 1 in" in table
    assert table.count("| equal |") == 12
    assert read_stored(out / "results.json").cases == found.cases


def test_other_cards_than_the_folder_is_of_are_refused(interrupted: Path) -> None:
    class Other(Seat):
        def card(self) -> Card:
            return super().card()._replace(machine=f"other-{self.number}")

    with two(Other) as crew, pytest.raises(InvalidInput, match=r"expected other-0, other-1; give an empty folder"):
        make_several_report(crew, read_cases(interrupted / "cases.toml"), interrupted / "out")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (
            {"is_gpu": True, "free_bytes": 30 * 10**9, "total_bytes": 80 * 10**9, "others": 1},
            "GPU 1: found 30.0 of 80.0 GB free beside 1 other process, expected a GPU that nothing else uses; end what "
            "runs on it (nvidia-smi), or choose others by CUDA_VISIBLE_DEVICES",
        ),
        (
            {"is_gpu": True, "free_bytes": 79 * 10**9, "total_bytes": 80 * 10**9, "busy_percent": 97},
            "GPU 1: found 79.0 of 80.0 GB free but kernels in 97 % of the time, expected a GPU that nothing else uses; "
            "end what runs on it (nvidia-smi), or choose others by CUDA_VISIBLE_DEVICES",
        ),
        (
            {"conditions": {"gpu": "NVIDIA L4", "clocks": ""}},
            "GPU 1: found NVIDIA L4, expected NVIDIA H100 as GPU 0 is; choose GPUs of one kind by CUDA_VISIBLE_DEVICES",
        ),
    ],
)
def test_a_busy_gpu_and_unequal_ones_are_one_line_each(
    second: Mapping[str, Any], message: str, tmp_path: Path, interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Card] = []

    class Told:
        def __init__(self, card: Card) -> None:
            self._card = card

        def card(self) -> Card:
            return self._card

        def close(self) -> None:
            closed.append(self._card)

    first = Card("a-0", {"gpu": "NVIDIA H100", "clocks": ""}, False, 1, 1, 0, 0, 1)
    cards = (first, first._replace(**second))
    makes = {name: partial(Told, card) for name, card in zip(BOTH, cards, strict=True)}
    refused = reported(interrupted / "cases.toml", tmp_path / "out", lambda: thread_crew(makes), monkeypatch)
    assert str(refused) == message
    assert len(closed) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        (True, "GPU 1: RuntimeError: CUDA error: unspecified launch failure; the other was stopped"),
        (False, "GPU 1 is not through 0.5 s after GPU 0; the other was stopped"),
    ],
)
def test_a_run_that_ends_on_one_gpu_only(
    fails: bool, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot go on ends all in one line, the devices are given back, and what was measured stays."""
    calls = count(1)
    closed: list[CpuDevice] = []
    close = CpuDevice.close

    class Failing(Seat):
        def run(self, at_ns: int) -> Ran:
            if self.number == 1 and next(calls) > 4:  # in its second case, beside the other
                if fails:
                    raise RuntimeError("CUDA error: unspecified launch failure\nand more")
                time.sleep(0.8)
            return super().run(at_ns)

    def tell_close(device: CpuDevice) -> None:
        closed.append(device)
        close(device)

    monkeypatch.setattr(CpuDevice, "close", tell_close)
    monkeypatch.setattr(report, "_PATIENCE_S", 60 if fails else 0.5)
    write_inputs(tmp_path)
    monkeypatch.setattr(report, "combinations_of", lambda _gpus: [((0, "out"),)])
    ended = reported(tmp_path / "cases.toml", tmp_path / "out", lambda: two(Failing), monkeypatch)
    assert isinstance(ended, WorkerEnded)
    assert str(ended) == message
    assert len(closed) == 2
    assert {one.policy for one in read_stored(tmp_path / "out" / "results.json").cases} == {"baseline(p)"}


def test_what_does_not_fit_fails_its_network_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_inputs(tmp_path)
    cases = (tmp_path / "cases.toml").read_text().replace('["baseline(p)", "vdnn-all(m)"]', '["baseline(p)"]')
    (tmp_path / "cases.toml").write_text(cases.replace("limited = {}", 'limited = { "vdnn-all(m)" = "1KB" }'))
    monkeypatch.setattr(report, "combinations_of", lambda _gpus: [((0, "out"),)])
    with two() as crew:
        found = make_several_report(crew, read_cases(tmp_path / "cases.toml"), tmp_path / "out")
    assert len(found.cases) == 6
    assert "GPU 0: vdnn-all(m) does not fit: out of memory" in found.failures["one batch 2, fp32"]
    assert "failed: one batch 2, fp32" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.parametrize(("visible", "there", "found"), [("3", 1, "1 GPU"), ("", 0, "0 GPUs")])
def test_more_gpus_than_there_are_is_one_line(
    visible: str, there: int, found: str, monkeypatch: pytest.MonkeyPatch, interrupted: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    words = ["report", str(interrupted / "cases.toml"), "--out", str(interrupted / "none"), "--gpus", "2"]
    refused = CliRunner().invoke(app, words)
    assert str(refused.exception) == (
        f"--gpus: found {found} on this host (CUDA_VISIBLE_DEVICES is '{visible}'), expected 2; ask for fewer, or use "
        "--device cpu to try the same without"
    )
    assert not (interrupted / "none").exists()


def test_gpus_are_the_visible_ones_or_the_first_of_the_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, 3,1")
    assert visible_gpus(2) == ["5", "3"]
    assert names_of(["5", "1", None]) == ["GPU 0 ('5' of CUDA_VISIBLE_DEVICES)", "GPU 1", "GPU 2"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_gpus(2) == ["0", "1"]


def test_a_seat_sees_its_own_gpu_from_its_own_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[tuple[int, list[int]]] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: kept.append((process, cores)))
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: kept.append((threads, [])))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    open_seat("cpu", 1, "2", [4, 5]).close()
    assert kept == [(0, [4, 5]), (2, [])]
    assert (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["CUDA_DEVICE_ORDER"]) == ("2", "PCI_BUS_ID")


def test_cases_of_another_list_stay_and_are_not_told(interrupted: Path, tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(NETWORK.replace('"one"', '"two"'))
    (tmp_path / "cases.toml").write_text(CASES.replace("one.toml", "two.toml"))
    stored = read_stored(interrupted / "out" / "results.json")
    host = measured_host(stored.streams, 2, "x", "x", "a test")
    assert predictions(stored.cases, read_cases(tmp_path / "cases.toml"), interrupted / "out", host) == []


def test_links_take_turns_and_what_disturbed_one_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of 100 bytes at 100 GB/s, in two of five turns at 50; one of the links is seen to be slow then."""
    monkeypatch.setattr(links, "_TIMES", 5)
    monkeypatch.setattr(links, "_LEAD_NS", 0)
    asked: list[str] = []

    class Link:
        def __init__(self, name: str) -> None:
            self.name = name
            self.turn = 0

        def settle(self) -> None:
            asked.append(self.name)

        def stream(self, directions: tuple[str, ...], _copies: int, _at_ns: int) -> dict[str, list[tuple[int, int]]]:
            self.turn += 1
            one_ns = 2 if self.turn in (2, 3) else 1
            return {way: [(0, one_ns), (one_ns, 2 * one_ns)] for way in directions}

        def after(self) -> tuple[str, ...]:
            return ("link",) if self.turn in (2, 3) and self.name == "GPU 0" else ()

        def close(self) -> None:
            pass

    with thread_crew({name: partial(Link, name) for name in BOTH}) as crew:
        told: list[str] = []
        found = links.measure_links(crew, (((0, "out"),), ((1, "in"),)), 100, told.append)
    assert asked == 5 * [*BOTH]
    assert told == [f"links, turn {turn}" for turn in range(1, 6)]
    assert found[0] == StreamsRecord(((0, "out"),), (100 * 10**9,), (0,))
    assert found[1] == StreamsRecord(((1, "in"),), (100 * 10**9,), (500_000,))


def test_what_links_carried_at_several_times_is_their_median() -> None:
    def record(out: int, back: int, *disturbed_by: str) -> StreamsRecord:
        return StreamsRecord(((0, "out"), (1, "in")), (out, back), (10_000, 500), disturbed_by)

    alone = StreamsRecord(((0, "out"),), (90,), (7,))
    times = [record(100, 80), alone, record(102, 90), record(101, 100), record(60, 60, "link")]
    middle = StreamsRecord(((0, "out"), (1, "in")), (101, 90), (19_802, 222_222))
    assert of_all_times(times) == [middle, alone]
    assert of_all_times(times[-1:]) == times[-1:]


def test_rates_are_of_the_time_in_which_all_copy() -> None:
    """Copies of 100 bytes: one a nanosecond from 0 to 4, the others half as fast from 2 to 6. From 2 to 4 both copy."""
    fast = [(at, at + 1) for at in range(4)]
    slow = [(2, 4), (4, 6)]
    streams = ((0, "out"), (1, "in"))
    assert rates({0: {"out": fast}, 1: {"in": slow}}, streams, 100) == [100 * 10**9, 50 * 10**9]
    assert rates({0: {"out": fast}, 1: {"in": [(5, 7)]}}, streams, 100) == []


def test_which_copies_are_measured_together() -> None:
    assert len(set(combinations_of(2))) == len(combinations_of(2)) == 15
    of_three = combinations_of(3)
    assert len(set(of_three)) == len(of_three)
    assert set(combinations_of(2)) < set(of_three)
    assert tuple((gpu, way) for gpu in range(3) for way in ("out", "in")) in of_three


def test_a_host_has_the_limits_that_all_gpus_at_once_meet() -> None:
    """Two H200: one way both have what each has alone, both ways copies in have less; the rule has no gain of those
    out."""
    rates = {
        ((0, "out"),): (55.2,),
        ((0, "in"),): (55.3,),
        ((1, "out"),): (55.2,),
        ((1, "in"),): (55.3,),
        ((0, "out"), (0, "in")): (50.4, 51.3),
        ((1, "out"), (1, "in")): (50.4, 51.3),
        ((0, "out"), (1, "out")): (55.1, 55.1),
        ((0, "in"), (1, "in")): (55.0, 55.0),
        ((0, "out"), (0, "in"), (1, "out"), (1, "in")): (52.6, 40.4, 52.6, 40.4),
    }
    records = [
        StreamsRecord(streams, tuple(round(one * 1e9) for one in found), (0,) * len(found))
        for streams, found in rates.items()
    ]
    host = measured_host(records, 2, "h200-x2", "two", "a test")
    memory = host.links["memory0"]
    assert (memory.out_bytes_per_s, memory.in_bytes_per_s, memory.both_out_bytes_per_s) == (None, None, None)
    assert memory.both_in_bytes_per_s == 80_800_000_000
    errors = [tuple(round(100 * error, 1) for error in one.errors) for one in rule_of(records, host)]
    assert errors[6:] == [(0.2, 0.2), (0.5, 0.5), (-4.2, 0.0, -4.2, 0.0)]
    assert errors[:6] == [(0.0,)] * 4 + [(0.0, 0.0)] * 2
    again = tomllib.loads(host_text(host))["link"][0]
    assert again["both_ways"] == {"in": "80800000000 B/s"}
    assert "in_beside_out" not in again


def test_a_host_has_what_copies_out_leave_of_those_in(tmp_path: Path) -> None:
    """In GB/s: each alone 50, and both in 80. One out leaves four fifths of the other GPU's in, whatever its own does
    XX in beside one out share 0.8 * 80."""
    rates = {
        **{((gpu, way),): (50,) for gpu in (0, 1) for way in ("out", "in")},
        **{((gpu, "out"), (gpu, "in")): (50, 45) for gpu in (0, 1)},
        ((0, "out"), (1, "out")): (50, 50),
        ((0, "in"), (1, "in")): (40, 40),
        ((0, "out"), (1, "in")): (50, 40),
        ((0, "in"), (1, "out")): (40, 50),
        ((0, "out"), (0, "in"), (1, "in")): (50, 35, 35),
        ((0, "out"), (0, "in"), (1, "out"), (1, "in")): (50, 25, 50, 25),
    }
    records = [
        StreamsRecord(streams, tuple(one * 10**9 for one in found), (0,) * len(found))
        for streams, found in rates.items()
    ]
    host = measured_host(records, 2, "x", "x", "a test")
    memory = host.links["memory0"]
    assert memory.in_beside_out == ((50 * 10**9, 800_000), (100 * 10**9, 625_000))
    assert (memory.in_bytes_per_s, memory.both_in_bytes_per_s) == (80 * 10**9, None)
    found = [tuple(round(rate / 1e9, 1) for rate in one.rule_bytes_per_s) for one in rule_of(records, host)]
    assert found[8:] == [(50, 40), (40, 50), (50, 32, 32), (50, 25, 50, 25)]
    fair = [tuple(round(rate / 1e9, 1) for rate in one.fair_bytes_per_s) for one in rule_of(records, host)]
    assert fair[8:] == [(50, 50), (50, 50), (50, 25, 25), (50, 25, 50, 25)]
    (tmp_path / "host.toml").write_text(host_text(host))
    assert read_topology(tmp_path / "host.toml") == host


def test_cores_are_divided_whole_and_near(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [[0, 4], [1, 5], [2, 6], [3, 7]]
    everywhere = range(8)
    assert divided(whole, [everywhere, everywhere]) == [[0, 4, 2, 6], [1, 5, 3, 7]]
    assert divided(whole, [[0, 1, 4, 5], [2, 3, 6, 7]]) == [[0, 4, 1, 5], [2, 6, 3, 7]]
    assert divided([[0]], [[0], [0]]) == [[], []]
    monkeypatch.setattr(placing, "_siblings", lambda core: (core % 2, core % 2 + 2))
    assert placing.whole_cores({0, 1, 2, 3}) == [[0, 2], [1, 3]]


def test_near_cores_are_those_of_the_mask() -> None:
    class Error(Exception):
        pass

    def refuse(_uuid: str) -> None:
        raise Error

    library = SimpleNamespace(
        NVMLError=Error,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetHandleByUUID=refuse,
        nvmlDeviceGetCpuAffinity=lambda number, words: [5 << number, 1][:words],
    )
    assert near_cores("1", library) == {1, 3, 64}
    assert near_cores("GPU-1", library) == set()
